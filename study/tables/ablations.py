"""Tables and the page of a study, from what the stages evaluation and baseline left."""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from typing import NamedTuple

import pandas as pd

from lib.devices import device_name
from study.files import whole
from study.params import ROOT
from study.scoring.metrics import METRICS, PIXEL_METRICS
from study.scoring.scores import load_draws
from study.tables import answers, claims, paper
from study.tables.format import counted, markdown, spread
from study.tables.paper import paper_table4, real

PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "scikit-image", "dvc", "papermill")
SMOKE = (
    "**A smoke run, not a result:** it shows that every stage works; networks, steps and seeds are "
    "too few to say anything about the method. "
)
FILES = ("ablations", "validation", "baseline")  # .csv of each frame of `Tables`
HEADLINE_STAGES = ("dataset", "student", "segmentation", "maps", "evaluation", "baseline")


class Tables(NamedTuple):
    """Rows of the test split, of the validation split, and of the baseline (both splits).

    draws: resampled figures of the rows, as of `scores.load_draws`, for intervals over images;
    student: the one that the headline is about.
    """

    test: pd.DataFrame
    validation: pd.DataFrame
    baseline: pd.DataFrame
    draws: dict
    student: str

    def only(self, category):
        """The rows of one category."""
        frames = (frame[frame.category == category] for frame in self[:3])
        return Tables(*frames, *self[3:])


def collect(results, settings):
    """Tables of the declared categories (never of whatever else lies in results/)."""

    def read(stage):
        frames = [pd.read_csv(results / stage / f"{name}.csv") for name in settings.categories]
        return pd.concat([frame for frame in frames if len(frame)] or frames[:1])

    frame = read("evaluation")
    test, validation = (frame[frame.split == split] for split in ("test", "validation"))
    rows = (test.drop(columns="split"), validation.drop(columns="split"), read("baseline"))
    return Tables(*rows, draws(results, settings), settings.headline)


def draws(results, settings):
    """Resampled figures of all rows of the declared categories."""
    found = {}
    for stage in ("evaluation", "baseline"):
        for name in settings.categories:
            found |= load_draws(results / stage / f"{name}.npz")
    return found


def save_tables(tables, folder, smallest):
    """Write ablations.csv (the contract's columns, test), validation, baseline and claims.csv.

    Removes run.md if it tells of other tables.
    """
    frames = dict(zip(FILES, tables, strict=False))
    frames["claims"] = claims.numbers(claims.answers(tables, smallest))
    for name, frame in frames.items():
        with whole(folder / f"{name}.csv") as path:
            frame.to_csv(path, index=False, float_format="%.6f")
    record = folder / "run.md"
    if record.exists() and fingerprint(folder) not in record.read_text("utf-8"):
        record.unlink()


def load_tables(folder, settings, results=None):
    """What `save_tables` left; with the resamples in `results`, if they are needed."""
    frames = (pd.read_csv(folder / f"{name}.csv") for name in FILES)
    return Tables(*frames, draws(results, settings) if results else {}, settings.headline)


def fingerprint(folder):
    """A hash of the test rows, by which run.md and the site know which run they tell of."""
    return hashlib.sha256((folder / "ablations.csv").read_bytes()).hexdigest()[:16]


def test_rows(frame):
    """Rows of the test split."""
    return frame[frame.split == "test"]


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
        yield "No baseline rows: `baseline.levels` declares none."
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

    Columns: test and validation for each category (mean ± std over seeds), and the paper's figure.
    """
    columns = {}
    for split, rows in (("test", tables.test), ("validation", tables.validation)):
        nearest = tables.baseline[tables.baseline.split == split]
        both = real(together(rows, nearest))
        for category, group in both.groupby("category", sort=False):
            column = spread(group).droplevel("benchmark")["image_auroc"]
            columns[f"{category} {split}"] = column
    order = list(dict.fromkeys(key for column in columns.values() for key in column.index))
    columns["paper (MVTec AD, quoted)"] = paper_table4()["image_auroc"]
    table = pd.DataFrame(columns).reindex(order).rename_axis(["student", "map"])
    return table.astype(object).fillna("")


def together(*frames):
    """Frames below each other; empty ones, whose columns have no types, are left out."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1])


