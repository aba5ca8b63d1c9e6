"""The metrics against the official figures, against brute force, and where they are undefined."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from bench import reference
from study.scoring import metrics

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "metrics"
CASES = ("smooth_1", "saturated_2", "quantised_3", "random_4")
PIXEL_NAMES = ("pixel_auroc", "pixel_ap", "pro", "iap", "iap90")


def image_scores(maps, count=100):
    return np.sort(maps.reshape(len(maps), -1), axis=1)[:, -count:].mean(axis=1)


def evaluate(maps, masks, **options):
    labels = np.arange(2)  # image figures are not looked at
    return metrics.evaluate(maps, masks, labels, labels, **options)


@pytest.mark.parametrize("case", CASES)
def test_reference(case):
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference cases are not there: {REFERENCE}")
    expected = json.loads((REFERENCE / "expected.json").read_text())[case]
    expected["pro"] = expected["pro_exact"]
    with np.load(REFERENCE / f"{case}.npz") as data:
        maps, masks = data["maps"], data["masks"]
    found = metrics.evaluate(maps, masks, image_scores(maps), masks.any(axis=(1, 2)))
    assert found == pytest.approx({name: expected[name] for name in found}, abs=2e-5)
    wide = metrics.evaluate(maps.astype(float), masks, image_scores(maps), masks.any(axis=(1, 2)))
    assert wide == pytest.approx(found, abs=1e-6)


@st.composite
def cases(draw):
    """A few tiny images on 2 to 40 grey levels, negative ones too, with masks of both kinds."""
    shape = draw(st.tuples(st.integers(2, 3), st.integers(2, 6), st.integers(2, 6)))
    levels = draw(st.sampled_from((1, 4, 20)))
    maps = draw(arrays(np.float32, shape, elements=st.integers(-levels, levels).map(float)))
    masks = draw(arrays(bool, shape))
    assume(masks.any() and not masks.all())
    return maps / np.float32(8), masks


@settings(max_examples=150, deadline=None)
@given(cases(), st.sampled_from((0.05, 0.3, 1.0)), st.sampled_from((0.1, 0.5, 0.9, 1.0)))
def test_brute_force(case, limit, recall):
    """Loops over thresholds and regions; scikit-learn's areas."""
    labels = np.arange(2)
    found = metrics.evaluate(*case, labels, labels, limit, recall)
    expected = reference.evaluate(*case, labels, labels, limit, recall)
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_invariances(case):
    maps, masks = case
    found = evaluate(maps, masks)
    assert evaluate(np.exp(maps.astype(float)) - 3, masks) == pytest.approx(found, abs=1e-12)
    assert evaluate(maps[:, ::-1, ::-1], masks[:, ::-1, ::-1]) == pytest.approx(found, abs=1e-12)
    assert evaluate(maps, masks.astype(np.uint8) * 255) == found
    shifted = maps + masks * (np.ptp(maps) + 1)
    perfect = evaluate(shifted, masks)
    assert [perfect[name] for name in PIXEL_NAMES] == pytest.approx([1.0] * 5)


@settings(max_examples=60, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_bounds_and_the_order_of_images(case, random):
    maps, masks = case
    found = evaluate(maps, masks)
    assert all(0 <= found[name] <= 1 for name in PIXEL_NAMES)
    hits = np.arange(1, masks.sum() + 1)  # at worst every normal pixel comes first
    assert found["pixel_ap"] >= (hits / (hits + (~masks).sum())).mean() - 1e-12
    order = random.sample(range(len(maps)), len(maps))
    assert evaluate(maps[order], masks[order]) == pytest.approx(found, abs=1e-12)
    turned = evaluate(-maps, masks)["pixel_auroc"]
    assert turned == pytest.approx(1 - found["pixel_auroc"], abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_scikit_learn_agrees_on_ties_of_images(case):
    maps, masks = case
    scores, labels = maps[0].ravel(), masks[0].ravel()
    assume(labels.any() and not labels.all())
    found = metrics.image_auroc(scores, labels)
    assert found == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_pro_alone_agrees_with_evaluate():
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(4, 16, 16)).astype(np.float32)
    masks = generator.random((4, 16, 16)) < 0.1
    found = evaluate(maps, masks, fpr_limit=0.2)
    assert found["pro"] == metrics.pro(maps, masks, fpr_limit=0.2)
    assert {type(value) for value in found.values()} == {float}


def test_constant_map_is_one_threshold():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:4, 2:4] = True
    found = evaluate(np.zeros((2, 8, 8), np.float32), masks)
    share = 4 / 128
    expected = {"pixel_auroc": 0.5, "pixel_ap": share, "pro": 0.15, "iap": share, "iap90": share}
    assert {name: found[name] for name in PIXEL_NAMES} == pytest.approx(expected)


