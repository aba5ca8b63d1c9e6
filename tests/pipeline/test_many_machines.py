"""A tiny grid on two workers with clones of their own; one is killed, and one student fails."""

import json
import subprocess
import sys
import time

import pytest
import torture
import yaml
from clones import change, copy_of_repository, dvc, environment, git, make_tiny

pytest.importorskip("distributed", reason="pip install -r requirements-cluster.txt")

CATEGORY, PATIENCE = "monocrystalline", 600
SOUND = ("plain", "full")
ITEMS = [f"{stage}@{CATEGORY}-{s}-0" for stage in ("student", "segmentation") for s in SOUND]
ITEMS += [f"heads@{CATEGORY}-distance-0"]


class Cluster:
    """A Dask scheduler and workers, each a process of this machine with a log."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.file = folder / "scheduler.json"
        local = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.start("scheduler", "--scheduler-file", self.file, *local)
        while not self.file.exists():
            time.sleep(0.1)
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, kind, *options):
        """A new process, and its log."""
        log = self.folder / f"{kind}-{len(self.processes)}.log"
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, options)]
        with log.open("wb") as file:
            run = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdout=file, stderr=subprocess.STDOUT
            )
        self.processes.append(run)
        return run, log

    def worker(self):
        place = self.folder / f"clones-{len(self.processes)}"
        one = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self.start("worker", self.address, *one, "--local-directory", place)

    def stop(self):
        for run in self.processes:
            run.kill()
            run.wait()


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.stop()


def killed(workers, text):
    """Kill the first worker whose log has the text; the number of the worker."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for number, (run, log) in enumerate(workers):
            if text in log.read_text(errors="replace"):
                run.kill()
                return number
        time.sleep(0.1)
    raise TimeoutError(text)


def test_a_killed_worker_and_a_failing_student_leave_the_bytes_of_one_machine(
    cluster, finished, tmp_path
):
    clone = copy_of_repository(tmp_path / "study")
    make_tiny(clone)
    students = yaml.safe_load((clone / "params.yaml").read_text())["students"]
    broken = students["plain"] | {"learning_rate": 1.0e30}
    change(clone, students={name: students[name] for name in SOUND} | {"broken": broken})
    git("commit", "-qam", "tiny", cwd=clone)
    assert dvc("repro", "dataset", "textures", cwd=clone)[0] == 0
    workers = [cluster.worker(), cluster.worker()]
    command = ["-m", "study.cluster", cluster.address, "--remote", "../store"]
    head = subprocess.Popen(
        [sys.executable, *command], cwd=clone, env=environment() | {"PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    number = killed(workers, "full step 40/200")
    said = head.communicate(timeout=PATIENCE)[0]
    assert head.returncode == 1, said
    assert "resuming after step" in workers[1 - number][1].read_text(errors="replace")
    evidence = f"failed/rendered/items/student/{CATEGORY}-broken-0.ipynb"
    assert evidence in said and "FloatingPointError" in (clone / evidence).read_text()
    assert f"maps@{CATEGORY}: not run, because student@{CATEGORY}-broken-0 failed" in said
    assert said.count(" finished\n") == len(SOUND)

    status, said = dvc("repro", "--pull", *ITEMS, cwd=clone)
    assert status == 0 and "Running stage" not in said, said
    assert said.count("is cached - skipping run") == len(ITEMS)
    files, _, differing = torture.compare(clone, finished)
    only_here = {f"results/variants/{phase}/broken" for phase in ("student", "segmentation")}
    assert files > 2 * len(ITEMS) and set(differing) == only_here
