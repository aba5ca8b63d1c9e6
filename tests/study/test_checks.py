"""`make checks`: commands, minutes and results of the site's table."""

import pandas as pd
import pytest

from lib.devices import device_name
from study.params import ROOT
from study.site import checks


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("....\n27 passed in 0.80s\n", "27 passed"),
        ("= 33 passed, 4 skipped in 1.8s =", "33 passed, 4 skipped"),
        ("1 failed, 2 passed in 3s", "1 failed, 2 passed"),
        ("ImportError", "failed"),
    ],
)
def test_outcome(output, said):
    assert checks.outcome(output) == said


def test_a_claim_is_measured(tmp_path):
    (tmp_path / "test_one.py").write_text("def test(): pass\n")
    table = pd.DataFrame({"claim": ["x"], "command": [f"pytest {tmp_path}/test_one.py"]})
    checks.measure(table)
    (row,) = table.itertuples()
    assert (row.claim, row.result, row.hardware) == ("x", "1 passed", device_name())
    assert float(row.minutes) < 1


def test_the_committed_table_names_tests_that_passed():
    table = pd.read_csv(checks.CHECKS, dtype=str)
    assert not table.result.str.contains("failed|error").any()
    for command in table.command:
        pytest_, *files = command.split()
        assert pytest_ == "pytest" and all((ROOT / name).is_file() for name in files)
