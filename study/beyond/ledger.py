"""The tables of the run on disk. They grow by one row at a time, so that a run can continue."""

import pandas as pd

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


class Rows:
    """A table of COLUMNS that grows. Trainings that it has are not made again.

    A half-written last line, of a run that was killed, is dropped at the next start.
    """

    def __init__(self, name, folder):
        self.path, self.columns, self.done = folder / f"{name}.csv", COLUMNS[name], set()
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            whole, end, _ = self.path.read_text("utf-8").rpartition("\n")
            self.path.write_text(whole + end, "utf-8")
            found = load(name, folder)[self.columns[:4]].astype(str)
            self.done = set(found.itertuples(index=False, name=None))

    def has(self, *key):
        return tuple(map(str, key)) in self.done

    def add(self, rows):
        """Append rows (dicts, of which COLUMNS are kept) in one write."""
        frame, new = pd.DataFrame(rows, columns=self.columns), not self.path.exists()
        text = frame.to_csv(index=False, header=new, float_format="%.6g", lineterminator="\n")
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
        names = frame[self.columns[:4]].astype(str)
        self.done |= set(names.itertuples(index=False, name=None))


def load(name, folder=FOLDER):
    """A table of the run; without rows where it does not exist."""
    path = folder / f"{name}.csv"
    if path.exists():
        return pd.read_csv(path, dtype={"seed": str})
    return pd.DataFrame(columns=COLUMNS[name])


def missing(what):
    """The sentence for what was not run."""
    return f"Not measured: {what}. `make beyond` runs it."
