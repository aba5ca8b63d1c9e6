"""The tables of the run on disk. They grow training by training, so that a run can continue."""

import pandas as pd

from study.files import whole
from study.params import ROOT
from study.scoring.metrics import METRICS

FOLDER = ROOT / "reports/beyond"
PROFILE = ROOT / "profiles/beyond.yaml"
TRAINING = ["category", "student", "head", "seed"]
CELL = ["teacher", "width", "images", "seed"]
COLUMNS = {  # of each table; the first four name a training
    "variants": [*TRAINING, "seconds", "commit", "map", "split", "benchmark", *METRICS],
    "curve": [*TRAINING, "step", "map", "split", "benchmark", *METRICS],
    "tops": [*TRAINING, "split", "top_pixels", "image_auroc"],
    "scaling": [*CELL, "parameters", "loss", "constant", "R", "auroc_validation", "auroc_test",
                "strength", "seconds", "commit"],
}  # fmt: skip


def has(name, folder, key):
    """Whether the table has rows of a training."""
    found = load(name, folder)[COLUMNS[name][:4]].astype(str)
    return tuple(map(str, key)) in found.itertuples(index=False, name=None)


def add(name, folder, rows):
    """Append rows (dicts, of which COLUMNS are kept) in place of earlier ones of their trainings.

    A killed run leaves the table as it was.
    """
    path, frame = folder / f"{name}.csv", pd.DataFrame(rows, columns=COLUMNS[name])
    before = path.read_text("utf-8") if path.exists() else ""
    again = tuple(f"{','.join(map(str, key))}," for key in frame[COLUMNS[name][:4]].values)
    kept = [line for line in before.splitlines(keepends=True) if not line.startswith(again)]
    text = frame.to_csv(index=False, header=not before, float_format="%.6g", lineterminator="\n")
    with whole(path) as partial:
        partial.write_text("".join(kept) + text, encoding="utf-8")


def load(name, folder=FOLDER):
    """A table of the run; without rows where it does not exist."""
    path = folder / f"{name}.csv"
    if path.exists():
        return pd.read_csv(path, dtype={"seed": str})
    return pd.DataFrame(columns=COLUMNS[name])


def missing(what):
    """The sentence for what was not run."""
    return f"Not measured: {what}. `make beyond` runs it."
