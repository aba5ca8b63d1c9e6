"""The fused cosine map and the image score against values worked out by hand."""

import pytest
import torch

from lib.anomaly_map import cosine_map, image_score, resize


def constant(vector, size):
    return torch.tensor(vector, dtype=torch.float32).view(1, -1, 1, 1).expand(1, -1, size, size)


def test_cosine_map_is_the_product_of_the_distances():
    teacher = [constant((1, 0), 8), constant((3, 4), 4), constant((1, 0, 0), 2)]
    student = [constant((0, 1), 8), constant((4, 3), 4), constant((-2, 0, 0), 2)]
    found = cosine_map(teacher, student)
    torch.testing.assert_close(found, torch.full((1, 1, 8, 8), 1 * (1 - 24 / 25) * 2))


def test_cosine_map_resizes_the_distances():
    teacher = [constant((1, 0), 4), constant((1, 0), 2)]
    other = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2).expand(1, 2, 2, 2)
    found = cosine_map(teacher, [constant((0, 1), 4), other])  # distances 1; 0 and 1
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0, 0.25, 0.75, 1]))


def test_cosine_map_wants_as_many_levels_of_both():
    with pytest.raises(ValueError, match="zip"):
        cosine_map([constant((1, 0), 2)] * 3, [constant((1, 0), 2)] * 2)


def test_image_score_is_the_mean_of_the_largest():
    maps = torch.tensor([[[1.0, 9.0], [5.0, 3.0]], [[0.0, 0.0], [4.0, 0.0]]])
    assert image_score(maps, 1).tolist() == [9, 4]
    assert image_score(maps, 2).tolist() == [7, 2]
    assert image_score(maps, 4).tolist() == [4.5, 1]
    assert image_score(maps, 100).tolist() == [4.5, 1]  # more than the map has


def test_resize():
    images = torch.rand(2, 3, 4, 6)
    assert resize(images, (4, 6)) is images
    assert resize(images, (8, 12)).shape == (2, 3, 8, 12)
    ramp = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert resize(ramp, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
