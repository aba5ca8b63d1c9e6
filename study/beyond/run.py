"""Train and score what profiles/beyond.yaml declares; one process, row by row, resumable.

    python -m study.beyond.run [--profile FILE] [--out FOLDER] [--only NAME ...]

These are not stages of DVC, because each answer compares a dozen small networks on the same
student. So what takes time in a stage (a kernel, libraries, the frozen networks' features of the
held-out images) is shared here, and a run can stop after any row. The profile is a complete
params.yaml all the same: copied to params.yaml, `make study` trains its variants as stages.

FOLDER (reports/beyond) gets, for every row that is not there yet:
- variants.csv: the figures of the last step by split and benchmark. `elpv` has the real defects,
  `elpv_drawn` drawn ones, `elpv_seen` the corruption of the training on held-out good images.
- curve.csv: the same at POINTS points of training, of the headline student's heads in WATCHED.
- tops.csv: image AUROC of these heads for several T of the image score.
- scores-<category>.csv: the score of every held-out image, for intervals over images.
Rows with seed `all` score the mean of the seeds' maps. Weights and maps go to results/beyond.
"""

import argparse
import subprocess
import time
from dataclasses import replace
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lib import training
from lib.anomaly_map import cosine_map
from lib.corruption import corrupt
from lib.devices import device, device_name, take, to_device
from lib.inference import in_batches, make_teacher
from lib.networks import Student, segmentation_input
from study import params, trained
from study.beyond import ledger
from study.beyond.ledger import FOLDER, PROFILE, TRAINING
from study.data.category import Category
from study.data.mvtec import load_category
from study.data.textures import load_textures
from study.files import whole
from study.scoring.scores import score_item
from study.variants import averaging, declared, equality

POINTS = 10
WATCHED = ("method", "ema", "constant", "constant_ema")
TOPS = (10, 30, 100, 200, 400, 1000, 3000)


class Images(NamedTuple):
    """The images of a category."""

    train: np.ndarray
    held: Category
    seen: Category  # the held-out good ones, beside a copy of each that the paper corrupts


def read(settings, category, textures):
    """The `Images` of a category; a copy in which no texture shows is left out."""
    data = load_category(settings.dataset, category)
    held = data.held_out()
    good = held.select(held.labels == 0)
    generator = torch.Generator(device()).manual_seed(0)
    clean = take(to_device(good.images), torch.arange(len(good.images), device=device()))
    plain = {k: v for k, v in vars(settings.corruption).items() if k != "sources"}
    images, masks = corrupt(clean, to_device(textures), generator, **plain)
    images = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    masks, labels = masks[:, 0].cpu().numpy() > 0, np.ones_like(good.labels)
    copies = replace(good, images=images, masks=masks, labels=labels)
    copies = vars(copies.select(masks.any(axis=(1, 2)))).items()
    both = {k: np.r_[getattr(good, k), v] for k, v in copies if isinstance(v, np.ndarray)}
    seen = replace(good, benchmark=f"{held.benchmark}_seen", **both)
    return Images(data.training_images(), held, seen)


def readings(z, settings):
    """{map: (N, h, w)} of a network's last values z: its P(anomalous), and -log P(normal)."""
    z = torch.from_numpy(z)
    if settings.activation == "bump":
        surprise = equality.surprise(z, settings.sigma)
        return {"segmentation": (-torch.expm1(-surprise)).numpy(), "log": surprise.numpy()}
    return {"segmentation": z.sigmoid().numpy(), "log": torch.nn.functional.softplus(z).numpy()}


class Look(training.Keeper):
    """Calls `look(step, network)` at `points` equidistant steps; with the average if it is kept."""

    def __init__(self, points, look):
        self.points, self.look = points, look

    def begin(self, settings, parts):
        self.due = {round(settings.steps * k / self.points) for k in range(1, self.points + 1)}
        return super().begin(settings, parts)

    def after(self, step, history, parts):
        if step in self.due:
            network = parts["average"].module if "average" in parts else parts["network"].eval()
            self.look(step, network)
            parts["network"].train()


