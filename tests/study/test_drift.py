"""Warnings where new images are not like the calibration images, and none where they are."""

import numpy as np

from study.inspector import drift

RANDOM = np.random.default_rng(0)
KNOWN = RANDOM.standard_normal(100)


def test_scores():
    assert drift.scores(KNOWN, RANDOM.standard_normal(60), 0.05, 3) == []
    (found,) = drift.scores(KNOWN, RANDOM.standard_normal(60) + 2, 0.05, 40)
    assert "higher than those of the 100 calibration images" in found
    assert "40 of 60 images alarm, where 5.0% of good ones would" in found
    (found,) = drift.scores(KNOWN, RANDOM.standard_normal(60) - 2, 0.05, 0)
    assert "lower" in found and "trained on?" in found
    assert drift.scores(KNOWN, KNOWN[:2] + 9, 0.05, 2) == [], "two images are no distribution"


def test_false_warnings_are_rare():
    draws = RANDOM.standard_normal((1000, 50))
    warned = sum(bool(drift.scores(KNOWN, draw, 0.05, 0)) for draw in draws)
    assert warned <= 10  # 0.001 of 1,000, and the calibration images are one draw, too


def test_brightness():
    known = 100 + 5 * KNOWN
    assert drift.brightness(known, 100 + 5 * RANDOM.standard_normal(30)) == []
    (found,) = drift.brightness(known, np.array([180.0]))
    assert "180 to 180 (median 180)" in found and "(median 10" in found


def test_sizes():
    assert drift.sizes([(300, 300)], [(300, 300)] * 3) == []
    assert drift.sizes([], [(300, 300)]) == []
    (found,) = drift.sizes([(300, 300)], [(300, 300), (600, 600)])
    assert "1 of 2 images" in found and "600x600 instead of 300x300" in found
    assert "resized" in found
    (found,) = drift.sizes([(300, 300)], [(640, 480)])
    assert "another shape" in found


def test_colours():
    assert drift.colours(1, [False, False]) == drift.colours(3, [True, False]) == []
    assert "1 of 2 images are coloured" in drift.colours(1, [True, False])[0]
    assert "All images are grey" in drift.colours(3, [False, False])[0]
