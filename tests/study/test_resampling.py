"""The bootstrap over images: exact where it says so, paired, seeded, and of the right width."""

import numpy as np
import pytest
from scipy import ndimage

from study.scoring import metrics, resampling


def data(good=30, defective=30, size=48, seed=0):
    """Smooth maps that rise on one to three rectangles of each defective image."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [good, defective])
    masks = np.zeros((len(labels), size, size), bool)
    for index in np.flatnonzero(labels):
        for _ in range(random.integers(1, 4)):
            y, x, h, w = *random.integers(0, size - 12, 2), *random.integers(2, 12, 2)
            masks[index, y : y + h, x : x + w] = True
    noise = ndimage.gaussian_filter(random.standard_normal(masks.shape), (0, 2, 2))
    maps = noise * 3 + masks * random.random((len(labels), 1, 1)) * 3
    return maps.astype(np.float32), masks, maps.max(axis=(1, 2)), labels


def copies(drawn, *arrays):
    """Arrays with each image as often as it was drawn."""
    index = np.repeat(np.arange(len(drawn)), drawn.astype(int))
    return [array[index] for array in arrays]


@pytest.mark.parametrize("bits", [32, 4])  # with 4 bits most pixels are tied
def test_resampled_figures_are_those_of_the_copied_images(bits):
    maps, masks, scores, labels = data()
    if bits == 4:
        maps = np.round(maps).astype(np.float32)
        scores = np.round(scores)
    drawn = np.r_[np.ones((1, 60), np.float32), resampling.weights(labels, 3, "nut")]
    auroc = resampling.image_auroc(scores, labels, drawn)
    ap, iap = resampling.pixel_figures(maps, masks, drawn)
    for row, *found in zip(drawn, auroc, ap, iap, strict=True):
        exact = metrics.evaluate(*copies(row, maps, masks, scores, labels))
        assert found[0] == pytest.approx(exact["image_auroc"], abs=1e-6)
        assert found[1] == pytest.approx(exact["pixel_ap"], abs=1e-3)
        assert found[2] == pytest.approx(exact["iap"], abs=1e-4)


def test_resamples_keep_the_classes_and_are_the_same_for_all_rows():
    labels = np.repeat([0, 1, 0], [12, 20, 5])
    drawn = resampling.weights(labels, 50, "nut")
    assert (drawn[:, labels == 1].sum(axis=1) == 20).all() and (drawn.sum(axis=1) == 37).all()
    assert np.array_equal(drawn, resampling.weights(labels, 50, "nut"))
    assert not np.array_equal(drawn, resampling.weights(labels, 50, "bolt"))


def test_few_images_of_a_kind_give_no_interval():
    labels = np.repeat([0, 1], [50, resampling.FEWEST - 1])
    assert resampling.weights(labels, 50, "nut") is None
    assert resampling.figures(None, None, np.arange(59.0), labels, "nut", 50) == {}


def test_without_masks_only_images_are_resampled():
    maps, _, scores, labels = data()
    found = resampling.figures(maps, None, scores, labels, "nut", 50)
    assert list(found) == ["image_auroc"] and found["image_auroc"].shape == (50,)


def test_the_interval_covers_the_true_auroc_as_often_as_it_says():
    """Normal scores, one deviation apart: the true AUROC is Phi(1 / sqrt 2) = 0.7602."""
    random, labels, covered = np.random.default_rng(0), np.repeat([0, 1], 60), 0
    for trial in range(200):
        scores = random.standard_normal(120) + labels
        drawn = resampling.weights(labels, 400, f"c{trial}")
        low, high = np.quantile(resampling.image_auroc(scores, labels, drawn), (0.025, 0.975))
        covered += low <= 0.7602 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_pairing_narrows_the_interval_of_a_difference():
    maps, masks, _, labels = data()
    drawn = resampling.weights(labels, 300, "nut")
    one, _ = resampling.pixel_figures(maps, masks, drawn)
    other, _ = resampling.pixel_figures(maps**3, masks, drawn)  # no pixel passes another
    assert np.abs(one - other).max() < 2e-3 < one.std()
