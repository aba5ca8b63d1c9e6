"""The calibrated model: equal to the pipeline's scores and to conformal's p-values."""

import judged
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from study.inspector import judge
from study.scoring import conformal
from study.scoring.scores import full_size


@pytest.fixture(scope="module")
def made():
    return judged.make()


def test_scores_and_p_values_are_those_of_conformal(made):
    images = judged.pictures(20, seed=2)
    images[-1, 20:40, 20:40] = 255  # a defect
    heat, score, p = made.judge.judge(images)
    known = {k: np.array(v["scores"]) for k, v in made.document["maps"].items() if k != "combined"}
    calibration, new = conformal.combine(known, judged.scored(made.judge, images)[0])
    np.testing.assert_allclose(score, new, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(p, conformal.p_values(calibration, new), rtol=1e-6)
    assert p[-1] == pytest.approx(1 / (judged.KNOWN + 1)) and p[:-1].min() >= p[-1]
    cut = made.judge.threshold(0.05)
    assert ((score > cut) == (p <= 0.05 + 1e-6)).all()
    assert heat.shape == (20, judged.SIZE, judged.SIZE) and heat.dtype == np.float32


def test_the_map_is_in_units_of_the_pixel_threshold(made):
    images = judged.pictures(3, seed=2)
    heat, _, _ = made.judge.judge(images)
    with torch.no_grad():
        maps = made.judge.maps(torch.from_numpy(images))
    parts = []
    for kind, by_seed in maps.items():
        levels = made.document["maps"][kind]["pixel_threshold"]
        parts.append(np.mean([m.numpy() / x for m, x in zip(by_seed, levels, strict=True)], axis=0))
    whole = made.document["maps"]["combined"]["pixel_threshold"][0]
    np.testing.assert_allclose(heat, np.mean(parts, axis=0) / whole, rtol=1e-4)


@pytest.mark.parametrize(("kind", "seed"), [("cosine", 1), ("segmentation", 0), ("gaussian", 0)])
def test_a_single_map_is_judged_by_its_own_scores(made, kind, seed):
    parts = (made.judge.teacher, made.networks, made.gaussian, made.document, made.settings)
    one, images = judge.Judge(*parts, kind, seed).eval(), judged.pictures(5, seed=2)
    heat, score, p = one.judge(images)
    place = seed if kind != "gaussian" else 0
    expected = judged.scored(made.judge, images)[0][kind][place]
    np.testing.assert_allclose(score, expected, rtol=1e-5)
    known = np.array(made.document["maps"][kind]["scores"][place])
    np.testing.assert_allclose(p, conformal.p_values(known, expected), rtol=1e-6)
    with torch.no_grad():
        full = made.judge.maps(torch.from_numpy(images))[kind][place].numpy()
    level = made.document["maps"][kind]["pixel_threshold"][place]
    np.testing.assert_allclose(heat, full / level, rtol=1e-4)
    assert full.shape == full_size(full, judged.SIZE).shape


def test_good_images_get_uniform_p_values(made):
    """The guarantee, on new images of the calibration images' own kind."""
    p = made.judge.judge(judged.pictures(200, seed=5))[2]
    for alpha in (0.05, 0.1, 0.3):
        assert (p <= alpha + 1e-6).mean() <= alpha + 0.12  # 40 images calibrate: a wide interval
    assert kstest(p, "uniform").statistic < 0.3


def test_what_the_pipeline_left_comes_back(made, elsewhere):
    judged.leave(made, elsewhere)
    document, alpha = judge.read_calibration(made.settings, "monocrystalline")
    assert alpha == made.settings.calibration.alpha[0]
    back = judge.load(made.settings, "monocrystalline", document)
    images = judged.pictures(3, seed=2)
    for one, other in zip(back.judge(images), made.judge.judge(images), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
