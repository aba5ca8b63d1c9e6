"""The grid as chains of DVC stages, as items of the log, and as a number of steps."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml

from study import grid, params, progress

SHIPPED = params.load()
HEAD = replace(SHIPPED.segmentation, input="distance", steps=7)
PARAMS = replace(
    SHIPPED,
    categories=("bottle", "screw"),
    seeds=(0, 7),
    heads={"distance": HEAD},
    head_seeds=(0, 7),
)


def test_the_chains_hold_every_training_once():
    found = sorted(stage for chain in grid.chains(PARAMS) for stage in chain)
    runs = [f"{c}-{s}-{n}" for c in ("bottle", "screw") for s in PARAMS.students for n in (0, 7)]
    heads = [f"heads@{c}-distance-{n}" for c in ("bottle", "screw") for n in (0, 7)]
    both = [f"{stage}@{run}" for stage in ("student", "segmentation") for run in runs]
    assert found == sorted([*both, *heads])


def test_scoring_holds_every_category_once():
    found = sorted(stage for chain in grid.scoring(PARAMS) for stage in chain)
    stages = ("baseline", "evaluation", "figures", "maps", "pro")
    assert found == sorted(f"{stage}@{c}" for stage in stages for c in ("bottle", "screw"))


def test_every_segmentation_network_is_mapped_once():
    found = list(grid.networks(PARAMS))
    assert len(found) == len(set(found)) == 2 * (4 + 1)
    assert ("plain-7", "plain-7", "method") in found
    assert ("full-distance-7", "full-7", "distance") in found


def test_cost_counts_every_step():
    cost = grid.cost(PARAMS)
    assert cost["student full"] == (4, SHIPPED.students["full"].steps)
    assert cost["segmentation"] == (4 * 4, SHIPPED.segmentation.steps)
    assert cost["head distance"] == (4, 7)


def test_a_bad_params_file_is_one_line(monkeypatch):
    def fail():
        raise ValueError("params.yaml: unknown key x")

    monkeypatch.setattr(params, "load", fail)
    with pytest.raises(SystemExit, match="unknown key x"):
        grid.main(["cost"])


def test_a_chain_waits_for_the_lock(monkeypatch, tmp_path, capsys):
    (tmp_path / "dvc.py").write_text(
        "import sys\nprint(*sys.argv[1:])\nsys.exit('WARNING: shown')\n"
    )
    monkeypatch.chdir(tmp_path)
    stages = ["student@a", "segmentation@a"]
    grid.reproduce(stages, progress.Study(stages, 1))
    shown = "--wait-for-lock repro -s student@a segmentation@a", "WARNING: shown"
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(shown)


def test_the_papers_grid_is_listed_fast_and_without_torch(tmp_path):
    """One shell line a chain; 300 students and 525 segmentation networks, each once."""
    shutil.copytree(params.ROOT / "study", tmp_path / "study")
    shutil.copy(params.ROOT / "profiles" / "paper.yaml", tmp_path / "params.yaml")
    paper = yaml.safe_load((tmp_path / "params.yaml").read_text())
    for folder in (paper["dataset"]["root"], paper["textures"]["root"]):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / paper["teacher"]["weights"]).touch()
    script = (
        "import sys\nfrom study import grid\ngrid.main(['list'])\n"
        "assert not {'torch', 'dvc', 'distributed'} & sys.modules.keys()"
    )
    start = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": "."},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert time.monotonic() - start < 10
    lines = [shlex.split(line) for line in run.stdout.splitlines()]
    head = ["python", *grid.DVC, "repro", "--pull", "--allow-missing", "--keep-going"]
    assert len(lines) == 60 and all(line[: len(head)] == head for line in lines)
    found = [line[len(head) :] for line in lines]
    assert [len(chain) for chain in found] == [25] * 15 + [10] * 45  # the longest first
    stages = [stage for chain in found for stage in chain]
    assert len(stages) == len(set(stages)) == 825
    assert sum(stage.startswith("student@") for stage in stages) == 300
    for chain in found:
        for place, stage in enumerate(chain):
            kind, _, item = stage.partition("@")
            category, network, seed = item.split("-")
            student = "full" if kind == "heads" else network
            assert kind == "student" or f"student@{category}-{student}-{seed}" in chain[:place]
