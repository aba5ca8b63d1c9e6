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
    """The scores of a table's rows in one metric, in percent: {row: {(category, seed): score}}.

    Rows (student, map) are on real defects, or on drawn ones if no real ones have the metric.
    """

    def __init__(self, frame, metric, draws):
        """draws: as of `scores.load_draws`. Raises ValueError for a row given twice."""
        found = frame[frame[metric].notna()]
        self.drawn = len(found) > 0 and not found.real_defects.any()
        found = found if self.drawn else real(found)
        self.metric, self.draws, self.rows, self.benchmarks = metric, draws, {}, {}
        columns = ["student", "map", "category", "seed", "benchmark", metric]
        for student, kind, category, seed, benchmark, value in found[columns].to_numpy().tolist():
            scores = self.rows.setdefault((student, kind), {})
            if (category, seed) in scores:
                raise ValueError(f"two rows of {student}, {kind}, {category}, seed {seed}")
            scores[category, seed] = 100 * value
            self.benchmarks[category] = benchmark

    def estimate(self, one, other=None, only=()):
        """Estimate a row, or its difference from another if both were measured.

        Returns ({seed: mean over the categories}, interval over images, categories), or None. Only
        seeds that every category has are used; only: the categories, if not all.
        """
        scores, less = self.rows.get(one, {}), self.rows.get(other, {})
        shared = dict.fromkeys(key for key in scores if other is None or key in less)
        categories = tuple(dict.fromkeys(c for c, _ in shared if not only or c in only))
        seeds = [s for s in dict.fromkeys(s for _, s in shared)
                 if all((c, s) in shared for c in categories)]  # fmt: skip
        if not categories or not seeds:
            return None
        means = {
            seed: float(np.mean([scores[c, seed] - less.get((c, seed), 0) for c in categories]))
            for seed in seeds
        }
        draws = [self._resampled(one, other, category, seeds) for category in categories]
        return means, images_interval(draws), categories

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
