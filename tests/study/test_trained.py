"""What is saved comes back."""

import pytest
from runs import identical, state
from test_scores import SETTINGS

from lib.networks import Student
from study import trained


def test_save_and_load(tmp_path, student):
    folder = tmp_path / "a" / "b"
    trained.save(folder, student, student.shape, [(1, 2.5), (2, 0.123456789)])
    loaded = trained.load(folder, Student)
    assert identical(loaded, state(student))
    assert not loaded.training
    assert (folder / "history.csv").read_text() == "step,loss\n1,2.5\n2,0.123457\n"


def test_an_untrained_item_says_what_to_run(elsewhere):
    with pytest.raises(FileNotFoundError, match="dvc repro segmentation@nut-full-0"):
        trained.load_model(SETTINGS, "nut", 0)
