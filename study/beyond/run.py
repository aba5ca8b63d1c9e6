"""Train and score what profiles/beyond.yaml declares; one process, row by row, resumable.

    python -m study.beyond.run [--out FOLDER] [--seconds S] [--seeds N ...] [--only NAME ...]

Why not stages of DVC: each answer compares a dozen small networks on the same student, so what
takes time in a stage (a kernel, libraries, the frozen networks' features of the held-out images) is
shared here, and a run can stop after any row. The profile is a complete params.yaml all the same:
copied to params.yaml, `make study` trains its variants as stages.

FOLDER (reports/beyond) gets, for every row that is not there yet:
- variants.csv: the figures of the last step by split and benchmark. `elpv` has the real defects,
  `elpv_drawn` drawn ones, `elpv_seen` the corruption of the training on held-out good images.
- curve.csv: the same at POINTS points of training, of the headline student's heads in WATCHED.
- tops.csv: image AUROC of these heads for several T of the image score.
- scores-<category>.csv: the score of every held-out image, for intervals over images.
- run.md: commit, device, seeds and budget.
Rows with seed `all` score the mean of the seeds' maps. Weights and maps go to results/beyond.
"""

import argparse
import subprocess
import time
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import training
from lib.anomaly_map import cosine_map, image_score
from lib.corruption import corrupt
from lib.devices import device, device_name, take, to_device
from lib.inference import in_batches, make_teacher
from lib.networks import Student, segmentation_input
from study import params, trained
from study.beyond import averaging, equality, variants
from study.beyond.ledger import Rows
from study.data.mvtec import load_category
from study.data.textures import load_textures
from study.scoring import metrics
from study.scoring.scores import full_size

OUT = params.ROOT / "reports/beyond"
POINTS = 10
WATCHED = ("method", "ema", "constant", "constant_ema")
TOPS = (10, 30, 100, 200, 400, 1000, 3000)
KEYS = ["category", "student", "head", "seed"]