@torch.no_grad()
def levels(teacher, student, images):
    """(teacher's levels, student's levels) of each batch of uint8 images (N, S, S, C)."""
    for batch in in_batches(images, 32):
        seen = teacher.normalise(batch)
        yield teacher(seen), student(seen)


@torch.no_grad()
def last_values(network, inputs):
    """Values of a segmentation network before its last unit, (N, h, w)."""
    return torch.cat([network.logits(batch)[:, 0].cpu() for batch in inputs]).numpy()


class Run:
    """Trainings on one profile; what a student shares among its heads is computed once."""

    def __init__(self, settings, out):
        self.settings, self.out = settings, out
        self.folder = params.ROOT / "results" / out.name
        self.teacher = make_teacher(settings)
        size, channels = settings.dataset.image_size, settings.dataset.channels
        self.textures = load_textures(settings.textures, size, channels)
        self.images = {c: read(settings, c, self.textures) for c in settings.categories}
        self.student = lru_cache(maxsize=1)(self.student)  # its heads come one after another
        self.features = lru_cache(maxsize=2)(self.features)

    def student(self, category, name, seed):
        """The trained student; loaded where it was trained before."""
        folder = self.folder / "student" / category / f"{name}-{seed}"
        if not (folder / "weights.pt").exists():
            method, chosen = declared.student(self.settings, name)
            data = self.teacher, self.images[category].train, self.textures, chosen, category
            network, history = training.train_student(*data, name, seed, method=method)
            trained.save(folder, network, network.shape, history)
        return trained.load(folder, Student)

    def features(self, category, name, seed, kind):
        """Inputs of the segmentation network for all held-out images, and the cosine maps."""
        shown, cosine, student = [], [], self.student(category, name, seed)
        images = np.concatenate([part.images for part in self.images[category][1:]])
        for pair in levels(self.teacher, student, images):
            shown.append(segmentation_input(*pair, kind))
            cosine.append(cosine_map(*pair)[:, 0].cpu())
        return shown, torch.cat(cosine).numpy()

    def head(self, category, name, head, seed):
        """Train and score one head of a student."""
        item = dict(zip(TRAINING, (category, name, head, seed), strict=True))
        method, chosen = declared.segmentation(self.settings, name, head)
        settings, train, curve = method.settings, self.images[category].train, []
        student = self.student(category, name, seed)
        shown, cosine = self.features(category, name, seed, settings.input)
        start = time.monotonic()

        def look(step, network):
            maps = readings(last_values(network, shown), settings)["segmentation"]
            curve.extend(self.rows(maps, item | {"step": step, "map": "segmentation"})[0])

        watched = name == self.settings.headline and head in WATCHED
        keeper = Look(POINTS, look) if watched else training.Keeper()
        network, _ = training.train_segmentation(
            *(self.teacher, student, train, self.textures, chosen, category, seed),
            *(settings, averaging.keep(keeper, settings), method),
        )
        z = last_values(network, shown)
        maps = {"cosine": cosine} if head == "method" else {}
        maps |= readings(z, settings)
        if watched:
            ledger.add("curve", self.out, curve)
            ledger.add("tops", self.out, self.by_top(maps["segmentation"], item))
        self.finish(item, maps, time.monotonic() - start)
        path = self.saved(**item)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, z)

    def saved(self, category, student, head, seed):
        """Where the last values of a head are kept."""
        return self.folder / "maps" / category / f"{student}-{head}-{seed}.npy"

    def rows(self, maps, item):
        """(rows of figures, image scores of the held-out images) of stride-4 maps (N, h, w)."""
        _, held, seen = self.images[item["category"]]
        here, there = np.split(maps, [len(held.images)])
        rows, scores, _ = score_item(held, here, item, self.settings, resample=False)
        more, *_ = score_item(seen, there, item, self.settings, resample=False)
        return rows + more, scores

    def by_top(self, maps, item):
        """Rows of the image AUROC on real defects for each T of TOPS."""
        held = self.images[item["category"]].held
        held = replace(held, has_mask=held.labels == 0)  # no pixel metrics
        for top in TOPS:
            data = held, maps[: len(held.images)], item | {"top_pixels": top}
            rows, *_ = score_item(*data, self.settings, resample=False)
            yield from (row for row in rows if row["real_defects"])

    def finish(self, item, maps, seconds):
        """Rows and image scores of an item's maps, written at once."""
        rows, held = [], self.images[item["category"]].held
        path = self.out / f"scores-{item['category']}.csv"
        kinds = np.where(held.labels == 0, "good", np.where(held.drawn, "drawn", "real"))
        facts = {"name": held.names, "split": held.splits, "kind": kinds, "label": held.labels}
        table = (pd.read_csv(path) if path.exists() else pd.DataFrame(facts)).set_index("name")
        facts = item | {"seconds": round(seconds, 1), "commit": commit()}
        for kind, found in maps.items():
            more, scores = self.rows(found, facts | {"map": kind})
            rows += more
            table["{student}/{head}/{seed}/{kind}".format(**item, kind=kind)] = pd.Series(
                scores, held.names
            )
        with whole(path) as partial:
            table.to_csv(partial, float_format="%.6g")
        ledger.add("variants", self.out, rows)
        best = next(r for r in rows if r["split"] == "test" and r["map"] == "segmentation")
        print(f"{facts} test image AUROC {best['image_auroc']:.4f}", flush=True)

    def ensemble(self, category, name, head):
        """Score the mean of the seeds' maps, once every seed is there."""
        rows = [row for row in order(self.settings) if row[:3] == (category, name, head)]
        paths = [self.saved(*row) for row in rows]
        key = category, name, head, "all"
        if ledger.has("variants", self.out, key) or not all(path.exists() for path in paths):
            return
        found = [readings(np.load(path), self.settings.head(head)) for path in paths]
        maps = {kind: np.mean([one[kind] for one in found], axis=0) for kind in found[0]}
        self.finish(dict(zip(TRAINING, key, strict=True)), maps, 0.0)


