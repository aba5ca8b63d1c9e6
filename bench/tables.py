"""The benchmark's records as a Markdown page, a CSV file and a figure of the ratios.

A record is a dict of one row: section, row, and the figures that apply to it, in seconds, bytes,
FLOP and images. `x`, `x_low` and `x_high` are median and range over the repetitions.
"""

import math
import re

import matplotlib.pyplot as plt
import pandas as pd

from study.figures import plots

COLUMNS = ["section", "row", "threads", "precision", "repetitions", "images"]
PAIRS = ["ours", "plain", "fp32", "bf16", "any", "deterministic", "calls", "graph"]
for figure in (*PAIRS, "ratio", "fp32_ratio"):
    COLUMNS += [figure, f"{figure}_low", f"{figure}_high"]
for figure in ("images_per_second", "flop_per_image", "flop_per_second", "peak_share", "memory"):
    COLUMNS += [f"ours_{figure}", f"plain_{figure}"]
COLUMNS += [f"{side}_{percentile}" for side in ("ours", "plain") for percentile in ("p95", "p99")]
COLUMNS += ["useful_share", "step_share", "quoted", "note"]


def number(value, digits=3):
    """A few significant digits, without exponent; whole numbers as they are."""
    if isinstance(value, int) or not value:
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def ranged(name):
    """The column `name`: median and range."""

    def cell(record):
        if record.get(name) is None:
            return None
        middle, low, high = (number(record[name + end]) for end in ("", "_low", "_high"))
        return middle if low == high else f"{middle} ({low} to {high})"

    return cell


def plain(name, factor=1):
    """The column `name`, times `factor`."""

    def cell(record):
        value = record.get(name)
        return value if value is None or isinstance(value, str) else number(factor * value)

    return cell


def pair(name, factor=1):
    """Ours and the plain one's `name` in one cell."""

    def cell(record):
        sides = [plain(f"{side}_{name}", factor)(record) for side in ("ours", "plain")]
        return None if sides == [None, None] else " / ".join(side or "–" for side in sides)

    return cell


TIMES = {"": plain("row"), "ours, s": ranged("ours"), "plain, s": ranged("plain")}
TIMES |= {"plain / ours": ranged("ratio")}
NOTE = {"note": plain("note")}
TABLES = {  # section: (heading, {column: cell}, text below)
    "step": (
        "One training step",
        TIMES
        | {"images/s, ours / plain": pair("images_per_second")}
        | {"official, quoted from another machine": plain("quoted")},
        "Ours is the loop of `lib.training`, which draws, augments and corrupts its batch as well; "
        "the plain step, with all the work of the official one, is handed a ready batch. Quoted: "
        "the official code on two other CPU cores with bf16 support.",
    ),
    "work": (
        "Work and memory of a step, ours / plain",
        {"": plain("row"), "GFLOP an image": pair("flop_per_image", 1e-9)}
        | {"GFLOP/s": pair("flop_per_second", 1e-9)}
        | {"% of the peak": pair("peak_share", 100)}
        | {"% with the plain step's operations, ours": plain("useful_share", 100)}
        | {"peak memory, MB": pair("memory", 1e-6)},
        "Convolutions and matrix products only, as executed; a multiply-add counts as two. The "
        "share with the plain step's operations also counts those that ours avoids by algebra. "
        "Memory is the GPU's, or else that of the whole process with its libraries.",
    ),
    "corruption": (
        "Corruption alone",
        TIMES | NOTE,
        "",
    ),
    "evaluation": (
        "Evaluation, all six metrics",
        TIMES | {"peak memory, MB, ours": plain("ours_memory", 1e-6)} | NOTE,
        "Official code, quoted from another machine: IAP 12.8 s and PRO 271 s for 160 maps of "
        "256x256.",
    ),
    "inference": (
        "Inference",
        TIMES
        | {"images/s, ours / plain": pair("images_per_second")}
        | {"p95, s": pair("p95"), "p99, s": pair("p99")}
        | {"repetitions": plain("repetitions")},
        "Teacher, student and segmentation network on ready tensors; and from the bytes of PNG "
        "files (decoded, resized, normalised) to maps of full size and image scores on the host. "
        "Percentiles where there are 20 repetitions or more.",
    ),
    "precision": (
        "Precision of our steps",
        {"": plain("row"), "fp32, s": ranged("fp32"), "bf16, s": ranged("bf16")}
        | {"fp32 / bf16": ranged("ratio"), "auto takes": plain("precision")}
        | {"plain / fp32": ranged("fp32_ratio")}
        | NOTE,
        "",
    ),
    "determinism": (
        "Cost of `deterministic: true`",
        {"": plain("row"), "any algorithm, s": ranged("any")}
        | {"deterministic, s": ranged("deterministic"), "times as long": ranged("ratio")}
        | NOTE,
        "",
    ),
    "capture": (
        "A step as one CUDA graph",
        {"": plain("row"), "kernel by kernel, s": ranged("calls"), "graph, s": ranged("graph")}
        | {"times as fast": ranged("ratio")}
        | NOTE,
        "",
    ),
    "checkpoint": (
        "Checkpoints",
        {"": plain("row"), "s": ranged("ours")} | NOTE,
        "",
    ),
    "start": (
        "Start-up of an item",
        TIMES,
        "Each in a new process. Ours is `python -m study.notebook`, plain is `papermill`.",
    ),
    "protocol": (
        "Whole protocol for one category",
        {"": plain("row"), "s": ranged("ours")} | NOTE,
        "",
    ),
}


