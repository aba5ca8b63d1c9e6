import shutil

import pytest
import torch
from clones import run_tiny, stale
from toys import write_nut

from lib.devices import device, fix_arithmetic
from lib.networks import Teacher
from study import checkpoint, results


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """What stays in one process: a file's tests, and all tests of the finished run."""
    for item in items:
        group = "finished" if "finished" in item.fixturenames else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


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


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy of the repository after one `dvc repro` of a tiny grid; a test leaves it as it was."""
    finished = run_tiny(tmp_path_factory.mktemp("clone"))
    yield finished
    assert not (found := stale(finished)), f"a test spoiled this run; it needs `clone`: {found}"


@pytest.fixture
def clone(finished, tmp_path):
    """A finished run to spoil."""
    return shutil.copytree(finished, tmp_path / "study", symlinks=True)
