"""Means over categories and seeds, with intervals over seeds and over test images."""

import numpy as np
from scipy.special import stdtrit

from study.tables.paper import real


def seeds_interval(values, confidence=0.95):
    """Student's t-interval of the mean of the seeds' values; None for fewer than two."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return None
    half = stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def images_interval(draws, confidence=0.95):
    """Percentiles of resampled figures, [(resamples,) of each category], or None if one is None."""
    if not draws or any(one is None for one in draws):
        return None
    tail = (1 - confidence) / 2
    return tuple(np.quantile(np.mean(draws, axis=0), (tail, 1 - tail)).tolist())


class Scores:
    """The scores of a table's rows in one metric, in percent, a column for each (student, map).

    Rows are on real defects, or on drawn ones if no real ones have the metric.
    """

    def __init__(self, frame, metric, draws):
        """draws: from `scores.load_draws`. Raises ValueError for a row given twice."""
        found = frame[frame[metric].notna()]
        self.drawn = len(found) > 0 and not found.real_defects.any()
        found = found if self.drawn else real(found)
        self.metric, self.draws = metric, draws
        self.rows = dict.fromkeys(zip(found.student, found["map"], strict=True))
        self.benchmarks = dict(zip(found.category, found.benchmark, strict=True))
        found = found.set_index(["category", "seed", "student", "map"])[metric]
        if twice := [", ".join(map(str, key)) for key in found.index[found.index.duplicated()]]:
            raise ValueError(f"two rows of {twice[0]} (category, seed, student, map)")
        self.table = 100 * found.unstack(["student", "map"], sort=False)

    def estimate(self, one, other=None, only=()):
        """Estimate a row, or its difference from another if both were measured.

        Returns ({seed: mean over the categories}, interval over images, categories), or None. Seeds
        that a category lacks are ignored. only: the categories to use; empty for all.
        """
        if one not in self.rows or other not in (None, *self.rows):
            return None
        shared = (self.table[one] - (self.table[other] if other else 0)).dropna()
        shared = (shared.loc[list(only)] if only else shared).unstack("seed", sort=False)
        shared = shared.dropna(axis="columns")
        if shared.empty:
            return None
        categories, seeds = tuple(shared.index), shared.columns
        draws = [self._resampled(one, other, category, seeds) for category in categories]
        return shared.mean().to_dict(), images_interval(draws), categories

    def _resampled(self, one, other, category, seeds):
        """Mean over the seeds in each resample, (resamples,), or None where one is missing."""
        total = 0
        for row, sign in ((one, 100), (other, -100)):
            for seed in seeds if row else ():
                key = (self.benchmarks[category], category, *row, seed, self.metric)
                if key not in self.draws:
                    return None
                total = total + sign / len(seeds) * self.draws[key]
        return total
