"""`make experiments`: experiments and commits, what differs between them, and what came out.

`dvc exp show` has a column for every parameter, file and folder. This keeps the parameters whose
values differ, and the figures of `dvc metrics show`.
"""

import re
import subprocess
import sys
from io import StringIO

import pandas as pd
from dvc.utils.flatten import flatten
from ruamel.yaml import YAML

from study.params import ROOT
from study.tables.format import markdown

FIGURE = re.compile(r"(.*:)?(image_auroc|pixel_auroc|pixel_ap|pro|iap)(_\w+)?")


def table(shown, keys):
    """The rows of `dvc exp show --csv`, the changed ones of the parameters `keys`, the figures."""
    frame = pd.read_csv(StringIO(shown), dtype=str, keep_default_na=False)
    changed = [key for key in keys if key != "study" and key in frame and frame[key].nunique() > 1]
    figures = [name for name in frame if FIGURE.fullmatch(name)]
    short = {name: re.sub(r".*/(.*)\.json:", r"\1 ", name) for name in figures}  # category, figure
    names = frame["Experiment"].where(frame["Experiment"] != "", frame["rev"])
    named = frame.assign(experiment=names).set_index("experiment")
    return named[changed + figures].rename(columns=short)


def main():
    run = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--csv"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if run.returncode:
        sys.exit(run.returncode)
    tree = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8"))
    print(markdown(table(run.stdout, flatten(tree))))


if __name__ == "__main__":
    main()
