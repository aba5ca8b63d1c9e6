"""What the benchmark times: lib as the study calls it, and bench/reference.py on equal sizes.

Weights and images are random, which changes no time. A contender is a function run(count).
"""

import io
import json
import os
import subprocess
import sys
import time
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from pydantic import TypeAdapter

from bench import reference
from bench.timing import stages
from lib import inference, training
from lib.anomaly_map import image_score, resize
from lib.corruption import corrupt
from lib.devices import device, take, to_device
from lib.fast.graph import Captured
from lib.inference import anomaly_maps
from lib.networks import DeSTSeg, SegmentationNetwork, Student, input_channels, segmentation_input
from study import checkpoint, params
from study.checkpoint import Checkpoint, Keeper
from study.data.images import read_image, resized
from study.schema import set_keys
from study.scoring import metrics
from study.scoring.scores import full_size

AUGMENTED, STILL = "bottle", "capsule"  # categories of MVTec AD that are rotated, and that are not
TOP_PIXELS = 100
NOTEBOOK = {  # of one cell
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    },
    "cells": [
        {"cell_type": "code", "id": "only", "metadata": {"tags": ["parameters"]}}
        | {"source": "x = 1", "outputs": [], "execution_count": None}
    ],
}


@dataclass(frozen=True)
class Sizes:
    """How large and how often; the defaults are what `make bench` takes on a CPU."""

    threads: int = os.cpu_count()
    size: int = 256  # side of the images; networks as in the paper
    width: int = 64
    channels: int = 256
    batch: int = 4  # of a training step
    images: int = 32  # of the category
    corrupted: int = 32  # the batch that corruption alone is timed on
    maps: tuple = (40, 160, 640)  # test maps that are evaluated; the middle one against the plain
    batches: tuple = (1, 32)  # of inference
    photo: int = 1024  # side of the files that inference decodes
    least: float = 2.0  # seconds of a repetition
    repetitions: int = 5
    few: int = 3  # repetitions of what takes long
    inferences: tuple = (20, 2)  # repetitions for each of `batches`
    thresholds: int = 200  # of the plain PRO
    matrix: int | None = None  # side of the matrices of the peak; None: what fits the device
    apart: bool = True  # memory is measured in a process of its own
    protocol: tuple | None = None  # steps of both phases and test images, where a GPU is


SIZES = {
    "cpu": Sizes(),
    "gpu": Sizes(
        **{"threads": 8, "batch": 32, "images": 209, "inferences": (100, 6), "repetitions": 3},
        **{"least": 2.0, "few": 2, "protocol": (1000, 4000, 160)},
    ),
    "tiny": Sizes(  # for tests
        **{"threads": 1, "size": 64, "width": 8, "channels": 8, "batch": 2, "images": 4},
        **{"corrupted": 2, "maps": (2, 4, 8), "batches": (1, 2), "photo": 64, "least": 0.0},
        **{"repetitions": 2, "few": 1, "inferences": (2, 2), "thresholds": 20, "apart": False},
        matrix=64,
    ),
}


def choose(quick=False, full=False, tiny=False):
    """The sizes for this device; quick: few repetitions; full: as many maps as MVTec AD has."""
    sizes = SIZES["tiny" if tiny else device().type.replace("cuda", "gpu")]
    if quick:
        few = {"least": 0.3, "repetitions": 2, "few": 1, "inferences": (5, 1)}
        sizes = replace(sizes, maps=(*sizes.maps[:2], 2 * sizes.maps[1]), **few)
    if full:
        sizes = replace(sizes, maps=(*sizes.maps, 1725))
    return sizes


def profile(name, **changed):
    """profiles/<name>.yaml, so that it needs no files; changed: keys of `arithmetic` or `running`.

    Rates are small, because a random teacher gives no useful target. No checkpoints are written.
    """
    raw = yaml.safe_load((params.ROOT / f"profiles/{name}.yaml").read_text("utf-8"))
    changed = {"checkpoint_seconds": 1.0e9} | changed
    for key, value in changed.items():
        raw["running" if key in raw["running"] else "arithmetic"][key] = value
    raw["dataset"]["root"] = "."
    raw["textures"] |= {"source": "skimage", "root": "requirements.txt"}
    raw["teacher"]["weights"] = "random"
    for part in raw["students"].values():
        part["learning_rate"] = 1.0e-3
    raw["segmentation"] |= {"learning_rate_residual": 1.0e-3, "learning_rate_head": 1.0e-3}
    return TypeAdapter(params.Params).validate_json(json.dumps(params.inherited(raw)))


