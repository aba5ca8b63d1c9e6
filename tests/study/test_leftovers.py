"""A grid that shrinks: nothing of what left it is shown, kept or hashed."""

from itertools import chain

import pytest
import yaml
from clones import dvc, git

from study import leftovers

STAGES = """
stages:
  train:
    matrix: {category: "${categories}"}
    cmd: touch
    outs:
    - results/student/${item.category}
    - reports/toy/${item.category}.csv: {cache: false}
"""


@pytest.fixture
def repository(tmp_path):
    """Two categories were trained, one is still declared; notes and another study lie beside."""
    git("init", "-q", cwd=tmp_path)
    assert dvc("init", "-q", cwd=tmp_path)[0] == 0
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text("categories: [nut]\n")
    paths = {
        name: [f"results/student/{name}/weights.pt", f"reports/toy/{name}.csv"]
        for name in ("nut", "bolt")
    }
    paths["other"] = ["reports/other/bolt.csv"]
    lock = {
        f"train@{name}": {"cmd": "touch", "outs": [{"path": path} for path in found]}
        for name, found in paths.items()
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    for path in [*chain(*paths.values()), "results/student/gone/x", "reports/toy/notes.md"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def test_only_what_stages_made_and_make_no_more_goes(repository, capsys):
    leftovers.remove(["results/student", "reports/toy", "results/none"], repository)
    found = {
        str(path.relative_to(repository))
        for folder in ("results", "reports")
        for path in (repository / folder).rglob("*")
        if path.is_file()
    }
    assert found == {
        "results/student/nut/weights.pt", "reports/toy/nut.csv", "reports/toy/notes.md",
        "reports/other/bolt.csv",
    }  # fmt: skip
    assert "results/student/bolt: removed" in capsys.readouterr().err


@pytest.mark.parametrize("half", ["", "stages:\n  a:\n    outs:\n    - path:", "stages: {a: ["])
def test_a_lock_that_is_being_written_is_read_again(tmp_path, monkeypatch, half):
    lock, whole = tmp_path / "dvc.lock", "stages:\n  a:\n    outs:\n    - path: results/a\n"
    lock.write_text(half)
    monkeypatch.setattr(leftovers.time, "sleep", lambda _: lock.write_text(whole))
    assert leftovers.recorded(lock) == ["results/a"]
    monkeypatch.setattr(leftovers.time, "sleep", lambda _: None)
    lock.write_text(half)
    with pytest.raises(ValueError, match=r"dvc\.lock: half written"):
        leftovers.recorded(lock)
    assert leftovers.recorded(tmp_path / "none") == []
