"""A failing item beside sound ones, and two `dvc repro` at once: nothing is lost, nothing half."""

import filecmp
import subprocess
import sys

import pytest
import yaml
from clones import change, dvc, environment, git, stale

PLAIN, DENOISING = (f"monocrystalline-{name}-0" for name in ("plain", "denoising"))
REFUSED = ("is busy", "Unable to acquire lock")  # by DVC, with what to do about it


def outputs(item, stage):
    folder, _, rest = item.partition("-")
    return f"results/{stage}/{folder}/{rest}/weights.pt", f"rendered/items/{stage}/{item}.ipynb"


def test_what_does_not_depend_on_a_failing_item_is_finished(clone):
    """The plain student fails in its training, and the next item is trained all the same."""
    change(clone, students__plain__learning_rate=1.0e30, students__denoising__steps=3)
    items = (f"student@{PLAIN}", f"segmentation@{PLAIN}", f"student@{DENOISING}")
    status, said = dvc("repro", "-k", *items, cwd=clone)
    assert status != 0
    evidence = f"failed/rendered/items/student/{PLAIN}.ipynb"
    assert f"The notebook up to there, with the traceback: {evidence}" in said
    assert "FloatingPointError" in said and "FloatingPointError" in (clone / evidence).read_text()
    assert f"Running stage 'student@{DENOISING}'" in said
    assert all((clone / path).is_file() for path in outputs(DENOISING, "student"))
    assert f"Running stage 'segmentation@{PLAIN}'" not in said
    assert not any((clone / path).exists() for path in outputs(PLAIN, "student"))
    rest = stale(clone)
    assert f"student@{PLAIN}" in rest and f"student@{DENOISING}" not in rest
    changed = {line.split()[-1] for line in git("status", "--porcelain", cwd=clone).splitlines()}
    assert changed == {"dvc.lock", "params.yaml"}


@pytest.mark.parametrize("other", [DENOISING, PLAIN], ids=["different items", "the same item"])
def test_two_at_once_end_with_the_same_bytes_or_one_is_refused(other, clone, finished):
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", "-f", "-s", f"segmentation@{item}"],
            cwd=clone, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )
        for item in (PLAIN, other)
    ]  # fmt: skip
    said = [run.communicate(timeout=600)[0] for run in runs]
    assert 0 in [run.returncode for run in runs], said
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or any(reason in text for reason in REFUSED), text
        assert "Traceback" not in text
    for item in {PLAIN, other}:
        for path in outputs(item, "segmentation"):
            assert filecmp.cmp(clone / path, finished / path, shallow=False)
    yaml.safe_load((clone / "dvc.lock").read_text())
    assert git("status", "--porcelain", cwd=clone) == ""
    assert not list(clone.glob("results/**/.partial*"))
    assert not stale(clone)
