"""`make bench`: how fast the study is beside a plain implementation, into reports/benchmark/.

Every section gives records (bench/tables.py); contenders take turns, so that whatever else the
machine does hits all of them.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
import yaml

from bench import cases, reference, tables
from bench.timing import (
    exponent,
    flop,
    interleave,
    matmul_peaks,
    peak_memory,
    ratios,
    spread,
    stages,
)
from lib.devices import bf16_is_faster, device, device_name, fix_arithmetic
from lib.fast.ahead import Ahead
from lib.fast.graph import Captured
from study.checkpoint import Checkpoint
from study.params import ROOT
from study.scoring import metrics

# The official code on two other CPU cores with bf16 support: fp32, 256x256, batch 4.
QUOTED = {"student": "2.1 images/s", "segmentation": "1.3 images/s"}
PHASES = {
    "paper": {  # task: {phase: {case: what its row says}}
        "student": {
            "student": "student step, rotated images",
            "student kept": "student step, images as they are",
        },
        "segmentation": {"segmentation": "segmentation step"},
    },
    "quick": {  # never rotated
        "student": {"student kept": "student step, quick profile"},
        "segmentation": {"segmentation": "segmentation step, quick profile"},
    },
}
ENOUGH = 20  # repetitions, for percentiles


def say(text):
    print(f"{time.monotonic() - START:4.0f} s  {text}", file=sys.stderr, flush=True)


def figures(name, samples):
    """Median and range as the columns of a record."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), spread(samples), strict=True))


def two_kinds(samples, slower, faster):
    """Columns of a row that has two kinds: seconds of either and their ratio."""
    found = ratios(samples[slower], samples[faster])
    ratio = dict(zip(("ratio", "ratio_low", "ratio_high"), found, strict=True))
    return figures(slower, samples[slower]) | figures(faster, samples[faster]) | ratio


def compared(ours, plain, images):
    """Columns of a row that has both sides: seconds, ratio and images/s."""
    found = two_kinds({"ours": ours, "plain": plain}, "plain", "ours")
    sides = {f"{side}_images_per_second": images / found[side] for side in ("ours", "plain")}
    return found | sides | {"images": images, "repetitions": len(ours)}


def auto():
    """What precision `auto` takes on this device."""
    return "bf16" if bf16_is_faster() else "fp32"


def steps(task, name, peaks):
    """Rows of the training steps of a task, with work, share of the peak and memory."""
    sizes, settings = task.sizes, task.settings
    threads = settings.arithmetic.threads
    precision = {"ours": auto(), "plain": "fp32"}
    batches = {"student": settings.students["full"], "segmentation": settings.segmentation}
    for phase, rows in PHASES[name].items():
        images, plain = batches[phase].batch_size, f"plain {phase}"
        builders = task.contenders()
        contenders = {case: builders[case]() for case in (*rows, plain)}
        torch.set_num_threads(threads)
        start = time.monotonic()
        count = 1 if name == "paper" else Ahead.MOST  # small batches pass frozen networks together
        work = {case: flop(run, count) for case, run in contenders.items()}  # and warms up
        taken = (time.monotonic() - start) / count / len(contenders)
        slow = taken > 2 * sizes.least and device().type == "cpu"  # one step is enough
        repetitions = sizes.repetitions if phase == "student" else sizes.few
        samples = interleave(contenders, repetitions, None if slow else sizes.least)
        memory = memories([f"{name} {case}" for case in contenders], sizes)
        for case, text in rows.items():
            row = {"section": "step", "row": f"{text}, {task.size}x{task.size}"}
            row |= {"threads": threads, "precision": precision["ours"]}
            row |= compared(samples[case], samples[plain], images)
            if name == "paper":
                row["quoted"] = QUOTED[phase]
            for side, here in (("ours", case), ("plain", plain)):
                speed = work[here] / row[side]
                row[f"{side}_flop_per_image"] = work[here] / images
                row[f"{side}_flop_per_second"] = speed
                row[f"{side}_peak_share"] = speed / peaks[threads][precision[side]]
                row[f"{side}_memory"] = memory[f"{name} {here}"]
            useful = work[plain] / row["ours"]
            row["useful_share"] = useful / peaks[threads][precision["ours"]]
            yield row
        say(f"{phase} steps, {name}")


