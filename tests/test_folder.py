"""lib.folder: the layout, masks, counts; formats and faults are cases of tests/hostile.py."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import dataset, grey, put

from lib.benchmarks import load_category
from lib.category import Category
from lib.folder import OFFICIAL_COUNTS, read_image, resized

MVTEC = Path(__file__).parents[2] / "shared" / "data" / "mvtec"


def test_folder(root):
    put(root / "nut/train/good/.hidden.png")
    (root / "nut/test/scratch/.DS_Store").write_bytes(b"x")
    (root / "nut/test/good/Thumbs.db").write_bytes(b"x")
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.benchmark == "toys" and nut.names.tolist() == [
        *("train/good/000.png", "train/good/001.png", "train/good/002.png"),
        *("test/good/000.png", "test/scratch/000.png", "test/scratch/001.png"),
    ]
    assert nut.splits.tolist() == ["train"] * 3 + ["test"] * 3
    assert nut.labels.tolist() == [0, 0, 0, 0, 1, 1]
    assert nut.has_mask.tolist() == [True, True, True, True, True, False]
    assert nut.images[:, 0, 0, 0].tolist() == [100, 101, 102, 128, 128, 128]
    assert nut.masks[4, :, :16].all() and nut.masks.sum() == 32 * 16
    assert nut.notes == ("1 defective images have no mask.",)


def test_folder_without_notes_and_without_masks(root, tmp_path):
    put(root / "nut/ground_truth/scratch/001.png", grey(255))
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.notes == () and nut.masks[5].all()
    nut.save(tmp_path / "nut.npz")
    assert Category.load(tmp_path / "nut.npz").notes == ()
    shutil.rmtree(root / "nut/ground_truth")
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.has_mask.tolist() == [True] * 4 + [False] * 2 and not nut.masks.any()


def test_folder_empty_mask_is_noted_and_keeps_the_label(root):
    put(root / "nut/ground_truth/scratch/001_mask.png", grey(0))
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.labels[5] == 1 and nut.has_mask[5] and "1 masks" in nut.notes[0]


def test_folder_unknown_category_and_root(root):
    with pytest.raises(ValueError, match="no category 'bolt'; found: nut"):
        load_category(dataset(root=str(root)), "bolt")
    for missing in (None, str(root / "nowhere")):
        with pytest.raises(FileNotFoundError, match=r"dataset.root"):
            load_category(dataset(root=missing), "nut")


def test_masks_are_cut_at_half(root):
    mask = grey(0)
    mask.paste(255, (0, 0, 1, 40))  # one of 40 columns: 0.8 of a column at 32, 0.4 at 16
    put(root / "nut/ground_truth/scratch/000_mask.png", mask)
    kept = [load_category(dataset(root=str(root), image_size=size), "nut") for size in (32, 16)]
    assert [nut.masks[4].sum() for nut in kept] == [32, 0]


def test_resizing_to_the_same_size_changes_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resized(Image.fromarray(noise), 32), noise)
    assert resized(Image.fromarray(noise[..., 0]), 16).shape == (16, 16, 1)


def test_an_open_file_is_called_by_the_name_given(tmp_path):
    path = put(tmp_path / "a.png", grey(7))
    with path.open("rb") as file:
        assert read_image(file, 1, "archive: a.png").getpixel((0, 0)) == 7
    path.write_bytes(b"x")
    with path.open("rb") as file, pytest.raises(ValueError, match=r"^archive: a.png: unreadable"):
        read_image(file, 1, "archive: a.png")


def test_official_counts_add_up():
    assert len(OFFICIAL_COUNTS) == 15
    assert [sum(column) for column in zip(*OFFICIAL_COUNTS.values(), strict=True)] == [3629, 1725]


def test_other_counts_than_official_are_noted_or_with_strict_an_error(root, capsys):
    load_category(dataset(root=str(root), strict=True), "nut")  # not one of the 15
    (root / "nut").rename(root / "metal_nut")
    expected = "metal_nut has 3 training and 3 test images, but MVTec AD's has 220 and 115"
    notes = load_category(dataset(root=str(root)), "metal_nut").notes
    assert notes[0].startswith(f"{expected}; ignore this if it is another dataset")
    assert expected in capsys.readouterr().err
    with pytest.raises(ValueError, match=rf"{expected}.*dataset.strict"):
        load_category(dataset(root=str(root), strict=True), "metal_nut")


def test_the_right_counts_give_no_note(root, monkeypatch, capsys):
    monkeypatch.setitem(OFFICIAL_COUNTS, "nut", (3, 3))
    nut = load_category(dataset(root=str(root), strict=True), "nut")
    assert nut.notes == ("1 defective images have no mask.",) and not capsys.readouterr().err


@pytest.mark.skipif(not MVTEC.is_dir(), reason="needs MVTec AD's screw and bottle beside the clone")
@pytest.mark.parametrize(("name", "good", "defective"), [("screw", 41, 119), ("bottle", 20, 63)])
def test_mvtec(name, good, defective):
    settings = dataset(root=str(MVTEC), channels=3, image_size=64, strict=True)
    category = load_category(settings, name)
    test = category.splits == "test"
    assert category.benchmark == "mvtec" and category.images.shape[1:] == (64, 64, 3)
    assert ((~test).sum(), test.sum()) == OFFICIAL_COUNTS[name]
    assert category.notes == () and category.has_mask.all()
    assert (category.labels[test] == 0).sum() == good
    assert category.labels.sum() == defective == category.masks.any(axis=(1, 2)).sum()
