"""Exact detection and localisation metrics: arrays in, floats out.

Maps are `(N, H, W)` finite scores, higher is more anomalous; masks are `(N, H, W)`, non-zero is
anomalous; image scores and labels (0 good, 1 defective) are `(N,)`. Pixels of equal score share
one threshold. Every function raises ValueError where its figure is undefined.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

# Label a whole (N, H, W) stack at once: 8-connected inside an image, never across images.
EIGHT_CONNECTED = np.zeros((3, 3, 3), bool)
EIGHT_CONNECTED[1] = True


@dataclass(frozen=True)
class _Ranking:
    """Items counted from the highest score down; all curves and figures are read off this.

    Thresholds at which only normal items join, with only normal ones after, are left out: there
    ROC and PRO run horizontally and recall stands still, so nothing changes and memory is saved.
    """

    true: np.ndarray  # (T,) anomalous items at or above each threshold, highest threshold first
    false: np.ndarray  # (T,) normal items at or above each threshold
    region: np.ndarray  # (P,) region (from 0) of each anomalous item, in descending order of score
    threshold: np.ndarray  # (P,) index into `true` of the threshold of each anomalous item

    def roc(self):
        """False-positive and true-positive rate from (0, 0) to (1, 1)."""
        return np.r_[0.0, self.false / self.false[-1]], np.r_[0.0, self.true / self.true[-1]]

    def auroc(self) -> float:
        fpr, tpr = self.roc()
        return float(np.trapezoid(tpr, fpr))

    def precision_recall(self):
        return self.true / self.true[-1], self.true / (self.true + self.false)

    def average_precision(self) -> float:
        """Precision summed over the steps of recall."""
        recall, precision = self.precision_recall()
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))

    def pro_curve(self, limit: float):
        """False-positive rate and mean covered share of a region, cut off at the limit."""
        sizes = np.bincount(self.region)
        covered = np.r_[0.0, np.cumsum(1.0 / sizes[self.region])] / len(sizes)
        fpr, coverage = np.r_[0.0, self.false / self.false[-1]], np.r_[0.0, covered[self.true]]
        inside = np.searchsorted(fpr, limit, side="right")
        at_limit = np.interp(limit, fpr, coverage)
        return np.append(fpr[:inside], limit), np.append(coverage[:inside], at_limit)

    def pro(self, limit: float) -> float:
        fpr, coverage = self.pro_curve(limit)
        return min(float(np.trapezoid(coverage, fpr)) / limit, 1.0)

    def region_precision(self) -> np.ndarray:
        """Monotone precision at each region's score, `(regions,)` from low to high threshold.

        A region counts as found at the threshold that keeps half of its pixels.
        """
        sizes = np.bincount(self.region)
        by_region = self.threshold[np.argsort(self.region, kind="stable")]
        middle = by_region[np.cumsum(sizes) - sizes + sizes // 2]
        lowest_first = np.sort(middle)[::-1]
        true, false = self.true[lowest_first], self.false[lowest_first]
        return np.maximum.accumulate(true / (true + false))

    def iap(self) -> float:
        """Instance average precision (paper): mean over regions of the pixel precision."""
        return float(self.region_precision().mean())

    def iap_at(self, recall: float) -> float:
        """Pixel precision at the lowest share of found regions that is at least `recall`."""
        precision = self.region_precision()
        # The smallest k with k / regions >= recall; the slack absorbs the rounding of 0.9 * 30.
        needed = max(int(np.ceil(recall * len(precision) - 1e-9)), 1)
        return float(precision[len(precision) - needed])


def _descending(scores: np.ndarray, regions: np.ndarray):
    """Regions in descending order of score, and where each run of equal scores ends."""
    if scores.dtype != np.float32:
        order = np.argsort(scores)[::-1]
        scores = scores[order]
        return regions[order], np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    # Sorting 64-bit words (score bits, region) is several times as fast as argsort and gathers.
    # Adding 0 turns -0.0 into 0.0. The bits of negative floats rise as the value falls; those of
    # the others are flipped to do so too, and lie below them.
    bits = (scores + np.float32(0)).view(np.uint32)
    words = np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF)).astype(np.uint64)
    words <<= np.uint64(32)
    words |= regions.astype(np.uint32)
    words = _sorted(words)
    changes = (words[1:] ^ words[:-1]) > np.uint64(0xFFFFFFFF)
    return words.astype(np.uint32), np.flatnonzero(np.append(changes, True))


def _sorted(words: np.ndarray) -> np.ndarray:
    """64-bit words in ascending order: on a GPU that has room for them, else sorted in place."""
    torch = sys.modules.get("torch")  # if the maps come from a GPU, torch is imported
    if torch and torch.cuda.is_available():
        with suppress(torch.OutOfMemoryError):
            return _sorted_by_torch(words, torch.device("cuda"), torch)
    words.sort()
    return words


def _sorted_by_torch(words, device, torch):
    """As `_sorted`; torch has signed words only, so the highest bit is flipped meanwhile."""
    signed = torch.from_numpy((words ^ np.uint64(1 << 63)).view(np.int64)).to(device)
    return signed.sort().values.cpu().numpy().view(np.uint64) ^ np.uint64(1 << 63)


def _rank(scores: np.ndarray, regions: np.ndarray, what: str) -> _Ranking:
    """Rank flat scores; `regions` is 0 for normal items and 1, 2, ... for anomalous ones."""
    if not np.isfinite(scores).all():
        raise ValueError(f"{what} scores hold NaN or infinity; look at the loss and the weights")
    regions, ends = _descending(scores, regions)
    places = np.flatnonzero(regions)
    if len(places) in (0, len(regions)):
        kind = "anomalous" if len(places) else "normal"
        raise ValueError(f"all {len(regions)} {what}s are {kind}; the metric needs both kinds")
    group = np.searchsorted(ends, places)
    kept = np.zeros(len(ends), bool)
    kept[group] = kept[group - 1] = kept[-1] = True  # -1 of group 0 is the last one, kept anyway
    ends = ends[kept]
    true = np.searchsorted(places, ends, side="right")
    region = regions[places].astype(np.int64) - 1
    return _Ranking(true, ends + 1 - true, region, np.searchsorted(ends, places))


def _rank_images(scores, labels) -> _Ranking:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (N,)")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (good) or 1 (defective)")
    return _rank(scores, labels.astype(np.uint32), "image")


def _rank_pixels(maps, masks) -> _Ranking:
    maps, masks = np.asarray(maps), np.asarray(masks)
    if maps.ndim != 3 or maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape} must both be (N, H, W)")
    if masks.dtype.kind == "f" and not np.isin(masks, (0, 1)).all():
        raise ValueError("masks hold values between 0 and 1; cut them at 0.5 first")
    if maps.dtype == np.float16:
        maps = maps.astype(np.float32)
    regions, _ = ndimage.label(masks != 0, structure=EIGHT_CONNECTED)
    return _rank(maps.ravel(), regions.ravel(), "pixel")


def _share(name: str, value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"{name} is {value}; it must be above 0 and at most 1")
    return value


def image_auroc(scores, labels) -> float:
    """Area under the ROC curve of the image scores."""
    return _rank_images(scores, labels).auroc()


def pro(maps, masks, fpr_limit: float = 0.3) -> float:
    """Per-region overlap: mean coverage of the regions up to the false-positive rate `fpr_limit`.

    The point at the limit is interpolated and the area divided by the limit.
    """
    return _rank_pixels(maps, masks).pro(_share("fpr_limit", fpr_limit))


class Metric(NamedTuple):
    """A column of the tables: its label, what is ranked for it, and the function of its value,
    0..1."""

    label: str
    items: str  # images or pixels
    figure: Callable  # of a _Ranking; options are those of `evaluate`


# A new metric is one line here; all tables and figures follow.
METRICS = {
    "image_auroc": Metric("image AUROC", "images", lambda ranking, **_: ranking.auroc()),
    "pixel_auroc": Metric("pixel AUROC", "pixels", lambda ranking, **_: ranking.auroc()),
    "pixel_ap": Metric("pixel AP", "pixels", lambda ranking, **_: ranking.average_precision()),
    "pro": Metric("PRO", "pixels", lambda r, fpr_limit, **_: r.pro(_share("fpr_limit", fpr_limit))),
    "iap": Metric("IAP", "pixels", lambda ranking, **_: ranking.iap()),
    "iap90": Metric("IAP@90", "pixels", lambda r, recall, **_: r.iap_at(_share("recall", recall))),
}
PIXEL_METRICS = [key for key, metric in METRICS.items() if metric.items == "pixels"]


def evaluate(maps, masks, scores, labels, fpr_limit: float = 0.3, recall: float = 0.9) -> dict:
    """All METRICS, 0..1, from one sort of the pixels.

    `masks` None says that there are none: the pixel figures are then NaN.
    """
    ranked = {"images": _rank_images(scores, labels)}
    if masks is not None:
        ranked["pixels"] = _rank_pixels(maps, masks)
    options = {"fpr_limit": fpr_limit, "recall": recall}
    return {
        key: one.figure(ranked[one.items], **options) if one.items in ranked else float("nan")
        for key, one in METRICS.items()
    }


def _thin(curve, points: int):
    """At most `points` points, equally spaced along the curve: corners stay, straights go."""
    x, y = curve
    path = np.r_[0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    chosen = np.unique(np.searchsorted(path, np.linspace(0, path[-1], points)))
    return x[chosen], y[chosen]


def curves(maps, masks, fpr_limit: float = 0.3, points: int = 500) -> dict:
    """Pixel curves for plots, {name: (x, y)}: `roc`, `precision_recall`, `pro` up to the limit."""
    pixels = _rank_pixels(maps, masks)
    found = {
        "roc": pixels.roc(),
        "precision_recall": pixels.precision_recall(),
        "pro": pixels.pro_curve(_share("fpr_limit", fpr_limit)),
    }
    return {name: _thin(curve, points) for name, curve in found.items()}


def image_curves(scores, labels, points: int = 500) -> dict:
    """Image curves for plots, {name: (x, y)}: `roc` and `precision_recall`."""
    images = _rank_images(scores, labels)
    found = {"roc": images.roc(), "precision_recall": images.precision_recall()}
    return {name: _thin(curve, points) for name, curve in found.items()}