def corruption(task, steps):
    """The row of corruption alone, beside the steps that were timed before."""
    sizes = task.sizes
    ours, plain = task.corruption()
    found = interleave({"ours": ours, "plain": plain}, sizes.repetitions, sizes.least / 4)
    row = {
        "section": "corruption",
        "row": f"corruption of {sizes.corrupted} images, {task.size}x{task.size}",
        "threads": sizes.threads,
    }
    row |= compared(found["ours"], found["plain"], sizes.corrupted)
    share = {}
    for step in steps:
        share[step["row"]] = row["ours"] / (step["ours"] * sizes.corrupted / step["images"])
    parts = "; ".join(f"{100 * part:.2g} % of our {name}" for name, part in share.items())
    text = f"of time for {sizes.corrupted} images: {parts}"
    if sizes.batch != sizes.corrupted:
        text += f" (extrapolated from steps of {sizes.batch} images)"
    say("corruption")
    return row | {"step_share": max(share.values()), "note": text}


def evaluation(sizes):
    """Rows of the evaluation: ours beside the plain one once, and how ours grows."""
    medians, rows = [], []
    for count in sizes.maps:
        scored = cases.scored_maps(count, sizes.size)
        results = {}
        contenders = {"ours": keeping(results, "ours", metrics.evaluate, *scored)}
        row = {
            "section": "evaluation",
            "row": f"evaluation of {count} maps, {sizes.size}x{sizes.size}",
            "threads": 1,
        }
        if count == sizes.maps[1]:
            options = {"thresholds": sizes.thresholds}
            contenders["plain"] = keeping(results, "plain", reference.evaluate, *scored, **options)
            found = interleave(contenders, sizes.few)
            row["note"] = agreement(**results, thresholds=sizes.thresholds)
            row |= compared(found["ours"], found["plain"], count)
        else:
            found = interleave(contenders, sizes.few if count < sizes.maps[1] else 1)
            row |= figures("ours", found["ours"])
            row |= {"images": count, "repetitions": len(found["ours"])}
            row["ours_images_per_second"] = count / row["ours"]
        row["ours_memory"] = memory_of(f"evaluation {count}", sizes)
        medians.append(row["ours"])
        rows.append(row)
        say(f"evaluation of {count} maps")
    pixels = np.array(sizes.maps, float) * sizes.size**2
    growth = exponent(pixels, medians), exponent(pixels, pixels * np.log(pixels))
    memory = (rows[-1]["ours_memory"] - rows[0]["ours_memory"]) / (pixels[-1] - pixels[0])
    text = "from {} to {} maps time grows as pixels^{:.2f} (n log n: pixels^{:.2f}), "
    text += "memory by {:.0f} bytes a pixel, the maps included"
    note = text.format(sizes.maps[0], sizes.maps[-1], *growth, memory)
    return [*rows[:-1], rows[-1] | {"note": note}]


def keeping(results, name, function, *arguments, **options):
    """run(count) that stores the function's result in `results`."""
    return cases.repeat(lambda: results.update({name: function(*arguments, **options)}))


def agreement(ours, plain, thresholds):
    """How far the two implementations' figures are apart."""
    apart = {name: abs(ours[name] - plain[name]) for name in plain}
    text = "the plain PRO takes {} thresholds and is {:.0e} off; the other five by {:.0e} at most"
    return text.format(thresholds, apart.pop("pro"), max(apart.values()))


@torch.inference_mode()
def inference(task):
    """Rows of inference: the networks alone, and everything from file to score."""
    sizes, contenders = task.sizes, dict(zip(("ours", "plain"), task.inference(), strict=True))
    for batch, repetitions in zip(sizes.batches, sizes.inferences, strict=True):
        files, samples = cases.files(batch, sizes.photo), {"ours": [], "plain": []}
        for turn in range(repetitions + (batch == sizes.batches[0])):
            for side, parts in contenders.items():
                taken = stages(parts, files)
                if turn or batch != sizes.batches[0]:  # the first of all warms up
                    samples[side].append(taken)
        times = {side: np.array(x) for side, x in samples.items()}
        views = {"networks": {side: x[:, 1] for side, x in times.items()}}
        views["from file to score"] = {side: x.sum(axis=1) for side, x in times.items()}
        for what, view in views.items():
            row = {"section": "inference", "row": f"inference, batch {batch}, {what}"}
            row |= {"threads": sizes.threads, "precision": "fp32"}
            row |= compared(view["ours"], view["plain"], batch)
            for side, x in view.items():
                if len(x) >= ENOUGH:
                    row |= {f"{side}_p{share}": np.percentile(x, share) for share in (95, 99)}
            yield row
        say(f"inference at batch {batch}")


