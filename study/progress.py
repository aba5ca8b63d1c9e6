"""Progress: a line that updates in a terminal, plain lines in a log, and live curves.

A training prints fifty lines (`Steps`). study/notebook.py puts the item's name before them,
study/grid.py adds the time left of the study, and `Display` shows them. Nothing here changes a
result, so no stage depends on it.
"""

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
        updates = "STUDY_ITEM" not in os.environ and step < self.steps  # by hand, in JupyterLab
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
        text = f"{item} | {line}" if item else line
        with self.lock:
            if not (found := STEP.search(line)):
                self.current.pop(item, None)
                return self._print(text)
            if not self.updates:
                return self._print(f"{text}; {rest}" if rest else text)
            self.current[item] = line[found.start() :]
            said = [f"{name}: {steps}" for name, steps in self.current.items()]
            status = " · ".join([*said, rest] if rest else said)
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{status[:width]}", end="", file=self.stream, flush=True)

    def _print(self, text):
        clear = "\r\x1b[K" if self.updates else ""
        print(f"{clear}{text}", file=self.stream, flush=True)


class Study:
    """Time left of stages that run `jobs` side by side, from the times of similar stages.

    timings: [(notebook, item, seconds)] of earlier runs, as in logs/timings.csv.
    """

    def __init__(self, stages, timings, jobs):
        self.waiting, self.running, self.jobs = dict.fromkeys(stages), {}, jobs
        self.known = {}  # seconds by item, and by notebook
        for notebook, item, seconds in timings:
            self.known[item] = self.known[Path(notebook).stem] = seconds

    def seconds(self, stage):
        """Seconds of this stage's last run, or of another stage of its kind; None without runs."""
        kind, _, key = stage.partition("@")
        kind = NOTEBOOKS.get(kind, kind)
        items = (f"{kind} {key}", f"{kind}-{key}", kind)
        return next((self.known[name] for name in items if name in self.known), None)

    def begins(self, stage, now):
        """The stage is running now."""
        self.waiting.pop(stage, None)
        self.running[stage] = now

    def ends(self, stage, now):
        """The stage has finished or was skipped; its time is the newest estimate of its kind."""
        self.waiting.pop(stage, None)
        if (start := self.running.pop(stage, None)) is not None:
            kind = stage.partition("@")[0]
            self.known[NOTEBOOKS.get(kind, kind)] = now - start

    def left(self, now):
        """Seconds, or None while some kind of stage has never run."""
        ahead = {stage: self.seconds(stage) for stage in (*self.waiting, *self.running)}
        if None in ahead.values():
            return None
        begun = sum(min(now - start, ahead[stage]) for stage, start in self.running.items())
        return (sum(ahead.values()) - begun) / self.jobs
