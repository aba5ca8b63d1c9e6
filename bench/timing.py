"""Stop-watches of the benchmark: interleaved repetitions, FLOP, matrix-multiply peak, memory.

A contender is a function run(count) that does its work `count` times.
"""

import resource
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lib.devices import bf16_is_faster, device


def synchronise():
    """Wait for the GPU, which works on after a call has returned."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(run, count=1):
    """Wall time of one of `count` units of work."""
    synchronise()
    start = time.perf_counter()
    run(count)
    synchronise()
    return (time.perf_counter() - start) / count


def interleave(contenders, repetitions, least=None):
    """{name: seconds of a unit in each repetition}: A B C A B C ..., so that drift hits all alike.

    A repetition takes about `least` seconds or one unit, judged by a run before, which also warms
    up; None: no such run, and one unit a repetition.
    """
    counts = dict.fromkeys(contenders, 1)
    if least is not None:
        counts = {name: max(1, round(least / seconds(run))) for name, run in contenders.items()}
    samples = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, run in contenders.items():
            samples[name].append(seconds(run, counts[name]))
    return samples


def stages(functions, value=None):
    """Seconds of each function. Each gets the result of the one before, the first gets `value`."""
    found = []
    for function in functions:
        synchronise()
        begin = time.perf_counter()
        value = function(value)
        synchronise()
        found.append(time.perf_counter() - begin)
    return found


def flop(run, count=1):
    """Floating-point operations of one of `count` units, in convolutions and matrix products.

    A multiply-add is two of them. Everything else is memory traffic and counts as none.
    """
    with FlopCounterMode(display=False) as counter:
        run(count)
    return counter.get_total_flops() / count


@contextmanager
def tf32(allowed):
    """Products of fp32 matrices in TF32 on a GPU, as its convolutions are anyway by default."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else before)
    yield
    torch.set_float32_matmul_precision(before)


def matmul_peaks(threads, repetitions=5, size=None):
    """{precision: FLOP/s of the best product of two large square matrices}: fp32, and bf16.

    bf16 only where the device has units for it. On a GPU fp32 is TF32, which is what the plain
    implementation's convolutions run in.
    """
    torch.set_num_threads(threads)
    gpu = torch.cuda.is_available()
    size, count = size or (8192 if gpu else 2048), 20 if gpu else 1
    kinds = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_is_faster() else {})
    peaks = {}
    for name, kind in kinds.items():
        a, b = torch.randn(2, size, size, device=device()).to(kind)
        with tf32(gpu):
            run = multiplications(a, b)
            run(1)
            best = min(seconds(run, count) for _ in range(repetitions))
        peaks[name] = 2 * size**3 / best
    return peaks


def multiplications(a, b):
    """The contender that multiplies two matrices."""

    def run(count):
        for _ in range(count):
            torch.mm(a, b)

    return run


def peak_memory(host=False):
    """Bytes: the most GPU memory of this process, or without a GPU its largest size.

    host: the process's in any case.
    Linux's own figure is preferred, because `ru_maxrss` of a child process begins with its
    parent's.
    """
    if torch.cuda.is_available() and not host:
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def spread(values):
    """Median, lowest and highest."""
    return float(np.median(values)), float(np.min(values)), float(np.max(values))


def ratios(slow, fast):
    """How many times `fast` is faster, repetition by repetition, as `spread`."""
    return spread(np.array(slow) / np.array(fast))


def exponent(sizes, times):
    """The p of time ~ size ** p that fits best."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
