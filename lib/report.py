"""Tables, the paper's questions and the page of a study, from the rows that evaluation left."""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from typing import NamedTuple

import pandas as pd

from lib import heads, paper
from lib.devices import device_name
from lib.evaluation import HEAD_COLUMNS, METRICS, spread
from lib.interruption import whole
from lib.paper import markdown, paper_table4, points, real
from lib.params import ROOT

# The testable effects of the paper's table 4: (question, one row, the row it is compared with).
QUESTIONS = (
    ("Does a segmentation network fuse better than a product of cosine maps (full student)?",
     ("full", "segmentation"), ("full", "cosine")),
    ("The same, for the plain student?", ("plain", "segmentation"), ("plain", "cosine")),
    ("Does denoising help the encoder-decoder student, with segmentation?",
     ("full", "segmentation"), ("encoder_decoder", "segmentation")),
    ("Does denoising help the encoder-decoder student, by cosine maps?",
     ("full", "cosine"), ("encoder_decoder", "cosine")),
    ("Does denoising help without a decoder, by cosine maps?",
     ("denoising", "cosine"), ("plain", "cosine")),
    ("Does an encoder-decoder help, by cosine maps?",
     ("encoder_decoder", "cosine"), ("plain", "cosine")),
    ("Do denoising and encoder-decoder together add to segmentation?",
     ("full", "segmentation"), ("plain", "segmentation")),
)  # fmt: skip
PACKAGES = ("torch", "timm", "numpy", "scikit-learn", "scikit-image", "dvc", "papermill")
SMOKE = (
    "**A smoke run, not a result:** it shows that every stage works; networks, steps and seeds are "
    "too few to say anything about the method. "
)
FILES = ("ablations", "validation", "baseline", "heads")  # .csv of each frame of `Tables`
HEADLINE_STAGES = ("dataset", "student", "segmentation", "evaluation", "baseline")


class Tables(NamedTuple):
    """Rows of the test split, of the validation split, of the baseline (both) and of the heads."""

    test: pd.DataFrame
    validation: pd.DataFrame
    baseline: pd.DataFrame
    heads: pd.DataFrame = pd.DataFrame(columns=HEAD_COLUMNS)


def collect(results, categories):
    """Tables of the declared categories (never of whatever else lies in results/)."""

    def read(stage):
        return pd.concat([pd.read_csv(results / stage / f"{name}.csv") for name in categories])

    frame = read("evaluation")
    test, validation = (frame[frame.split == split] for split in ("test", "validation"))
    own = [pd.read_csv(results / "evaluation" / f"{name}-heads.csv") for name in categories]
    return Tables(
        test.drop(columns="split"),
        validation.drop(columns="split"),
        read("baseline"),
        pd.concat([frame for frame in own if len(frame)] or own[:1]),
    )


def save_tables(tables, folder):
    """Write ablations.csv (the contract's columns, test), validation, baseline and heads.csv.

    Removes run.md if it tells of other tables.
    """
    for name, frame in zip(FILES, tables, strict=True):
        with whole(folder / f"{name}.csv") as path:
            frame.to_csv(path, index=False, float_format="%.6f")
    record = folder / "run.md"
    if record.exists() and fingerprint(folder) not in record.read_text("utf-8"):
        record.unlink()


def load_tables(folder):
    """What `save_tables` left."""
    return Tables(*(pd.read_csv(folder / f"{name}.csv") for name in FILES))


def fingerprint(folder):
    """A hash of the test rows, by which run.md and the site know which run they tell of."""
    return hashlib.sha256((folder / "ablations.csv").read_bytes()).hexdigest()[:16]


def test_rows(frame):
    """Rows of the test split."""
    return frame[frame.split == "test"]


def measured(frame):
    """The metrics that the rows have: pixel metrics need masks."""
    return [metric for metric in METRICS if frame[metric].notna().any()]


def table4(tables):
    """Real defects: image AUROC in percent of every student and map, and the baseline's row.

    Columns: test and validation for each category (mean ± std over seeds), and the paper's figure.
    """
    columns = {}
    for split, rows in (("test", tables.test), ("validation", tables.validation)):
        nearest = tables.baseline[tables.baseline.split == split]
        both = real(pd.concat([rows, nearest]))
        for category, group in both.groupby("category", sort=False):
            column = spread(group).droplevel("benchmark")["image_auroc"]
            columns[f"{category} {split}"] = column
    columns["paper (MVTec AD, quoted)"] = paper_table4()["image_auroc"]
    table = pd.DataFrame(columns)
    order = [key for key in next(iter(columns.values())).index if key in table.index]
    return table.loc[order].astype(object).fillna("")


def pixel_table(tables):
    """Test rows with pixel metrics, in percent; `<benchmark>_drawn` are drawn defects."""
    nearest = tables.baseline[tables.baseline.split == "test"]
    rows = pd.concat([tables.test, nearest])
    found = rows[rows.pixel_auroc.notna()].groupby("category", sort=False)
    return pd.concat({name: spread(group) for name, group in found}, names=["category"])


def paired(frame, one, other, metric="image_auroc"):
    """Differences in points of two rows (student, map) on real defects, by category and seed."""
    scores = real(frame).set_index(["student", "map", "category", "seed"])[metric].sort_index()
    return scores.loc[one] * 100 - scores.loc[other] * 100


