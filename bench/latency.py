"""`make latency`: from image files to verdicts, torch beside ONNX Runtime, into reports/benchmark/.

    python -m bench.latency [CATEGORY] [--repetitions 40] [--note TEXT]

It needs a calibrated category and `make export`. Both sides read the same files of the category's
test split, decode them, score them and compare with the threshold, in turns in one process, with
all cores each. So the ratio means something on a busy machine, too; the seconds do not. Memory is
the peak of a process that does one side alone.
"""

import argparse
import json
import os
import subprocess
import sys
from itertools import cycle, islice

import numpy as np
import pandas as pd
import torch

from bench.tables import number, slug
from bench.timing import interleave, peak_memory, ratios
from lib.devices import device_name
from study import params, results
from study.data.images import read_image
from study.inspector import incoming, inspect, judge
from study.params import ROOT

BATCHES = (1, 32)
SIDES = ("torch", "onnxruntime")


def with_torch(settings, category, files):
    """A contender: the verdicts of `files` by the path of `make inspect`."""
    document, alpha = judge.read_calibration(settings, category)
    model = judge.load(settings, category, document)
    torch.set_num_threads(os.cpu_count())
    size, channels, cut = model.size, settings.dataset.channels, model.threshold(alpha)

    def run(count):
        for _ in range(count):
            read = [incoming.read(path, size, channels).pixels for path in files]
            verdicts = model.judge(np.stack(read))[1] > cut
        return verdicts

    return run


def with_onnxruntime(settings, category, files):
    """A contender: the verdicts of `files` by exported/<category>.onnx alone."""
    import onnxruntime

    document, alpha = judge.read_calibration(settings, category)
    path = results.ROOT / "exported" / f"{category}.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    if known["model_sha256"] != document["model"]:
        raise ValueError(f"{path} was exported from another model: run `make export`")
    cut = json.loads(known["score_thresholds"])[f"{alpha:g}"]
    channels = settings.dataset.channels

    def run(count):
        for _ in range(count):
            raw = [np.asarray(read_image(path, channels)) for path in files]
            images = np.stack(raw).reshape(len(raw), *raw[0].shape[:2], channels)
            verdicts = session.run(["score"], {"images": images})[0] > cut
        return verdicts

    return run


CONTENDERS = dict(zip(SIDES, (with_torch, with_onnxruntime), strict=True))


def chosen(settings, category, count):
    """`count` test files of one size, some of them several times if there are fewer."""
    _, files, _ = incoming.find(inspect.example(settings, category))
    sizes = [read_image(path, 1).size for path in files[:count]]
    same = [path for path, size in zip(files, sizes, strict=False) if size == sizes[0]]
    return list(islice(cycle(same), count))


def rows(settings, category, repetitions, memory):
    """A row for each batch and side; memory: a function (side, batch) that gives bytes."""
    for batch in BATCHES:
        files = chosen(settings, category, batch)
        runs = {side: make(settings, category, files) for side, make in CONTENDERS.items()}
        same = np.array_equal(*(run(1) for run in runs.values()))
        samples = interleave(runs, repetitions)
        faster = ratios(samples["torch"], samples["onnxruntime"])
        for side, seconds in samples.items():
            low, middle, high = np.percentile(seconds, (50, 95, 99))
            yield {
                "batch": batch, "by": side, "p50_ms": 1e3 * low, "p95_ms": 1e3 * middle,
                "p99_ms": 1e3 * high, "images_per_second": batch / low,
                "memory_mb": memory(side, batch) / 1e6,
                "times_as_fast": faster[0] if side == "onnxruntime" else 1.0,
                "verdicts": "identical" if same else "different",
            }  # fmt: skip


def page(frame, facts):
    """The Markdown page; facts: {what: text}."""
    table = frame.assign(**{c: frame[c].map(number) for c in frame.select_dtypes("float")})
    return (
        "\n\n".join(
            [
                "# From image file to verdict",
                "\n".join(f"- {what}: {text}" for what, text in facts.items()),
                "`make latency`: decode, resize, both maps and the Gaussian, the combined score, "
                "the verdict. The two take turns in one process. Compare the ratio, which is the "
                "median over the turns; the milliseconds depend on what else the machine does.",
                table.to_markdown(index=False, disable_numparse=True),
            ]
        )
        + "\n"
    )


def apart(category):
    """A function (side, batch) that gives the peak memory of a process of its own."""

    def memory(side, batch):
        command = [sys.executable, "-m", "bench.latency", category, "--memory", side, str(batch)]
        found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return int(found.stdout.split()[-1])

    return memory


def main(arguments=None):
    """Measure, and say where the page is."""
    parser = argparse.ArgumentParser(prog="bench.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("category", nargs="?")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--note", default="alone on the machine, as far as we know")
    parser.add_argument("--memory", nargs=2, metavar=("SIDE", "BATCH"))
    options, settings = parser.parse_args(arguments), params.load()
    category = options.category or settings.categories[0]
    if options.memory:
        side, batch = options.memory
        CONTENDERS[side](settings, category, chosen(settings, category, int(batch)))(2)
        return print(peak_memory(host=True))
    found = pd.DataFrame(rows(settings, category, options.repetitions, apart(category)))
    size = f"{settings.dataset.image_size}x{settings.dataset.image_size}"
    facts = {
        "device": device_name(), "study": f"{settings.study}, {category}, {size} pixels",
        "seeds combined": str(len(settings.seeds)), "repetitions": str(options.repetitions),
        "how": options.note, "torch": torch.__version__,
    }  # fmt: skip
    base = ROOT / "reports" / "benchmark" / f"latency-{slug(device_name())}"
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_suffix(".md").write_text(page(found, facts), encoding="utf-8")
    found.to_csv(base.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")
    return print(base.with_suffix(".md"))


if __name__ == "__main__":
    main()
