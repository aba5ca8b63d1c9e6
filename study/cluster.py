"""The grid on many machines: Dask places the chains, DVC carries the results (docs/cluster.md).

    python -m study.cluster SCHEDULER [--remote REMOTE] [--source SOURCE]

Pushes what the trainings read to the DVC remote, submits each chain of study/grid.py and then each
category's maps to a Dask scheduler, and says what failed. A worker clones SOURCE at the commit that
is checked out here. `dvc repro --pull` then takes all results from the remote; nothing trains.
"""

import argparse
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path

from study.files import end_with_parent

if __name__ == "__main__" and sys.argv[1:] == ["work"]:
    end_with_parent()  # first of all: what follows takes a second

from ruamel.yaml import YAML

from study import grid, params
from study.params import ROOT
from study.progress import log_times
from study.schema import ELPV

COMMITTED = ("lib", "study", "notebooks", "dvc.yaml", "params.yaml")  # what decides a result
INPUTS = {"sources", "check", "elpv", "dataset", "textures"}  # stages that run before submission
PLACED = {"student", "segmentation", "heads", "maps"}  # stages that workers run
PATIENCE = 5  # seconds until new workers are looked for
RETRIES = 2  # of a chain whose worker could not clone, pull or push
FAULT = re.compile(r"^[^\n|]+: notebooks/.*? failed .*?^The notebook up to there.*?$", re.M | re.S)
HTTP = "http remotes cannot hold DVC's run-cache; name a folder, or a URL of ssh or s3"


# --- on a worker ---


def place(chain, job):
    """Run a chain in a clone that this worker keeps, and return the report of `work`.

    Raises RuntimeError where git, the remote or DVC itself fails: Dask then tries again. Dask sends
    this function's code, so that the worker runs no code of the study but the commit's.
    """
    from dask import config
    from distributed import get_worker

    # Dask's numbers of threads; `arithmetic.threads` is the study's.
    dasks = config.get("distributed.nanny.pre-spawn-environ")
    inherited = {name: value for name, value in os.environ.items() if name not in dasks}

    def run(*command, cwd=None, text=None, **pipes):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = inherited | {"PATH": path, "PYTHONPATH": str(cwd), "GIT_TERMINAL_PROMPT": "0"}
        done = subprocess.run(
            command, cwd=cwd, env=variables, input=text, stdout=subprocess.PIPE, text=True, **pipes
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:3])}: {done.stdout.strip()}")
        return done.stdout

    thread = threading.get_ident()  # a worker's threads share no clone
    clone = Path(get_worker().local_directory, f"{job['id']}-{thread}")
    both = {"stderr": subprocess.STDOUT}
    if not clone.exists():
        run("git", "clone", "-q", "--no-checkout", job["source"], str(clone), **both)
    run("git", "-C", str(clone), "checkout", "-q", "--detach", job["commit"], **both)
    text = json.dumps({"chain": list(chain), "job": job})
    return json.loads(run(sys.executable, "-m", "study.cluster", "work", cwd=clone, text=text))


def work(chain, job):
    """In the clone: run a chain, then push what it finished, even if an item failed.

    Returns {"failed": stages, "faults": what they said, "notebooks": {path: text} with their
    tracebacks, "timings": lines of logs/timings.csv}. Raises RuntimeError if DVC or the remote
    failed and no item did.
    """
    if not (ROOT / ".dvc/config.local").exists():
        prepare(job)
        shown(*grid.DVC, "pull", "check")  # `repro --pull` fails at its second file of a folder
    log = ROOT / "logs" / "timings.csv"
    for path in [log, *ROOT.glob("failed/**/*.ipynb")]:  # of an earlier chain
        path.unlink(missing_ok=True)
    status, said = shown(*grid.command(chain))
    unpushed, why = shown(*grid.DVC, "push", "--run-cache")
    ends = [line for line in said.splitlines() if "failed to reproduce" in line]
    failed = re.findall(r"'([^' ]+)'", ends[-1]) if status and ends else []
    if unpushed or (status and not failed):
        raise RuntimeError((why if unpushed else said).strip()[-2000:])
    return {
        "failed": failed,
        "faults": FAULT.findall(said),
        "notebooks": {
            path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
            for path in ROOT.glob("failed/**/*.ipynb")
        },
        "timings": log.read_text("utf-8").splitlines()[1:] if log.exists() else [],
    }