def order(settings, only=()):
    """(category, student, head, seed): seeds in the outer loop, so that a run that is cut off has
    complete comparisons.

    Every row uses `head_seeds`. The method and the bumps, whose figures vary most, use all `seeds`.
    only: heads of the headline student, and other students; empty for all.
    """
    rows = [(settings.headline, head, head) for head in ("method", *settings.heads)]
    rows += [(name, "method", name) for name in settings.students if name != settings.headline]
    for seed, category in product(settings.seeds, settings.categories):
        for student, head, name in rows:
            often = name == "method" or settings.head(head).activation == "bump"
            if (often or seed in settings.head_seeds) and (not only or name in only):
                yield category, student, head, seed


@cache
def commit():
    """The commit that runs, marked where the working tree differs from it at the start."""
    command = ["git", "-C", str(params.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main(arguments=None):
    about = __doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog="study.beyond.run", description=about)
    parser.add_argument("--profile", default=PROFILE, type=Path)
    parser.add_argument("--out", default=FOLDER, type=Path, help="where the tables go")
    parser.add_argument("--only", nargs="*", default=[], help="students and heads; default: all")
    chosen = parser.parse_args(arguments)
    settings = params.load(chosen.profile)
    print(f"commit {commit()}, torch {torch.__version__}, {device_name()}")
    run = Run(settings, chosen.out)
    for row in order(settings, chosen.only):
        if not ledger.has("variants", chosen.out, row):
            run.head(*row)
        run.ensemble(*row[:3])


if __name__ == "__main__":
    main()