def pixel_table(tables):
    """Test rows with pixel metrics, in percent; `<benchmark>_drawn` are drawn defects."""
    rows = together(tables.test, test_rows(tables.baseline))
    found = rows[rows[PIXEL_METRICS].notna().any(axis=1)].groupby("category", sort=False)
    tables = {name: spread(group) for name, group in found}
    return pd.concat(tables, names=["category"]).fillna("–") if tables else pd.DataFrame()


def protocol(params):
    """One paragraph: benchmark, sizes, steps, seeds, device; what is named smoke is no result."""
    student, segmentation = params.students[params.headline], params.segmentation
    return (SMOKE if params.study.endswith("_smoke") else "") + (
        f"Study {params.study}: {', '.join(params.categories)} from {params.dataset.root}, "
        f"{params.dataset.image_size}x{params.dataset.image_size}, "
        f"{counted(len(params.seeds), 'seed')}, "
        f"{student.steps} student and {segmentation.steps} segmentation steps of "
        f"{segmentation.batch_size} images, teacher {params.teacher.backbone}; last step, nothing "
        f"chosen on test. Device: {device_name()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + "."
    )


def copy_headline_notebooks(params):
    """Copy the notebooks of first category, headline student, first seed beside the study's."""
    category, seed = params.categories[0], params.seeds[0]
    target = ROOT / "rendered" / params.study
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for stage in HEADLINE_STAGES:
        item = category
        if stage in ("student", "segmentation"):
            item = f"{category}-{params.headline}-{seed}"
        copied.append(target / f"{stage}-{item}.ipynb")
        shutil.copyfile(ROOT / "rendered" / "items" / stage / f"{item}.ipynb", copied[-1])
    return [os.path.relpath(path, ROOT) for path in copied]


def page(params, tables, notebooks):
    """reports/<study>/README.md: headline table, questions, figures, links to every notebook."""
    up = os.path.relpath(ROOT, ROOT / "reports" / params.study)
    named = [f"rendered/{params.study}/{name}.ipynb" for name in ("ablations", "paper")]
    for kind in ("figures", "pro"):
        named += [f"rendered/{params.study}/{kind}-{name}.ipynb" for name in params.categories]
    links = [f"- [{os.path.basename(path)}]({up}/{path})" for path in [*named, *notebooks]]
    figures = [f"![Hits, misses and false alarms: {name}](figures/{name}-outcomes.png)"
               for name in params.categories]  # fmt: skip
    found = list(claims.answers(tables, params.claims.smallest))
    pixels = pixel_table(tables)
    return (
        "\n\n".join(
            [
                f"# Study `{params.study}`",
                protocol(params),
                answers.ablations(
                    found, claims.reached(tables, (tables.student, "segmentation")), tables.student
                ),
                "Commit, parameters and wall time: `run.md`, once `make record` has written it.",
                "## Image AUROC on real defects (percent, mean ± standard deviation over seeds)",
                markdown(table4(tables)),
                *missing(tables),
                *(
                    [
                        "## Pixel metrics (percent; `_drawn`: drawn on good images, not real)",
                        markdown(pixels),
                    ]
                    if len(pixels)
                    else []
                ),
                "## The paper's questions, answered here",
                claims.rule(params.claims),
                markdown(claims.table(found)) if found else "No question can be answered.",
                *paper.sections(tables.test, answers.paper_figures(tables.test)),
                *figures,
                "## Notebooks\n\n" + "\n".join(links),
                "The other items' notebooks lie in DVC's cache and, after `dvc repro`, "
                f"in [rendered/items]({up}/rendered/items).",
                "Tables: [ablations.csv](ablations.csv) (test), [validation.csv](validation.csv), "
                "[baseline.csv](baseline.csv), [claims.csv](claims.csv).",
            ]
        )
        + "\n"
    )
