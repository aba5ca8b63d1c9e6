"""Patches of the teacher's features, and their memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from study.scoring import features
from study.scoring.features import patches


def test_patches_join_levels_at_the_finest():
    sizes = ((64, 16), (128, 8), (256, 4))
    levels = [torch.randn(3, channels, size, size) for channels, size in sizes]
    coarse = patches(levels, (2, 3))
    assert coarse.shape == (3, 8, 8, 128 + 256)
    torch.testing.assert_close(coarse[..., :128], levels[1].permute(0, 2, 3, 1))
    torch.testing.assert_close(patches(levels, (3,)), levels[2].permute(0, 2, 3, 1))
    assert patches(levels, (1, 2, 3)).shape == (3, 16, 16, 448)


def test_levels_that_do_not_fit_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr("study.limits.free", lambda: 1000)
    teacher = SimpleNamespace(channels=[64, 128, 256])  # not even called
    with pytest.raises(MemoryError, match="the teacher's levels of 3 images: needs"):
        features.levels(teacher, np.zeros((3, 64, 64, 1), np.uint8))
