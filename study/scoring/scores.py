"""Score anomaly maps once: rows of the tables, scores by image, and resamples for the intervals.

Everything later reads what `save` writes: figures, tables, page and site compute no score again.
"""

from itertools import chain, product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from lib.anomaly_map import image_score, resize
from study import results
from study.files import whole
from study.scoring import metrics, resampling, thresholds

MAPS = ["cosine", "segmentation"]
METRICS = list(metrics.METRICS)
COLUMNS = [
    *("benchmark", "category", "student", "denoising", "encoder_decoder", "map", "seed"),
    *METRICS,
    *("real_defects", "device"),
]
KEYS = ["benchmark", "category", "student", "map", "seed", "metric"]


class Scored(NamedTuple):
    """The result of scoring a category's maps: all that a stage writes."""

    rows: pd.DataFrame  # `split` and COLUMNS
    images: pd.DataFrame  # thresholds.FACTS of each held-out image, and a column for each item
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


def test_subsets(held_out):
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
    if not test_subsets(held_out):
        yield "No figures: the test split lacks good or defective images."
    for benchmark, chosen in test_subsets(held_out):
        if reason := without_pixels(held_out, chosen):
            yield f"No pixel metrics on {benchmark}: {reason}."


def score_item(held_out, maps, item, settings, resample=True):
    """All figures of an item's maps (N, h, w) of any size: rows, image scores (N,), resamples.

    An item may name its own `top_pixels`, or bring its `scores` (N,). Without `resample` there are
    no resamples.
    """
    maps, rows, draws = full_size(maps, held_out.masks.shape[-1]), [], {}
    if (scores := item.get("scores")) is None:
        pixels = item.get("top_pixels", settings.evaluation.top_pixels)
        scores = image_score(torch.from_numpy(maps), pixels).numpy()
    options = {"fpr_limit": settings.evaluation.fpr_limit, "recall": settings.evaluation.recall}
    for split, benchmark, real, chosen in subsets(held_out):
        row = item | {"benchmark": benchmark, "category": held_out.category}
        masks = None if without_pixels(held_out, chosen) else held_out.masks[chosen]
        data = maps[chosen], masks, scores[chosen], held_out.labels[chosen]
        found = metrics.evaluate(*data, **options)
        rows.append({"split": split} | row | found | {"real_defects": real})
        if split == "test" and resample:
            found = resampling.figures(*data, held_out.category, settings.claims.resamples)
            draws |= {tuple((row | {"metric": m})[k] for k in KEYS): x for m, x in found.items()}
    return rows, scores, draws


def score(held_out, items, settings):
    """`Scored` of (item, maps) pairs; an item has student, map, seed and the like."""
    rows, draws = [], {}
    images = {"name": held_out.names, "split": held_out.splits, "defect": held_out.defects}
    images |= {"label": held_out.labels, "drawn": held_out.drawn}
    for item, maps in items:
        more, scores, drawn = score_item(held_out, maps, item, settings)
        rows, draws = rows + more, draws | drawn
        images[thresholds.column(item["student"], item["map"], item["seed"])] = scores
    return Scored(table(rows), pd.DataFrame(images), draws)


def networks(held_out, settings):
    """(item, maps) of the declared grid: both maps of every student, then the declared heads'."""
    runs = product(settings.students, ["method"], [MAPS], settings.seeds)
    heads = product([settings.headline], settings.heads, [MAPS[1:]], settings.head_seeds)
    for student, head, kinds, seed in chain(runs, heads):
        parts = settings.students[student]
        item = {"student": student, "seed": seed, "denoising": parts.denoising}
        item["encoder_decoder"] = parts.encoder_decoder
        name = results.item(student, seed, head)
        with np.load(results.maps(held_out.category, name)) as maps:
            item["device"] = str(maps["device"])
            for kind in kinds:
                row = kind if head == "method" else f"{kind}, {head}"
                yield item | {"map": row}, maps[kind]


def table(rows):
    """Row dicts as a DataFrame: `split`, then COLUMNS."""
    return pd.DataFrame(rows, columns=["split", *COLUMNS])


def save(scored, stage, category, study):
    """Write the result of a category's stage: rows, resamples and scores.

    Scores keep all digits of float32, so a decision from the file is that from the computed scores.
    """
    with whole(results.rows(stage, category)) as path:
        scored.rows.to_csv(path, index=False, float_format="%.6f")
    with whole(results.draws(stage, category)) as path:
        keys = dict(zip(KEYS, map(np.array, zip(*scored.draws, strict=True)), strict=False))
        np.savez(path, values=np.array([*scored.draws.values()], np.float32), **keys)
    with whole(results.scores(study, category, stage)) as path:
        scored.images.to_csv(path, index=False, float_format="%.9g")


def load_draws(path):
    """The resamples that `save` wrote, {values of KEYS: (resamples,)}."""
    with np.load(path) as file:
        keys = zip(*(file[key].tolist() for key in KEYS if key in file), strict=True)
        return dict(zip(keys, file["values"], strict=True))


def load_scores(file):
    """The scores by image that `save` wrote: thresholds.FACTS, and a column for each item."""
    return pd.read_csv(file, dtype={"name": str, "defect": str}, keep_default_na=False)


def headline(frame, student):
    """Test means of the method in percent: the six figures at most that `dvc metrics show` prints.

    Pixel figures are those of real defects where they have masks, else of drawn ones: `pro_drawn`.
    """
    rows = frame[(frame.split == "test") & (frame.student == student)]
    found = {}
    for kind, name in (("segmentation", "{}"), ("cosine", "{}_cosine_map")):
        chosen = rows[(rows["map"] == kind) & rows.real_defects]
        found[name.format("image_auroc")] = chosen.image_auroc.mean()
    masked = rows[(rows["map"] == "segmentation") & rows.pixel_ap.notna()]
    real = masked.real_defects.any()
    means = masked[masked.real_defects == real][["pixel_auroc", "pixel_ap", "pro", "iap"]].mean()
    found |= means.add_suffix("" if real else "_drawn").to_dict()
    return {key: round(100 * value, 1) for key, value in found.items() if np.isfinite(value)}


def means(frame):
    """Test means over seeds of all rows, as a nested dict: benchmark, student, map, metric."""
    nested = {}
    groups = frame[frame.split == "test"].groupby(["benchmark", "student", "map"])
    for (benchmark, student, kind), group in groups:
        found = group[METRICS].mean().dropna().round(4).to_dict()
        nested.setdefault(benchmark, {}).setdefault(student, {})[kind] = found
    return nested
