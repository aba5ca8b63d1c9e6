"""`make record`: commit, versions and wall time of a finished run."""

import pandas as pd
import pytest

from study import grid, params, record


@pytest.fixture
def timings():
    """Two items; the first was run twice and only its last run counts."""
    rows = [
        ("a.ipynb", "a x", "2026-01-01T00:00:00+00:00", 500.0),
        ("a.ipynb", "a x", "2026-01-02T00:00:00+00:00", 10.0),
        ("b.ipynb", "b x", "2026-01-02T00:00:12+00:00", 20.0),
        ("b.ipynb", "other", "2026-01-03T00:00:00+00:00", 20.0),
    ]
    return pd.DataFrame(rows, columns=["notebook", "item", "start", "seconds"])


def test_wall_time_is_from_the_first_start_to_the_last_end(timings):
    stages, wall = record.wall_time(timings, ["a x", "b x"])
    assert wall == 32.0
    assert stages["sum"].to_dict() == {"a.ipynb": 10.0, "b.ipynb": 20.0}


def test_items_side_by_side_count_once_and_pauses_do_not(timings):
    wall = record.wall_time(timings, ["a x", "b x", "other"])[1]
    assert wall == 32.0 + 20.0  # a day lies in between
    timings.loc[2, "start"] = "2026-01-02T00:00:05+00:00"
    assert record.wall_time(timings, ["a x", "b x"])[1] == 25.0


def test_an_unfinished_run_is_refused(timings):
    with pytest.raises(ValueError, match="run dvc repro first"):
        record.record(params.load(), "0" * 40, timings, "f00")


def test_a_finished_run_names_commit_and_minutes():
    settings = params.load()
    rows = [(item.split()[0], item, "2026-01-02T00:00:00+00:00", 60.0)
            for item in grid.items(settings)]  # fmt: skip
    timings = pd.DataFrame(rows, columns=["notebook", "item", "start", "seconds"])
    text = record.record(settings, "c0ffee", timings, "f00d")
    assert "sha256 `f00d`" in text
    assert "commit `c0ffee`" in text and "1.0 minutes" in text
