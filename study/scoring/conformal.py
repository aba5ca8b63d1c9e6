"""Split-conformal calibration: thresholds and p-values from good images alone.

n calibration images, good and never trained on, get a score each; higher is more anomalous. If a
new good image is exchangeable with them (the same parts, camera and light), it scores above
`threshold` with probability alpha at most, whatever the distribution (Vovk et al. 2005; Lei et
al. 2018). `score > threshold` and `p_value <= alpha` are the same verdict.

`results/calibration/<category>.json` is what the stage `calibration` writes:

    {"category": name, "alpha": allowed false-alarm rate, "n": calibration images,
     "files": [their names], "model": sha256 of all weights used,
     "rates": [realised rates on test, as `Calibrated.rates` gives them],
     "maps": {"cosine" | "segmentation" | "gaussian" | "combined": {
         "scores": [[n scores] for each seed],
         "threshold": [one for each seed],
         "pixel_threshold": [one for each seed]}}}

"gaussian" and "combined" have one entry each, the networks' maps one for each of `seeds`. The
pixel threshold is the threshold of the largest pixel of an image at full size. The combined map is
the mean over the maps, and their seeds, of each divided by its own pixel threshold.
"""

from functools import reduce

import numpy as np
from scipy.stats import norm

FEWEST = 10  # calibration images; with fewer, alpha cannot be below 1/11
BELOW_ALL = -1e300  # the score of an image that lies below all others
CLEAR, SHARE = 3.0, 0.25  # of `combine`: what counts as clear evidence, in deviations, its weight


def rank(n, alpha):
    """Which of n sorted calibration scores is the threshold, 1 the smallest: ceil((n+1)(1-alpha)).

    Raises ValueError for alpha outside (0, 1), for fewer than `FEWEST` images, and where n images
    are too few for so small an alpha. It needs no scores, so it can be called before training.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be above 0 and below 1")
    if n < FEWEST:
        raise ValueError(f"{n} calibration images; at least {FEWEST} are needed")
    chosen = int(np.ceil((n + 1) * (1 - alpha) - 1e-9))  # the slack absorbs rounding of 1 - alpha
    if chosen > n:
        raise ValueError(
            f"{n} calibration images are too few for alpha {alpha}; the smallest alpha that they "
            f"allow is 1/{n + 1} = {1 / (n + 1):.4f}"
        )
    return chosen


def shortage(n, settings):
    """Why n calibration images do not give all thresholds of params.yaml, or an empty text."""
    try:
        for alpha in settings.calibration.alpha:
            rank(int(n), alpha)
    except ValueError as error:
        return f"calibration.alpha: {error}"
    return ""


def check(n, settings):
    """ValueError, before training, where a held-out share gives too few images for an alpha.

    Without a held-out share, returns a sentence that says why there will be no thresholds.
    """
    problem = shortage(n, settings)
    if problem and settings.dataset.calibration:
        raise ValueError(f"{problem}; raise dataset.calibration, or alpha")
    return f"No thresholds: {problem}." if problem else ""


def threshold(scores, alpha):
    """The split-conformal threshold of calibration scores (n,): an image above it is an alarm.

    Raises ValueError as `rank` does, and for scores that are not finite.
    """
    scores = np.asarray(scores)
    if not np.isfinite(scores).all():
        raise ValueError("calibration scores hold NaN or infinity; look at the loss")
    return float(np.sort(scores)[rank(len(scores), alpha) - 1])


def p_values(calibration, scores):
    """p-value of each new image, (m,): (1 + calibration scores at or above its score) / (n + 1).

    Arrays or tensors, calibration (n,) and scores (m,).
    """
    return (1 + (calibration[None] >= scores[:, None]).sum(1)) / (len(calibration) + 1)


def combine(calibration, scores):
    """One score from several maps: combined calibration scores (n,) and new scores (m,).

    calibration, scores: {map name: (n,) or (seeds, n)} and {map name: (m,) or (seeds, m)}. Each map
    is brought to one scale by `normal_scores`, and seeds are averaged. The Gaussian leads. Maps
    that were trained on synthetic defects may rank real ones at chance (docs/log.md), so they add
    clear evidence only: what the lowest of them exceeds `CLEAR` by, times `SHARE`. Without a
    Gaussian, the maps are averaged.

    The combination is calibrated, too: `threshold` and `p_values` of it hold. Take a new image and
    score all n + 1 images together, each against the n others, in each map. This treats them alike,
    so the n + 1 sums are exchangeable and a p-value from them is valid; but the calibration scores
    would then depend on the new image. They are highest if it lies below all others in every map.
    Those bounds are returned as the calibration scores. The p-values from them are at least the
    valid ones, and the cost is about one rank in n + 1.
    """
    if calibration.keys() != scores.keys():
        raise ValueError(f"maps {sorted(scores)} were not calibrated: {sorted(calibration)}")
    known, new = {}, {}
    for name, by_seed in calibration.items():
        pairs = zip(np.atleast_2d(by_seed), np.atleast_2d(scores[name]), strict=True)
        sides = zip(*(normal_scores(*pair) for pair in pairs), strict=True)
        known[name], new[name] = (np.mean(side, axis=0) for side in sides)
    return combined_score(known), combined_score(new)


def combined_score(maps):
    """Sum of {map name: normal scores (n,)}; it rises with every one of them.

    The scores are arrays, or tensors in study/inspector/judge.py.
    """
    if "gaussian" not in maps:
        return sum(maps.values()) / len(maps)
    others = [maps[name] for name in maps if name != "gaussian"]
    if not others:
        return maps["gaussian"]
    agreed = reduce(lambda one, other: one.clip(max=other), others)
    return maps["gaussian"] + SHARE * (agreed - CLEAR).clip(0)


def normal_scores(calibration, scores):
    """Calibration scores (n,) and new scores (m,) of one map, both as standard normal scores.

    A new image is compared with the n calibration images, a calibration image with the n - 1 others
    and an image below all.
    """
    calibration, scores = np.asarray(calibration, float), np.asarray(scores, float)
    known = np.empty(len(calibration))
    for index in range(len(calibration)):
        others = np.append(np.delete(calibration, index), BELOW_ALL)
        known[index] = quantiles(calibration[[index]], *scale(others))[0]
    return known, quantiles(scores, *scale(calibration))


def scale(others):
    """n scores in order, their normal quantiles, and their spread: what `quantiles` reads."""
    ordered, n = np.sort(others), len(others)
    real = ordered[ordered > BELOW_ALL]
    spread = np.sqrt(np.sum((real - real.mean()) ** 2) / n)
    spread = max(spread, 1e-6 * np.abs(real).max(), np.finfo(float).tiny)  # of a constant map
    return ordered, norm.ppf(np.arange(1, n + 1) / (n + 1)), spread


def quantiles(scores, ordered, levels, spread, where=np.where):
    """Normal quantiles of scores (m,) among n others, linear between them: strictly increasing.

    Ranks end at the largest of the others, so many defects would tie there. Beyond either end,
    the distance in root mean squares of n deviations is added, and clear defects keep their order.
    study/inspector/judge.py calls it with tensors and `torch.where`.
    """
    below = (ordered[None] < scores[:, None]).sum(1)
    low, high = (below - 1).clip(min=0), below.clip(max=len(ordered) - 1)
    left, right = ordered[low], ordered[high]
    inside = left < right
    way = (scores - left) / where(inside, right - left, spread)
    return levels[low] + way * where(inside, levels[high] - levels[low], 1)
