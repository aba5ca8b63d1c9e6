"""A small law of distillation: R = E + A / N^a + B / D^b, fitted to runs of the student.

R is the cosine distance on held-out clean images, divided by that of the best constant predictor:
1 knows nothing, 0 is perfect. N are the student's parameters, D the images it saw. Busbridge et al.
(ICML 2025, arXiv 2502.08606) fit such laws to language models. Theirs has the teacher's own loss in
it; here the teacher defines the target, so nothing plays that part.

Huber losses of log R are summed, not averaged: with the mean the optimiser stops early and the
intervals are far too narrow (Besiroglu et al. 2024, arXiv 2404.10102).
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

N0, D0 = 1e5, 1e3  # units of N and D, so that A and B are of the size of R
NAMES = ("E", "A", "a", "B", "b")
BOUNDS = ((np.log(1e-4), 0), (-12, 6), (0, 5), (-12, 6), (0, 5))  # of log E, log A, a, log B, b
STARTS = tuple(
    (np.log(e), la, a, lb, b)
    for e, la, a, lb, b in product(
        (0.03, 0.1, 0.2, 0.4), (-4, -2.5, -1), (0.2, 0.5, 1), (-4, -2.5, -1), (0.2, 0.5, 1)
    )
)
DELTA = 1e-3  # of the Huber loss
SPREAD = 3  # an exponent is determined if its interval is within this factor


class Fit(NamedTuple):
    """The optimum, and 95 % intervals from resampled cells.

    An interval also covers every start whose end fits as well to 1 %: a parameter on which nothing
    depends stays where it began, so the bootstrap alone would call it certain.
    """

    values: dict  # of NAMES
    intervals: dict  # {name: (low, high)}
    loss: float

    def predict(self, n, d):
        return predict(self.raw, n, d)

    @property
    def raw(self):
        e, a_, a, b_, b = (self.values[name] for name in NAMES)
        return np.array([np.log(e), np.log(a_), a, np.log(b_), b])

    def determined(self, name):
        """Whether the points say what this exponent is."""
        low, high = self.intervals[name]
        return low > 0 and high / low < SPREAD


def terms(raw, n, d):
    """Logs of the three terms of R, (3, points)."""
    e, a_, a, b_, b = raw
    n, d = np.log(np.asarray(n, float) / N0), np.log(np.asarray(d, float) / D0)
    return np.stack([np.full_like(n, e), a_ - a * n, b_ - b * d])


def predict(raw, n, d):
    """R of students of n parameters after d images."""
    return np.exp(terms(raw, n, d)).sum(axis=0)


def loss(raw, n, d, log_r, weights):
    """Summed Huber loss of log R and its gradient; weights: how often each point counts."""
    parts = np.exp(terms(raw, n, d))
    total = parts.sum(axis=0)
    error, share = np.log(total) - log_r, parts / total
    size = np.abs(error)
    huber = np.where(size <= DELTA, error**2 / 2, DELTA * (size - DELTA / 2))
    slope = weights * np.clip(error, -DELTA, DELTA)
    n, d = np.log(np.asarray(n, float) / N0), np.log(np.asarray(d, float) / D0)
    inner = np.stack([share[0], share[1], -n * share[1], share[2], -d * share[2]])
    return float(weights @ huber), inner @ slope


def optima(n, d, log_r, weights, starts):
    """L-BFGS-B from each start: [(loss, raw parameters)], the best first."""
    scale = 1 / DELTA**2  # as small sums would meet the optimiser's tolerance at once

    def scaled(raw):
        value, gradient = loss(raw, n, d, log_r, weights)
        return scale * value, scale * gradient

    options = {"method": "L-BFGS-B", "jac": True, "bounds": BOUNDS}
    found = [optimize.minimize(scaled, start, **options) for start in starts]
    return sorted(((one.fun / scale, one.x) for one in found), key=lambda pair: pair[0])


def fit(n, d, r, cells, resamples=4000, starts=STARTS, seed=0):
    """Fit the law to R (points,); `cells` names the cell of each point, whose seeds stay together.

    The bootstrap resamples cells and starts at the optimum.
    """
    n, d, log_r = np.asarray(n, float), np.asarray(d, float), np.log(np.asarray(r, float))
    ends = optima(n, d, log_r, np.ones(len(n)), starts)
    value, raw = ends[0]
    as_good = [natural(one) for other, one in ends if other <= 1.01 * value + 1e-12]
    names, cell = np.unique(cells, return_inverse=True)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        often = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        drawn.append(natural(optima(n, d, log_r, often[cell].astype(float), [raw])[0][1]))
    intervals = {}
    for name in NAMES:
        low, high = np.quantile([one[name] for one in drawn], (0.025, 0.975))
        others = [one[name] for one in as_good]
        intervals[name] = float(min(low, *others, high)), float(max(low, *others, high))
    return Fit(natural(raw), intervals, value)


def natural(raw):
    e, a_, a, b_, b = raw
    return dict(zip(NAMES, map(float, (np.exp(e), np.exp(a_), a, np.exp(b_), b)), strict=True))


def rank_correlation(x, y, cells, resamples=4000, seed=0):
    """Spearman's correlation and its 95 % interval over resampled cells."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    names, cell = np.unique(cells, return_inverse=True)
    members = [np.flatnonzero(cell == k) for k in range(len(names))]
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        chosen = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        drawn.append(stats.spearmanr(x[chosen], y[chosen]).statistic)
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(stats.spearmanr(x, y).statistic), (float(low), float(high))


def curvature(strength, y, seeds, resamples=4000, rng=0):
    """Quadratic coefficient of y in the teacher's strength, and its interval over seeds.

    Negative: y is an arch, so the best teacher is in the middle (y = AUROC). Strength is scaled to
    [-1, 1]. The bootstrap resamples the seeds of every rung.
    """
    strength, y = np.asarray(strength, float), np.asarray(y, float)
    low, high = strength.min(), strength.max()
    x = (2 * strength - low - high) / (high - low)
    rungs = [np.flatnonzero(strength == one) for one in np.unique(strength)]
    rng, drawn = np.random.default_rng(rng), []
    for _ in range(resamples):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in rungs])
        drawn.append(np.polyfit(x[chosen], y[chosen], 2)[0])
    ends = tuple(map(float, np.quantile(drawn, (0.025, 0.975))))
    return float(np.polyfit(x, y, 2)[0]), ends
