"""study.cluster without Dask: what is submitted, what a worker's clone gets, what a report says."""

import json
from typing import NamedTuple

import pytest
from test_grid import PARAMS

from study import cluster, grid, params

JOB = {"source": "/nowhere", "commit": "0123456789abcdef", "remote": "s3://store", "lock": ""}
JOB |= {"id": "id"}
STAGES = ["student@bottle-plain-0", "segmentation@bottle-plain-0"]
SAID = """Running stage 'student@bottle-plain-0':
student bottle-plain-0 | student plain step 1/2, loss 1.0000

student bottle-plain-0: notebooks/student.ipynb failed in cell [5], which begins 'x'
FloatingPointError: the loss is nan
The notebook up to there, with the traceback: failed/rendered/items/student/bottle-plain-0.ipynb
ERROR: failed to reproduce stages: 'student@bottle-plain-0', 'student@bottle-plain-1'
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone as git makes it."""
    clone = tmp_path / "clone"
    (clone / ".dvc").mkdir(parents=True)
    numbers = {
        "dataset": {"root": "data/mine"},
        "textures": {"root": "requirements.txt"},
        "teacher": {"weights": "downloads/weights.pth"},
    }
    (clone / "params.yaml").write_text(json.dumps(numbers))
    (clone / "requirements.txt").touch()
    monkeypatch.setattr(cluster, "ROOT", clone)
    return clone


class Client:
    """Takes what is submitted, and ends it in the order of its names."""

    def __init__(self, threads, failing=()):
        self.threads, self.failing, self.taken, self.ends = threads, failing, {}, []

    def nthreads(self):
        return {"worker": self.threads}

    def submit(self, function, chain, job, key, retries):
        assert function is cluster.place and job is JOB and retries == cluster.RETRIES
        assert key not in self.taken
        self.taken[key] = (chain, [*self.ends])
        return Future(key, tuple(chain), key in self.failing)


class Future(NamedTuple):
    key: str
    chain: tuple
    fails: bool

    def exception(self):
        return RuntimeError("a worker's fault") if self.fails else None

    def result(self):
        return {"failed": []}


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_every_training_runs_once_and_maps_follow_their_category(threads, monkeypatch):
    client, most = Client(threads), []
    monkeypatch.setattr(cluster, "ended", lambda open: most.append(len(open)) or {min(open)})
    for chain, _ in cluster.run(client, PARAMS, JOB):
        client.ends.append(chain)
    assert max(most) == max(1, threads)
    chains = [chain for chain, _ in client.taken.values()]
    assert [c for c in chains if not c[0].startswith("maps@")] == grid.chains(PARAMS)
    assert sorted(client.ends) == sorted(chains)
    for chain, ended in client.taken.values():
        if chain[0].startswith("maps@"):
            category = chain[0].partition("@")[2]
            assert all(c in ended for c in grid.chains(PARAMS) if f"@{category}-" in c[0])
    assert {f"maps@{category}" for category in PARAMS.categories} <= {c[0] for c in chains}


def test_maps_do_not_run_without_their_networks(monkeypatch):
    monkeypatch.setattr(cluster, "ended", lambda open: {*open})
    chain = grid.chains(PARAMS)[0]
    client, category = Client(2, failing={f"{chain[0]}-{JOB['id']}"}), PARAMS.categories[0]
    reports = {ended[0]: report for ended, report in cluster.run(client, PARAMS, JOB)}
    assert reports[chain[0]]["faults"] == [f"{chain[0]}: a worker's fault"]
    (fault,) = reports.pop(f"maps@{category}")["faults"]
    assert fault == f"maps@{category}: not run, because {chain[0]} failed"
    assert {*reports} == {taken[0] for taken, _ in client.taken.values()}


