"""Score anomaly maps once: rows of the tables, scores by image, and resamples for the intervals.

Everything later reads what `save` leaves: figures, tables, page and site compute no score again.
"""

from itertools import chain, product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lib.anomaly_map import image_score, resize
from study.data.category import Category
from study.files import whole
from study.params import ROOT
from study.scoring import metrics, resampling, thresholds

MAPS = ["cosine", "segmentation"]
METRICS = list(metrics.METRICS)
COLUMNS = [
    *("benchmark", "category", "student", "denoising", "encoder_decoder", "map", "seed"),
    *METRICS,
    *("real_defects", "device"),
]
KEYS = ["benchmark", "category", "student", "map", "seed", "metric"]
RANKED = (  # examples where no threshold names an outcome: what is shown, label, from the top?
    ("defective, lowest scores", 1, False),
    ("good, highest scores", 0, True),
    ("defective, highest scores", 1, True),
)


class Scored(NamedTuple):
    """What a category's maps gave: a stage's whole result."""

    rows: pd.DataFrame  # `split` and COLUMNS
    images: pd.DataFrame  # verdicts.FACTS of each held-out image, and a column for each item
    draws: dict  # {values of KEYS: figures in each resample of the test images}


def full_size(maps, size):
    """Maps at stride 4, float32 (N, h, w) -> (N, size, size), bilinear."""
    return resize(torch.from_numpy(maps).unsqueeze(1), (size, size))[:, 0].numpy()


def subsets(held_out):
    """What a row is scored on: (split, benchmark, real defects?, which of the held-out images).

    Drawn defects are a benchmark of their own beside the same good images: `elpv_drawn`. A subset
    needs good and defective images.
    """
    good = held_out.labels == 0
    for split in ("validation", "test"):
        for drawn in (False, True):
            chosen = (held_out.splits == split) & (good | (held_out.drawn == drawn))
            if good[chosen].any() and not good[chosen].all():
                yield split, held_out.benchmark + "_drawn" * drawn, not drawn, chosen


def tested(held_out):
    """(benchmark, which images) of the test subsets."""
    return [(name, chosen) for split, name, _, chosen in subsets(held_out) if split == "test"]


def without_pixels(held_out, chosen):
    """Why these images have no pixel metrics, or an empty text where they have."""
    defective = chosen & (held_out.labels == 1)
    missing = int((~held_out.has_mask[defective]).sum())
    if missing == defective.sum():
        return "there are no masks"
    if missing:
        return f"{missing} of {defective.sum()} defective images have no mask"
    return "" if held_out.masks[defective].any() else "the masks are empty at this image size"


def left_out(held_out):
    """Sentences on the test figures that this category cannot have."""
    if not tested(held_out):
        yield "No figures: the test split lacks good or defective images."
    for benchmark, chosen in tested(held_out):
        if reason := without_pixels(held_out, chosen):
            yield f"No pixel metrics on {benchmark}: {reason}."


def score_item(held_out, maps, item, settings):
    """All figures of an item's stride-4 maps (N, h, w): rows, image scores (N,), resamples."""
    maps, rows, draws = full_size(maps, held_out.masks.shape[-1]), [], {}
    scores = image_score(torch.from_numpy(maps), settings.evaluation.top_pixels).numpy()
    options = {"fpr_limit": settings.evaluation.fpr_limit, "recall": settings.evaluation.recall}
    for split, benchmark, real, chosen in subsets(held_out):
        row = item | {"benchmark": benchmark, "category": held_out.category}
        masks = None if without_pixels(held_out, chosen) else held_out.masks[chosen]
        data = maps[chosen], masks, scores[chosen], held_out.labels[chosen]
        found = metrics.evaluate(*data, **options)
        rows.append({"split": split} | row | found | {"real_defects": real})
        if split == "test":
            found = resampling.figures(*data, held_out.category, settings.claims.resamples)
            draws |= {tuple((row | {"metric": m})[k] for k in KEYS): x for m, x in found.items()}
    return rows, scores, draws