def page(records, facts):
    """The Markdown page; facts: {what: text} of machine and run."""
    parts = ["# Speed beside a plain implementation"]
    parts += ["\n".join(f"- {what}: {text}" for what, text in facts.items())]
    parts += [
        "`bench/reference.py` is the plain implementation of the same mathematics. Both take turns "
        "in one process; median over the repetitions (lowest to highest). plain / ours above 1: "
        "ours is faster; its range is over the turns.",
        "![plain / ours](" + slug(facts["device"]) + ".png)",
    ]
    for section, (heading, columns, text) in TABLES.items():
        source = "step" if section == "work" else section
        rows = [record for record in records if record["section"] == source]
        if not rows:
            parts += [f"## {heading}", "Not measured in this run."]
            continue
        cells = [[cell(row) for cell in columns.values()] for row in rows]
        frame = pd.DataFrame(cells, columns=list(columns))
        kept = [i for i in range(len(columns)) if i == 0 or frame.iloc[:, i].notna().any()]
        frame = frame.iloc[:, kept].fillna("")
        table = frame.to_markdown(index=False, disable_numparse=True)
        parts += [f"## {heading}", table] + [text] * bool(text)
    return "\n\n".join(parts) + "\n"


def ratio_figure(records, device):
    """plain / ours of every row as bars from 1, ranges as whiskers, on a logarithmic axis."""
    rows = [record for record in records if record.get("plain") is not None]
    sections = list(dict.fromkeys(record["section"] for record in rows))
    axis_label = "plain / ours: how many times faster (median and range)"
    with plt.rc_context(plots.STYLE):
        figure, axis = plt.subplots(figsize=(6.4, 0.9 + 0.3 * len(rows)))
        for place, row in enumerate(rows):
            colour = plots.COLOURS[sections.index(row["section"])]
            middle, low, high = row["ratio"], row["ratio_low"], row["ratio_high"]
            axis.barh(place, middle - 1, left=1, height=0.62, color=colour)
            whisker = {"xerr": [[middle - low], [high - middle]], "color": "0.15"}
            axis.errorbar(middle, place, **whisker, capsize=3, lw=1)
            label = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            axis.annotate(f"{number(middle)}x", (max(high, 1), place), **label)
        axis.axvline(1, color="0.15", lw=1)
        axis.set(xscale="log", ylim=(len(rows) - 0.4, -0.6), xlabel=axis_label)
        low, high = min(r["ratio_low"] for r in rows), max(r["ratio_high"] for r in rows)
        axis.set_xlim(min(0.8, low * 0.9), max(2, high * 2.5))
        axis.xaxis.set(major_locator=plt.LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
        axis.minorticks_off()
        axis.set_yticks(range(len(rows)), [row["row"] for row in rows])
        axis.grid(False, axis="y")
        axis.set_title(device, fontsize="medium")
    return figure


def slug(text):
    """A name for files: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write(folder, records, facts):
    """Write <device>.md, .csv and .png to `folder`; returns the Markdown file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / slug(facts["device"])
    base.with_suffix(".md").write_text(page(records, facts), encoding="utf-8")
    frame = pd.DataFrame(records, columns=COLUMNS)
    frame.to_csv(base.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")
    figure = ratio_figure(records, facts["device"])
    figure.savefig(base.with_suffix(".png"), dpi=120, metadata={"Software": None})
    plt.close(figure)
    return base.with_suffix(".md")
