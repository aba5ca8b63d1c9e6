"""The nearest-neighbour baseline against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from study import params
from study.data.category import Category
from study.scoring.baseline import distance_maps, items, memory_bank, patches
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


def test_patches_join_levels_at_the_finest():
    sizes = ((64, 16), (128, 8), (256, 4))
    levels = [torch.randn(3, channels, size, size) for channels, size in sizes]
    coarse = patches(levels, (2, 3))
    assert coarse.shape == (3, 8, 8, 128 + 256)
    torch.testing.assert_close(coarse[..., :128], levels[1].permute(0, 2, 3, 1))
    torch.testing.assert_close(patches(levels, (3,)), levels[2].permute(0, 2, 3, 1))
    assert patches(levels, (1, 2, 3)).shape == (3, 16, 16, 448)


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
        rows = score(held_out, items(normal, queries, settings), settings).rows
        assert rows.seed.tolist() == list(shipped.seeds) * len(levels)
        assert set(rows["map"]) == {"nearest_neighbour_3"} if levels else rows.empty
        assert (rows.image_auroc == 1).all() and rows.pro.isna().all()
