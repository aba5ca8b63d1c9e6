"""Lines of progress in a log and in a terminal, time left, and live curves on demand."""

import io
import sys
import types

import pytest

from study import progress
from study.progress import Display, Steps, Study, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_training_says_step_loss_speed_and_time_left(monkeypatch, capsys):
    clock = iter([100.0, 110.0, 120.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("STUDY_ITEM", "student nut-full-0")
    steps = Steps("student full", 200, 8, first=100)  # goes on after step 100
    steps.say(150, 3.58684)
    steps.say(200, 3.0)
    assert capsys.readouterr().err.splitlines() == [
        "student full step 150/200, loss 3.5868, 40 images/s, 10 s left",
        "student full step 200/200, loss 3.0000, 40 images/s, 0 s left",
    ]


def test_by_hand_one_line_is_written_over_and_over(monkeypatch, capsys):
    monkeypatch.delenv("STUDY_ITEM", raising=False)
    steps = Steps("segmentation", 2, 4)
    steps.say(1, 1.0)
    steps.say(2, 0.5)
    said = capsys.readouterr().err
    assert said.count("\r") == said.count("\n") == 1 and said.endswith("\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(99, "99 s"), (240, "4 min"), (7500, "2 h 05 min"), (7199, "2 h 00 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_a_log_has_a_plain_line_for_everything():
    log = io.StringIO()
    display = Display(log)
    display.show(
        "student a", "full step 1/2, loss 3.0, 5 images/s, 9 s left", "whole study 2 min left"
    )
    display.show("", "Running stage 'x':")
    assert log.getvalue() == (
        "student a | full step 1/2, loss 3.0, 5 images/s, 9 s left; whole study 2 min left\n"
        "Running stage 'x':\n"
    )


def test_a_terminal_has_one_line_for_the_steps_of_all_items(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    screen = Terminal()
    display = Display(screen)
    display.show("student a", "full step 1/2, loss 3.0, 5 images/s", "whole study 2 min left")
    display.show("student b", "full step 2/2, loss 2.0, 5 images/s", "whole study 1 min left")
    *_, last = screen.getvalue().split("\r\x1b[K")
    assert "\n" not in screen.getvalue() and last == (
        "student a: step 1/2, loss 3.0, 5 images/s · student b: step 2/2, loss 2.0, 5 images/s · "
        "whole study 1 min left"
    )
    display.show("student a", "saved")
    assert screen.getvalue().endswith("\r\x1b[Kstudent a | saved\n")
    monkeypatch.setenv("COLUMNS", "30")
    display.show("student b", "full step 2/2, loss 2.0, 5 images/s")
    assert len(screen.getvalue().rpartition("\r\x1b[K")[2]) == 29


@pytest.fixture
def clock(monkeypatch):
    """`clock.now`: what the monotonic clock says."""
    clock = types.SimpleNamespace(now=0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def test_the_time_left_of_the_study_follows_dvc_s_lines(clock, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "LOGS", tmp_path / "logs")
    progress.log_times(tmp_path, ["student.ipynb,student a-full-0,then,60.0"])
    progress.log_times(tmp_path, ["segmentation.ipynb,segmentation x,then,30.0"])
    stages = ["student@a-full-0", "student@b-full-0", "heads@a-distance-0"]
    study = Study(stages, jobs=2)
    assert study.left() == (60 + 60 + 30) / 2
    running = study.line("Running stage 'student@a-full-0':\n", None)
    clock.now = 20
    assert running == "student@a-full-0" and study.left() == (40 + 60 + 30) / 2
    assert study.line("student a | full step 1/2, loss 3.0\n", running) == running
    assert "student a | full step 1/2, loss 3.0; whole study 65 s left" in capsys.readouterr().err
    clock.now = 40
    assert study.line("Stage 'heads@a-distance-0' didn't change, skipping\n", running) is None
    assert study.left() == 40 / 2  # the last student took 40 s
    study.ends(study.line("Running stage 'student@b-full-0':\n", None))
    assert study.left() == 0
    assert Study(["pro@a"], 1).left() is None


def test_live_curves_are_off_unless_asked_for_and_need_their_package(monkeypatch, tmp_path):
    assert Steps("x", 2, 1).writer is None
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        Steps("x", 2, 1, "tensorboard")
    written = []
    writer = types.SimpleNamespace(add_scalar=lambda *a: written.append(a), flush=lambda: None)
    fake = types.SimpleNamespace(SummaryWriter=lambda folder: written.append(folder) or writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr(progress, "LOGS", tmp_path)
    monkeypatch.setenv("STUDY_ITEM", "student nut-full-0")
    Steps("student full", 2, 1, "tensorboard").say(1, 0.5)
    assert written[0] == tmp_path / "live" / "student nut-full-0"
    assert written[1] == ("loss/student full", 0.5, 1)
