"""lib.category: what is saved comes back, equal content gives equal bytes, parts."""

import os

import numpy as np
import pytest

from lib.category import Category, entry


@pytest.fixture
def category():
    """Two training images, a good and two defective test images, and a drawn copy of the good."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    mask = np.eye(4, dtype=bool)
    rows = [
        entry(pixels[0], None, "good", "a.png", "train"),
        entry(pixels[1], None, "good", "b.png", "train"),
        entry(pixels[2], None, "good", "c.png", "test"),
        entry(pixels[3], mask, "crack", "d.png", "test"),
        entry(pixels[4], None, "crack", "e.png", "validation"),
        entry(pixels[5], mask, "drawn_crack", "c.png+crack", "test", drawn=True),
    ]
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Category("toys", "nut", **arrays, notes=("one", "two"))


def test_entries(category):
    assert category.labels.tolist() == [0, 0, 0, 1, 1, 1] and category.labels.dtype == np.uint8
    assert category.has_mask.tolist() == [True, True, True, True, False, True]
    assert category.masks.sum(axis=(1, 2)).tolist() == [0, 0, 0, 4, 0, 4]
    assert category.drawn.tolist() == [False] * 5 + [True]


def test_category_file_is_deterministic_and_complete(category, tmp_path):
    for name in ("a.npz", "b.npz"):
        category.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]
    loaded = Category.load(tmp_path / "a.npz")
    for field, value in vars(category).items():
        np.testing.assert_array_equal(getattr(loaded, field), value)
    assert isinstance(loaded.category, str) and isinstance(loaded.notes, tuple)
    assert loaded.labels.dtype == np.uint8 and loaded.masks.dtype == bool


def test_parts(category):
    np.testing.assert_array_equal(category.training_images(), category.images[:2])
    assert category.held_out().names.tolist() == ["c.png", "d.png", "e.png", "c.png+crack"]
    crack = category.select(category.defects == "crack")
    assert crack.names.tolist() == ["d.png", "e.png"] and crack.category == "nut"
    np.testing.assert_array_equal(crack.images, category.images[3:5])