def test_negative_zero_ties_with_zero():
    masks = np.array([[[True, False]]])
    assert evaluate(np.array([[[-0.0, 0.0]]], np.float32), masks)["pixel_auroc"] == 0.5


def test_regions_are_eight_connected_inside_an_image():
    diagonal = np.array([[[1, 0], [0, 1]], [[1, 0], [0, 0]]], bool)
    maps = np.array([[[9, 1], [1, 2]], [[0, 1], [1, 1]]], np.float32)
    # Two regions, not three: the diagonal one is scored by its second pixel (2), the other by 0.
    assert evaluate(maps, diagonal)["iap"] == pytest.approx((1.0 + 3 / 8) / 2)


def test_iap_at_counts_regions_exactly():
    count = 30  # 0.9 * 30 must need 27 regions, not 28
    masks = np.zeros((1, 2 * count, 3), bool)
    masks[0, ::2, 1] = True
    maps = np.zeros(masks.shape, np.float32)
    maps[0, ::2, 1] = np.arange(count) + 1
    maps[0, 1, 1] = 3.5  # one normal pixel above the three lowest regions
    assert evaluate(maps, masks, recall=0.9)["iap90"] == pytest.approx(1.0)
    monotone = evaluate(maps, masks, recall=0.91)["iap90"]  # from the lowest threshold
    assert monotone == pytest.approx(30 / 31)


def test_image_auroc_counts_pairs():
    scores, labels = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1])
    assert metrics.image_auroc(scores, labels) == pytest.approx(3.5 / 4)
    assert metrics.image_auroc(-scores, labels) == pytest.approx(0.5 / 4)


def test_no_masks_leave_pixel_figures_empty():
    found = metrics.evaluate(np.zeros((2, 4, 4)), None, np.array([0.0, 1.0]), np.array([0, 1]))
    assert found["image_auroc"] == 1.0
    assert all(np.isnan(found[name]) for name in PIXEL_NAMES)


def test_curves_are_thin_and_keep_the_area():
    generator = np.random.default_rng(1)
    masks = np.zeros((4, 64, 64), bool)
    masks[:, 10:20, 10:30] = True
    maps = (generator.normal(size=masks.shape) + masks).astype(np.float32)
    found = metrics.curves(maps, masks, fpr_limit=0.3)
    assert set(found) == {"roc", "precision_recall", "pro"}
    assert all(len(x) == len(y) <= 500 for x, y in found.values())
    x, y = found["roc"]
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    exact = evaluate(maps, masks)
    assert np.trapezoid(y, x) == pytest.approx(exact["pixel_auroc"], abs=1e-3)
    x, y = found["pro"]
    assert x[-1] == pytest.approx(0.3)
    assert np.trapezoid(y, x) / 0.3 == pytest.approx(exact["pro"], abs=1e-3)
    x, y = metrics.image_curves(np.arange(6.0), np.array([0, 1, 0, 1, 0, 1]))["roc"]
    assert np.trapezoid(y, x) == pytest.approx(6 / 9)


MAPS, MASKS = np.zeros((2, 4, 4), np.float32), np.eye(4, dtype=bool)[None].repeat(2, axis=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite(bad, dtype):
    maps = MAPS.astype(dtype)
    maps[0, 0, 0] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        metrics.pro(maps, MASKS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.pro(MAPS, MASKS[:1]), r"\(2, 4, 4\) and masks \(1, 4, 4\)"),
        (lambda: metrics.pro(MAPS[0], MASKS[0]), r"must both be \(N, H, W\)"),
        (lambda: metrics.pro(MAPS, MASKS & False), "all 32 pixels are normal"),
        (lambda: metrics.pro(MAPS, MASKS | True), "all 32 pixels are anomalous"),
        (lambda: metrics.pro(MAPS, MASKS * 0.4), "cut them at 0.5"),
        (lambda: metrics.pro(MAPS, MASKS, fpr_limit=0), "fpr_limit is 0"),
        (lambda: evaluate(MAPS, MASKS, recall=1.1), "recall is 1.1"),
        (lambda: metrics.image_auroc([1.0, 2.0], [1, 1]), "all 2 images are anomalous"),
        (lambda: metrics.image_auroc([], []), "all 0 images are normal"),
        (lambda: metrics.image_auroc([1.0, 2.0], [0, 2]), "0 .good. or 1 .defective."),
        (lambda: metrics.image_auroc([1.0, 2.0], [1]), r"must both be \(N,\)"),
    ],
)
def test_undefined(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_sort_for_a_gpu_is_the_other_one():
    words = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64, endpoint=False)
    words[:3] = 0, 2**63, 2**64 - 1
    found = metrics._sorted_by_torch(words.copy(), torch.device("cpu"), torch)
    assert np.array_equal(found, np.sort(words)) and found.dtype == np.uint64
