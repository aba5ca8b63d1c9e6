"""The paper's protocol in one process, scored as it goes: no DVC, no papermill, no notebook.

    python -m bench.protocol --root MVTEC --textures DTD --weights RESNET18 --out OUT

It is meant for a machine that is available for minutes only. The full student's first three seeds
come first, each on every category; then the other students; then more seeds. After each item its
rows, losses and maps are written, so a run that is cut off loses one item. `--set` changes keys of
the profile.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from ruamel.yaml import YAML

from lib.anomaly_map import image_score
from lib.devices import device_name
from lib.inference import anomaly_maps, make_teacher
from lib.networks import DeSTSeg
from lib.training import train_segmentation, train_student
from study import params
from study.beyond.run import Look, commit
from study.data.mvtec import load_category
from study.data.textures import load_textures
from study.figures import plots
from study.scoring import metrics
from study.scoring.scores import COLUMNS, MAPS, full_size
from study.tables import format, paper

FIRST = 3  # seeds of the full student before the other students


class OutOfTime(Exception):
    """The next step would end after the given number of seconds."""


class Watch(Look):
    """A `Look` that stops the training at `deadline`."""

    def __init__(self, deadline, points=0, look=None):
        super().__init__(points, look)
        self.deadline = deadline

    def after(self, step, history, parts):
        if time.monotonic() > self.deadline:
            raise OutOfTime
        super().after(step, history, parts)


def order(settings: params.Params) -> Iterator[tuple[str, str, int]]:
    """(category, student, seed) of the grid, the most telling items first."""
    seeds, students = settings.seeds, [settings.headline]
    others = [name for name in settings.students if name != settings.headline]
    for names, some in ((students, seeds[:FIRST]), (others, seeds[:1])):
        yield from ((c, name, seed) for name in names for seed in some for c in settings.categories)
    for names, some in ((students, seeds[FIRST:]), (others, seeds[1:])):
        yield from ((c, name, seed) for seed in some for name in names for c in settings.categories)


def read_settings(options) -> params.Params:
    """The profile with the folders, categories and `--set` of the command line, kept in OUT."""
    yaml = YAML()
    raw = yaml.load(Path(options.profile).read_text("utf-8"))
    raw["categories"], raw["heads"] = options.categories, {}
    raw["dataset"]["root"] = str(Path(options.root).resolve())
    raw["textures"] |= {"source": "folder", "root": str(Path(options.textures).resolve())}
    raw["teacher"]["weights"] = str(Path(options.weights).resolve())
    for pair in options.set:
        key, _, value = pair.partition("=")
        *sections, name = key.split(".")
        here = raw
        for section in sections:
            here = here[section]
        if name not in here:
            sys.exit(f"--set: the profile has no key {key}")
        here[name] = YAML(typ="safe").load(value)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(raw, file)
    return params.load(options.out / "params.yaml")


def score(data, maps, evaluation) -> dict:
    """The six figures of stride-4 maps of the test images, 0..1."""
    maps = full_size(maps, data.masks.shape[-1])
    scores = image_score(torch.from_numpy(maps), evaluation.top_pixels).numpy()
    limits = {"fpr_limit": evaluation.fpr_limit, "recall": evaluation.recall}
    return metrics.evaluate(maps, data.masks, scores, data.labels, **limits)


class Run:
    """Trains and scores items, and writes all results so far to `out` after each."""

    def __init__(self, settings, out, deadline, points):
        self.settings, self.out, self.deadline, self.points = settings, out, deadline, points
        self.rows, self.curve, self.data = [], [], {}
        self.teacher = make_teacher(settings)
        size, channels = settings.dataset.image_size, settings.dataset.channels
        self.textures = load_textures(settings.textures, size, channels)

    def images(self, category):
        """(training images, test images) of a category; read once."""
        if category not in self.data:
            data = load_category(self.settings.dataset, category)
            self.data[category] = data.training_images(), data.select(data.splits == "test")
        return self.data[category]

    def item(self, category, name, seed):
        """Train both phases of one item, score both maps, and write what came out."""
        settings, start = self.settings, time.monotonic()
        train, test = self.images(category)
        item = {"benchmark": test.benchmark, "category": category, "student": name, "seed": seed}
        data = train, self.textures, settings, category

        def look(phase, kind, build):
            def at(step, network):
                maps = anomaly_maps(build(network), test.images)[MAPS.index(kind)]
                found = item | {"phase": phase, "step": step, "map": kind}
                self.curve.append(found | score(test, maps, settings.evaluation))

            return Watch(self.deadline, self.points, at)

        def cosine_only(student):
            return DeSTSeg(self.teacher, student, lambda levels: levels[0][:, :1])

        watch = look("student", "cosine", cosine_only)
        student, first = train_student(self.teacher, *data, name, seed, watch)

        def whole(network):
            return DeSTSeg(self.teacher, student, network, settings.segmentation.input)

        watch = look("segmentation", "segmentation", whole)
        network, second = train_segmentation(self.teacher, student, *data, seed, keeper=watch)
        maps = dict(zip(MAPS, anomaly_maps(whole(network), test.images), strict=True))
        chosen = settings.students[name]
        item |= {"denoising": chosen.denoising, "encoder_decoder": chosen.encoder_decoder}
        item |= {"device": device_name(), "real_defects": True}
        item["seconds"] = round(time.monotonic() - start, 1)
        found = {kind: score(test, maps[kind], settings.evaluation) for kind in MAPS}
        self.rows += [item | {"map": kind} | found[kind] for kind in MAPS]
        self.write(
            f"{category}-{name}-{seed}", test, maps, {"student": first, "segmentation": second}
        )
        print({k: round(100 * v, 1) for k, v in found["segmentation"].items()}, item, flush=True)

    def write(self, name, test, maps, histories):
        """Rows, curve, losses and a figure of one image of each kind."""
        rows = pd.DataFrame(self.rows, columns=[*COLUMNS, "seconds"])
        rows.to_csv(self.out / "ablations.csv", index=False, float_format="%.6f")
        if self.curve:
            curve = pd.DataFrame(self.curve)
            curve.to_csv(self.out / "curve.csv", index=False, float_format="%.6f")
            curve_figure(curve).savefig(self.out / "curve.png", dpi=80)
        losses = [(phase, *pair) for phase, history in histories.items() for pair in history]
        losses = pd.DataFrame(losses, columns=["phase", "step", "loss"])
        losses.to_csv(self.out / f"losses-{name}.csv", index=False, float_format="%.6g")
        kinds = np.unique(test.defects)
        shown = np.array([np.flatnonzero(test.defects == kind)[0] for kind in kinds])
        figure = plots.map_rows(test.select(shown), *(maps[kind][shown] for kind in MAPS))
        figure.savefig(self.out / f"maps-{name}.png", dpi=60)
        (self.out / "README.md").write_text(
            page(self.settings, rows, bool(self.curve)), encoding="utf-8"
        )


def curve_figure(curve):
    """AP and IAP against the steps of each phase; dashed: the paper, with two of its deviations."""
    shown = {"pixel_ap": "pixel AP", "iap": "IAP"}
    long = curve.melt(["category", "phase", "step"], [*shown], "metric", "value")
    long = long.assign(metric=long.metric.map(shown), value=100 * long.value)
    grid = sns.relplot(
        long, x="step", y="value", row="category", col="phase", hue="metric", kind="line",
        marker="o", height=3, aspect=1.4, facet_kws={"sharex": "col", "margin_titles": True},
    )  # fmt: skip
    for (category, _), axis in grid.axes_dict.items():
        for color, metric in zip(sns.color_palette(), shown, strict=False):
            quoted = paper.quoted_method(metric)
            if category in quoted.index:
                value, deviation = quoted.loc[category]
                axis.axhspan(value - 2 * deviation, value + 2 * deviation, color=color, alpha=0.1)
                axis.axhline(value, color=color, linestyle="--", linewidth=1)
    grid.set_axis_labels("step", "test score, in percent")
    grid.set_titles(row_template="{row_name}", col_template="{col_name}")
    return grid.figure


def page(settings, rows, curve=False) -> str:
    """The rows beside the paper's figures, with the budget in front of them."""
    phases = {
        "student": settings.students[settings.headline],
        "segmentation": settings.segmentation,
    }
    whole = {"student": 1000, "segmentation": 4000}  # steps of 32 images (section 4.1)
    budget = [
        f"{phase}: {one.steps} steps of {one.batch_size} images, "
        f"{one.steps * one.batch_size / (32 * whole[phase]):.0%} of the paper's images"
        for phase, one in phases.items()
    ]
    lines = [
        f"# {settings.study}: the paper's networks and protocol, with this budget",
        "\n".join(f"- {line}" for line in budget),
        f"Commit {commit()}, torch {torch.__version__}, {device_name()}, {rows.seed.nunique()} "
        "seed(s), last step, nothing chosen on test. Parameters: [params.yaml](params.yaml).",
        "## Beside the paper",
        "The segmentation map of the full student, in percent. The paper gives no image AUROC by "
        "category; that figure is MambaAD's re-run.",
        format.markdown(beside(rows)),
    ]
    if curve:
        lines += ["## The figures during training", "![AP and IAP against steps](curve.png)"]
        lines += [
            "Dashed: the paper, with a band of two of its standard deviations. Every point is a "
            "test score, so it chooses nothing. The last point is the result."
        ]
    return "\n\n".join([*lines, "## Every item (0..1)", rows.to_markdown(index=False)]) + "\n"


