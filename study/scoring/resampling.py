"""How far would the figures move with other test images? A paired bootstrap over images.

Good and defective images are drawn with replacement, separately, so that every resample has as
many of each as the test set. All rows of a category use the same resamples, which pairs them.

Image AUROC is exact in every resample. Pixel AP and IAP are read off at up to `POINTS` thresholds
spread evenly over the defective pixels and at those where regions count as found: what each image
adds to the counts there is found once, and a resample is a weighted sum. Pixel AP is then too low
by at most a `POINTS`-th of the drop of precision along the curve; IAP is exact up to `POINTS`
regions.
"""

import zlib

import numpy as np
from scipy import ndimage

from study.scoring.metrics import EIGHT_CONNECTED

METRICS = ("image_auroc", "pixel_ap", "iap")  # what is resampled
POINTS = 1000
FEWEST = 10  # images of each kind; a resample of fewer repeats the same ones


def weights(labels, count, category):
    """How often each image is in each resample, float32 (count, N); None for too few images.

    The category's name is the seed: categories are drawn independently of each other, and the
    baseline, scored in a stage of its own, uses the same resamples as the networks.
    """
    kinds = [np.flatnonzero(labels == label) for label in (0, 1)]
    if min(map(len, kinds)) < FEWEST:
        return None
    random = np.random.default_rng(zlib.crc32(category.encode()))
    drawn = np.zeros((count, len(labels)), np.float32)
    for members in kinds:
        share = np.full(len(members), 1 / len(members))
        drawn[:, members] = random.multinomial(len(members), share, size=count)
    return drawn


def figures(maps, masks, scores, labels, category, count):
    """{metric: figures (count,)} of METRICS; `masks` None: image AUROC alone."""
    if (drawn := weights(labels, count, category)) is None:
        return {}
    found = {"image_auroc": image_auroc(scores, labels, drawn)}
    if masks is None:
        return found
    return found | dict(zip(METRICS[1:], pixel_figures(maps, masks, drawn), strict=True))


def by_image(scores, labels, category, count):
    """{column: image AUROC in each resample, (count,)} of a table of image scores; maybe empty."""
    if (drawn := weights(labels, count, category)) is None:
        return {}
    return {k: image_auroc(x.to_numpy(np.float32), labels, drawn) for k, x in scores.items()}


def image_auroc(scores, labels, drawn):
    """AUROC of the image scores (N,) in each resample, (count,); equal scores count half."""
    good, defective = (np.flatnonzero(labels == label) for label in (0, 1))
    difference = scores[defective][:, None] - scores[good]
    wins = (np.sign(difference) + 1).astype(np.float32) / 2
    total = ((drawn[:, defective] @ wins) * drawn[:, good]).sum(axis=1)
    return total / (len(good) * len(defective))


def pixel_figures(maps, masks, drawn):
    """Pixel AP and IAP of maps (N, H, W) in each resample, (count,) each."""
    owners, middle = _regions(maps, masks)
    cuts = np.unique(np.r_[_spread(maps[masks]), _spread(middle)])
    precision, recall = _precision_recall(maps, masks, cuts, drawn)
    steps = -np.diff(recall, axis=1, append=0)
    return (steps * precision).sum(axis=1), _iap(precision, cuts, owners, middle, drawn)


def _regions(maps, masks):
    """Image and threshold of each region, lowest first: the value that keeps half its pixels."""
    regions, _ = ndimage.label(masks, structure=EIGHT_CONNECTED)
    region, value = regions[masks] - 1, maps[masks]
    order = np.lexsort((-value, region))
    sizes = np.bincount(region)
    starts = np.cumsum(sizes) - sizes
    owner, middle = np.nonzero(masks)[0][order][starts], value[order][starts + sizes // 2]
    lowest_first = np.argsort(middle, kind="stable")
    return owner[lowest_first], middle[lowest_first]


def _spread(values):
    """All values, or `POINTS` of them that split them evenly; the least is among them."""
    if len(values) <= POINTS:
        return values
    return np.quantile(values, np.linspace(0, 1, POINTS), method="lower")


def _precision_recall(maps, masks, cuts, drawn):
    """Precision and recall of the pixels at or above each cut (T,), (count, T) each."""
    pixels = np.sort(maps.reshape(len(maps), -1), axis=1)
    all_, true = np.empty((2, len(maps), len(cuts)), np.float32)
    for index, row in enumerate(pixels):
        all_[index] = len(row) - np.searchsorted(row, cuts)
        found = np.sort(maps[index][masks[index]])
        true[index] = len(found) - np.searchsorted(found, cuts)
    all_, true = drawn @ all_, drawn @ true
    return true / np.maximum(all_, 1), true / np.maximum(true[:, :1], 1)


def _iap(precision, cuts, owners, middle, drawn):
    """As `metrics.iap`, with the regions of an image drawn as often as the image."""
    at = np.searchsorted(cuts, middle, side="right") - 1
    often = drawn[:, owners]
    monotone = np.maximum.accumulate(np.where(often > 0, precision[:, at], 0), axis=1)
    return (often * monotone).sum(axis=1) / np.maximum(often.sum(axis=1), 1)
