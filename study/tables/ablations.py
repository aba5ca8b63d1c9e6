"""Tables of a study, from what the stages evaluation and baseline left."""

import hashlib
from itertools import product
from typing import NamedTuple

import pandas as pd

from study import results
from study.files import whole
from study.scoring.metrics import METRICS, PIXEL_METRICS
from study.scoring.scores import load_draws
from study.tables import claims
from study.tables.format import level, method_name, spread, upper
from study.tables.paper import paper_table4, quotes, real, together


class Tables(NamedTuple):
    """Rows of the test split, of the validation split, and of the rivals (both splits).

    baseline: the rows of the teacher alone, and of the combination where there is a calibration.

    draws: resampled figures of the rows, from `scores.load_draws`, for intervals over images;
    student: the one that the headline is about.
    """

    test: pd.DataFrame
    validation: pd.DataFrame
    baseline: pd.DataFrame
    draws: dict
    student: str

    @property
    def tested(self):
        """Test rows of the networks and of the rivals."""
        return together(self.test, self.baseline[self.baseline.split == "test"])

    def only(self, category):
        """The rows of one category."""
        frames = (frame[frame.category == category] for frame in self[:3])
        return Tables(*frames, *self[3:])


def collect(settings):
    """Tables of the declared categories (never of whatever else lies in results/)."""

    def read(stage):
        return together(*(pd.read_csv(results.rows(stage, name)) for name in settings.categories))

    frame = read("evaluation")
    test, validation = (frame[frame.split == split] for split in ("test", "validation"))
    rivals = together(read("baseline"), read("calibration"))
    rows = (test.drop(columns="split"), validation.drop(columns="split"), rivals)
    draws = {}
    for stage, name in product(("evaluation", "baseline", "calibration"), settings.categories):
        draws |= load_draws(results.draws(stage, name))
    return Tables(*rows, draws, settings.headline)


def save_tables(tables, folder, smallest):
    """Write ablations.csv (the contract's columns, test), validation, baseline and claims.csv.

    Removes run.md if it records other tables.
    """
    found = claims.numbers(claims.answers(tables, smallest))
    names = ("ablations", "validation", "baseline", "claims")
    for name, frame in zip(names, (*tables[:3], found), strict=True):
        with whole(folder / f"{name}.csv") as path:
            frame.to_csv(path, index=False, float_format="%.6f")
    record = folder / "run.md"
    if record.exists() and fingerprint(folder) not in record.read_text("utf-8"):
        record.unlink()


def fingerprint(folder):
    """A hash of the test rows, by which run.md and the site identify the run."""
    return hashlib.sha256((folder / "ablations.csv").read_bytes()).hexdigest()[:16]


def answer(tables, found):
    """The method's level with its interval, then the answer of every claim on the method itself.

    found: of `claims.answers`.
    """
    said = "**Answer.** No image AUROC on real defects was measured."
    if reached := claims.reached(tables):
        where = " (95 % interval over test images)" if reached[1] else ""
        said = (
            f"**Answer.** {upper(method_name(tables.student))} reaches an image AUROC of "
            f"{level(*reached)} percent on real defects{where}."
        )
    lines = []
    for claim in found:
        lines.append(f"- {claim['question']} **{claim['verdict']}.**")
        lines += [f"    - {upper(one.figure)}. {one.sentence}" for one in claim["first"]]
    return "\n".join([said, "", *lines]) if lines else said


def measured(frame):
    """The metrics that the rows have, {key: label}: pixel metrics need masks."""
    return {key: metric.label for key, metric in METRICS.items() if frame[key].notna().any()}


def missing(tables):
    """Sentences on columns that are empty, and why."""
    names = dict.fromkeys([*tables.test.category, *tables.baseline.category])
    if not len(real(tables.test)):
        yield "No figures on real defects: no test split has both good and defective images."
    if not len(tables.validation):
        yield "No validation columns: there is no validation split with good and defective images."
    if not len(tables.baseline):
        yield "No baseline rows: `baseline.levels` is empty, or no split has both kinds of images."
    for benchmark, rows in tables.test.groupby("benchmark", sort=False):
        without = rows[rows[PIXEL_METRICS].isna().all(axis=1)].category.unique()
        if len(without):
            which = "" if len(without) == rows.category.nunique() == len(names) else (
                f" in {', '.join(without)}")  # fmt: skip
            yield (
                f"No pixel metrics on {benchmark}{which}: not every defective test image has a "
                "mask with defective pixels."
            )


def table4(tables):
    """Real defects: image AUROC in percent of every student and map, and the baseline's row.

    Columns: test and validation for each category (mean ± std over seeds), and the paper's figure
    where `paper.quotes` shows it.
    """
    columns = {}
    for split, rows in (("test", tables.test), ("validation", tables.validation)):
        nearest = tables.baseline[tables.baseline.split == split]
        both = real(together(rows, nearest))
        for category, group in both.groupby("category", sort=False):
            column = spread(group).droplevel("benchmark")["image_auroc"]
            columns[f"{category} {split}"] = column
    order = list(dict.fromkeys(key for column in columns.values() for key in column.index))
    if quotes(tables.test.benchmark):
        columns["paper (MVTec AD, quoted)"] = paper_table4()["image_auroc"]
    if not order:
        return pd.DataFrame()
    table = pd.DataFrame(columns).reindex(order).rename_axis(["student", "map"])
    return table.astype(object).fillna("")


def pixel_table(tables):
    """Test rows with pixel metrics, in percent; `<benchmark>_drawn` are drawn defects."""
    rows = tables.tested
    found = rows[rows[PIXEL_METRICS].notna().any(axis=1)].groupby("category", sort=False)
    tables = {name: spread(group) for name, group in found}
    return pd.concat(tables, names=["category"]).fillna("–") if tables else pd.DataFrame()
