"""The tables of the run on disk. They grow by one row at a time, so that a run can continue."""

import pandas as pd

from study.params import ROOT
from study.scoring.metrics import METRICS

FOLDER = ROOT / "reports/beyond"
PROFILE = ROOT / "profiles/beyond.yaml"
TRAINING = ["category", "student", "head", "seed"]  # columns that name a row of variants and curve
CELL = ["teacher", "width", "images", "seed"]  # and one of scaling


class Rows:
    """Rows in a CSV file; `keys` are the columns that name a row. A present row is not made again.

    A half-written last line, of a run that was killed, is dropped at the next start.
    """

    def __init__(self, path, keys):
        self.path, self.keys, self.done = path, keys, set()
        if path.exists():
            whole, end, _ = path.read_text("utf-8").rpartition("\n")
            path.write_text(whole + end, "utf-8")
            found = pd.read_csv(path, dtype=str, usecols=keys)[keys]
            self.done = set(found.itertuples(index=False, name=None))

    def has(self, *key):
        return tuple(map(str, key)) in self.done

    def add(self, rows):
        """Append rows (dicts with the same columns) in one write."""
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = pd.DataFrame(rows).to_csv(
            index=False, header=new, float_format="%.6g", lineterminator="\n"
        )
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
        self.done |= {tuple(str(row[key]) for key in self.keys) for row in rows}


def load(name, folder=FOLDER):
    """A table of the run; without rows where it does not exist."""
    path = folder / f"{name}.csv"
    if path.exists():
        return pd.read_csv(path, dtype={"seed": str})
    others = ["step", "map", "split", "benchmark", "top_pixels", "R", "auroc_test", "strength"]
    return pd.DataFrame(columns=dict.fromkeys([*TRAINING, *CELL, *others, *METRICS]))


def missing(what):
    """The sentence for what was not run."""
    return f"Not measured: {what}. `make beyond` runs it."
