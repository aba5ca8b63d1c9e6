"""After an interruption: no half-written file, no second run of one item, no orphan process."""

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # disk, quota, `ulimit -f`


@contextmanager
def whole(path):
    """Gives a path to write to, which replaces `path` at the end: whole or not at all.

    Write a file there, or make a folder. The folder above `path` is made. If the disk is full, it
    raises an OSError that says so.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")  # numpy and Pillow look at the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # a folder that a killed run left
        yield partial
        if partial.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(
            error.errno, f"no space left to write {path}; free some and run again"
        ) from error
    finally:
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


@contextmanager
def alone(lock, item):
    """Hold the file `lock`; first wait for a process that a killed run left running `item`."""
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{item} | another process is running it; waiting until it ends", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def end_with_parent():
    """Ask Linux for SIGTERM when the parent, dvc, dies, so that no orphan keeps training.

    Call it before slow imports, because it does not notice a parent that died earlier.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
