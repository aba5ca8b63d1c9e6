"""The answers beyond the paper, each computed from the tables of the run.

    python -m study.beyond.summary

Writes reports/beyond/README.md. A table that does not exist gives one sentence with the command.
"""

import numpy as np

from study import params
from study.beyond import comparisons, findings, selection
from study.beyond.comparisons import FOLDER, answer, compare, load, missing, said, values
from study.files import whole
from study.tables.format import counted, signed

PROFILE = params.ROOT / "profiles/beyond.yaml"
CORRUPTIONS = ["darken", "cutpaste", "scar", "mixed", "darken_both/method", "mixed_both/method"]
BUMPS = ["bump_1", "bump_3", "bump_10"]
CHEAP = ["noise_2/method", "noise_4/method", "hard_mining/method", "dice", "small_steps"]
AVERAGES = ["method", "ema", "constant", "constant_ema"]
BENCHMARK = "elpv"


def nearest_neighbour(study="quick"):
    """The best row of the study's baseline by validation: (name, {seed: percent on test})."""
    path = params.ROOT / "reports" / study / "baseline.csv"
    rows = load("baseline", path.parent)
    rows = rows[(rows.benchmark == BENCHMARK) & rows.real_defects.astype(bool)]
    means = rows[rows.split == "validation"].groupby("map").image_auroc.mean()
    test = rows[(rows["map"] == means.idxmax()) & (rows.split == "test")]
    return means.idxmax(), dict(zip(test.seed, 100 * test.image_auroc, strict=True))


def target(rows, heads):
    """The variant that validation chooses among all, against the nearest-neighbour search."""
    best, means = comparisons.chosen_on_validation(rows, ["method", *heads], BENCHMARK)
    if best is None:
        return missing("the variants")
    where = {"map": "segmentation", "split": "test", "benchmark": BENCHMARK}
    found = [*values(rows, best, **where).values()]
    name, baseline = nearest_neighbour()
    least = np.mean([*baseline.values()])
    verdict = "above" if np.mean(found) > least else "below"
    together = comparisons.averaged_maps(rows, [best], BENCHMARK)
    figures = together.get("averaged maps", [])
    mean = "".join(f" The mean of the seeds' maps has {figure}." for figure in figures)
    return (
        f"Among {len(means)} rows validation chooses `{best}`: {np.mean(found):.1f} on test over "
        f"{counted(len(found), 'seed')}, {verdict} the nearest-neighbour search ({name}, "
        f"{least:.1f}, {signed(np.mean(found) - least)} points).{mean}"
    )


def sections(folder=FOLDER):
    """(question, answer) pairs."""
    rows, curve, tops = (load(name, folder) for name in ("variants", "curve", "tops"))
    yield (
        "Which corruption?",
        " ".join([answer(rows, CORRUPTIONS, BENCHMARK), comparisons.denoising_and_decoder()]),
    )
    yield "Cheap changes with evidence elsewhere?", cheap(rows)
    yield "Does equality separation find unseen defects better?", equality(rows)
    yield "Do averages calm the last step?", averages(rows, curve)
    chosen = [selection.answer(curve, BENCHMARK, head=head) for head in ("method", "constant")]
    chosen.append(selection.answer(curve, f"{BENCHMARK}_drawn", "pixel_ap"))
    default = params.load(PROFILE).evaluation.top_pixels
    chosen.append(selection.tops_answer(tops[tops["head"] == "method"], default))
    yield "What does selection on the test set buy?", " ".join(chosen)
    law, ladder = findings.split(load("scaling", folder))
    fit = findings.fitted(law, 4000)
    text = [findings.law(law, fit), findings.detection(law, 4000), findings.ladder(ladder, 4000)]
    yield "Does a better student find defects better?", " ".join(text)
    yield (
        "Is the best variant above the nearest-neighbour search?",
        target(rows, CORRUPTIONS + CHEAP + BUMPS + AVERAGES[1:]),
    )


def cheap(rows):
    """What validation chooses, and what that gives on real and on drawn defects."""
    text = answer(rows, CHEAP, BENCHMARK)
    best, _ = comparisons.chosen_on_validation(rows, ["method", *CHEAP], BENCHMARK)
    drawn = {"metric": "pixel_ap", "benchmark": f"{BENCHMARK}_drawn"}
    found = compare(rows, best, "method", **drawn) if best and best != "method" else None
    return f"{text} On drawn defects, pixel AP: {said(found)}." if found else text


def equality(rows):
    """Each sigma less the sigmoid: seen corruption, drawn and real defects, all by -log P."""
    texts = [answer(rows, BUMPS, BENCHMARK, kind="log")]
    for head in BUMPS:
        parts = []
        for end, metric, name in (
            ("_seen", "pixel_ap", "seen corruption, pixel AP"),
            ("_drawn", "pixel_ap", "drawn defects, pixel AP"),
            ("", "image_auroc", "real defects, image AUROC"),
        ):
            where = {"map": "log", "benchmark": BENCHMARK + end}
            if found := compare(rows, head, "method", metric, **where):
                parts.append(f"{name} {said(found)}")
        texts.append(f"`{head}`: {'; '.join(parts)}." if parts else missing(f"`{head}`"))
    return " ".join(texts)


def averages(rows, curve):
    """How much a point of training differs from the next, and what averages gain at the end."""
    texts = []
    for head in AVERAGES:
        found = [*selection.noise(curve, head, BENCHMARK).values()]
        texts.append(f"`{head}` {np.mean(found):.1f}" if found else f"`{head}` not measured")
    text = f"Mean change of the image AUROC between points of training: {', '.join(texts)}."
    for one, other in (("ema", "method"), ("constant_ema", "constant")):
        if found := compare(rows, one, other, benchmark=BENCHMARK):
            text += f" `{one}` less `{other}` at the last step: {said(found)}."
    table = comparisons.averaged_maps(rows, ["method"], BENCHMARK)
    if "gain" in table:
        line = table.loc["method"]
        text += (
            f" The mean of the maps of {line['seeds']} seeds has {line['averaged maps']} against "
        )
        text += f"a mean of {line['mean of the seeds']}."
    return text


def page(folder=FOLDER):
    """The whole page in Markdown."""
    parts = ["# Beyond the paper: answers"]
    parts.append(
        "Computed by `python -m study.beyond.summary` from the tables beside this file. ELPV, "
        "monocrystalline cells, 128x128 pixels, small networks (`profiles/beyond.yaml`); "
        "differences in points with 95 % intervals; `docs/beyond.md` explains the questions."
    )
    parts += [f"## {question}\n\n{text}" for question, text in sections(folder)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    with whole(FOLDER / "README.md") as path:
        path.write_text(page(), encoding="utf-8")
