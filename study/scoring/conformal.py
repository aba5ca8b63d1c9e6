"""Split-conformal calibration: thresholds and p-values from good images alone.

n calibration images, good and never trained on, get a score each; higher is more anomalous. If a
new good image is exchangeable with them (the same parts, camera and light), it scores above
`threshold` with probability alpha at most, whatever the distribution (Vovk et al. 2005; Lei et
al. 2018). `score > threshold` and `p_value <= alpha` are the same verdict.

`results/calibration/<category>.json` holds what the stage `calibration` leaves:

    {"category": name, "alpha": allowed false-alarm rate, "n": calibration images,
     "files": [their names], "model": sha256 of all weights used,
     "maps": {"cosine" | "segmentation" | "gaussian" | "combined": {
         "scores": [[n scores] for each seed],
         "threshold": [one for each seed],
         "pixel_threshold": [one for each seed]}}}

"gaussian" and "combined" have one entry each, the networks' maps one for each of `seeds`. The
pixel threshold is the threshold of the largest pixel of an image at full size. The combined map is
the mean over the maps, and their seeds, of each divided by its own pixel threshold.
"""

import numpy as np
from scipy.stats import norm

FEWEST = 10  # calibration images; with fewer, alpha cannot be below 1/11
MAPS = ("cosine", "segmentation", "gaussian")  # what is combined


def rank(n, alpha):
    """Which of n sorted calibration scores is the threshold, 1 the smallest: ceil((n+1)(1-alpha)).

    Raises ValueError for alpha outside (0, 1), for fewer than `FEWEST` images, and where n images
    are too few for so small an alpha. It needs no scores, so it can be asked before training.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be above 0 and below 1")
    if n < FEWEST:
        raise ValueError(f"{n} calibration images; at least {FEWEST} are needed")
    chosen = int(
        np.ceil((n + 1) * (1 - alpha) - 1e-9)
    )  # the slack absorbs the rounding of 1 - alpha
    if chosen > n:
        raise ValueError(
            f"{n} calibration images are too few for alpha {alpha}; the smallest alpha that they "
            f"allow is 1/{n + 1} = {1 / (n + 1):.4f}"
        )
    return chosen


def threshold(scores, alpha):
    """The split-conformal threshold of calibration scores (n,): an image above it is an alarm.

    Raises ValueError as `rank` does, and for scores that are not finite.
    """
    scores = np.asarray(scores)
    if not np.isfinite(scores).all():
        raise ValueError("calibration scores hold NaN or infinity; look at the loss")
    return float(np.sort(scores)[rank(len(scores), alpha) - 1])


def p_values(calibration, scores):
    """p-value of each new image, (m,): (1 + calibration scores at or above its score) / (n + 1)."""
    return (1 + count(calibration, scores)) / (len(calibration) + 1)


def count(calibration, scores):
    """How many calibration scores are equal to or above each of `scores`."""
    return len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")


def combine(calibration, scores):
    """One score from several maps: combined calibration scores (n,) and new scores (m,).

    calibration, scores: {map name: (n,) or (seeds, n)} and {map name: (m,) or (seeds, m)}. Each map
    is brought to one scale by `normal_scores`; seeds are averaged first, then maps.

    The combination is calibrated, too: `threshold` and `p_values` of it hold exactly. Take a new
    image and rank all n + 1 images together, in each map. These ranks treat the n + 1 images alike,
    so the averages are exchangeable and a p-value from them is valid. It would need new calibration
    scores for each new image. A new image can only lower those: it pushes others one rank down or
    leaves them. So the scores returned here, ranked without any new image, are upper bounds, and
    the p-values from them are at least the valid ones. The cost is at most one rank in n + 1.
    """
    if calibration.keys() != scores.keys():
        raise ValueError(f"maps {sorted(scores)} were not calibrated: {sorted(calibration)}")
    by_map = []
    for name, known in calibration.items():
        seeds = zip(np.atleast_2d(known), np.atleast_2d(scores[name]), strict=True)
        by_map.append(
            [
                np.mean(side, axis=0)
                for side in zip(*(normal_scores(*pair) for pair in seeds), strict=True)
            ]
        )
    known, new = (np.mean(side, axis=0) for side in zip(*by_map, strict=True))
    return known, new


def normal_scores(calibration, scores):
    """Calibration scores (n,) and new scores (m,) of one map, both as standard normal scores.

    The score is the normal quantile of an image's rank among the n + 1. Ranks end at the largest
    calibration score, so many defects would tie there; what exceeds it is added, in standard
    deviations. A calibration image is compared with the n - 1 others alone. Both its rank and its
    excess are then upper bounds of those in company of any new image (`combine` says why that
    matters): one more image lowers neither their maximum nor their sum of squares.
    """
    calibration, scores = np.asarray(calibration, float), np.asarray(scores, float)
    n = len(calibration)
    known = norm.isf(count(calibration, calibration) / (n + 2))
    new = norm.isf((1 + count(calibration, scores)) / (n + 2))
    top = np.argmax(calibration)
    known[top] += _excess(np.delete(calibration, top), calibration[top], n)
    return known, new + _excess(calibration, scores, n)


def _excess(others, scores, n):
    """How far scores exceed the largest of the others, in root mean squares of n deviations."""
    spread = np.sqrt(np.sum((others - others.mean()) ** 2) / n)
    smallest = max(
        1e-6 * np.abs(others).max(), np.finfo(float).tiny
    )  # a constant map has no spread
    return np.maximum(scores - others.max(), 0) / max(spread, smallest)
