"""`make checks`: run what the site's section "Can I trust this?" names, and time it.

study/site/templates/checks.csv holds a claim and its command in each row. This fills in minutes,
hardware and result, and the site shows the file: no figure in it is typed by hand.
"""

import re
import subprocess
import sys
import time

import pandas as pd

from lib.devices import device_name
from study.files import whole
from study.params import ROOT
from study.site.evidence import CHECKS


def outcome(output):
    """`34 passed, 1 skipped` of pytest's last line; `failed` if it has none."""
    found = re.search(r"((?:\d+ (?:failed|passed|skipped|error)\w*,? ?)+) in ", output)
    return found[1] if found else "failed"


def measure(table):
    """Run the command of each row, pytest and its files, and fill in the row."""
    for row, command in table.command.items():
        start = time.monotonic()
        run = [sys.executable, "-m", *command.split(), "-q", "-o", "addopts="]
        run = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
        minutes = f"{(time.monotonic() - start) / 60:.1f}"
        found = minutes, device_name(), outcome(run.stdout)
        table.loc[row, ["minutes", "hardware", "result"]] = found


def main():
    """Write the table; the exit status tells whether a check failed."""
    table = pd.read_csv(CHECKS, dtype=str)
    measure(table)
    with whole(CHECKS) as path:
        table.to_csv(path, index=False)
    print(table.drop(columns="hardware").to_string(index=False))
    return int(table.result.str.contains("failed|error").any())


if __name__ == "__main__":
    sys.exit(main())
