"""The nearest-neighbour baseline against brute force, and the rows of all baselines."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from study import params, results
from study.data.category import Category
from study.scoring.baseline import distance_maps, gaussians, items, memory_bank, save
from study.scoring.gaussian import Gaussian
from study.scoring.scores import score


def features(images=3, size=4, channels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, size, size, channels, generator=generator)


def test_a_patch_in_the_bank_is_at_distance_zero():
    known = features()
    bank = memory_bank(known, 10_000, seed=0)  # more than there are: all 48
    assert bank.shape == (48, 5)
    maps = distance_maps(known, bank)
    assert maps.shape == (3, 4, 4) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, 0, atol=2e-3)


@pytest.mark.parametrize("rows", [7, 4096])
def test_distances_equal_brute_force(rows):
    queries, bank = features(seed=1), features(seed=2).flatten(0, 2)
    difference = queries.numpy()[..., None, :].astype(float) - bank.numpy().astype(float)
    expected = np.sqrt((difference**2).sum(-1)).min(-1)
    np.testing.assert_allclose(distance_maps(queries, bank, rows), expected, rtol=1e-4)


def test_distance_by_hand():
    queries = torch.tensor([[[[0.0, 0.0], [3.0, 4.0]]]])
    bank = torch.tensor([[3.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(distance_maps(queries, bank), [[[1.0, 4.0]]], rtol=1e-5)


def test_memory_bank_is_drawn_by_the_seed_without_replacement():
    known = features()
    bank = memory_bank(known, 20, seed=3)
    assert bank.shape == (20, 5)
    torch.manual_seed(9)
    assert torch.equal(memory_bank(known, 20, seed=3), bank)
    assert not torch.equal(memory_bank(known, 20, seed=4), bank)
    assert len(bank.unique(dim=0)) == 20
    everything = {tuple(row) for row in known.flatten(0, 2).tolist()}
    assert {tuple(row) for row in bank.tolist()} <= everything


def test_a_foreign_patch_gives_its_image_the_highest_score():
    """Rows for each seed, on a category whose only defective image holds a patch never seen."""
    normal = [torch.zeros(4, 2, size, size) for size in (16, 8, 4)]
    queries = [torch.zeros(3, 2, size, size) for size in (16, 8, 4)]
    queries[2][2, :, 1, 1] = 1.0
    held_out = Category(
        benchmark="bench",
        category="nut",
        images=np.zeros((3, 64, 64, 1), np.uint8),
        masks=np.zeros((3, 64, 64), bool),
        has_mask=np.array([True, True, False]),
        labels=np.array([0, 0, 1], np.uint8),
        defects=np.array(["good", "good", "bent"]),
        names=np.array(["a", "b", "c"]),
        splits=np.array(["test"] * 3),
        drawn=np.zeros(3, bool),
        notes=(),
    )
    shipped = params.load()
    for levels in (((3,),), ()):
        settings = replace(shipped, baseline=replace(shipped.baseline, levels=levels))
        fitted = gaussians(normal, settings)
        rows = score(held_out, items(normal, queries, fitted, settings), settings).rows
        names = {"nearest_neighbour_3", "nearest_neighbour_maximum_3", "gaussian_3"}
        assert set(rows["map"]) == names if levels else rows.empty
        assert rows.groupby("map").seed.apply(list).tolist() == [[*shipped.seeds]] * len(
            {*rows["map"]}
        )
        assert (rows.image_auroc == 1).all() and rows.pro.isna().all()


def test_the_first_gaussian_is_left_for_later_stages(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    normal = [torch.randn(9, 2, size, size) for size in (8, 4, 2)]
    fitted = [Gaussian.fit(levels, normal) for levels in ((3,), (2,))]
    save(fitted, normal, "nut")
    left = Gaussian.load(results.gaussian("nut"))
    assert left.levels == (3,)
    maps = np.load(results.gaussian("nut").with_name("maps.npy"))
    np.testing.assert_allclose(maps, left.maps(normal), rtol=1e-5)
    save([], normal, "bolt")  # no levels: an empty folder, which DVC expects
    assert not any((tmp_path / "results/baseline/bolt").iterdir())
