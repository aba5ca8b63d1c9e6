"""Variants compared by the study's one rule, with intervals over seeds and over test images.

A difference is paired by seed and by image. It is in points. Only image AUROC on real defects has
an interval over images, as the run keeps the score of each image and not its map. What has none is
judged by its interval over seeds.
"""

from collections import Counter
from functools import cache

import numpy as np
import pandas as pd

from study import params
from study.beyond.ledger import FOLDER, PROFILE, load, missing
from study.scoring import metrics, resampling
from study.tables.claims import verdict
from study.tables.format import brackets, counted, listed, lower, over_seeds, signed
from study.tables.intervals import Scores, seeds_interval

DEFECTS = {"seen": "seen corruption", "drawn": "drawn defects"}  # by the end of a benchmark's name
FACTS = ["name", "split", "kind", "label"]  # columns of the scores by image that are no scores


@cache
def resamples(benchmark, count, folder):
    """Image AUROC on real defects in each resample, by `scoring.scores.KEYS`."""
    found = {}
    for path in folder.glob("scores-*.csv"):
        category, images = path.stem.removeprefix("scores-"), pd.read_csv(path)
        images = images[(images.split == "test") & images.kind.isin(["good", "real"])]
        labels = images.label.to_numpy()
        drawn = resampling.by_image(images.drop(columns=FACTS), labels, category, count)
        for column, figures in drawn.items():
            name, seed, kind = column.rsplit("/", 2)
            row = name.removeprefix("full/"), kind, seed
            found[benchmark, category, *row, "image_auroc"] = figures
    return found


def points(differences, unit=" points"):
    """`+0.9 points [-0.1, +1.9]`: the mean, and its interval over seeds where there is one."""
    interval = seeds_interval(differences)
    over = f" {brackets(interval)}" if interval else ""
    return f"{signed(np.mean(differences))}{unit}{over}"