def test_a_clone_links_what_the_submitter_has_and_shares_checkpoints(clone, tmp_path):
    source = tmp_path / "head"
    (source / "data/mine").mkdir(parents=True)
    (source / "downloads").mkdir()
    (source / "downloads/weights.pth").touch()
    (source / "requirements.txt").touch()
    job = JOB | {"source": str(source), "remote": str(tmp_path / "store"), "lock": "stages: {}"}
    cluster.prepare(job)
    assert (clone / "data/mine").resolve() == source / "data/mine"
    assert (clone / "downloads/weights.pth").is_symlink()
    assert not (clone / "requirements.txt").is_symlink()
    assert (clone / ".checkpoints").resolve() == tmp_path / "store/checkpoints/0123456789ab"
    assert (clone / "dvc.lock").read_text() == "stages: {}"
    settings = (clone / ".dvc/config.local").read_text()
    assert f"url = {tmp_path / 'store'}\n" in settings and "verify = true" in settings


def test_a_clone_needs_no_shared_folder(clone):
    cluster.prepare(JOB)
    assert "url = s3://store\n" in (clone / ".dvc/config.local").read_text()
    assert not (clone / ".checkpoints").exists() and not (clone / "data").exists()


def test_a_report_names_the_failure_and_holds_its_notebook_and_all_times(clone, monkeypatch):
    evidence = clone / "failed/rendered/items/student/bottle-plain-0.ipynb"
    evidence.parent.mkdir(parents=True)
    (evidence.parent / "of-an-earlier-chain.ipynb").touch()
    asked = []

    def shown(*arguments):
        asked.append(arguments)
        evidence.write_text("a traceback")
        return (0, "") if "push" in arguments else (255, SAID)

    monkeypatch.setattr(cluster, "shown", shown)
    report = cluster.work(STAGES, JOB)
    assert report["failed"] == ["student@bottle-plain-0", "student@bottle-plain-1"]
    (fault,) = report["faults"]
    assert fault.startswith("student bottle-plain-0: notebooks") and "FloatingPointError" in fault
    assert report["notebooks"] == {evidence.relative_to(clone).as_posix(): "a traceback"}
    pull, push = (*grid.DVC, "pull", "check"), (*grid.DVC, "push", "--run-cache")
    assert asked == [pull, tuple(grid.command(STAGES)), push]
    report |= {"timings": ["student.ipynb,student bottle-plain-0,now,1.0"]}
    assert cluster.gather([(STAGES, report)], 1) == [fault]
    text = (clone / "logs/timings.csv").read_text()
    assert text == "notebook,item,start,seconds\nstudent.ipynb,student bottle-plain-0,now,1.0\n"


@pytest.mark.parametrize("command", ["repro", "push"])
def test_a_fault_that_is_no_items_is_for_dask_to_try_again(command, clone, monkeypatch):
    said = "ERROR: the remote is not there"
    monkeypatch.setattr(cluster, "shown", lambda *given: (int(command in given), said))
    with pytest.raises(RuntimeError, match=said):
        cluster.work(STAGES, JOB)


def test_dvc_lock_is_cut_to_some_stages(clone):
    """Its numbers stay as DVC wrote them: 1e-05 would be text to another reader of YAML."""
    entry = "    params:\n      params.yaml:\n        rate: 1e-05\n"
    lines = [f"  {name}:\n    cmd: {name}\n{entry}" for name in ("sources", "student@a", "maps@a")]
    (clone / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + "".join(lines))
    text = cluster.lock_of(lambda kind: kind in cluster.INPUTS)
    assert text == "schema: '2.0'\nstages:\n" + lines[0]


def test_the_kinds_of_stages_are_those_of_the_grid():
    kinds = {stage.partition("@")[0] for chain in grid.chains(PARAMS) for stage in chain}
    assert kinds | {"maps"} == cluster.PLACED
    stages = cluster.YAML(typ="safe").load(params.ROOT / "dvc.yaml")["stages"]
    assert stages.keys() > cluster.INPUTS | cluster.PLACED