class Task:
    """One configuration with its data, and what is timed on it, ours beside the plain one."""

    def __init__(self, settings, sizes):
        self.sizes, self.size, self.settings = sizes, settings.dataset.image_size, settings
        rng = np.random.default_rng(0)
        shape = (self.size, self.size, settings.dataset.channels)
        self.images = rng.integers(0, 256, (sizes.images, *shape), np.uint8)
        self.textures = rng.integers(0, 256, (16, *shape), np.uint8)
        self.teacher = inference.make_teacher(settings)  # sets the number of threads
        full, head = settings.students["full"], settings.segmentation
        self.plain_teacher = reference.Teacher(settings.teacher.backbone)
        self.plain_student = reference.Student(self.plain_teacher.channels, width=full.width)
        self.plain_network = reference.SegmentationNetwork(
            sum(self.plain_teacher.channels), head.channels
        )
        self.plain = [self.plain_teacher, self.plain_student, self.plain_network]
        for network in self.plain:
            network.to(device())

    @classmethod
    def paper(cls, sizes, **changed):
        """The paper's sizes, with as large a batch as `sizes` says."""
        settings = profile("paper", threads=sizes.threads, **changed)
        full = replace(settings.students["full"], width=sizes.width, batch_size=sizes.batch)
        head = replace(settings.segmentation, channels=sizes.channels, batch_size=sizes.batch)
        students = settings.students | {"full": full}
        data = replace(settings.dataset, image_size=sizes.size)
        return cls(replace(settings, students=students, segmentation=head, dataset=data), sizes)

    @classmethod
    def quick(cls, sizes):
        """The quick profile as it is: one thread, small images and networks."""
        return cls(profile("quick"), sizes)

    def contenders(self):
        """{case: what builds its run(count)}: the steps of training."""
        return {
            "student": self.student,
            "student kept": lambda: self.student(STILL),
            "plain student": self.plain_student_phase,
            "segmentation": self.segmentation,
            "plain segmentation": self.plain_segmentation_phase,
        }

    def student(self, category=AUGMENTED):
        """Phase 1 in lib's own loop; in the category STILL the teacher's answers are kept."""
        arguments = self.images, self.textures, self.settings, category, "full", 0
        return loop_of(training.train_student, self.teacher, *arguments)

    def segmentation(self, category=AUGMENTED):
        """Phase 2 in lib's own loop."""
        student = self.new_student()
        arguments = self.images, self.textures, self.settings, category, 0
        return loop_of(training.train_segmentation, self.teacher, student, *arguments)

    def plain_student_phase(self):
        step = reference.student_step(*self.plain, rate=1e-3)
        return repeat(step, *self.ready_batch(self.settings.students["full"].batch_size))

    def plain_segmentation_phase(self):
        step = reference.segmentation_step(*self.plain, rates=(1e-3, 1e-3))
        return repeat(step, *self.ready_batch(self.settings.segmentation.batch_size))

    def ready_batch(self, count):
        """Tensors (normal, corrupted, mask): the plain step is not charged for making them."""
        shape = count, self.settings.dataset.channels, self.size, self.size
        normal, corrupted = torch.rand(2, *shape, device=device())
        return normal, corrupted, (torch.rand_like(normal[:, :1]) > 0.95).float()

    def new_student(self):
        """lib's student, untrained, as training leaves it."""
        full = self.settings.students["full"]
        student = Student(self.teacher.channels, full.encoder_decoder, full.width)
        return student.to(device(), memory_format=torch.channels_last).eval()

    def corruption(self):
        """(ours, plain) of one batch of `sizes.corrupted` images."""
        count = self.sizes.corrupted
        images = np.resize(self.images, (count, *self.images.shape[1:]))
        generator, rng = torch.Generator(device()).manual_seed(0), np.random.default_rng(0)
        normal, textures = to_device(images) / 255, to_device(self.textures)
        settings = set_keys(self.settings.corruption)

        def plain():
            for tensor in reference.corrupted_batch(images, self.textures, rng):
                tensor.to(device())

        ours = partial(corrupt, normal, textures, generator, **settings)
        if device().type == "cuda":
            ours = Captured(ours, generator)  # as in training
        return repeat(ours), repeat(plain)

    def inference(self):
        """(ours, plain): each is (pre-processing, networks, post-processing), to run in this order.

        From the bytes of files to the map at full size and the image score, on the host.
        """
        teacher, student, size = self.teacher, self.new_student(), self.size
        network = SegmentationNetwork(input_channels(teacher.channels), self.sizes.channels)
        network = network.to(device(), memory_format=torch.channels_last).eval()

        def read(files):
            images = (read_image(io.BytesIO(file), 3) for file in files)
            images = to_device(np.stack([resized(image, size) for image in images]))
            rows = torch.arange(len(images), device=device())
            return teacher.normalise(take(images, rows))

        def score(maps):
            maps = resize(maps, (size, size))[:, 0]
            return maps.cpu(), image_score(maps, TOP_PIXELS).cpu()

        def networks(seen):
            return network(segmentation_input(teacher(seen), student(seen)))

        plain_teacher, plain_student, plain_network = (x.eval() for x in self.plain)

        def plain_read(files):
            images = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
            images = [np.array(image.resize((size, size), 2)) / 255 for image in images]
            images = torch.tensor(np.stack(images), dtype=torch.float32).permute(0, 3, 1, 2)
            return plain_teacher.normalise(images.to(device()))

        def plain_networks(seen):
            return plain_network(reference.level_products(plain_teacher(seen), plain_student(seen)))

        def plain_score(maps):
            maps = F.interpolate(maps, size=(size, size), mode="bilinear")[:, 0].cpu().numpy()
            return maps, [np.sort(x.ravel())[-TOP_PIXELS:].mean() for x in maps]

        return (read, networks, score), (plain_read, plain_networks, plain_score)

    def protocol(self, student_steps, segmentation_steps, tested):
        """Seconds of the parts of the whole protocol for one category, after a short warm-up."""
        short = with_steps(self.settings, 2, 2)
        whole = with_steps(self.settings, student_steps, segmentation_steps)
        data = self.images, self.textures
        images = np.resize(self.images, (tested, *self.images.shape[1:]))
        _, masks, _, labels = scored_maps(tested, self.size)

        def train(_, chosen=whole):
            return training.train_student(self.teacher, *data, chosen, AUGMENTED, "full", 0)[0]

        def learn(student, chosen=whole):
            arguments = self.teacher, student, *data, chosen, AUGMENTED, 0
            return student, training.train_segmentation(*arguments)[0]

        def evaluate(networks):
            for maps in anomaly_maps(DeSTSeg(self.teacher, *networks), images):
                maps = full_size(maps, self.size)
                scores = image_score(torch.from_numpy(maps), TOP_PIXELS).numpy()
                metrics.evaluate(maps, masks, scores, labels)

        with redirect_stderr(io.StringIO()):
            evaluate(learn(train(None, short), short))
            return stages((train, learn, evaluate))


