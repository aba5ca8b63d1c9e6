"""PRO in every reading: against study.scoring.metrics, against pixel-by-pixel orders, and on
paper.
"""

from types import SimpleNamespace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from study.figures import pro_variants as variants
from study.scoring import metrics
from study.tables import answers


def row(region, normal):
    """A map (1, 1, n) of one row and its mask: the pixels of one region, then the normal ones."""
    maps = np.array([[[*region, *normal]]], np.float32)
    return maps, (np.arange(maps.size) < len(region))[None, None]


# Half of the region and 10 of 100 normal pixels at 1, all else at 0.
TIED = row([1, 1, 0, 0], [1] * 10 + [0] * 90)
# A sharp map: 98 of 100 normal pixels at 0, half of the region barely above.
SHARP = row([1, 0.9, 0.001, 0.0005], [0.95, 0.5] + [0] * 98)


def random_case(seed, levels):
    rng = np.random.default_rng(seed)
    masks = np.zeros((3, 12, 12), bool)
    masks[0, 2:5, 3:9] = masks[0, 8:10, 1:3] = masks[1, 6, 6] = True
    maps = rng.integers(0, levels, masks.shape) + masks * levels // 2
    return (maps / levels).astype(np.float32), masks


@pytest.mark.parametrize("limit", [0.01, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_shared_ties_are_lib_metrics(seed, levels, limit):
    maps, masks = random_case(seed, levels)
    found = variants.pro(variants.coverage_curve(maps, masks), limit)
    assert found == pytest.approx(metrics.pro(maps, masks, limit), abs=1e-12)


@pytest.mark.parametrize("levels", [2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_the_orders_within_ties(seed, levels):
    """Break ties by hand, pixel by pixel: the map's ranks, its normal pixels last or first."""
    maps, masks = random_case(seed, levels)
    curve = variants.coverage_curve(maps, masks)
    for ties, key in (("normal last", ~masks), ("normal first", masks)):
        order = np.lexsort((key.ravel(), -maps.ravel()))
        ranked = np.empty(maps.size)
        ranked[order] = -np.arange(maps.size)  # no ties any more
        assert variants.pro(curve, ties=ties) == pytest.approx(
            metrics.pro(ranked.reshape(maps.shape), masks), abs=1e-12
        )
    worst, shared, best = (
        variants.pro(curve, ties=t) for t in ("normal first", "shared", "normal last")
    )
    assert worst <= shared <= best and worst < best


def test_tied_map_on_paper():
    curve = variants.coverage_curve(*TIED)
    np.testing.assert_allclose(curve.fpr, [0, 0.1, 1])
    np.testing.assert_allclose(curve.coverage, [0, 0.5, 1])
    # Straight lines: (0, 0) to (0.1, 0.5), and on towards (1, 1), at 0.3 a height of 0.5 + 1/9.
    shared = (0.1 * 0.25 + 0.2 * (0.5 + 1 / 18)) / 0.3
    assert variants.pro(curve) == pytest.approx(shared) == pytest.approx(metrics.pro(*TIED))
    assert variants.pro(curve, ties="normal last") == pytest.approx((0.1 * 0.5 + 0.2 * 1) / 0.3)
    assert variants.pro(curve, ties="normal first") == pytest.approx((0.1 * 0 + 0.2 * 0.5) / 0.3)
    points = variants.equidistant(curve, 100)  # one point only, however many thresholds
    assert set(points.fpr) == {0.1} and set(points.coverage) == {0.5}
    assert variants.up_to_limit(points) == pytest.approx(shared)
    assert np.isnan(variants.stretched(points))


def test_sharp_map_on_paper():
    curve = variants.coverage_curve(*SHARP)
    # The whole region is found at a rate of 0.02, so PRO loses little before that.
    exact = (0.01 * 0.25 + 0.01 * 0.5 + 0.28 * 1) / 0.3
    assert variants.pro(curve) == pytest.approx(exact) == pytest.approx(metrics.pro(*SHARP))
    # Equidistant thresholds reach no rate above 0.02, and 0 to 0.02 becomes 0 to 1.
    points = variants.equidistant(curve, 100)
    assert points.fpr.max() == pytest.approx(0.02)
    assert variants.stretched(points) == pytest.approx((0.01 * 0.25 + 0.01 * 0.5) / 0.02)
    assert exact > 0.95 and variants.stretched(points) < 0.4


def test_equidistant_thresholds_are_exceeded_strictly():
    curve = variants.coverage_curve(*row([4], [0, 1, 2, 3]))
    points = variants.equidistant(curve, 4)
    np.testing.assert_array_equal(points.threshold, [3, 2, 1, 0])
    np.testing.assert_array_equal(points.fpr, [0, 0.25, 0.5, 0.75])
    np.testing.assert_array_equal(points.coverage, 1)
    brute = [(np.array([0, 1, 2, 3]) > t).mean() for t in np.linspace(0, 4, 7, endpoint=False)]
    np.testing.assert_array_equal(variants.equidistant(curve, 7).fpr, brute[::-1])


@pytest.mark.parametrize("power", [0.5, 2])
def test_a_power_keeps_the_order_but_not_the_stretched_figure(power):
    maps, masks = random_case(0, 1000)
    low = maps.min()
    there = variants.coverage_curve((maps.astype(float) - low) ** power, masks)
    curve = variants.reshaped(variants.coverage_curve(maps.astype(float), masks), power)
    for found, expected in zip(curve, there, strict=True):
        np.testing.assert_allclose(found, expected)
    same, other = variants.coverage_curve(maps, masks), variants.equidistant(curve, 20)
    assert variants.pro(curve) == variants.pro(same)
    assert variants.stretched(other) != variants.stretched(variants.equidistant(same, 20))


def test_connectivity():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 1, 1] = masks[1, 2, 1] = True
    maps = masks * np.array([0.0, 1.0])[:, None, None]  # finds the second image's region only
    maps[0, 0, 0] = 1
    assert variants.coverage_curve(maps, masks).coverage[1] == pytest.approx((1 / 2 + 1) / 2)
    four = variants.coverage_curve(maps, masks, variants.FOUR)
    assert four.coverage[1] == pytest.approx((1 + 0 + 1) / 3)


def test_eight_bits_and_sizes():
    maps, masks = random_case(0, 1000)
    assert np.unique(variants.eight_bits(maps)).size <= 256
    assert variants.eight_bits(maps).min() == 0 and variants.eight_bits(maps).max() == 255
    for size in (6, 12, 24):
        found, cut = variants.resized(maps, masks, size)
        assert found.shape == cut.shape == (3, size, size) and cut.dtype == bool
    assert not variants.resized(maps, masks, 3)[1][1].any()  # a single pixel vanishes


@pytest.mark.parametrize("level", [0, 1])
def test_a_constant_map_is_one_tie(level):
    """One straight line from (0, 0) to (1, 1): 0.3 / 2 up to the limit, in every precision."""
    masks = np.zeros((2, 16, 16), bool)
    masks[0, 4:12, 4:12] = True
    maps = {"cosine": np.full((2, 4, 4), level, np.float32)}
    assert not variants.eight_bits(maps["cosine"]).any()
    table = variants.table(masks, maps)["PRO cosine map"]
    for name in ("float32", "float16", "8 bits"):
        found = [table["ties", f"{name}, {t}"] for t in ("shared", "normal last", "normal first")]
        assert found == [15.0, 100.0, 0.0], name
    assert np.isnan(table["thresholds", "100 equidistant, stretched"])  # no rate but 0
    assert table["same order of pixels", "map squared, all thresholds"] == 15.0
    assert "gives no figure for the cosine map or its square" in answers.pro(table.to_frame())


def view(has_mask=True):
    """Four test images at 16x16: two good ones, two with a region; maps at stride 4."""
    masks = np.zeros((4, 16, 16), bool)
    masks[2:, 4:12, 4:12] = True
    held_out = SimpleNamespace(
        benchmark="toy",
        labels=np.array([0, 0, 1, 1]),
        splits=np.array(["test"] * 4),
        drawn=np.zeros(4, bool),
        masks=masks,
        has_mask=np.array([True, True, has_mask, True]),
    )
    maps = masks[:, ::4, ::4] + np.random.default_rng(0).random((4, 4, 4))
    return SimpleNamespace(held_out=held_out, maps=lambda seed, kind: maps.astype(np.float32))


def test_table_and_figure():
    benchmark, masks, maps = variants.scored_maps(view(), 0)
    assert benchmark == "toy" and masks.shape == (4, 16, 16) and maps["cosine"].shape == (4, 4, 4)
    table = variants.table(masks, maps, 0.2)
    assert list(table.columns) == ["PRO cosine map", "PRO segmentation map"]
    assert table.index.is_unique and table.notna().all(axis=None)
    full = variants.full_size(maps["cosine"], 16)
    expected = round(metrics.pro(full, masks, 0.2) * 100, 1)
    assert table.iloc[0, 0] == expected
    same = [
        "float32, shared",
        "square root of the map, all thresholds",
        "map squared, all thresholds",
    ]
    assert all((table.xs(name, level="variant") == table.iloc[0]).all(axis=None) for name in same)
    before = dict(matplotlib.rcParams)
    figure = variants.figure(masks, maps)
    figure.canvas.draw()
    assert [axis.get_title() for axis in figure.axes] == ["cosine map", "segmentation map"]
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def test_without_masks_there_is_no_pro():
    benchmark, masks, maps = variants.scored_maps(view(has_mask=False), 0)
    assert benchmark == "toy, no masks" and not len(masks) and not maps
    assert variants.table(masks, maps).empty
    assert "no masks" in variants.figure(masks, maps).axes[0].get_title()
    plt.close("all")
