"""Every case of tests/helpers/hostile.py gets what it should, and reports/hostile.md says so."""

import pickle
import re

import hostile
import pytest
from hostile import CASES, READ, REPORT


@pytest.fixture(scope="module")
def table():
    return REPORT.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}-{case.input}"[:60])
def test_a_bad_input_is_read_right_or_told_in_one_line(case, tmp_path, table):
    text = hostile.attempt(case, tmp_path)
    if case.gets.startswith(READ):
        assert text == case.gets
    else:
        assert re.fullmatch(case.gets, text), text
    assert "\n" not in text and "Traceback" not in text and str(tmp_path) not in text
    assert hostile.row(case, text) in table.splitlines(), "make hostile"


def test_the_table_holds_the_cases_and_nothing_else(table):
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) - 1 == len(CASES) == len({(case.group, case.input) for case in CASES})
    assert hostile.report(rows[1:]) == table


def test_the_trap_works(tmp_path):
    hostile.trapped(hostile.plain_pickle)(tmp_path)
    pickle.loads((tmp_path / "mine.pth").read_bytes())
    assert (tmp_path / "ran").is_dir()