def score(held_out, items, settings):
    """`Scored` of (item, stride-4 maps) pairs; an item has student, map, seed and the like."""
    rows, draws = [], {}
    images = {"name": held_out.names, "split": held_out.splits, "defect": held_out.defects}
    images |= {"label": held_out.labels, "drawn": held_out.drawn}
    for item, maps in items:
        more, scores, drawn = score_item(held_out, maps, item, settings)
        rows, draws = rows + more, draws | drawn
        images[thresholds.column(item["student"], item["map"], item["seed"])] = scores
    return Scored(table(rows), pd.DataFrame(images), draws)


def networks(held_out, settings, folder):
    """(item, maps) of the declared grid: both maps of every student, then the declared heads'.

    folder: where results/maps/<category>/<student>-<seed>/maps.npz lie.
    """
    runs = product(settings.students, [""], [MAPS], settings.seeds)
    heads = product([settings.headline], settings.heads, [MAPS[1:]], settings.head_seeds)
    for student, head, kinds, seed in chain(runs, heads):
        parts = settings.students[student]
        item = {"student": student, "seed": seed, "denoising": parts.denoising}
        item["encoder_decoder"] = parts.encoder_decoder
        name = "-".join(filter(None, (student, head, str(seed))))
        with np.load(folder / held_out.category / name / "maps.npz") as maps:
            item["device"] = str(maps["device"])
            for kind in kinds:
                yield item | {"map": ", ".join(filter(None, (kind, head)))}, maps[kind]


def table(rows):
    """Row dicts as a DataFrame in the contract's columns, `split` first."""
    return pd.DataFrame(rows, columns=["split", *COLUMNS])


def save(scored, tables, scores):
    """Write <tables>.csv and <tables>.npz (resamples), and the scores by image as a CSV.

    Scores keep all digits of float32: who reads them decides as one who computes them.
    """
    with whole(tables.with_suffix(".csv")) as path:
        scored.rows.to_csv(path, index=False, float_format="%.6f")
    with whole(tables.with_suffix(".npz")) as path:
        keys = dict(zip(KEYS, map(np.array, zip(*scored.draws, strict=True)), strict=False))
        np.savez(path, values=np.array([*scored.draws.values()], np.float32), **keys)
    with whole(scores) as path:
        scored.images.to_csv(path, index=False, float_format="%.9g")


def load_draws(path):
    """The resamples that `save` left, {values of KEYS: (resamples,)}."""
    with np.load(path) as file:
        keys = zip(*(file[key].tolist() for key in KEYS if key in file), strict=True)
        return dict(zip(keys, file["values"], strict=True))


def load_scores(file):
    """The scores by image that `save` left: verdicts.FACTS, and a column for each item."""
    return pd.read_csv(file, dtype={"name": str, "defect": str}, keep_default_na=False)


def scores_path(settings, name, root=ROOT):
    """Where the scores by image of a category lie; `<category>-baseline` are the baseline's."""
    return root / "reports" / settings.study / "scores" / f"{name}.csv"


def means(frame):
    """Test means over seeds as the nested dict that `dvc metrics show` prints."""
    nested = {}
    for keys, group in frame[frame.split == "test"].groupby(["benchmark", "student", "map"]):
        here = nested
        for key in keys:
            here = here.setdefault(key, {})
        here |= group[METRICS].mean().dropna().round(4).to_dict()
    return nested


