"""study.limits: what machine, control group and limit leave; too little is told with numbers."""

import resource
import subprocess
import sys

import pytest
from runs import student_of, tiny
from toys import dataset

from study import limits
from study.data.mvtec import load_category
from study.params import ROOT

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 100 MiB to spare and a control group: machine(limit, used, cache) in MiB."""

    def machine(limit, used, cache):
        (tmp_path / "memory.max").write_text(f"{limit * MIB if limit else 'max'}\n")
        (tmp_path / "memory.current").write_text(f"{used * MIB}\n")
        (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cache * MIB}\n")

    memory = limits.psutil.virtual_memory()._replace(available=100 * MIB)
    monkeypatch.setattr(limits.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(limits, "GROUPS", tmp_path)
    return machine


def test_the_tightest_counts(machine):
    assert limits.free() == 100 * MIB
    machine(limit=50, used=30, cache=10)
    assert limits.free() == 30 * MIB
    machine(limit=0, used=30, cache=10)  # no limit
    assert limits.free() == 100 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts on Linux")
def test_a_limit_of_the_process_counts():
    limited = (
        "import resource; from study import limits; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({1000 * MIB},) * 2); print(limits.free())"
    )
    command = [sys.executable, "-c", limited]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 1000 * MIB
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1000 * MIB


def test_too_little_is_told_before_anything_is_decoded(root, machine, monkeypatch):
    machine(limit=20, used=20, cache=0)
    (root / "nut/train/good/000.png").write_bytes(b"would be an error once it is read")
    said = r"nut: 6 images of 32x32 pixels: needs 0.00 GB of memory, 0.00 GB are free; lower"
    with pytest.raises(MemoryError, match=said):
        load_category(dataset(root=str(root)), "nut")


def test_too_little_is_told_before_training(teacher, machine):
    machine(limit=20, used=20, cache=0)
    still = tiny(flips=False, rotation={"default": "none"})
    with pytest.raises(MemoryError, match="the teacher's levels of 5 images: needs"):
        student_of(teacher, chosen=still, kept=True)
