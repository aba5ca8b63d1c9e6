"""study.files: files whole or not at all, also on a full disk; one at a time; no orphans."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib import pyplot as plt
from test_ablations import make_tables, rows
from torch import nn
from toys import category_of

from study import trained
from study.data.category import entry
from study.files import alone, whole
from study.params import ROOT
from study.tables import ablations

FULL_DEVICE = Path("/dev/full")  # every write to it finds no space
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


def test_a_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole(path) as partial:
        partial.write_text("half")
        assert not path.exists() and partial.suffix == path.suffix
    assert path.read_text() == "half" and os.listdir(path.parent) == ["a.txt"]


def test_what_fails_leaves_what_was_there(tmp_path):
    (path := tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), whole(path) as partial:
        partial.write_text("half")
        raise KeyError
    with pytest.raises(IsADirectoryError), whole(path):
        raise IsADirectoryError(errno.EISDIR, "told as it is")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def category():
    image = np.zeros((256, 256, 3), np.uint8)
    return category_of([entry(image, None, "good", str(index), "train") for index in range(2)])


def figure(path):
    figure = plt.figure()
    with whole(path) as partial:
        figure.savefig(partial)
    plt.close(figure)


TABLES = make_tables(rows())
WRITERS = {  # what each stage leaves, as its notebook or study/ writes it
    "train.npy": lambda path: category().save(path.parent),
    "held_out.npz": lambda path: category().save(path.parent),
    "weights.pt": lambda path: trained.save(path.parent, nn.Linear(99, 99), {}, [(1, 0.5)]),
    "ablations.csv": lambda path: ablations.save_tables(TABLES, path.parent, 0.5),
    "nut-outcomes.png": figure,
}


@linux
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_and_keeps_the_earlier_result(name, tmp_path):
    write, path = WRITERS[name], tmp_path / name
    write(path)
    before = path.read_bytes()
    (tmp_path / f".partial-{name}").symlink_to(FULL_DEVICE)
    with pytest.raises(OSError, match=rf"no space left to write \S*{name}; free some"):
        write(path)
    assert path.read_bytes() == before and not list(tmp_path.glob(".partial*"))


NOTEBOOK = """
import resource, sys
from study import notebook
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes; more is a full disk
sys.exit(notebook.main([sys.argv[1], sys.argv[2]]))
"""


@linux
def test_a_notebook_that_finds_no_space_is_one_message_and_no_result(tmp_path):
    output = tmp_path / "out.ipynb"
    command = [sys.executable, "-c", NOTEBOOK, "notebooks/textures.ipynb", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not list(tmp_path.iterdir())
    assert "Traceback" not in done.stderr and "File too large" in done.stderr


def test_an_item_runs_once_at_a_time(tmp_path, capsys):
    order = []

    def second():
        with alone(tmp_path / "x.lock", "student x"):
            order.append("second")

    with alone(tmp_path / "x.lock", "student x"), alone(tmp_path / "y.lock", "student y"):
        thread = threading.Thread(target=second)
        thread.start()
        while "another process is running it" not in capsys.readouterr().err:
            time.sleep(0.01)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]


@linux
def test_no_orphan_survives_its_parent():
    child = (
        "import time; from study.files import end_with_parent; end_with_parent(); "
        "print(1, flush=True); time.sleep(99)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(99)"
    )
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as run:
        orphan = int(run.stdout.readline())
        run.kill()
    for _ in range(100):
        state = Path(f"/proc/{orphan}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.1)
    os.kill(orphan, signal.SIGKILL)
    pytest.fail("the orphan went on")


def test_no_shell_stands_between_dvc_and_python():
    """/bin/sh may stay as the parent, and then nobody tells the training that DVC is dead."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    commands = [stage["cmd"] for stage in stages.values()]
    each = [c for found in commands for c in ([found] if isinstance(found, str) else found)]
    assert [command for command in each if not command.startswith("exec python -m ")] == []