def precisions(sizes):
    """Rows of our steps in fp32 and in bf16, beside the plain step, which is in fp32.

    Where bf16 is emulated, and slow, one turn with few images shows enough.
    """
    native, kinds = bf16_is_faster(), ("fp32", "bf16")
    sizes = sizes if native else replace(sizes, batch=2, least=0.0, few=1)
    tasks = {kind: cases.Task.paper(sizes, precision=kind) for kind in kinds}
    for case in ("student", "segmentation"):
        contenders = {kind: task.contenders()[case]() for kind, task in tasks.items()}
        contenders["plain"] = tasks["fp32"].contenders()[f"plain {case}"]()
        samples = interleave(contenders, sizes.few, sizes.least)
        row = {"section": "precision", "row": f"{case} step", "images": sizes.batch}
        row |= {"precision": auto(), "repetitions": sizes.few}
        row |= {"note": f"batch {sizes.batch}" + "; bf16 is emulated here" * (not native)}
        found = ratios(samples["plain"], samples["fp32"])
        row |= dict(zip(("fp32_ratio", "fp32_ratio_low", "fp32_ratio_high"), found, strict=True))
        yield row | two_kinds(samples, "fp32", "bf16")
    say("precisions")


def two_ways(task, section, ways):
    """Rows of our steps in two ways, which differ on a GPU only.

    ways: {name: what makes a context manager}, the slower first.
    """
    sizes = task.sizes
    for case in ("student", "segmentation"):
        row = {"section": section, "row": f"{case} step"}
        if not sizes.protocol:
            yield row | {"note": "not measured: it needs a GPU"}
            continue
        step = task.contenders()[case]()

        def run(count, way, step=step):
            with way():
                step(count)

        kinds = {name: partial(run, way=way) for name, way in ways.items()}
        samples = interleave(kinds, sizes.few, sizes.least)
        row |= {"images": sizes.batch, "repetitions": sizes.few, "precision": auto()}
        yield row | two_kinds(samples, *ways)
    say(section)


@contextmanager
def arithmetic(settings, deterministic):
    """The study's arithmetic with another `deterministic`."""
    threads = settings.arithmetic.threads
    fix_arithmetic(threads, deterministic)
    yield
    fix_arithmetic(threads, settings.arithmetic.deterministic)


def determinism(task):
    """Our steps with deterministic algorithms only, and with any."""
    ways = {"deterministic": True, "any": False}
    ways = {name: partial(arithmetic, task.settings, value) for name, value in ways.items()}
    return two_ways(task, "determinism", ways)


def captures(task):
    """Our steps with their kernels started one by one, and as one CUDA graph."""
    plain = partial(mock.patch.object, Captured, "PLAIN", 10**9)
    return two_ways(task, "capture", {"calls": plain, "graph": nullcontext})


def checkpoints(sizes):
    """Rows of the checkpoints, and which share of the time between two of them one takes."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    every = shipped["running"]["checkpoint_seconds"]
    task = cases.Task.paper(sizes, checkpoint_seconds=0.0)
    builders = task.contenders()
    for case in ("student", "segmentation"):
        taken = cases.checkpoints(builders[case], sizes.repetitions, task)
        row = {"section": "checkpoint", "row": f"{case} phase, one checkpoint"}
        row |= figures("ours", taken) | {"repetitions": len(taken)}
        pause = max(every, row["ours"] / Checkpoint.SHARE)
        share = f"{100 * row['ours'] / pause:.2g} % of the time of training"
        yield row | {"note": f"every {tables.number(pause, 2)} s: {share}"}
    say("checkpoints")


def start_up(sizes):
    """Rows of what an item costs before its first line: imports, and papermill around them."""
    (ROOT / "logs").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "logs") as folder:  # the runner takes notebooks of its own
        for what, contenders in cases.start_up(folder).items():
            samples = interleave(contenders, sizes.few)
            row = {"section": "start", "row": what, "repetitions": sizes.few}
            both = "plain" in samples
            yield row | (
                two_kinds(samples, "plain", "ours") if both else figures("ours", samples["ours"])
            )
    say("start-up")


def protocol(task):
    """The row of one category from the first step to the last metric."""
    row = {"section": "protocol", "row": "student, segmentation and evaluation"}
    if not task.sizes.protocol:
        return row | {"note": "not measured: it needs a GPU"}
    student, segmentation, tested = task.sizes.protocol
    parts = task.protocol(*task.sizes.protocol)
    text = "{} steps {:.1f} s, {} steps {:.1f} s, {} maps of both kinds {:.1f} s"
    counts = zip((student, segmentation, tested), parts, strict=True)
    note = text.format(*(x for pair in counts for x in pair))
    say("protocol")
    return row | figures("ours", [sum(parts)]) | {"repetitions": 1, "note": note}


def memories(cases, sizes):
    """{case: bytes}, several processes at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(cases, pool.map(lambda case: memory_of(case, sizes), cases), strict=True))


