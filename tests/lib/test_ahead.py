"""Several batches in one pass are those one by one."""

from types import SimpleNamespace

import pytest
import torch
from runs import IMAGES, PARAMS, TEXTURES

from lib.batches import Batches
from lib.fast import ahead
from lib.fast.ahead import Ahead


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
        monkeypatch.setattr(ahead, "device", lambda: torch.device(device))
        assert Ahead(small, None, "fp32").count == count
