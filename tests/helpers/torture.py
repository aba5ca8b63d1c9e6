"""Kill the real pipeline at random moments, go on each time, and compare with an undisturbed run.

    python tests/helpers/torture.py [--kills N] [--seed N] [--reference FOLDER] [--report FILE]

`dvc repro` of params.yaml runs in a temporary copy of the repository. In turn the notebook's
kernel, papermill's process (python -m study.notebook) and dvc get SIGKILL, and `dvc repro` is
started again at once. --reference: a checkout with a finished, undisturbed run of the same code and
parameters on this machine; without it, that run is made first, and both save each second.
"""

import argparse
import filecmp
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml
from clones import ROOT, change, copy_of_repository, environment, git

VICTIMS = {"kernel": "study/kernel.py", "papermill": "study.notebook", "dvc": "dvc"}
PATIENCE = 1800  # seconds without a kill or an end: it hangs


@dataclass
class Kill:
    """One kill: what was hit, where, and what became of it."""

    victim: str
    seconds: float  # after the start of `dvc repro`
    stage: str
    step: str
    finished: dict  # what dvc.lock said was finished: {path: its entry}
    family: list  # processes that ran at this moment
    faults: list = field(default_factory=list)
    then: str = "not reached"


class Leg:
    """One `dvc repro`, from its start to a kill or to its end."""

    def __init__(self, clone, *arguments):
        self.clone, self.started, self.log = clone, time.monotonic(), clone.parent / "torture.log"
        command = [sys.executable, "-m", "dvc", *arguments]
        with self.log.open("wb") as log:
            self.run = subprocess.Popen(
                command, cwd=clone, env=environment(), stdout=log, stderr=subprocess.STDOUT
            )

    def text(self):
        return self.log.read_text("utf-8", errors="replace")

    def seconds(self):
        return time.monotonic() - self.started

    def processes(self):
        """All processes of this run, dvc first."""
        with suppress(psutil.Error):
            root = psutil.Process(self.run.pid)
            return [root, *root.children(recursive=True)]
        return []

    def killed(self, victim, moment):
        """Kill `victim` at `moment`: the Kill, or None where the run ended before.

        moment: seconds after the start, or a text that the run says first.
        """
        while self.run.poll() is None:
            time.sleep(0.02)
            said = isinstance(moment, str) and moment in self.text()
            if said or (not isinstance(moment, str) and self.seconds() >= moment):
                family = self.processes()
                name = VICTIMS[victim]
                found = [p for p in family if any(x.endswith(name) for x in command_of(p))]
                if found:
                    finished = recorded(self.clone)
                    found[0].kill()
                    stage, step = position(self.text())
                    self.run.wait()
                    return Kill(victim, self.seconds(), stage, step, finished, family)
            if self.seconds() > PATIENCE:
                self.run.kill()
                raise TimeoutError(f"no end and no {victim}:\n{self.text()[-2000:]}")
        return None

    def finish(self):
        """Wait for the end; its exit status."""
        return self.run.wait(timeout=None)


def command_of(process):
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def position(log):
    """(stage, step/steps) that a run was at when it stopped to log."""
    before, _, rest = log.rpartition("Running stage '")
    steps = re.findall(r"\| .* step (\d+/\d+),", rest)
    return (rest.split("'")[0], steps[-1] if steps else "") if before else ("", "")


def recorded(clone):
    """{path: entry} of the outputs that dvc.lock calls finished; ValueError for half a file."""
    lock = clone / "dvc.lock"
    if not lock.exists():
        return {}
    try:
        stages = yaml.load(lock.read_text(), Loader=yaml.CSafeLoader)["stages"]
        return {out["path"]: out for stage in stages.values() for out in stage.get("outs", ())}
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise ValueError(f"dvc.lock is no whole file: {error}") from None


def lost(clone, finished):
    """Bytes of finished outputs that are neither in DVC's cache nor where they belong."""
    return sum(out["size"] for path, out in finished.items() if not held(clone, path, out["md5"]))


def held(clone, path, md5):
    cached = clone / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    if md5.endswith(".dir"):
        parts = json.loads(cached.read_text()) if cached.is_file() else [{"md5": "none.dir"}]
        return all(held(clone, f"{path}/{part.get('relpath')}", part["md5"]) for part in parts)
    places = (place for place in (cached, clone / path) if place.is_file())
    return any(hashlib.md5(place.read_bytes()).hexdigest() == md5 for place in places)


def moments(kills, seconds, seed):
    """Seconds from each start to its kill: the kills lie uniformly over a run of `seconds`."""
    points = np.sort(np.random.default_rng(seed).uniform(0, seconds, kills))
    return np.diff(points, prepend=0).tolist()


def torture(clone, targets, schedule, seed=0):
    """Run the pipeline in `clone` with a kill at each moment: (Kills, judged; logs of all runs).

    Where everything is finished before its last kill, a random training is forced to run again.
    """
    rng, kills, logs, command = np.random.default_rng(seed), [], [], ["repro", *targets]
    for index, moment in enumerate(schedule):
        victim, kill = list(VICTIMS)[index % 3], None
        while kill is None:
            leg = Leg(clone, *command)
            kill = leg.killed(victim, moment)
            logs.append(leg.text())
            judge(clone, kills, leg if kill is None else None)
            if kill is None:
                command = ["repro", "-f", "-s", rng.choice(trainings(clone))]
                moment = rng.uniform(0, 10)
        command = ["repro", *targets]
        kills.append(kill)
        say(f"kill {len(kills)}: {kill.victim} in {kill.stage} {kill.step}")
    leg = Leg(clone, *command)
    leg.finish()
    logs.append(leg.text())
    judge(clone, kills, leg)
    for number, kill in enumerate(kills):
        kill.then = aftermath(kill, "".join(logs[number + 1 :]))
    return kills, logs