def beside(rows) -> pd.DataFrame:
    """A row for each category that was run and each metric: ours, the paper's, the difference."""
    found = {
        title: paper.compare(paper.rows_of(rows), metric, paper.quoted_method(metric))
        for metric, title in paper.NAMES.items()
    }
    table = pd.concat(found, names=["metric", "category"]).swaplevel()
    return table.loc[paper.categories_run(rows)]


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(prog="bench.protocol", description=__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, help="folder of the categories, MVTec AD's layout")
    parser.add_argument("--textures", required=True, help="folder of DTD's photographs")
    parser.add_argument("--weights", required=True, help="ResNet-18's state dict")
    parser.add_argument("--out", required=True, type=Path, help="where results go")
    parser.add_argument("--profile", default=params.ROOT / "profiles/bottle_screw.yaml")
    parser.add_argument("--categories", nargs="+", default=["screw", "bottle"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--points", type=int, default=0, help="scores during training, each phase")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this many seconds")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.seconds
    settings = read_settings(options)
    run = Run(settings, options.out, deadline, options.points)
    for item in order(settings):
        try:
            run.item(*item)
        except OutOfTime:
            print(
                f"out of time in {'-'.join(map(str, item))}; what is finished lies in {options.out}"
            )
            return


if __name__ == "__main__":
    main()
