"""The stream that trains: which image comes when, what happens to it, and that it can go on."""

import numpy as np
import pytest
import torch
from runs import IMAGES, PARAMS, RANDOM, SIZE, TEXTURES, tiny

from lib.batches import Batches


def numbered(count, size=SIZE, channels=1):
    """Images that are their number everywhere."""
    numbers = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(numbers, (count, size, size, channels)).copy()


def drawn(count, batch_size, batches, seed=0):
    """Which image each batch drew."""
    stream = Batches(numbered(count), TEXTURES, batch_size, PARAMS, "any", seed)
    return [(next(stream)[0][:, 0, 0, 0] * 255).round().int().tolist() for _ in range(batches)]


def test_every_image_once_an_epoch():
    found = [i for batch in drawn(6, 2, 9) for i in batch]
    epochs = [found[:6], found[6:12], found[12:]]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1  # in another order


def test_epochs_run_on_where_the_batch_does_not_divide_them():
    found = [i for batch in drawn(5, 3, 5) for i in batch]  # none is dropped at an epoch's end
    assert all(sorted(found[i : i + 5]) == list(range(5)) for i in (0, 5, 10))


def test_batch_larger_than_the_dataset():
    found = drawn(3, 7, 3)
    assert [len(batch) for batch in found] == [7, 7, 7]
    assert {found[0].count(i) for i in range(3)} == {2, 3}
    numbers = [i for batch in found for i in batch]  # batches begin and end amid an epoch
    assert all(sorted(numbers[i : i + 3]) == [0, 1, 2] for i in range(0, 21, 3))


def test_batches_depend_on_the_seed_only():
    torch.manual_seed(1)
    first = drawn(20, 4, 2, seed=5)
    torch.manual_seed(2)
    assert drawn(20, 4, 2, seed=5) == first
    assert drawn(20, 4, 2, seed=6) != first


def test_phase_2_repeats_no_batch_of_phase_1_nor_of_another_seed():
    found = []
    for seed in (0, 1):
        for phase in (1, 2):
            stream = Batches(IMAGES, TEXTURES, 4, PARAMS, "any", seed, phase)
            found += [next(stream)[2].numpy().tobytes() for _ in range(20)]  # masks
    assert len(set(found)) == len(found)


def test_a_stream_goes_on_where_its_state_was_taken():
    first, second = (Batches(IMAGES, TEXTURES, 3, PARAMS, "any", seed) for seed in (0, 1))
    next(first), next(second)  # two of five images are left of the epoch
    kept = first.state_dict()
    expected = [next(first) for _ in range(3)]
    second.load_state_dict(kept)
    for batch in expected:
        assert all(map(torch.equal, next(second), batch))
    first.load_state_dict(kept)  # what was kept is not used up
    assert all(map(torch.equal, next(first), expected[0]))


@pytest.mark.parametrize("channels", [1, 3])
def test_batch(channels):
    images = RANDOM.integers(0, 256, (4, 64, 64, channels), dtype=np.uint8)
    normal, corrupted, mask = next(Batches(images, 255 - images, 4, PARAMS, "any", 0))
    assert normal.shape == corrupted.shape == (4, channels, 64, 64)
    assert mask.shape == (4, 1, 64, 64)
    assert normal.min() >= 0 and normal.max() <= 1
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    outside = (mask == 0).expand_as(normal)
    assert torch.equal(normal[outside], corrupted[outside])


def test_rotation_by_category():
    chosen = tiny(rotation={"default": "small", "pill": "none"})
    rotation = [Batches(IMAGES, TEXTURES, 1, chosen, c, 0).rotation for c in ("pill", "wood")]
    assert rotation == ["none", "small"]
    assert Batches(IMAGES, TEXTURES, 1, tiny(rotation={}), "wood", 0).rotation == "none"


@pytest.mark.parametrize(
    ("flips", "rotation", "augmented"),
    [(False, "none", False), (True, "none", True), (False, "small", True)],
)
def test_which_rules_augment(flips, rotation, augmented):
    chosen = tiny(flips=flips, rotation={"default": rotation})
    assert Batches(IMAGES, TEXTURES, 2, chosen, "any", 0).augmented == augmented