def prepare(job):
    """Make a new clone ready: dvc.lock of the inputs, links to their files, the remote.

    If the remote is a folder, checkpoints lie in it, and another worker can resume a training.
    """
    (ROOT / "dvc.lock").write_text(job["lock"], encoding="utf-8")
    if "://" not in job["remote"]:
        shared = Path(job["remote"], "checkpoints", job["commit"][:12])
        shared.mkdir(parents=True, exist_ok=True)
        if not (ROOT / ".checkpoints").exists():
            (ROOT / ".checkpoints").symlink_to(shared)
    settings = YAML(typ="safe").load(ROOT / "params.yaml")
    images, textures = settings["dataset"]["root"], settings["textures"]["root"]
    for path in {images, textures, settings["teacher"]["weights"]} - {ELPV}:
        theirs, ours = Path(job["source"], path), ROOT / path
        if theirs.exists() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs.resolve())
    (ROOT / ".dvc/config.local").write_text(  # last: it marks the clone as ready
        f"[core]\n    remote = cluster\n['remote \"cluster\"']\n    url = {job['remote']}\n"
        "    verify = true\n"  # DVC hashes what it pulls and refuses incomplete objects
    )


def shown(*arguments):
    """Run python and copy its output to stderr: (exit status, output). It ends with us."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command, said = [sys.executable, *arguments], []
    with subprocess.Popen(
        command, **pipes, cwd=ROOT, errors="replace", preexec_fn=end_with_parent
    ) as run:
        for line in run.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            said.append(line)
    return run.returncode, "".join(said)


# --- where the grid is submitted ---


def git(*arguments):
    """Its output. Raises CalledProcessError; git itself has said why."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def dvc(*arguments):
    """Raises CalledProcessError; DVC itself has said why."""
    subprocess.run([sys.executable, *grid.DVC, *arguments], cwd=ROOT, check=True)


def new_job(remote, source, categories):
    """What all chains share, once the remote has their inputs: {source, commit, remote, lock, id}.

    Raises ValueError for uncommitted code or parameters, and for no remote or one of http.
    """
    if changed := git("status", "--porcelain", "--", *COMMITTED):
        names = ", ".join(line.split()[-1] for line in changed.splitlines())
        raise ValueError(f"commit {names} first: workers run a commit, not the working tree")
    url = remote or default_remote()
    if url.startswith("http"):
        raise ValueError(f"{url}: {HTTP}")
    if remote:
        url = remote if "://" in remote else str(Path(remote).resolve())
        dvc("remote", "add", "--local", "-f", "-d", "cluster", url)
        dvc("remote", "modify", "--local", "cluster", "verify", "true")
    datasets = (f"dataset@{category}" for category in categories)
    dvc("push", "--run-cache", "sources", "check", "textures", *datasets)
    lock = lock_of(lambda kind: kind in INPUTS)
    commit = git("rev-parse", "HEAD").strip()
    job = {"source": source, "commit": commit, "remote": url, "lock": lock}
    return job | {"id": hashlib.sha256(json.dumps(job).encode()).hexdigest()[:12]}