def judge(clone, kills, ended):
    """Note what went wrong after the last kill; ended: the leg that came to its end by itself."""
    if not kills:
        return
    last = kills[-1]
    if ended and ended.run.returncode:
        last.faults.append(f"the next run failed: {ended.text().strip().splitlines()[-1]}")
        raise SystemExit(f"{last}\n{ended.text()[-3000:]}")
    if bytes_lost := lost(clone, last.finished):
        last.faults.append(f"{bytes_lost} bytes of finished results lost")
    _, alive = psutil.wait_procs(last.family, timeout=10)
    last.faults += [f"still runs: {' '.join(command_of(orphan))}" for orphan in alive]


def trainings(clone):
    stages = yaml.load((clone / "dvc.lock").read_text(), Loader=yaml.CSafeLoader)["stages"]
    return [name for name in stages if name.startswith(("student@", "segmentation@"))]


def aftermath(kill, log):
    """In words: how the killed stage came to its end in the runs after the kill."""
    waited = " (waited for the one left over)" if "another process is running it" in log else ""
    stage = re.escape(kill.stage)
    runs = re.findall(rf"Running stage '{stage}'(.*?)(?=Running stage '|\Z)", log, re.DOTALL)
    if resumed := re.search(r"resuming after step (\d+)", "".join(runs)):
        return f"resumed after step {resumed[1]}{waited}"
    if runs:
        return f"ran from its start{waited}"
    skipped = re.search(rf"Stage '{stage}' (.*)", log)
    return skipped[1].replace(" - skipping run, checking out outputs", "") if skipped else ""


def compare(clone, reference):
    """Every output of the run with the reference's, byte for byte: (files, bytes, differing)."""
    files = []
    for path in recorded(clone):
        whole = clone / path
        files += [whole] if whole.is_file() else [p for p in whole.rglob("*") if p.is_file()]
    names = [path.relative_to(clone) for path in files]
    differing = [
        str(name)
        for name in names
        if not (reference / name).is_file()
        or not filecmp.cmp(clone / name, reference / name, shallow=False)
    ]
    return len(names), sum(path.stat().st_size for path in files), differing


def check_reference(clone, reference):
    """Refuse a reference that other code or parameters made."""
    for name in git(
        "ls-files", "lib", "study", "notebooks", "dvc.yaml", "params.yaml", cwd=clone
    ).split():
        if not (reference / name).is_file() or not filecmp.cmp(clone / name, reference / name):
            sys.exit(f"error: {reference} is no run of this code and parameters: {name} differs")


def seconds_of(reference):
    """How long the run of the reference took, an item after the other."""
    timings = pd.read_csv(reference / "logs" / "timings.csv")
    return timings.drop_duplicates("item", keep="last").seconds.sum()


def survived(kills, differing):
    return 0 if differing else sum(not kill.faults for kill in kills)


def report(kills, compared, seed):
    """The page: one line that counts, one that compares, and a row for each kill."""
    files, size, differing = compared
    gone = sum(kill.faults != [] for kill in kills)
    same = f"all {files} outputs ({size / 1e6:.1f} MB: weights, maps, tables, figures, notebooks)"
    lines = [
        "# Killed and resumed",
        f"`python tests/helpers/torture.py --kills {len(kills)} --seed {seed}`: SIGKILL of the "
        "kernel, of papermill's process and of dvc in turn, then `dvc repro` at once.",
        f"**survived {survived(kills, differing)} of {len(kills)}**; after the last, "
        + (f"{len(differing)} outputs differ from" if differing else f"{same} equal")
        + " those of an undisturbed run, bit for bit; "
        + ("some results were lost or orphans ran on." if gone else "0 bytes of finished results "
           "were lost, and no process outlived its run."),
    ]  # fmt: skip
    rows = ["| kill | killed | after | in stage | at step | then |", "|---|---|---|---|---|---|"]
    for number, kill in enumerate(kills, 1):
        cells = (number, kill.victim, f"{kill.seconds:.1f} s", kill.stage, kill.step)
        then = "; ".join([kill.then, *kill.faults])
        rows.append(f"| {' | '.join(map(str, cells))} | {then} |")
    return "\n\n".join([*lines, "\n".join(rows)]) + "\n"


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path, help="a checkout with a finished run")
    parser.add_argument("--report", type=Path, default=ROOT / "reports" / "torture.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        clone = copy_of_repository(Path(folder) / "killed" / "study")
        reference = options.reference
        if reference is None:
            reference = copy_of_repository(Path(folder) / "undisturbed" / "study")
            for checkout in (clone, reference):  # or most kills come before a training's first save
                change(checkout, running__checkpoint_seconds=1.0)
            say("the undisturbed run comes first")
            if Leg(reference, "repro").finish():
                sys.exit("error: the undisturbed run failed: run `dvc repro` and see")
        check_reference(clone, reference)
        schedule = moments(options.kills, 0.9 * seconds_of(reference), options.seed)
        kills, _ = torture(clone, [], schedule, options.seed)
        compared = compare(clone, reference)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(report(kills, compared, options.seed), encoding="utf-8")
    print(f"survived {survived(kills, compared[2])} of {len(kills)}; {options.report}")
    return survived(kills, compared[2]) < len(kills)


if __name__ == "__main__":
    os.environ.pop("STUDY_ITEM", None)
    sys.exit(main())