class Held:
    """The held-out images of a category, with a copy of the good ones that the paper corrupts."""

    def __init__(self, settings, category, textures):
        data = load_category(settings.dataset, category)
        self.train, held = data.training_images(), data.held_out()
        good = held.select(held.labels == 0)
        generator = torch.Generator(device()).manual_seed(0)
        clean = take(to_device(good.images), torch.arange(len(good.images), device=device()))
        plain = {k: v for k, v in vars(settings.corruption).items() if k != "sources"}
        spoilt, where = corrupt(clean, to_device(textures), generator, **plain)
        spoilt = (spoilt * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        where = where[:, 0].cpu().numpy() > 0
        self.images = np.concatenate([held.images, spoilt])
        self.masks = np.concatenate([held.masks, where])
        self.splits = np.concatenate([held.splits, good.splits])
        self.labels = np.concatenate([held.labels, where.any(axis=(1, 2)).astype(np.uint8)])
        kinds = np.where(held.labels == 0, "good", np.where(held.drawn, "drawn", "real"))
        self.kinds = np.concatenate([kinds, np.full(len(spoilt), "seen")])
        self.names = np.concatenate([held.names, np.char.add(good.names, "+seen")])
        self.has_mask = bool(held.has_mask[held.labels == 1][~held.drawn[held.labels == 1]].all())
        self.benchmark = held.benchmark

    def subsets(self):
        """(split, benchmark, which images, whether there are masks) of every row."""
        ends = {"real": "", "drawn": "_drawn", "seen": "_seen"}
        for split in ("validation", "test"):
            for kind, end in ends.items():
                chosen = (self.splits == split) & np.isin(self.kinds, ("good", kind))
                chosen &= (self.kinds == "good") | (self.labels == 1)
                if chosen.any() and len(set(self.labels[chosen])) == 2:
                    yield split, self.benchmark + end, chosen, kind != "real" or self.has_mask

    def rows(self, maps, evaluation, item):
        """(rows of figures, image scores (N,)) of stride-4 maps (N, h, w)."""
        maps, rows = full_size(maps, self.masks.shape[-1]), []
        scores = image_score(torch.from_numpy(maps), evaluation.top_pixels).numpy()
        limits = {"fpr_limit": evaluation.fpr_limit, "recall": evaluation.recall}
        for split, benchmark, chosen, masked in self.subsets():
            masks = self.masks[chosen] if masked else None
            data = maps[chosen], masks, scores[chosen], self.labels[chosen]
            row = item | {"split": split, "benchmark": benchmark}
            rows.append(row | metrics.evaluate(*data, **limits))
        return rows, scores

    def tops(self, maps, item):
        """Image AUROC on real defects for each T of TOPS."""
        maps = torch.from_numpy(full_size(maps, self.masks.shape[-1]))
        for top in TOPS:
            scores = image_score(maps, top).numpy()
            for split, benchmark, chosen, _ in self.subsets():
                if benchmark == self.benchmark:
                    found = metrics.image_auroc(scores[chosen], self.labels[chosen])
                    yield item | {"split": split, "top_pixels": top, "image_auroc": found}


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
            network = parts["average"].network if "average" in parts else parts["network"].eval()
            self.look(step, network)
            parts["network"].train()


class Run:
    """One category at a time; what a student shares among its heads is computed once."""

    def __init__(self, settings, out, deadline):
        self.settings, self.out, self.deadline = settings, out, deadline
        self.folder = params.ROOT / "results" / out.name
        out.mkdir(parents=True, exist_ok=True)
        self.teacher = make_teacher(settings)
        size, channels = settings.dataset.image_size, settings.dataset.channels
        self.textures = load_textures(settings.textures, size, channels)
        self.table = Rows(out / "variants.csv", KEYS)
        self.curve, self.tops = Rows(out / "curve.csv", KEYS), Rows(out / "tops.csv", KEYS)
        self.held = {}

    def data(self, category):
        if category not in self.held:
            self.held[category] = Held(self.settings, category, self.textures)
        return self.held[category]

    def student(self, category, name, seed):
        """The trained student; loaded where it was trained before."""
        folder = self.folder / "student" / category / f"{name}-{seed}"
        if not (folder / "weights.pt").exists():
            method, chosen = variants.student(self.settings, name)
            data = self.teacher, self.data(category).train, self.textures, chosen, category
            network, history = training.train_student(*data, name, seed, method=method)
            trained.save(folder, network, network.shape, history)
        return trained.load(folder, Student)

    @torch.no_grad()
    def features(self, category, student, kind):
        """Inputs of the segmentation network for all held-out images, and the cosine maps."""
        shown, cosine = [], []
        for batch in in_batches(self.data(category).images, 32):
            seen = self.teacher.normalise(batch)
            levels = self.teacher(seen), student(seen)
            shown.append(segmentation_input(*levels, kind))
            cosine.append(cosine_map(*levels)[:, 0].cpu())
        return shown, torch.cat(cosine).numpy()

    def heads(self, category, name, seed, heads):
        """Train and score these heads on a student, as far as the time allows."""
        student = self.student(category, name, seed)
        inputs, held = {}, self.data(category)
        for head in heads:
            key = category, name, head, seed
            if self.table.has(*key) or time.monotonic() > self.deadline:
                continue
            method, chosen = variants.segmentation(self.settings, name, head)
            kind, item = method.settings.input, dict(zip(KEYS, key, strict=True))
            if kind not in inputs:
                inputs[kind], cosine = self.features(category, student, kind)
            curve, start = [], time.monotonic()

            @torch.no_grad()
            def last_values(network, shown=inputs[kind]):
                found = [network.logits(levels)[:, 0].cpu() for levels in shown]
                return torch.cat(found).numpy()

            def look(step, network, item=item, settings=method.settings, curve=curve):
                maps = readings(last_values(network), settings)["segmentation"]
                seen = item | {"step": step, "map": "segmentation"}
                curve += held.rows(maps, self.settings.evaluation, seen)[0]

            watched = name == self.settings.headline and head in WATCHED
            keeper = Look(POINTS, look) if watched else training.Keeper()
            network, _ = training.train_segmentation(
                *(self.teacher, student, held.train, self.textures, chosen, category, seed),
                *(method.settings, averaging.keep(keeper, method.settings), method),
            )
            z = last_values(network)
            maps = readings(z, method.settings)
            if head == "method":
                maps = {"cosine": cosine} | maps
            if watched:
                self.curve.add(curve)
                self.tops.add([*held.tops(maps["segmentation"], item)])
            facts = {"seconds": round(time.monotonic() - start, 1), "commit": commit()}
            self.finish(held, item | facts, maps)
            self.keep(category, f"{name}-{head}-{seed}", z)

    def finish(self, held, item, maps):
        """Rows and image scores of an item's maps, written at once."""
        rows, scores = [], {}
        for kind, found in maps.items():
            more, image_scores = held.rows(found, self.settings.evaluation, item | {"map": kind})
            rows += more
            scores["/".join([*(str(item[k]) for k in KEYS[1:]), kind])] = image_scores
        path = self.out / f"scores-{item['category']}.csv"
        facts = {"name": held.names, "split": held.splits, "kind": held.kinds}
        facts |= {"label": held.labels}
        before = pd.read_csv(path) if path.exists() else pd.DataFrame(facts)
        others = before.drop(columns=scores, errors="ignore")
        both = pd.concat([others, pd.DataFrame(scores)], axis=1)
        both.to_csv(path, index=False, float_format="%.6g")
        self.table.add(rows)
        best = next(r for r in rows if r["split"] == "test" and r["map"] == "segmentation")
        print(f"{item} test image AUROC {best['image_auroc']:.4f}", flush=True)

    def keep(self, category, name, z):
        path = self.folder / "maps" / category / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, z)

    def ensembles(self, category, name, head):
        """Score the mean of the seeds' maps, once every seed is there."""
        plan = order(self.settings, set())
        seeds = [seed for c, seed, s, heads in plan if (c, s) == (category, name) and head in heads]
        paths = [self.folder / "maps" / category / f"{name}-{head}-{seed}.npy" for seed in seeds]
        if self.table.has(category, name, head, "all") or not all(p.exists() for p in paths):
            return
        settings = self.settings.head(head)
        found = [readings(np.load(path), settings) for path in paths]
        maps = {kind: np.mean([one[kind] for one in found], axis=0) for kind in found[0]}
        item = dict(zip(KEYS, (category, name, head, "all"), strict=True))
        item |= {"seconds": 0.0, "commit": commit()}
        self.finish(self.data(category), item, maps)


