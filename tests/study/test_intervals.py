"""Intervals against scipy and by hand, and scores paired by category and seed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_ablations import draws_of, rows

from study.tables import intervals
from study.tables.intervals import Scores

FULL, PLAIN = ("full", "segmentation"), ("plain", "cosine")


def test_the_interval_over_seeds_is_students():
    values = [1.0, 2.5, 0.3, 1.1]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert intervals.seeds_interval(values) == pytest.approx(expected)
    assert intervals.seeds_interval([1.0]) is None


def test_the_interval_over_images_averages_categories_in_each_resample():
    draws = np.arange(1001.0), 10 + np.arange(1001.0)[::-1]
    assert intervals.images_interval([draws[0]]) == pytest.approx((25, 975))
    assert intervals.images_interval(draws) == pytest.approx((505, 505))
    assert (
        intervals.images_interval([draws[0], None]) is None
        and intervals.images_interval([]) is None
    )


def scores(frame, **more):
    return Scores(frame[frame.split == "test"], "image_auroc", draws_of(frame, **more))


def test_only_seeds_that_every_category_has_count():
    frame = rows(seeds=(0, 1, 2))
    short = frame[(frame.category != "bolt") | (frame.seed != 1)]
    means, images, categories = scores(short).estimate(FULL, PLAIN)
    assert means == pytest.approx({0: 7.0, 2: 7.0}) and categories == ("nut", "bolt")
    assert images == pytest.approx((7.0, 7.0))
    alone, _, _ = scores(short).estimate(FULL, PLAIN, ("nut",))
    assert list(alone) == [0, 1, 2]


def test_a_row_without_a_partner_or_without_resamples():
    frame = rows()
    assert scores(frame).estimate(("other", "cosine")) is None
    assert scores(frame).estimate(FULL, ("other", "cosine")) is None
    bare = Scores(frame[frame.split == "test"], "image_auroc", {})
    means, images, _ = bare.estimate(FULL)
    assert means == pytest.approx({0: 59.0, 1: 59.5}) and images is None


def test_a_row_given_twice_is_an_error():
    frame = rows()
    with pytest.raises(ValueError, match="two rows of nut, 0, plain, cosine"):
        scores(pd.concat([frame, frame]))