def memory_of(case, sizes):
    """Bytes at most in use by a case, in a process of its own where `sizes` says so."""
    if not sizes.apart:
        return peak_memory()
    command = [sys.executable, "-m", "bench.run", "--memory", case]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(result.stdout.split()[-1])


def measure_memory(case, sizes):
    """Run the case twice, as the optimiser's memory is there from the second step on."""
    name, case = case.split(" ", 1)
    if name == "evaluation":
        metrics.evaluate(*cases.scored_maps(int(case), sizes.size))
        return peak_memory(host=True)
    cases.TASKS[name](sizes).contenders()[case]()(2)
    return peak_memory()


def git(*arguments):
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def machine(sizes, peaks):
    """What the page says about the machine and the run."""
    commit = git("rev-parse", "HEAD") or "unknown"
    if git("status", "--porcelain", "lib", "study", "bench"):
        commit += ", with changes in lib, study or bench"
    names = {n: "" if torch.cuda.is_available() else f" with {n} thread" + "s" * (n > 1)
             for n in peaks}  # fmt: skip
    share = [f"{name} {flops / 1e9:.0f} GFLOP/s{names[threads]}"
             for threads, found in peaks.items() for name, flops in found.items()]  # fmt: skip
    return {
        "device": device_name(),
        "CPU": f"{os.cpu_count()} cores, {sizes.threads} threads used; the quick profile: 1",
        "torch": f"{torch.__version__}, Python {platform.python_version()}",
        "commit": commit,
        "matrix-multiply peak, measured": "; ".join(dict.fromkeys(share)),
        "precision `auto`": auto(),
    }


def measure(sizes, wanted=None):
    """Records section by section: yields all so far, and the facts of the machine.

    wanted: names of SECTIONS, all of them by default; the steps always come first, because other
    sections are compared with them.
    """
    counts = {1, sizes.threads} if device().type == "cpu" else {sizes.threads}
    peaks = {n: matmul_peaks(n, size=sizes.matrix) for n in sorted(counts)}
    peaks.setdefault(1, peaks[sizes.threads])
    say("matrix-multiply peak")
    task, records, facts = cases.Task.paper(sizes), [], machine(sizes, peaks)
    chosen = {"steps", *(wanted or SECTIONS)}
    for name in filter(chosen.__contains__, SECTIONS):
        records += SECTIONS[name](task, peaks, records)
        torch.set_num_threads(sizes.threads)
        yield records, facts
    say("all")


SECTIONS = {
    "steps": lambda task, peaks, _: steps(task, "paper", peaks),
    "quick": lambda task, peaks, _: steps(cases.Task.quick(task.sizes), "quick", peaks),
    "protocol": lambda task, *_: [protocol(task)],
    "captures": lambda task, *_: captures(task),
    "determinism": lambda task, *_: determinism(task),
    "corruption": lambda task, _, found: [corruption(task, [x for x in found if "quoted" in x])],
    "precisions": lambda task, *_: precisions(task.sizes),
    "checkpoints": lambda task, *_: checkpoints(task.sizes),
    "inference": lambda task, *_: inference(task),
    "evaluation": lambda task, *_: evaluation(task.sizes),
    "start": lambda task, *_: start_up(task.sizes),
}


def main(arguments=None):
    """Measure, and say where the page is; what is measured is written at once."""
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--full", action="store_true", help="evaluate 1,725 maps as well")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: tries the program")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="the steps and these sections")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmark")
    parser.add_argument("--memory", metavar="CASE", help="print a case's peak memory, no more")
    options = parser.parse_args(arguments)
    sizes = cases.choose(options.quick, options.full, options.tiny)
    if options.memory:
        return print(measure_memory(options.memory, sizes))
    for records, facts in measure(sizes, options.only):
        path = tables.write(options.out, records, facts)
    return print(path)


START = time.monotonic()
if __name__ == "__main__":
    main()