class Comparison:
    """The variants in one figure: a metric of one map on one benchmark, in percent.

    A variant is named by its head on the headline student, or `student/head`.
    """

    def __init__(self, benchmark, metric="image_auroc", kind="segmentation", folder=FOLDER):
        self.metric, self.kind = metrics.METRICS[metric].label, kind
        defects = DEFECTS.get(benchmark.rpartition("_")[2], "real defects")
        self.label, real = f"{defects}, {self.metric}", defects == "real defects"
        claims, rows = params.load(PROFILE).claims, load("variants", folder)
        self.smallest = claims.smallest
        names = (rows.student + "/" + rows["head"]).str.removeprefix("full/")
        rows = rows.assign(student=names, real_defects=real)
        rows = rows[rows.benchmark == benchmark]
        draws = {"test": resamples(benchmark, claims.resamples, folder)} if real else {}
        self.scores = {
            split: Scores(rows[(rows.split == split) & (rows.seed != "all")], metric,
                          draws.get(split, {}))
            for split in ("validation", "test")
        }  # fmt: skip
        both = rows[(rows.split == "test") & (rows.seed == "all") & (rows["map"] == kind)]
        self.averaged_maps = 100 * both.groupby("student")[metric].mean()

    def values(self, head, split="test"):
        """Percent by category and seed; maybe empty."""
        return self.scores[split].table.get((head, self.kind), pd.Series(dtype=float)).dropna()

    def estimate(self, head, base="method", split="test", base_map=None):
        """({seed: difference}, interval over images or None); the rows may differ in their map."""
        rows = (head, self.kind), (base, base_map or self.kind)
        found = self.scores[split].estimate(*rows)
        return found[:2] if found else ({}, None)

    def said(self, head, base="method", base_map=None):
        """`+0.9 points [-0.1, +1.9] over 3 seeds, [..] over images: undetermined`, or None."""
        pairs, images = self.estimate(head, base, base_map=base_map)
        if not pairs:
            return None
        values = [*pairs.values()]
        seeds = seeds_interval(values)
        answer = verdict(float(np.mean(values)), seeds, images or seeds, self.smallest)
        over = f", {brackets(images)} over images" if images else ""
        return f"{points(values)} over {counted(len(pairs), 'seed')}{over}: {lower(answer)}"

    def choice(self, heads):
        """(head, {head: mean validation figure}) over the seeds that most heads have.

        A head that lacks one of them does not count.
        """
        found = {head: self.values(head, "validation") for head in heads}
        sets = Counter(frozenset(one.index) for one in found.values() if len(one))
        if not sets:
            return None, {}
        keys = max(sets, key=lambda one: (sets[one], len(one)))
        means = {h: one[[*keys]].mean() for h, one in found.items() if keys <= {*one.index}}
        return max(means, key=means.get), means

    def answer(self, heads, also=None):
        """What validation chooses among `heads` and the method, and what that gives on test.

        also: a `Comparison` in which the choice is compared as well.
        """
        best, means = self.choice(["method", *heads])
        absent = [f"`{head}`" for head in heads if head not in means]
        if len(means) < 2:
            return missing(listed(absent))
        left = f" {missing(listed(absent))}" if absent else ""
        if best == "method":
            rows = counted(len(means), "row")
            return f"Among {rows}, `method` is best on validation ({means[best]:.1f}).{left}"
        levels = f"{means[best]:.1f} on validation; `method`: {means['method']:.1f}"
        more = also and also.said(best)
        return (
            f"Validation chooses `{best}` ({levels}). On test, its {self.metric} differs from "
            f"`method` by {self.said(best)}."
            f"{left}{f' On {also.label}: {more}.' if more else ''}"
        )

    def table(self, heads):
        """Validation and test means of each head, and the difference to the method on test."""
        lines = {}
        for head in heads:
            splits = ("validation", "test")
            line = {s: over_seeds(self.values(head, s)) or "not measured" for s in splits}
            line["test, minus `method`"] = (head != "method" and self.said(head)) or "–"
            lines[head] = line
        return lined(lines)

    def averaged(self, heads):
        """The mean of the seeds' maps against the mean of the seeds' figures on test."""
        lines = {}
        for head in heads:
            single, both = self.values(head), self.averaged_maps.get(head)
            if len(single) > 1 and both is not None:
                lines[head] = {
                    "mean of the seeds": f"{single.mean():.1f}",
                    "best seed": f"{single.max():.1f}",
                    "averaged maps": f"{both:.1f}",
                    "gain": signed(both - single.mean()),
                    "seeds": len(single),
                }
        return lined(lines)


def lined(lines):
    """A table of {variant: {column: text}}."""
    return pd.DataFrame.from_dict(lines, "index").rename_axis("variant")


def seen_and_unseen(heads, benchmark, kind="log", folder=FOLDER):
    """Each head minus the method: on seen corruption, drawn and real defects, and the gap.

    The gap is drawn minus seen pixel AP: positive where the head loses less on unseen defects.
    """
    seen, drawn = (
        Comparison(f"{benchmark}{end}", "pixel_ap", kind, folder) for end in ("_seen", "_drawn")
    )
    real, lines = Comparison(benchmark, kind=kind, folder=folder), {}
    for head in heads:
        line = {one.label: one.said(head) or "not measured" for one in (seen, drawn, real)}
        more, less = (one.estimate(head)[0] for one in (drawn, seen))
        if gap := [more[seed] - less[seed] for seed in more if seed in less]:
            lines[head] = line | {"unseen minus seen": points(gap, "")}
    return lined(lines)


def denoising_and_decoder():
    """What both parts of the student together gain in the study `quick`, in words."""
    path = params.ROOT / "reports/quick/ablations.csv"
    rows = Scores(pd.read_csv(path), "image_auroc", {}) if path.exists() else None
    found = rows and rows.estimate(("full", "segmentation"), ("plain", "segmentation"))
    if not found:
        return "Not measured: denoising and decoder, by the study `quick`."
    gains = [*found[0].values()]
    return (
        "In the study `quick`, denoising and decoder together change the segmentation map's "
        f"image AUROC by {points(gains)} over {counted(len(gains), 'seed')}."
    )
