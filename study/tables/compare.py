"""Two experiments side by side: parameters, scores paired by seed, verdicts that changed."""

import numpy as np
import pandas as pd

from study.params import ROOT
from study.scoring import resampling, thresholds
from study.scoring.scores import METRICS
from study.tables import claims, revisions
from study.tables.format import counted, method_name, over_seeds, signed, upper
from study.tables.intervals import Scores

ROW = ["category", "benchmark", "student", "map"]


def both(before, after, root=ROOT):
    """Two experiments of one study. Raises ValueError if they belong to different studies."""
    one, two = (revisions.load(name, root) for name in (before, after))
    studies = [found.params["study"] for found in (one, two)]
    if len(set(studies)) > 1:
        raise ValueError(
            f"{one.name} is of the study {studies[0]}, {two.name} of {studies[1]}: their images "
            "differ, so their scores cannot be paired; compare two runs of one study"
        )
    return one, two


def parameters(one, two):
    """Parameters that differ: key, value in A and in B; – where a side lacks the key."""
    sides = {f"A: {one.name}": one.params, f"B: {two.name}": two.params}
    return revisions.differing(sides).fillna("–").rename_axis("parameter")


class Pair:
    """Two runs as one study: students are called A/<name> and B/<name>, so that claims apply."""

    def __init__(self, one, two):
        self.runs = {"A": one, "B": two}
        # Runs from before params.yaml had `claims` are judged by the shipped numbers.
        self.smallest = two.params.get("claims.smallest", 0.5)
        self.rows = pd.concat([run.rows.assign(student=f"{side}/" + run.rows.student)
                               for side, run in self.runs.items()])  # fmt: skip
        self.draws = dict(self._resampled(two.params.get("claims.resamples", 2000)))

    def _resampled(self, count):
        """Image AUROC in each resample, by `scores.KEYS`, where both runs tested equal images.

        Pixel metrics have none: git keeps no maps.
        """
        for key, rows in self.rows.groupby(["category", "benchmark"]):
            tests = {side: tested(run, *key, rows) for side, run in self.runs.items()}
            if None in tests.values() or tests["A"][:2] != tests["B"][:2]:
                continue
            drawn = {
                side: resampling.by_image(scores, np.array(labels), key[0], count)
                for side, (_, labels, scores) in tests.items()
            }
            for row in rows.itertuples():
                side, _, student = row.student.partition("/")
                column = thresholds.column(student, row.map, row.seed)
                if column in drawn[side]:
                    keys = *key[::-1], row.student, row.map, row.seed, "image_auroc"
                    yield keys, drawn[side][column]

    def levels(self, scores, student, kind):
        """`93.1 ± 0.4` of A and of B; – where one lacks the row. scores: `Scores` of both runs."""
        found = [scores.estimate((f"{side}/{student}", kind)) for side in self.runs]
        return [over_seeds(pd.Series(one[0])) if one else "–" for one in found]

    def better(self, scores, student, kind):
        """`claims.Answer` to: is B better than A? None where they share no seed."""
        comparison = "", (f"B/{student}", kind), (f"A/{student}", kind)
        return claims.answer(scores, comparison, self.smallest)

    def beside(self, metric="image_auroc"):
        """A row for each row of the tables that has the metric: `told`, and the levels."""
        found = {}
        for where, rows in self.rows.groupby(ROW[:2], sort=False):
            scores = Scores(rows, metric, self.draws)
            names = ((student.partition("/")[2], kind) for student, kind in scores.rows)
            for name in dict.fromkeys(names):
                row = *told(self.better(scores, *name)), *self.levels(scores, *name)
                found[*where, *name] = row
        columns = ["B − A [over seeds] [over images]", "is B better?"]
        columns += [f"{side}: {run.name}" for side, run in self.runs.items()]
        frame = pd.DataFrame.from_dict(found, orient="index", columns=columns)
        frame.index = pd.MultiIndex.from_tuples(frame.index, names=ROW) if found else frame.index
        return frame

    def gains(self):
        """B − A in points of every metric that both measured, a row for each row of the tables."""
        columns = {metric: self.beside(metric).iloc[:, 0] for metric in METRICS}
        frame = pd.DataFrame(columns).reindex(columns["image_auroc"].index).fillna("–")
        return frame.loc[(frame[METRICS[1:]] != "–").any(axis=1)]


def told(found):
    """B − A in points with its intervals, and whether B is better; equal bits are unchanged.

    found: of `Pair.better`.
    """
    if found is None:
        return "–", "–"
    if not any(found.pairs.values()):
        return signed(0), "unchanged"
    return claims.figures(found), found.verdict


def tested(run, category, benchmark, rows):
    """Names, labels and the items' scores of a benchmark's test images; None if not kept."""
    if category not in run.scores:
        return None
    images, real = run.scores[category], rows.real_defects.iloc[0]
    chosen = images[(images.split == "test") & ((images.label == 0) | (images.drawn != real))]
    return list(chosen.name), list(chosen.label), chosen.drop(columns=thresholds.FACTS)


def flipped(one, two):
    """Test images whose verdict changed, of the categories that both have thresholds for.

    A sentence where there are no such categories.
    """
    shared = [category for category in one.scores if category in two.scores]
    if not shared:
        return "Whether verdicts changed is unknown: one side keeps no scores of single images."
    student = two.params.get("headline", "full")
    tables = {
        category: thresholds.changed(
            *(thresholds.table(run.scores[category], student) for run in (one, two))
        )
        for category in shared
    }
    if all(table is None for table in tables.values()):
        return thresholds.NO_CUT
    return pd.concat(tables, names=["category", "image"])  # leaves out what is None


def answer(pair):
    """What was changed, and what that did to the method of B and to the verdicts on images."""
    one, two = pair.runs.values()
    student, table = two.params.get("headline", "full"), parameters(one, two)
    shared = [c for c in one.params["categories"] if c in two.params["categories"]]
    rows = pair.rows[pair.rows.category.isin(shared) & pair.rows.real_defects.astype(bool)]
    row = Scores(rows, "image_auroc", pair.draws), student, "segmentation"
    found, (before, after), images = pair.better(*row), pair.levels(*row), flipped(one, two)

    shown = [f"`{key}` {a} → {b}" for key, a, b in table.head(3).itertuples(name=None)]
    more = [f"{len(table) - 3} more"] if len(table) > 3 else []
    what = f"{len(table)} parameters differ" if len(table) > 1 else "one parameter differs"
    what = f"{what}: {', '.join(shown + more)}" if shown else "no parameter differs"
    numbers = f"{found.numbers}; {found.reason}" if found else "no seeds in common"
    if isinstance(images, pd.DataFrame):
        right = int((images["now"] == "right").sum())
        changed = (
            f"The verdict on {counted(len(images), 'test image')} changed; {right} of the new "
            "verdicts are right."
        )
        images = changed if len(images) else "No test image changed its verdict."
    careful = [
        f"\n\n**Careful:** the results of {run.name} were made with other values of "
        f"{', '.join(run.stale[:5])}; `dvc repro` brings them up to date."
        for run in (one, two)
        if run.stale
    ]
    return (
        f"**Answer.** From {one.name} to {two.name}, {what}. The image AUROC of "
        f"{method_name(student)} goes from {before} to {after} %. Is B better? "
        f"{upper(told(found)[1])}: {numbers}. {images}{''.join(careful)}"
    )
