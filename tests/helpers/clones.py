"""A copy of the repository in a temporary folder, a grid quick to run, and git and dvc in it."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import yaml
from dvc.repo import Repo

ROOT = Path(__file__).parents[2]
STUDENTS = ("plain", "denoising", "encoder_decoder", "full")


def git(*arguments, cwd):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    run = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def environment():
    """Of a process that finds this interpreter's `python` first in PATH."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_WAIT_POLICY": "passive",  # tests share the machine
    }


def dvc(*arguments, cwd):
    """Run dvc; (exit status, all output)."""
    run = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    return run.returncode, run.stdout


def stale(clone):
    """{stage of dvc.yaml: reasons} of what `dvc repro` would run."""
    with chdir(clone), Repo() as repository:
        return repository.status(targets=["dvc.yaml"])


def change(clone, **changes):
    """Set keys of the clone's params.yaml: change(clone, study="x", dataset__root="y")."""
    path = clone / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *sections, name = key.split("__")
        here = params
        for section in sections:
            here = here[section]
        here[name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def copy_of_repository(target):
    """A git repository with this one's files as they are now, without its finished run."""
    for name in git("ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).split("\0"):
        finished = name.startswith(("rendered/", "reports/", "metrics/")) or name == "dvc.lock"
        finished &= not name.startswith("reports/beyond/")  # an input of the site
        if name and not finished and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    git("init", "-q", cwd=target)
    git("add", "-A", cwd=target)
    git("commit", "-qm", "copy", cwd=target)
    return target


def make_tiny(clone):
    """Parameters that run every stage in seconds, and write a checkpoint after each step."""
    change(clone, study="tiny", seeds=[0], dataset__image_size=64, textures__count=20)
    change(clone, running__checkpoint_seconds=0.0)
    change(clone, segmentation__steps=2, segmentation__batch_size=4, segmentation__channels=8)
    change(clone, baseline__bank_size=200, figures__examples=1)
    change(clone, heads={"distance": {"input": "distance", "l1_weight": 1.0}}, head_seeds=[0])
    for name in STUDENTS:
        section = f"students__{name}"
        tiny = {f"{section}__steps": 2, f"{section}__batch_size": 4, f"{section}__width": 8}
        change(clone, **tiny)
    change(clone, students__full__steps=200)  # long enough to be killed in


def run_tiny(target):
    """A copy of the repository after one `dvc repro` of a tiny grid, committed."""
    clone = copy_of_repository(target)
    make_tiny(clone)
    status, output = dvc("repro", cwd=clone)
    assert status == 0, output[-3000:]
    git("add", "-A", cwd=clone)
    git("commit", "-qm", "run", cwd=clone)
    return clone