def with_steps(settings, student, segmentation):
    """Settings with so many steps of the two phases."""
    students = settings.students | {"full": replace(settings.students["full"], steps=student)}
    return replace(
        settings, students=students, segmentation=replace(settings.segmentation, steps=segmentation)
    )


TASKS = {"paper": Task.paper, "quick": Task.quick}


def loop_of(train, *arguments):
    """run(count): `count` steps of the real loop of `train`, whose preparations are over.

    A mock records the arguments that `train` gives to lib.training.optimise; `run` uses them.
    """
    held = []
    with mock.patch.object(training, "optimise", lambda *x: held.append(x) or []):
        train(*arguments)
    step_loss, network, groups, settings, *rest = held[0]
    groups = [(list(parameters), rate) for parameters, rate in groups]  # iterators serve once

    def run(count, keeper=training.NO_KEEPER):
        *others, _ = rest
        now = replace(settings, steps=count)
        training.optimise(step_loss, network.train(), groups, now, *others, keeper)

    return run


def checkpoints(build, count, task):
    """Seconds of each of `count` checkpoints, one after each step of `build()`'s loop."""
    save, taken = Checkpoint.save, []

    def timed(self, state):
        start = time.perf_counter()
        save(self, state)
        taken.append(time.perf_counter() - start)

    decides = task.teacher, task.images, task.textures
    with (
        TemporaryDirectory() as folder,
        mock.patch.object(checkpoint, "FOLDER", Path(folder)),
        mock.patch.object(Checkpoint, "save", timed),
        redirect_stderr(io.StringIO()),
    ):
        build()(count, Keeper(task.settings, "benchmark", AUGMENTED, 0, *decides))
    return taken


def start_up(folder):
    """{what: {side: run(count)}}: new processes that import, or run a notebook of one cell."""

    def started(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return repeat(subprocess.run, command, cwd=params.ROOT, check=True, capture_output=True)

    found = {"imports of a training": {"ours": started("-c", "import lib.training")}}
    if find_spec("papermill"):  # a machine that only times steps may lack it
        empty, output = Path(folder) / "start-up.ipynb", Path(folder) / "executed.ipynb"
        empty.write_text(json.dumps(NOTEBOOK))
        found["a notebook of one cell"] = {
            "ours": started("-m", "study.notebook", empty, output),
            "plain": started("-m", "papermill", empty, output),
        }
    return found


def repeat(function, *arguments, **options):
    """run(count) of a function."""

    def run(count):
        for _ in range(count):
            function(*arguments, **options)

    return run


def files(count, side):
    """Bytes of `count` PNG files: smooth pictures with a little noise, as photographs compress."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        picture = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), int)
        picture = picture + rng.integers(-4, 5, picture.shape)
        with io.BytesIO() as file:
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(file, "PNG")
            found.append(file.getvalue())
    return found


def scored_maps(count, size):
    """(maps float32 (N, S, S), masks bool, image scores, labels), as a trained network gives them.

    Three quarters of the images are defective, with one or more regions each.
    """
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 4 > 0).astype(int)
    blobs = torch.from_numpy(rng.random((count, 1, 8, 8), np.float32))
    masks = (resize(blobs, (size, size))[:, 0].numpy() > 0.85) & (labels[:, None, None] > 0)
    masks[labels > 0, size // 2, size // 2] = True  # no defective image without a defect
    noise = torch.from_numpy(rng.random((count, 1, size // 4, size // 4), np.float32))
    hint = resize(torch.from_numpy(masks).float().unsqueeze(1), noise.shape[-2:])
    maps = resize(torch.sigmoid(3 * noise + 2 * hint - 3), (size, size))[:, 0]
    return maps.numpy(), masks, image_score(maps, TOP_PIXELS).numpy(), labels
