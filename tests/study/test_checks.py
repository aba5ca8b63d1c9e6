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
    tests = {"x": f"{tmp_path}/test_one.py"}
    ((claim, command, minutes, hardware, result),) = checks.measure(tests)
    assert (claim, result) == ("x", "1 passed") and command.startswith("pytest ")
    assert float(minutes) < 1 and hardware == device_name()


def test_the_committed_table_has_every_claim():
    table = pd.read_csv(checks.CHECKS, dtype=str)
    assert table.claim.tolist() == list(checks.TESTS)
    assert not table.result.str.contains("failed|error").any()
    for files in checks.TESTS.values():
        assert all((ROOT / name).is_file() for name in files.split())
