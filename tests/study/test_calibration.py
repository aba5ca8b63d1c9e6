"""The stage `calibration` on toy maps: which images calibrate, the file, rates and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from test_scores import SETTINGS, SIZE, category, maps_of

from study import results
from study.scoring import calibration, conformal, scores
from study.scoring.calibration import Calibrated

ALPHA = replace(SETTINGS, calibration=replace(SETTINGS.calibration, alpha=(0.1, 0.2)))


def many(copies=5, **options):
    """Toy category with 6 * copies good images in validation and in test."""
    held_out = category(**options)
    found = held_out.select(np.tile(np.arange(len(held_out.labels)), copies))
    return replace(found, names=np.array([f"{i}.png" for i in range(len(found.labels))]))


def toy_maps(held_out):
    """Two seeds of the networks, and the Gaussian's coarser maps."""
    found = {
        kind: [maps_of(held_out, seed + 10 * place) for seed in ALPHA.seeds]
        for place, kind in enumerate(("cosine", "segmentation"))
    }
    return found | {"gaussian": [maps_of(held_out, 99)[:, ::2, ::2]]}


@pytest.fixture(scope="module")
def found():
    held_out = many()
    return Calibrated(held_out, toy_maps(held_out), ALPHA)


def test_real_good_validation_images_calibrate(found):
    held_out = found.held_out
    assert found.known.sum() == 30
    assert set(held_out.splits[found.known]) == {"validation"}
    assert not held_out.labels[found.known].any() and not held_out.drawn[found.known].any()


def test_the_file_holds_what_conformal_says(found, elsewhere):
    calibration.save(found.document(), "nut")
    left = calibration.load("nut")
    assert left["n"] == 30 == len(left["files"]) and left["alpha"] == 0.1
    assert left["category"] == "nut" and len(left["model"]) == 64
    seeds = {kind: len(part["scores"]) for kind, part in left["maps"].items()}
    assert seeds == {"cosine": 2, "segmentation": 2, "gaussian": 1, "combined": 1}
    for part in left["maps"].values():
        assert len(part["threshold"]) == len(part["pixel_threshold"]) == len(part["scores"])
        expected = [conformal.threshold(row, 0.1) for row in part["scores"]]
        assert part["threshold"] == expected
    parts = {k: v["scores"] for k, v in left["maps"].items() if k != "combined"}
    known, _ = conformal.combine(parts, parts)
    np.testing.assert_allclose(left["maps"]["combined"]["scores"][0], known)


def test_the_gaussians_score_is_the_maximum(found):
    maps = scores.full_size(found.maps["gaussian"][0], SIZE)
    np.testing.assert_array_equal(found.scores["gaussian"][0], maps.max(axis=(1, 2)))


def test_images_above_the_pixel_threshold_are_as_rare_as_allowed(found):
    for kind, largest in found.largest.items():
        for row, cut in zip(largest, found.thresholds(largest), strict=True):
            assert (row[found.known] > cut).sum() <= 3, kind  # of 31 images with the new one


def test_rates_on_test_and_peeking(found):
    rates = found.rates()
    assert set(rates["threshold"]) == {"alpha 0.1", "alpha 0.2", "F1 on test (peeking)"}
    assert (rates["hits"] == 100).all()  # the toy's defects are clear
    peeked = rates[rates["threshold"].str.contains("peeking")]
    assert (peeked["false alarms"] == 0).all()
    both = rates[rates["map"] == "gaussian"].set_index("threshold")["false alarms"]
    assert both["alpha 0.1"] <= both["alpha 0.2"]


def test_random_splits_stray_around_alpha(found):
    splits = found.splits()
    assert len(splits) == calibration.SPLITS * 4 * 2 and (splits.images == 30).all()
    mean = splits.groupby(["map", "alpha"])["false alarms"].mean()
    assert mean.loc[:, 0.1].between(2, 16).all() and mean.loc[:, 0.2].between(8, 28).all()


def test_rows_of_the_combination(found):
    rows = scores.score(found.held_out, found.items(), ALPHA).rows
    assert set(rows["map"]) == {"combined"} and sorted(set(rows.seed)) == [0, 1]
    assert (rows[rows.split == "test"].image_auroc == 1).all()


def test_without_calibration_images_there_is_nothing_and_a_reason():
    held_out = many(validation=False)
    none = Calibrated(held_out, toy_maps(held_out), ALPHA)
    assert "0 calibration images; at least 10 are needed" in none.problem
    assert none.document()["maps"] == {} and none.document()["n"] == 0
    assert none.rates().empty and none.splits().empty and not list(none.items())


def test_the_hash_is_of_the_weights_used(elsewhere):
    before = calibration.model_hash(ALPHA, "nut")
    path = results.network("student", "nut", "plain-0") / "weights.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    assert calibration.model_hash(ALPHA, "nut") == before  # not the headline student
    used = results.network("student", "nut", f"{ALPHA.headline}-0") / "weights.pt"
    used.parent.mkdir(parents=True)
    used.write_bytes(b"x")
    assert calibration.model_hash(ALPHA, "nut") != before


def test_best_f1_by_hand():
    alarms = calibration.best_f1(np.array([0.1, 0.5, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    assert alarms.tolist() == [False, True, True, True]


def test_binomial_interval():
    low, high = calibration.binomial_interval(0.1, 100)
    assert (round(low), round(high)) == (5, 16)
    random = np.random.default_rng(0)
    rates = [  # of 99 calibration images and 100 new ones
        100 * (random.random(100) > conformal.threshold(random.random(99), 0.1)).mean()
        for _ in range(2000)
    ]
    wide = calibration.binomial_interval(0.1, 100, 99)
    assert wide[0] < low < high < wide[1]
    assert 0.94 < np.mean([wide[0] <= rate <= wide[1] for rate in rates]) < 0.985
