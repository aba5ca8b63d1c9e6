"""Progress: a line that updates in a terminal, plain lines in a log, and live curves.

A training prints fifty lines (`Steps`). study/notebook.py puts the item's name before them, `Study`
adds the time left of the study, and `Display` shows them. Nothing here changes a result, so no
stage depends on it.
"""

import csv
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path

from study.params import ROOT

LOGS = ROOT / "logs"
STEP = re.compile(r"step \d+/\d+, loss ")
STAGE = re.compile(r"^(Running stage|Stage) '([^']+)'")  # as DVC says it
# Stages whose notebook has another name, as logs/timings.csv has it.
NOTEBOOKS = {"heads": "segmentation"}


class Steps:
    """Reports a training on stderr, and to TensorBoard if `running.live_log` asks for it.

    Its clock starts when it is made. first: steps that an interrupted run had already done.
    """

    def __init__(self, name, steps, batch_size, live_log="none", first=0):
        self.name, self.steps, self.batch_size, self.first = name, steps, batch_size, first
        self.writer, self.start = live_writer(live_log, name), time.monotonic()

    def say(self, step, loss):
        """One line: step, loss, images per second, time left."""
        taken = max(time.monotonic() - self.start, 1e-9)
        speed = (step - self.first) * self.batch_size / taken
        left = (self.steps - step) * self.batch_size / speed
        line = f"{self.name} step {step}/{self.steps}, loss {loss:.4f}, {speed:.0f} images/s"
        updates = "STUDY_ITEM" not in os.environ and step < self.steps  # in JupyterLab
        end = "\r" if updates else "\n"
        print(f"{line}, {duration(left)} left", end=end, file=sys.stderr, flush=True)
        if self.writer:
            self.writer.add_scalar(f"loss/{self.name}", loss, step)
            self.writer.add_scalar(f"images a second/{self.name}", speed, step)
            self.writer.flush()


def live_writer(live_log, name):
    """None, or TensorBoard's writer to logs/live/<item>; ImportError if it is not installed."""
    if live_log == "none":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "live_log: tensorboard needs a package that is not installed: "
            "`pip install tensorboard`, or set running.live_log: none in params.yaml"
        ) from error
    return SummaryWriter(LOGS / "live" / os.environ.get("STUDY_ITEM", name))


def duration(seconds):
    """`15 s`, `4 min` or `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def log_times(root, lines):
    """Append lines `notebook,item,start,seconds` to logs/timings.csv in `root`."""
    log = root / "logs" / "timings.csv"
    log.parent.mkdir(exist_ok=True)
    header = [] if log.exists() else ["notebook,item,start,seconds"]
    with log.open("a", encoding="utf-8") as file:  # one write: other items may end now
        file.write("".join(f"{line}\n" for line in header + lines))


class Display:
    """Shows lines of several items. In a terminal, all trainings share the last line.

    Elsewhere, such as in a log, every line is printed. Threads may share one Display.
    """

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
        self.updates = self.stream.isatty()
        self.current, self.lock = {}, threading.Lock()

    def show(self, item, line, rest=""):
        """Show `item | line`; rest: text on the whole study, shown after the steps of its items."""
        steps, clear = STEP.search(line), "\r\x1b[K" if self.updates else ""
        with self.lock:
            if steps and self.updates:
                self.current[item] = line[steps.start() :]
                said = [f"{name}: {steps}" for name, steps in self.current.items()]
                status = " · ".join([*said, rest] if rest else said)
                width = shutil.get_terminal_size().columns - 1
                print(f"{clear}{status[:width]}", end="", file=self.stream, flush=True)
                return
            self.current.pop(item, None)
            text = f"{item} | {line}" if item else line
            text += f"; {rest}" if steps and rest else ""
            print(f"{clear}{text}", file=self.stream, flush=True)


class Study:
    """Shows the lines of several `dvc repro`, with the time left of all their stages.

    jobs: how many run side by side. Earlier runs in logs/timings.csv tell how long they take.
    """

    def __init__(self, stages, jobs):
        self.ahead, self.jobs = dict.fromkeys(stages), jobs  # {stage: when it began, or None}
        self.known, self.display = {}, Display()  # seconds by item, and by notebook
        log = LOGS / "timings.csv"
        for row in csv.DictReader(log.read_text("utf-8").splitlines() if log.exists() else ()):
            seconds = float(row["seconds"])
            self.known[row["item"]] = self.known[Path(row["notebook"]).stem] = seconds

    def line(self, text, running):
        """Show one line of output; `running`: the chain's stage so far. Returns the stage now."""
        if found := STAGE.search(text):
            self.ends(running)
            self.ends(found[2])
            running = found[2] if found[1] == "Running stage" else None
            if running:
                self.ahead[running] = time.monotonic()
        item, bar, said = text.rstrip("\n").partition(" | ")
        left = self.left()
        rest = f"whole study {duration(left)} left" if left is not None else ""
        self.display.show(item if bar else "", said if bar else item, rest)
        return running

    def ends(self, stage):
        """A stage, or None, is over or skipped; its time is the newest estimate of its kind."""
        if (start := self.ahead.pop(stage, None)) is not None:
            kind = stage.partition("@")[0]
            self.known[NOTEBOOKS.get(kind, kind)] = time.monotonic() - start

    def seconds(self, stage):
        """Seconds of this stage's last run, or of another stage of its kind; None without runs."""
        kind, _, key = stage.partition("@")
        kind = NOTEBOOKS.get(kind, kind)
        items = (f"{kind} {key}", f"{kind}-{key}", kind)
        return next((self.known[name] for name in items if name in self.known), None)

    def left(self):
        """Seconds, or None while some kind of stage has never run."""
        now, ahead = time.monotonic(), self.ahead.copy()  # other threads go on changing it
        needed = {stage: self.seconds(stage) for stage in ahead}
        if None in needed.values():
            return None
        begun = {stage: now - start for stage, start in ahead.items() if start is not None}
        done = sum(min(taken, needed[stage]) for stage, taken in begun.items())
        return (sum(needed.values()) - done) / self.jobs
