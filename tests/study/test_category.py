"""study.data.category: what is saved comes back, equal content gives equal bytes, parts, double
images.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from toys import category_of, dataset, put

from study.data.category import Category, about_duplicates, entry, near_duplicates
from study.data.mvtec import load_category


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
    return category_of(rows, notes=("one", "two"))


def test_entries(category):
    assert category.labels.tolist() == [0, 0, 0, 1, 1, 1] and category.labels.dtype == np.uint8
    assert category.has_mask.tolist() == [True, True, True, True, False, True]
    assert category.masks.sum(axis=(1, 2)).tolist() == [0, 0, 0, 4, 0, 4]
    assert category.drawn.tolist() == [False] * 5 + [True]


def test_the_files_are_deterministic_and_complete(category, tmp_path):
    for name in ("a", "b"):
        category.save(tmp_path / name)
    assert sorted(os.listdir(tmp_path / "a")) == ["held_out.npz", "train.npy"]
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "a/train.npy"), category.images[:2])
    loaded = Category.load(tmp_path / "a/held_out.npz")
    for field, value in vars(category.held_out()).items():
        np.testing.assert_array_equal(getattr(loaded, field), value)
    assert isinstance(loaded.category, str) and isinstance(loaded.notes, tuple)
    assert loaded.labels.dtype == np.uint8 and loaded.masks.dtype == bool
    replace(category, notes=()).save(tmp_path / "c")
    assert Category.load(tmp_path / "c/held_out.npz").notes == ()


def test_held_out_images_and_masks_leave_the_training_file_as_it_was(root, tmp_path):
    load_category(dataset(root=str(root)), "nut").save(tmp_path / "a")
    put(root / "nut/ground_truth/scratch/001.png", Image.new("L", (40, 40), 255))
    put(root / "nut/test/dent/000.png")
    load_category(dataset(root=str(root)), "nut").save(tmp_path / "b")
    same = [
        (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        for name in ("train.npy", "held_out.npz")
    ]
    assert same == [True, False]


def test_parts(category):
    np.testing.assert_array_equal(category.training_images(), category.images[:2])
    assert category.held_out().names.tolist() == ["c.png", "d.png", "e.png", "c.png+crack"]
    crack = category.select(category.defects == "crack")
    assert crack.names.tolist() == ["d.png", "e.png"] and crack.category == "nut"
    np.testing.assert_array_equal(crack.images, category.images[3:5])


def test_near_duplicates_finds_the_copy(root):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)) for _ in range(6)]
    for index in range(3):
        put(root / f"nut/train/good/{index:03}.png", noise[index])
        put(root / f"nut/test/good/{index:03}.png", noise[index + 3])
    put(root / "nut/test/scratch/001.png", noise[1].point(lambda value: value // 2 + 20))
    nut = load_category(dataset(root=str(root), drawn_defects=True), "nut")
    pairs = near_duplicates(nut, 0.9)
    assert [pair[:2] for pair in pairs] == [("train/good/001.png", "test/scratch/001.png")]
    assert pairs[0][2] > 0.9


def test_a_note_names_the_closest_images(category):
    assert about_duplicates(category) == []
    images = category.images.copy()
    images[3] = images[1]
    (note,) = about_duplicates(replace(category, images=images))
    assert note == (
        "1 of 3 held-out images closely resemble a training image, which favours every method. The "
        "closest: d.png ~ b.png."
    )