def default_remote():
    """URL of the repository's default DVC remote; ValueError without one."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repository:
        if not (name := repository.config["core"].get("remote")):
            raise ValueError("no DVC remote: name a shared folder or a URL with REMOTE=...")
        return str(repository.config["remote"][name]["url"])


def lock_of(kept):
    """Text of dvc.lock with only some kinds of stages, such as `student`."""
    yaml, text = YAML(), io.StringIO()
    content = yaml.load(ROOT / "dvc.lock")
    stages = content["stages"]
    content["stages"] = {name: stages[name] for name in stages if kept(name.partition("@")[0])}
    yaml.dump(content, text)
    return text.getvalue()


def label(chain):
    """`bottle-full` for the chain of student@bottle-full-0, `bottle-maps` for maps@bottle."""
    kind, _, item = chain[0].partition("@")
    return f"{item}-maps" if kind == "maps" else item.rpartition("-")[0]


def ended(futures):
    """Those of the futures that have ended, after a few seconds at most."""
    from distributed import wait

    try:
        return wait(list(futures), timeout=PATIENCE, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        return set()


def run(client, settings, job):
    """Run all chains, then each category's maps; yield (chain, report) as they end.

    A chain is submitted when a thread of a worker is free, the longest first. Dask would give each
    worker two chains at once, and one worker may idle while the other still has a chain to begin.
    """
    waiting, running, failed = grid.chains(settings), {}, defaultdict(list)
    left = Counter(label(chain).partition("-")[0] for chain in waiting)
    while waiting or running:
        for _ in range(max(1, sum(client.nthreads().values())) - len(running)):
            if waiting:
                chain = waiting.pop(0)
                # To Dask, the same key is the same task, so no chain runs twice at the same time.
                key = f"{chain[0]}-{job['id']}"
                running[client.submit(place, chain, job, key=key, retries=RETRIES)] = chain
        for future in ended(running):
            chain = running.pop(future)
            error, category = future.exception(), label(chain).partition("-")[0]
            report = not_run(chain, error) if error else future.result()
            yield chain, report
            failed[category] += report["failed"]
            left[category] -= 1
            if left[category] == 0:
                maps = [f"maps@{category}"]
                if failed[category]:
                    yield maps, not_run(maps, f"not run, because {failed[category][0]} failed")
                else:
                    waiting.insert(0, maps)


def not_run(chain, why):
    """The report of a chain that no worker ran."""
    return {"failed": chain, "faults": [f"{chain[0]}: {why}"], "notebooks": {}, "timings": []}


def gather(ends, total):
    """Wait for all; keep notebooks of failures in failed/, and times in logs/timings.csv.

    Returns what went wrong.
    """
    wrong = []
    for number, (chain, report) in enumerate(ends, 1):
        for path, text in report["notebooks"].items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text, encoding="utf-8")
        log_times(ROOT, report["timings"])
        wrong += report["faults"] or report["failed"]
        outcome = f"failed: {', '.join(report['failed'])}" if report["failed"] else "finished"
        print(f"{number} of {total} | {label(chain)} {outcome}", flush=True)
    return wrong


def main(arguments):
    """The command line; returns the exit status."""
    if arguments == ["work"]:
        try:
            print(json.dumps(work(**json.load(sys.stdin))))
        except (RuntimeError, OSError) as error:
            print(error)  # on stdout: stderr is the worker's log
            return 1
        return 0
    parser = argparse.ArgumentParser("python -m study.cluster", description=__doc__.split("\n")[0])
    parser.add_argument("scheduler", help="tcp://host:port")
    parser.add_argument("--remote", default="", help="folder or URL; becomes the default remote")
    parser.add_argument("--source", default=str(ROOT), help="what workers clone; default: here")
    options = parser.parse_args(arguments)
    try:
        from distributed import Client

        settings = params.load()
        job = new_job(options.remote, options.source, settings.categories)
        with Client(options.scheduler, timeout=30) as client:
            total = len(grid.chains(settings)) + len(settings.categories)
            wrong = gather(run(client, settings, job), total)
        if not wrong:  # entries of earlier runs, whose files may lie elsewhere, would train again
            lock = lock_of(lambda kind: kind not in PLACED)
            (ROOT / "dvc.lock").write_text(lock, encoding="utf-8")
    except ImportError as error:
        sys.exit(f"error: {error}: pip install -r requirements-cluster.txt")
    except (RuntimeError, ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
    if wrong:
        print("", *wrong, "", sep="\n", file=sys.stderr)
        print("Fix the cause, commit and submit again. Finished items do not run again.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
