"""`make checks`: run what the site's section "Can I trust this?" names, and time it.

Writes study/site/templates/checks.csv: claim, command, minutes, hardware, result. The site shows
the file, so no figure in it is typed by hand.
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

TESTS = {
    "networks, losses and gradients equal a plain implementation, in double precision": (
        "tests/lib/test_reference.py"
    ),
    "the corruption has the official generator's distribution": "tests/lib/test_corruption.py",
    "both phases follow the official training procedure": "tests/lib/test_fidelity.py",
    "the metrics equal scikit-learn's and the official code's figures": (
        "tests/study/test_metrics.py"
    ),
    "intervals and answers are right on known cases": (
        "tests/study/test_resampling.py tests/study/test_intervals.py tests/study/test_claims.py"
    ),
    "an interrupted training ends with the same bits": "tests/study/test_checkpoint.py",
    "bad input is refused in one clear line before any work": "tests/pipeline/test_hostile.py",
    "the site's gallery decides as the tables do": "tests/study/test_gallery.py",
}


def outcome(output):
    """`34 passed, 1 skipped` of pytest's last line; `failed` if it has none."""
    found = re.search(r"((?:\d+ (?:failed|passed|skipped|error)\w*,? ?)+) in ", output)
    return found[1] if found else "failed"


def measure(tests):
    """Run pytest on each value of `tests`; a row of the table for each claim."""
    for claim, files in tests.items():
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", *files.split()]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        minutes = (time.monotonic() - start) / 60
        yield claim, f"pytest {files}", f"{minutes:.1f}", device_name(), outcome(run.stdout)


def main():
    """Write the table; the exit status tells whether a check failed."""
    columns = ["claim", "command", "minutes", "hardware", "result"]
    table = pd.DataFrame(measure(TESTS), columns=columns)
    with whole(CHECKS) as path:
        table.to_csv(path, index=False)
    print(table.drop(columns="hardware").to_string(index=False))
    return int(table.result.str.contains("failed|error").any())


if __name__ == "__main__":
    sys.exit(main())