def order(settings, only, seeds=None):
    """(category, seed, student, heads): seeds outermost, so that a cut leaves whole comparisons.

    Every row takes `head_seeds`; the method and the bumps, whose figures spread most, all `seeds`.
    only: heads of the headline student, and other students; empty for all.
    """
    headline, others = settings.headline, [s for s in settings.students if s != settings.headline]
    many = {"method"} | {h for h in settings.heads if settings.head(h).activation == "bump"}
    for seed, category in product(seeds or settings.seeds, settings.categories):
        few = seed in settings.head_seeds
        heads = [h for h in ("method", *settings.heads) if few or h in many]
        yield category, seed, headline, [h for h in heads if not only or h in only]
        for name in others:
            yield category, seed, name, ["method"] * (few and (not only or name in only))


@cache
def commit():
    """The commit that runs, marked where the working tree differs from it at the start."""
    command = ["git", "-C", str(params.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def describe(settings, seconds):
    """run.md: what ran, on what."""
    student, head = settings.students[settings.headline], settings.segmentation
    return (
        f"# How the profile `beyond` was run\n\nCommit {commit()}, torch {torch.__version__}, "
        f"{device_name()}, {settings.arithmetic.threads} thread. Categories "
        f"{', '.join(settings.categories)}; seeds {', '.join(map(str, settings.seeds))}; "
        f"{settings.dataset.image_size}x{settings.dataset.image_size} pixels; {student.steps} "
        f"student steps of {student.batch_size} images and {head.steps} segmentation steps of "
        f"{head.batch_size}, unless a variant says otherwise. Last step; nothing chosen on test. "
        f"This call ran for {seconds / 60:.1f} minutes.\n"
    )


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="study.beyond.run", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--profile", default=params.ROOT / "profiles/beyond.yaml", type=Path)
    parser.add_argument("--out", default=OUT, type=Path, help="where the tables go")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no training later")
    parser.add_argument("--seeds", nargs="*", type=int, help="default: those of the profile")
    parser.add_argument("--only", nargs="*", default=[], help="students and heads; default: all")
    options = parser.parse_args(arguments)
    start, settings, _ = time.monotonic(), params.load(options.profile), commit()
    run = Run(settings, options.out, start + options.seconds)
    for category, seed, name, heads in order(settings, {*options.only}, options.seeds):
        if time.monotonic() > run.deadline:
            break
        if not all(run.table.has(category, name, head, seed) for head in heads):
            run.heads(category, name, seed, heads)
        for head in heads:
            run.ensembles(category, name, head)
    (options.out / "run.md").write_text(describe(settings, time.monotonic() - start), "utf-8")


if __name__ == "__main__":
    main()
