"""The nearest-neighbour baseline against brute force."""

import numpy as np
import pytest
import torch

from lib import training
from lib.baseline import distance_maps, memory_bank, patches
from lib.networks import Teacher


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return Teacher("resnet10t", "random").to(training.device())


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


def test_patches_join_levels_at_the_finest(teacher):
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
    coarse = patches(teacher, images, (1, 2))
    assert coarse.shape == (3, 8, 8, 128 + 256)
    with torch.no_grad():
        seen = training.to_input(teacher, training.to_device(images) / 255)
        levels = teacher(seen)
    torch.testing.assert_close(coarse[..., :128], levels[1].permute(0, 2, 3, 1))
    last = patches(teacher, images, (2,))
    assert last.shape == (3, 4, 4, 256)
    torch.testing.assert_close(last, levels[2].permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)
    assert patches(teacher, images, (0, 1, 2)).shape == (3, 16, 16, 448)
