"""The stream that trains: which image comes when, what happens to it, and that it can go on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from runs import IMAGES, PARAMS, RANDOM, SHIPPED, SIZE, TEXTURES, tiny

from lib import batches
from lib.batches import Ahead, Batches, augment


def numbered(count, size=SIZE, channels=1):
    """Images that are their number everywhere."""
    numbers = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(numbers, (count, size, size, channels)).copy()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


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


# Augmentation


def settings(**values):
    return replace(SHIPPED.augmentation, **values)


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 8, 8)
    found = augment(images, settings(flips=False), "none", seeded())
    assert torch.equal(found, images)


def test_flips():
    image = torch.arange(9.0).view(1, 3, 3) / 9
    found = augment(image.expand(400, 1, 3, 3), settings(flips=True), "none", seeded())
    allowed = [image.flip(dims) for dims in ([], [1], [2], [1, 2])]
    share = [np.mean([torch.equal(f, a) for f in found]) for a in allowed]
    assert sum(share) == 1
    assert share == pytest.approx([0.25] * 4, abs=4 * (0.25 * 0.75 / 400) ** 0.5)


def test_right_angles_without_more_are_exact():
    image = torch.rand(2, 8, 8)
    rule = settings(flips=False, degrees=0.0)
    found = augment(image.expand(80, 2, 8, 8), rule, "right_angles", seeded())
    turns = [
        [k for k in range(4) if (f - image.rot90(k, (1, 2))).abs().max() < 1e-4] for f in found
    ]
    assert all(len(k) == 1 for k in turns)
    assert {k[0] for k in turns} == {0, 1, 2, 3}


@pytest.mark.parametrize("rotation", ["small", "right_angles"])
def test_uncovered_corners_are_filled(rotation):
    white = torch.ones(20, 1, 64, 64)
    rule = settings(flips=False, degrees=5.0, fill=114)
    found = augment(white, rule, rotation, seeded())
    assert found.min().item() >= 114 / 255 - 1e-5
    torch.testing.assert_close(found[:, :, 16:48, 16:48], white[:, :, 16:48, 16:48])
    corners = found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].amin(dim=1)
    assert (corners < 0.6).float().mean() > 0.5  # about 114 / 255 = 0.447
    away = (found < 0.99).float().mean(dim=(1, 2, 3))
    assert away.max() < 0.1  # +-5 degrees uncover slivers only


def test_small_rotation_turns_by_its_angle():
    # A horizontal line: its ends move up or down by the tangent of the angle.
    line = torch.zeros(1, 1, 65, 65)
    line[..., 32, :] = 1
    rule = settings(flips=False, degrees=5.0, fill=0)
    found = augment(line.expand(200, 1, 65, 65), rule, "small", seeded())
    rows = torch.arange(65.0).view(1, 65)
    right, left = ((found[:, 0, :, c] * rows).sum(1) / found[:, 0, :, c].sum(1) for c in (52, 12))
    degrees = torch.atan((right - left) / 40).rad2deg()
    assert degrees.abs().max() < 5.3
    assert degrees.max() > 4 and degrees.min() < -4


def stream(seed=0):
    return Batches(IMAGES, TEXTURES, 3, PARAMS, "any", seed)


class TestAhead:
    def made(self, count, seed=0):
        ahead = Ahead(stream(seed), lambda images: [images.mean(1), images], "fp32")
        ahead.count = count
        return ahead

    def test_several_batches_in_one_pass_are_those_one_by_one(self):
        ahead, one_by_one = self.made(3), stream()
        for _ in range(7):
            (mean, images), mask = next(ahead)
            _, corrupted, expected = next(one_by_one)
            assert torch.equal(images, corrupted) and torch.equal(mask, expected)
            torch.testing.assert_close(mean, corrupted.mean(1))

    @pytest.mark.parametrize("taken", range(8))
    def test_goes_on_from_anywhere_in_a_pass(self, taken):
        ahead = self.made(3)
        for _ in range(taken):
            next(ahead)
        other = self.made(3, seed=5)
        other.load_state_dict(ahead.state_dict())
        for _ in range(4):
            (mean, images), mask = next(ahead)
            (other_mean, other_images), other_mask = next(other)
            assert torch.equal(mean, other_mean) and torch.equal(mask, other_mask)
            assert torch.equal(images, other_images)

    @pytest.mark.parametrize(
        ("size", "batch", "device", "count"),
        [(256, 32, "cpu", 1), (256, 4, "cpu", 1), (128, 4, "cpu", 4), (128, 4, "cuda", 1)],
    )
    def test_large_batches_are_not_put_together(self, size, batch, device, count, monkeypatch):
        images = torch.empty(1, 1, size, size, dtype=torch.uint8)
        small = SimpleNamespace(batch_size=batch, images=images, generator=None, resident=True)
        monkeypatch.setattr(batches, "device", lambda: torch.device(device))
        assert Ahead(small, None, "fp32").count == count
