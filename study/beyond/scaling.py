"""A small law of distillation: R = E + A / N^a + B / D^b, fitted to runs of the student.

R is the cosine distance on held-out clean images, divided by that of the best constant predictor:
at 1 the student knows nothing, at 0 it is perfect. N is the number of the student's parameters, D
the number of images it saw. Busbridge et al. (ICML 2025, arXiv 2502.08606) fit such laws to
language models. Theirs has the teacher's own loss in it; here the teacher defines the target, so
there is no such term.

Huber losses of log R are summed, not averaged: with the mean the optimiser stops early and the
intervals are far too narrow (Besiroglu et al. 2024, arXiv 2404.10102).
"""

from itertools import product

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

N0, D0 = 1e5, 1e3  # units of N and D, so that A and B are of the size of R
NAMES = ("E", "A", "a", "B", "b")
BOUNDS = ((np.log(1e-4), 0), (-12, 6), (0, 5), (-12, 6), (0, 5))  # of log E, log A, a, log B, b
LEVELS, EXPONENTS = (-4, -2.5, -1), (0.2, 0.5, 1)
STARTS = [*product(np.log((0.03, 0.1, 0.2, 0.4)), LEVELS, EXPONENTS, LEVELS, EXPONENTS)]
DELTA = 1e-3  # of the Huber loss
SPREAD = 3  # an exponent is determined if its interval is within this factor


def natural(raw):
    """NAMES of raw parameters (..., 5), in which E, A and B are logs."""
    return np.where([True, True, False, True, False], np.exp(raw), raw)


def logs(n, d):
    """N and D in their units, as logs (2, points)."""
    return np.log([np.divide(n, N0), np.divide(d, D0)])


def terms(raw, n, d):
    """Logs of the three terms of R, (3, points), of `logs` of N and D."""
    e, a_, a, b_, b = raw
    return np.stack([np.full_like(n, e), a_ - a * n, b_ - b * d])


def predict(raw, n, d):
    """R of students of n parameters after d images."""
    return np.exp(terms(raw, *logs(n, d))).sum(axis=0)


def loss(raw, n, d, log_r, weights):
    """Summed Huber loss of log R and its gradient; n and d are `logs`.

    weights: how often each point counts.
    """
    parts = np.exp(terms(raw, n, d))
    total = parts.sum(axis=0)
    error, share = np.log(total) - log_r, parts / total
    slope = weights * np.clip(error, -DELTA, DELTA)
    inner = np.stack([share[0], share[1], -n * share[1], share[2], -d * share[2]])
    return float(weights @ special.huber(DELTA, error)), inner @ slope


def optima(n, d, log_r, weights, starts):
    """L-BFGS-B from each start: [(loss, raw parameters)], the best first."""
    scale = 1 / DELTA**2  # as small sums would meet the optimiser's tolerance at once

    def scaled(raw):
        value, gradient = loss(raw, n, d, log_r, weights)
        return scale * value, scale * gradient

    options = {"method": "L-BFGS-B", "jac": True, "bounds": BOUNDS}
    found = [optimize.minimize(scaled, start, **options) for start in starts]
    return sorted(((one.fun / scale, one.x) for one in found), key=lambda pair: pair[0])


def fit(n, d, r, cells, resamples, starts=STARTS):
    """Fit the law to R (points,); `cells` names the cell of each point, whose seeds stay together.

    Returns a row for each of NAMES: value, low and high of a 95 % interval, determined, and raw as
    `predict` takes it. The bootstrap resamples cells and starts at the optimum. An interval also
    covers every optimum whose loss is within 1 % of the best: a parameter on which nothing depends
    stays where it began, so the bootstrap alone would call it certain.
    """
    points = *logs(n, d), np.log(np.asarray(r))
    found = optima(*points, np.ones(len(r)), starts)
    least, raw = found[0]
    as_good = [one for other, one in found if other <= 1.01 * least + 1e-12]
    drawn = [optima(*points, often, [raw])[0][1] for often in resampled(cells, resamples)]
    known = np.vstack([percentiles(natural(drawn)), natural(as_good)])
    table = {"value": natural(raw), "low": known.min(axis=0), "high": known.max(axis=0)}
    table = pd.DataFrame(table, index=NAMES)
    narrow = (table.low > 0) & (table.high < SPREAD * table.low)
    return table.assign(determined=narrow, raw=raw)


def resampled(cells, resamples):
    """How often each point counts, float (points,), in each resample of whole cells."""
    names, cell = np.unique(cells, return_inverse=True)
    rng = np.random.default_rng(0)
    for _ in range(resamples):
        drawn = rng.integers(len(names), size=len(names))
        yield np.bincount(drawn, minlength=len(names))[cell].astype(float)


def percentiles(drawn):
    """The ends of the 95 % interval of resampled figures (resamples, ...)."""
    return np.nanquantile(drawn, (0.025, 0.975), axis=0)


def rank_correlation(x, y, cells, resamples):
    """Spearman's correlation and its 95 % interval over resampled cells."""
    both, drawn = np.asarray([x, y], float), []
    for often in resampled(cells, resamples):
        drawn.append(stats.spearmanr(*both.repeat(often.astype(int), axis=1)).statistic)
    return float(stats.spearmanr(*both).statistic), percentiles(drawn)


def curvature(strength, y, resamples):
    """Quadratic coefficient of y in the teacher's strength, and its interval over seeds.

    Negative: y is an arch, so the best teacher is in the middle (y = AUROC). Strength is scaled to
    [-1, 1]. The bootstrap resamples the seeds of every rung.
    """
    strength, y = np.asarray(strength, float), np.asarray(y, float)
    x = np.interp(strength, [strength.min(), strength.max()], [-1, 1])
    rungs = [np.flatnonzero(strength == one) for one in np.unique(strength)]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(resamples):
        chosen = np.concatenate([rng.choice(members, len(members)) for members in rungs])
        drawn.append(np.polyfit(x[chosen], y[chosen], 2)[0])
    return float(np.polyfit(x, y, 2)[0]), percentiles(drawn)
