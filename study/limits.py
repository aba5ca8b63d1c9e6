"""Check that something fits in memory before hours of work go into it."""

import resource
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")


def free():
    """Bytes that this process can still use: by the machine, its control groups and `ulimit -v`."""
    left = [psutil.virtual_memory().available, *_of_groups()]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        left.append(limit - psutil.Process().memory_info().vms)
    return min(left)


def check_memory(needed, what):
    """Raise MemoryError unless `needed` bytes are free; `what` says what they are for."""
    if needed > (left := free()):
        raise MemoryError(
            f"{what}: needs {needed / 1e9:.2f} GB of memory, {left / 1e9:.2f} GB are free; lower "
            "dataset.image_size, run fewer items side by side (make study JOBS=1), or use a "
            "larger machine"
        )


def _of_groups():
    """Free bytes of each control group (version 2), from the process's own up to the root."""
    try:
        own = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    except OSError:
        own = ""
    for folder in (GROUPS / own, *(GROUPS / own).parents):
        try:
            limit, used = (int((folder / f"memory.{x}").read_text()) for x in ("max", "current"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # no such file, or no limit: "max"
            continue
        yield limit - used + int(stat["inactive_file"])  # files in memory make room