def effects(frame, metric="image_auroc"):
    """The paper's questions: paired differences in points over seeds and categories.

    `verdict` is holds or reversed when all pairs have the sign of the paper's effect or its
    opposite, else undecided.
    """
    quoted, rows = paper_table4()[metric], []
    for question, one, other in QUESTIONS:
        pairs = paired(frame, one, other, metric)
        paper = quoted[one] - quoted[other]
        agree = (pairs * paper > 0).all(), (pairs * paper < 0).all()
        verdict = "holds" if agree[0] else "reversed" if agree[1] else "undecided"
        verdict = verdict if len(pairs) > 1 else "undecided"  # one seed has no spread
        rows.append(
            {
                "question": question,
                "ours (points)": points(pairs),
                "paper (points, MVTec AD)": f"{paper:+.1f}",
                "verdict": verdict,
            }
        )
    return pd.DataFrame(rows).set_index("question")


def conclusions(tables):
    """Sentences on what holds here, and on the full method beside the baseline."""
    answers = effects(tables.test)
    for verdict in ("holds", "reversed", "undecided"):
        for question, row in answers[answers.verdict == verdict].iterrows():
            yield f"- {verdict}: {question} {row['ours (points)']} points (paper {row.iloc[1]})."
    full = real(tables.test).query("student == 'full' and map == 'segmentation'")
    nearest = real(tables.baseline).query("split == 'test'")
    for category, rivals in nearest.groupby("category", sort=False):
        ours = full[full.category == category].image_auroc.mean() * 100
        for name, base in (rivals.groupby("map").image_auroc.mean() * 100).items():
            place = "above" if ours > base else "below"
            yield (
                f"- {category}: the full method is {abs(ours - base):.1f} points {place} the "
                f"baseline {name.replace('_', ' ')} ({ours:.1f} against {base:.1f})."
            )


def answer(tables):
    """Two sentences: the full method beside the baseline; whether denoising and the rest matter."""
    found = effects(tables.test)
    denoising, *_ = (row for question, row in found.iterrows() if question == QUESTIONS[2][0])
    counts = {
        kind: int((found.verdict == kind).sum()) for kind in ("holds", "reversed", "undecided")
    }
    full = real(tables.test).query("student == 'full' and map == 'segmentation'").image_auroc
    nearest = real(tables.baseline).query("split == 'test'").groupby("map").image_auroc.mean()
    place = "above" if full.mean() > nearest.max() else "below"
    return (
        f"**Answer.** Denoising is {denoising.verdict} here: it moves the full method by "
        f"{denoising.iloc[0]} points of image AUROC (paper {denoising.iloc[1]}); of the "
        f"{len(found)} effects in the paper's table 4, {counts['holds']} hold on this benchmark, "
        f"{counts['reversed']} are reversed and {counts['undecided']} are undecided: seeds "
        f"disagree, or there is only one. The full method reaches {full.mean():.1%}, which is "
        f"{place} a plain nearest-neighbour search in the same teacher's features "
        f"({nearest.max():.1%})."
    )


def protocol(params):
    """One paragraph: benchmark, sizes, steps, seeds, device; what is named smoke is no result."""
    full, segmentation = params.students.full, params.segmentation
    return (SMOKE if params.study.endswith("_smoke") else "") + (
        f"Study {params.study}: {', '.join(params.categories)} from {params.dataset.source}, "
        f"{params.dataset.image_size}x{params.dataset.image_size}, {len(params.seeds)} seeds, "
        f"{full.steps} student and {segmentation.steps} segmentation steps of "
        f"{segmentation.batch_size} images, teacher {params.teacher.backbone}; last step, nothing "
        f"chosen on test. Device: {device_name()}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + "."
    )


def copy_headline_notebooks(params):
    """Copy the notebooks of first category, full student, first seed beside the study's."""
    category, seed = params.categories[0], params.seeds[0]
    target = ROOT / "rendered" / params.study
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for stage in HEADLINE_STAGES:
        item = f"{category}-full-{seed}" if stage in ("student", "segmentation") else category
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
    return (
        "\n\n".join(
            [
                f"# Study `{params.study}`",
                protocol(params),
                "Commit, parameters and wall time: `run.md`, once `make record` has written it.",
                "## Image AUROC on real defects (percent, mean ± standard deviation over seeds)",
                markdown(table4(tables)),
                "## Pixel metrics (percent; `_drawn`: drawn on good images, not real)",
                markdown(pixel_table(tables)),
                "## The paper's questions (image AUROC, mean [least, greatest] over seeds)",
                markdown(effects(tables.test)),
                *heads.section(tables.test, tables.heads, params.segmentation),
                *paper.sections(tables.test, tables.heads),
                *figures,
                "## Notebooks\n\n" + "\n".join(links),
                "The other items' notebooks lie in DVC's cache and, after `dvc repro`, "
                f"in [rendered/items]({up}/rendered/items).",
                "Tables: [ablations.csv](ablations.csv) (test), [validation.csv](validation.csv), "
                "[baseline.csv](baseline.csv), [heads.csv](heads.csv).",
            ]
        )
        + "\n"
    )
