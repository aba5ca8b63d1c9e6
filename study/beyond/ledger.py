"""A table on disk that grows by one row at a time, so that an interrupted run can continue."""

import csv

import pandas as pd


class Rows:
    """Rows in a CSV file; `keys` are the columns that name a row. A present row is not made again.

    A half-written last line, of a run that was killed, is dropped at the next start.
    """

    def __init__(self, path, keys):
        self.path, self.keys, self.done = path, keys, set()
        if path.exists():
            text = path.read_text("utf-8")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            with path.open(encoding="utf-8", newline="") as file:
                self.done = {tuple(row[key] for key in keys) for row in csv.DictReader(file)}

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
