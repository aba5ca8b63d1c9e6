"""What docs/cluster.md says of DVC's remote, on stages of a line each: concurrent, half, double."""

import shutil
import subprocess
import sys

import pytest
import yaml
from clones import dvc, environment, git

STAGES = """
stages:
  dataset:
    cmd: cat raw/images/* > in.txt
    deps: [raw/images]
    outs: [in.txt]
  same:
    cmd: cat in.txt in.txt > same.txt
    deps: [in.txt]
    outs: [same.txt]
  random:
    cmd: head -c 100000 /dev/urandom > random.bin
    deps: [in.txt]
    outs: [random.bin]
  next:
    cmd: cp random.bin next.bin
    deps: [random.bin]
    outs: [next.bin]
  page:
    cmd: cp in.txt page.txt
    deps: [in.txt]
    outs: [page.txt: {cache: false}]
"""


def clone(source, target, store):
    """A clone with a link to the images, as of study.cluster.prepare."""
    git("clone", "-q", source, target, cwd=source)
    (target / "raw").symlink_to(source / "raw")
    remote = f"[core]\n  remote = s\n['remote \"s\"']\n  url = {store}\n  verify = true\n"
    (target / ".dvc/config.local").write_text(remote)
    return target


def together(clones, *arguments):
    """The same dvc command in all clones at once."""
    command = [sys.executable, "-m", "dvc", *arguments]
    runs = [subprocess.Popen(command, cwd=one, env=environment()) for one in clones]
    assert [run.wait(timeout=300) for run in runs] == [0] * len(runs)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """Two clones ran the same stages and pushed them to one folder at the same time."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "study/.dvc").mkdir(parents=True)
    (folder / "study/.dvc/config").write_text("[core]\n  analytics = false\n")
    (folder / "study/.dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / "study/dvc.yaml").write_text(STAGES)
    (folder / "study/raw/images").mkdir(parents=True)
    (folder / "study/raw/images/a.txt").write_text("in\n" * 100)
    (folder / "study/.gitignore").write_text("/raw\n")
    git("init", "-q", cwd=folder / "study")
    git("add", "-A", cwd=folder / "study")
    git("commit", "-qm", "study", cwd=folder / "study")
    both = [clone(folder / "study", folder / name, folder / "store") for name in "ab"]
    together(both, "repro", "-q")
    together(both, "push", "-q", "--run-cache")
    return folder


def test_two_workers_with_the_same_chain_are_as_good_as_one(pushed, tmp_path):
    head = clone(pushed / "study", tmp_path / "head", pushed / "store")
    status, said = dvc("repro", "--pull", cwd=head)
    assert status == 0, said
    for stage in ("dataset", "same", "random", "next"):  # `next` knows either random.bin
        assert f"Stage '{stage}' is cached - skipping run" in said
    assert "Running stage 'page'" in said  # plain outputs with cache: false run again
    assert (head / "same.txt").read_bytes() == (pushed / "a/same.txt").read_bytes()
    found = [(pushed / name / "random.bin").read_bytes() for name in "ab"]
    assert found[0] != found[1] and (head / "random.bin").read_bytes() in found
    assert (head / "next.bin").read_bytes() == (head / "random.bin").read_bytes()


def test_a_worker_needs_no_images_but_dvc_lock_of_what_was_made_of_them(pushed, tmp_path):
    worker = clone(pushed / "study", tmp_path / "worker", pushed / "store")
    (worker / "raw").unlink()
    lock = yaml.safe_load((pushed / "a/dvc.lock").read_text())
    lock["stages"] = {"dataset": lock["stages"]["dataset"]}
    (worker / "dvc.lock").write_text(yaml.safe_dump(lock))
    options = ("--pull", "--allow-missing", "--keep-going")
    status, said = dvc("--wait-for-lock", "repro", *options, "same", cwd=worker)
    assert status == 0 and "Stage 'dataset' didn't change, skipping" in said, said
    assert "Stage 'same' is cached - skipping run" in said
    assert (worker / "same.txt").read_bytes() == (pushed / "a/same.txt").read_bytes()


@pytest.mark.parametrize("fault", ["half", "absent"])
def test_a_stage_whose_object_is_half_or_absent_runs_again(fault, pushed, tmp_path):
    """A worker died between its run-cache and its objects, or the disk was full."""
    store = shutil.copytree(pushed / "store", tmp_path / "store")
    lines = (pushed / "a/dvc.lock").read_text().splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.strip() == "- path: same.txt"]
    (md5,) = [line.split()[1] for line in lines[place : place + 3] if "md5:" in line]
    broken = store / "files/md5" / md5[:2] / md5[2:]
    broken.chmod(0o644)
    broken.write_bytes(broken.read_bytes()[:50])
    if fault == "absent":
        broken.unlink()
    head = clone(pushed / "study", tmp_path / "head", store)
    status, said = dvc("repro", "--pull", "same", cwd=head)
    assert status == 0 and "Running stage 'same'" in said, said
    assert (head / "same.txt").read_bytes() == (pushed / "a/same.txt").read_bytes()
    assert dvc("push", "-q", cwd=head)[0] == 0
    assert broken.read_bytes() == (pushed / "a/same.txt").read_bytes()
