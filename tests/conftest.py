import os
import shutil

import pytest
import torch
from clones import run_tiny, stale
from filelock import FileLock
from toys import write_nut

from lib.devices import device, fix_arithmetic
from lib.fast.graph import Captured
from lib.networks import Teacher
from study import checkpoint, results
from study.files import whole


@pytest.fixture(scope="session", autouse=True)
def _checkpoints_outside_the_repository(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "FOLDER", tmp_path_factory.mktemp("checkpoints"))
        yield


@pytest.fixture(autouse=True)
def _to_the_bit():
    """What is compared to the bit on a GPU needs algorithms that repeat; a CPU needs nothing."""
    fix_arithmetic(torch.get_num_threads(), deterministic=True)


@pytest.fixture
def root(tmp_path):
    """A folder in MVTec AD layout, called toys, with the one category `nut`."""
    return write_nut(tmp_path / "toys")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Results lie in a temporary folder."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def teacher():
    """The teacher that is quick to build, with the levels of ResNet-18 and random weights."""
    torch.manual_seed(0)
    return Teacher("resnet10t", "random").to(device())


@pytest.fixture(scope="module")
def student(teacher):
    """A student of a few steps."""
    from runs import student_of  # reads params.yaml, which not every test needs

    return student_of(teacher)[0]


@pytest.fixture
def plain_calls(monkeypatch):
    """Every step runs its Python code, where tests look; none is a captured graph."""
    monkeypatch.setattr(Captured, "PLAIN", 10**9)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy of the repository after one `dvc repro` of a tiny grid; a test leaves it as it was.

    One process of `pytest -n` makes that run, and each has its own copy.
    """
    own = tmp_path_factory.getbasetemp()
    run = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "finished"
    with FileLock(f"{run}.lock"):
        if not run.exists():
            with whole(run) as partial:
                run_tiny(partial)
    finished = shutil.copytree(run, own / "study", symlinks=True)
    yield finished
    assert not (found := stale(finished)), f"a test spoiled this run; it needs `clone`: {found}"


@pytest.fixture
def clone(finished, tmp_path):
    """A finished run to spoil."""
    return shutil.copytree(finished, tmp_path / "study", symlinks=True)