class View:
    """One category of a finished run, as the figures want to see it: the headline student."""

    def __init__(self, held_out, folder, settings, images):
        """folder: results/maps/<category>; images: its table of scores by image.

        Raises ValueError where the table is of other images.
        """
        self.held_out, self.folder, self.settings, self.images = held_out, folder, settings, images
        if list(images.name) != list(held_out.names):
            raise ValueError(
                f"the scores by image of {held_out.category} are of other images than its data: "
                f"run `dvc repro evaluation@{held_out.category}`"
            )
        self.real = (held_out.splits == "test") & ~held_out.drawn
        self.size = held_out.images.shape[1]

    @classmethod
    def load(cls, category, settings, root=ROOT):
        """The view of a category, from the files of the stages dataset and evaluation."""
        held_out = Category.load(root / f"results/dataset/{category}/held_out.npz")
        images = load_scores(scores_path(settings, category, root))
        return cls(held_out, root / "results/maps" / category, settings, images)

    def maps(self, seed, kind):
        """Stride-4 maps (N, h, w) of all held-out images."""
        with np.load(self.folder / f"{self.settings.headline}-{seed}" / "maps.npz") as maps:
            return maps[kind]

    def scores(self, seed, kind):
        """Image scores (N,), float32, as `evaluation` left them."""
        name = thresholds.column(self.settings.headline, kind, seed)
        return self.images[name].to_numpy(np.float32)

    def cut(self, scores):
        """The threshold of image scores (N,) that is best on real validation images, or None."""
        splits = np.where(self.held_out.drawn, "", self.held_out.splits)
        return thresholds.cut(scores, self.held_out.labels, splits)

    def history(self, results):
        """Losses of all students and segmentation networks of this category, long form."""
        category, found = self.held_out.category, []
        for phase in ("student", "segmentation"):
            for student, seed in product(self.settings.students, self.settings.seeds):
                path = results / phase / category / f"{student}-{seed}" / "history.csv"
                item = {"item": f"{student}-{seed}", "student": student, "seed": seed}
                found.append(pd.read_csv(path).assign(phase=phase, **item))
        return pd.concat(found)

    def examples(self, seed, count):
        """For each outcome the `count` test images whose score lies farthest from the threshold.

        Without a threshold: the defective and good images at either end of the scores.
        """
        scores = self.scores(seed, "segmentation")
        cosine, segmentation = self.maps(seed, "cosine"), self.maps(seed, "segmentation")
        return [
            {
                "outcome": outcome,
                "name": str(self.held_out.names[i]),
                "image": self.held_out.images[i],
                "mask": self.held_out.masks[i] if self.held_out.has_mask[i] else None,
                "cosine": full_size(cosine[i : i + 1], self.size)[0],
                "segmentation": full_size(segmentation[i : i + 1], self.size)[0],
                "score": float(scores[i]),
            }
            for outcome, index in self._groups(scores)
            for i in index[:count]
        ]

    def _groups(self, scores):
        """(outcome, indices of its test images, the first to show first)."""
        labels, cut = self.held_out.labels, self.cut(scores)
        if cut is None:
            for name, label, top in RANKED:
                index = np.flatnonzero(self.real & (labels == label))
                yield name, index[np.argsort(scores[index] * (-1 if top else 1), kind="stable")]
            return
        named = thresholds.outcomes(scores, labels, cut)
        for outcome in np.unique(named):
            index = np.flatnonzero(self.real & (named == outcome))
            yield str(outcome), index[np.argsort(-np.abs(scores[index] - cut), kind="stable")]

    def histogram(self, seed, kind):
        """Arguments of plots.score_histograms for real test images."""
        scores = self.scores(seed, kind)
        return {
            "scores": scores[self.real],
            "labels": self.held_out.labels[self.real],
            "title": f"{self.held_out.category}, {kind} map, seed {seed}",
            "threshold": self.cut(scores),
        }

    def image_curves(self, seed):
        """ROC and precision-recall of the image scores, real test images, for both maps."""
        labels = self.held_out.labels[self.real]
        if len(np.unique(labels)) < 2:
            return {}
        return {
            kind: metrics.image_curves(self.scores(seed, kind)[self.real], labels) for kind in MAPS
        }

    def pixel_curves(self, seed):
        """ROC, precision-recall and PRO of pixels, on the test rows whose masks are all known."""
        found = {}
        for benchmark, chosen in tested(self.held_out):
            if without_pixels(self.held_out, chosen):
                continue
            for kind in MAPS:
                maps = full_size(self.maps(seed, kind)[chosen], self.size)
                limit = self.settings.evaluation.fpr_limit
                masks = self.held_out.masks[chosen]
                found[f"{kind}, {benchmark}"] = metrics.curves(maps, masks, fpr_limit=limit)
        return found
