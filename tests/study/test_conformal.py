"""Thresholds, p-values and the combination against their definitions and their guarantee."""

from dataclasses import replace

import numpy as np
import pytest

from study import params
from study.scoring import metrics
from study.scoring.conformal import check, combine, normal_scores, p_values, rank, threshold


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    "n, alpha, chosen",
    [(19, 0.05, 19), (20, 0.05, 20), (99, 0.1, 90), (10, 0.5, 6), (39, 0.05, 38)],
)
def test_the_threshold_is_the_order_statistic(n, alpha, chosen):
    assert rank(n, alpha) == chosen
    scores = np.random.default_rng(0).permutation(n) + 1.0
    assert threshold(scores, alpha) == chosen


@pytest.mark.parametrize(
    "n, alpha, message",
    [
        (18, 0.05, r"18 calibration images are too few for alpha 0.05; .* 1/19 = 0.0526"),
        (9, 0.5, "9 calibration images; at least 10 are needed"),
        (0, 0.5, "0 calibration images; at least 10 are needed"),
        (50, 0, r"alpha is 0; it must be above 0 and below 1"),
        (50, 1.0, "alpha is 1.0"),
        (50, float("nan"), "alpha is nan"),
    ],
)
def test_what_has_no_threshold_is_refused(n, alpha, message):
    with pytest.raises(ValueError, match=message):
        rank(n, alpha)
    with pytest.raises(ValueError, match=message):
        threshold(np.arange(n), alpha)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        threshold([*range(20), np.nan], 0.5)


def test_too_few_for_alpha_is_said_before_training():
    shipped = params.load()
    strict = replace(shipped, calibration=replace(shipped.calibration, alpha=(0.05,)))
    said = check(12, strict)
    assert said.startswith("No thresholds: calibration.alpha: 12 calibration images are too few")
    asked = replace(strict, dataset=replace(strict.dataset, calibration=0.2))
    with pytest.raises(ValueError, match=r"1/13 = 0\.0769; raise dataset.calibration, or alpha"):
        check(12, asked)
    assert check(19, asked) == ""


def test_p_values_by_hand():
    found = p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.5, 4.0]))
    np.testing.assert_allclose(found, [1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("n", [19, 20, 37, 100])
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.37])
def test_the_threshold_and_the_p_value_give_one_verdict(n, alpha):
    calibration = np.round(draw(n), 1)  # with ties
    scores = np.round(draw(500, seed=1), 1)
    alarms = scores > threshold(calibration, alpha)
    np.testing.assert_array_equal(alarms, p_values(calibration, scores) <= alpha)


def good(images, maps, seed):
    """Scores of good images by map: correlated, skewed, on scales of their own."""
    shared = draw(images, seed=seed)
    names = ("gaussian", "cosine", "segmentation")[:maps]
    return {
        name: 10.0**i * np.exp(shared + draw(images, seed=1000 * seed + i))
        for i, name in enumerate(names, start=1)
    }


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_the_combination_keeps_the_false_alarm_rate(alpha):
    """500 calibrations, one new image each: the rate is alpha at most, and not far below."""
    alarms = []
    for seed in range(1, 501):
        both = good(40, 3, seed)
        known, new = ({k: v[part] for k, v in both.items()} for part in (np.s_[:39], np.s_[39:]))
        known, new = combine(known, new)
        alarms.append(new[0] > threshold(known, alpha))
    spread = np.sqrt(alpha * (1 - alpha) / 500)
    assert alpha - 0.025 - 2 * spread < np.mean(alarms) < alpha + 2 * spread


def test_the_combined_calibration_scores_are_bounds():
    """Scored against all others, the new image among them, no calibration score is higher."""
    for seed in range(1, 30):
        both = {k: np.round(v, 1) for k, v in good(16, 3, seed).items()}

        def against_others(index, both=both):
            others = {k: np.delete(v, index) for k, v in both.items()}
            return combine(others, {k: v[[index]] for k, v in both.items()})

        known, new = against_others(15)
        together = np.array([against_others(i)[1][0] for i in range(16)])
        assert np.isclose(together[15], new[0])
        assert (together[:15] <= known + 1e-9).all()


def test_seeds_are_averaged_before_maps():
    known, new = good(30, 1, 1)["gaussian"], good(8, 1, 2)["gaussian"]
    one = combine({"a": known, "b": -known}, {"a": new, "b": -new})
    two = combine({"a": known, "b": [-known] * 3}, {"a": new, "b": [-new] * 3})
    for left, right in zip(one, two, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-9)


def test_no_unit_matters():
    known, new = good(30, 2, 1), good(8, 2, 2)
    scaled = [{k: 5 + 3 * v for k, v in side.items()} for side in (known, new)]
    for left, right in zip(combine(known, new), combine(*scaled), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-9)


def test_defects_beyond_the_largest_calibration_score_keep_their_order():
    known, defects = draw(20), np.linspace(4, 40, 50)
    assert len(np.unique(p_values(known, defects))) == 1
    _, new = normal_scores(known, defects)
    assert (np.diff(new) > 0).all()


def test_a_map_of_no_use_does_not_hide_the_gaussian_and_sharp_ones_help_it():
    """Image AUROC, with 20 calibration images."""
    labels = np.r_[np.zeros(200), np.ones(200)]

    def auroc(shift, **others):
        maps = {"gaussian": draw(420, seed=1) + np.r_[np.zeros(20), shift * labels], **others}
        known, new = ({k: v[p] for k, v in maps.items()} for p in (np.s_[:20], np.s_[20:]))
        alone = metrics.image_auroc(new["gaussian"], labels)
        return metrics.image_auroc(combine(known, new)[1], labels) - alone

    cosine, segmentation = (draw(420, seed=s) + np.r_[np.zeros(20), 8 * labels] for s in (2, 4))
    assert auroc(2, useless=draw(420, seed=3), constant=np.full(420, 0.4)) > -0.01
    assert auroc(2, cosine=cosine, segmentation=segmentation) > 0.02
    assert auroc(2) == 0


def test_scores_between_and_beyond_the_others_are_strictly_ordered():
    known, new = np.round(draw(20), 2), np.linspace(-9, 9, 999)
    assert (np.diff(normal_scores(known, new)[1]) > 0).all()


def test_maps_that_were_not_calibrated_are_refused():
    with pytest.raises(ValueError, match=r"maps \['b'\] were not calibrated: \['a'\]"):
        combine({"a": draw(20)}, {"b": draw(3)})
