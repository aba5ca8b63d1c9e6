"""study.data.mvtec: the layout, masks, counts; formats and faults are cases of
tests/helpers/hostile.py.
"""

import shutil
from pathlib import Path

import pytest
from toys import dataset, grey, put

from study.data.mvtec import OFFICIAL_COUNTS, load_category

MVTEC = Path(__file__).parents[3] / "shared" / "data" / "mvtec"
LEFT_OUT = "so the pixel metrics of its real defects are left out."
MISSING = (
    f"1 of 2 defective test images have no mask, {LEFT_OUT} Without a mask: test/scratch/001.png."
)


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
    assert nut.notes == (MISSING,)


def test_all_masks_or_none(root):
    put(root / "nut/ground_truth/scratch/001.png", grey(255))
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.notes == () and nut.masks[5].all() and nut.has_mask.all()
    shutil.rmtree(root / "nut/ground_truth")
    nut = load_category(dataset(root=str(root)), "nut")
    assert nut.has_mask.tolist() == [True] * 4 + [False] * 2 and not nut.masks.any()
    assert nut.notes == (
        "No defective image has a mask, so the pixel metrics of real defects are left out.",
    )


def test_validation_has_the_layout_of_test(root):
    put(root / "nut/validation/good/000.png", grey(1))
    put(root / "nut/validation/scratch/002.png", grey(2))
    put(root / "nut/validation/dent/000.png", grey(3))
    put(root / "nut/ground_truth/scratch/001_mask.png", grey(255))
    put(root / "nut/ground_truth/scratch/002_mask.png", grey(255))
    nut = load_category(dataset(root=str(root)), "nut")
    assert [name.rpartition("/")[0] for name in nut.names[3:]] == [
        *("validation/dent", "validation/good", "validation/scratch"),
        *("test/good", "test/scratch", "test/scratch"),
    ]
    assert nut.splits.tolist() == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
    assert nut.masks[5].all() and nut.has_mask.tolist() == [True] * 3 + [False] + [True] * 5
    assert nut.notes == (
        f"1 of 2 defective validation images have no mask, {LEFT_OUT} Without a mask: "
        "validation/dent/000.png.",
    )


def test_validation_may_have_good_images_alone(root):
    put(root / "nut/validation/good/000.png")
    nut = load_category(dataset(root=str(root), drawn_defects=True), "nut")
    assert nut.names[nut.drawn].tolist() == [
        *("test/good/000.png+crack", "validation/good/000.png+inactive")
    ]


def test_masks_that_vanish_at_this_size_are_taken_for_unknown(root):
    """At 32 pixels two columns remain; at 16 no pixel is half covered: pixel metrics undefined."""
    mask = grey(0)
    mask.paste(255, (0, 0, 1, 40))  # one of 40 columns: 0.8 of a column at 32, 0.4 at 16
    for name in ("000", "001"):
        put(root / f"nut/ground_truth/scratch/{name}_mask.png", mask)
    kept = load_category(dataset(root=str(root), image_size=32), "nut")
    assert kept.masks[4].sum() == 32 and kept.has_mask.all() and kept.notes == ()
    lost = load_category(dataset(root=str(root), image_size=16), "nut")
    assert lost.has_mask.tolist() == [True] * 4 + [False] * 2
    assert lost.notes == (f"No mask of test marks a pixel at 16x16, {LEFT_OUT}",)


def test_everything_that_is_no_image_is_listed_at_once_and_can_be_ignored(root):
    for name in ("train/good/notes.txt", "test/scratch/photo.webp", "train/good/old/0.png"):
        put(root / "nut" / name) if name.endswith("png") else (root / "nut" / name).touch()
    said = (
        r"nut: not usable as images: train/good/notes.txt \(not an image\), "
        r"train/good/old \(a folder\), test/scratch/photo.webp \(convert it to PNG\); move them "
        r"away, or skip them with patterns in dataset.ignore, such as \['\*.txt', 'backup'\]"
    )
    with pytest.raises(ValueError, match=said):
        load_category(dataset(root=str(root)), "nut")
    ignored = ("*.txt", "train/good/old", "*.webp")
    assert len(load_category(dataset(root=str(root), ignore=ignored), "nut").names) == 6
    for number in range(30):
        (root / f"nut/test/good/{number}.csv").touch()
    with pytest.raises(ValueError, match=r"test/good/24.csv \(not an image\) and 13 more; move"):
        load_category(dataset(root=str(root)), "nut")


def test_unknown_root(root):
    with pytest.raises(ValueError, match="nowhere: no category 'nut'; found: none"):
        load_category(dataset(root=str(root / "nowhere")), "nut")


def test_mvtec_is_called_mvtec(root):
    root = root.rename(root.with_name("MVTec_AD"))
    assert load_category(dataset(root=str(root)), "nut").benchmark == "mvtec"


def test_official_counts_add_up():
    assert len(OFFICIAL_COUNTS) == 15
    assert [sum(column) for column in zip(*OFFICIAL_COUNTS.values(), strict=True)] == [3629, 1725]


def test_other_counts_than_official_are_noted_or_with_strict_an_error(root, capsys):
    load_category(dataset(root=str(root), strict=True), "nut")  # not one of the 15
    (root / "nut").rename(root / "metal_nut")
    own = load_category(dataset(root=str(root)), "metal_nut")
    assert own.notes == (MISSING,), "somebody's own metal_nut is not compared with MVTec AD's"
    root = root.rename(root.with_name("mvtec"))
    expected = "metal_nut has 3 training and 3 test images, but MVTec AD's has 220 and 115"
    notes = load_category(dataset(root=str(root)), "metal_nut").notes
    assert notes[0].startswith(f"{expected}; ignore this if it is another data set")
    assert f"note: {root / 'metal_nut'}: {expected}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=rf"{expected}.*dataset.strict"):
        load_category(dataset(root=str(root), strict=True), "metal_nut")


def test_the_right_counts_give_no_note(root, monkeypatch):
    monkeypatch.setitem(OFFICIAL_COUNTS, "nut", (3, 3))
    nut = load_category(dataset(root=str(root), strict=True), "nut")
    assert nut.notes == (MISSING,)


@pytest.mark.skipif(not MVTEC.is_dir(), reason="needs MVTec AD's screw and bottle beside the clone")
@pytest.mark.parametrize(("name", "good", "defective"), [("screw", 41, 119), ("bottle", 20, 63)])
def test_mvtec(name, good, defective):
    settings = dataset(root=str(MVTEC), channels=3, image_size=64, strict=True)
    category = load_category(settings, name)
    test = category.splits == "test"
    assert category.benchmark == "mvtec" and category.images.shape[1:] == (64, 64, 3)
    assert ((~test).sum(), test.sum()) == OFFICIAL_COUNTS[name]
    assert category.has_mask.all()
    assert all("resemble a training image" in note for note in category.notes)  # of screw
    assert (category.labels[test] == 0).sum() == good
    assert category.labels.sum() == defective == category.masks.any(axis=(1, 2)).sum()


def test_a_folder_of_good_images_alone(root):
    """Enough to train, to calibrate and to inspect; nothing is measured."""
    shutil.rmtree(root / "nut/test")
    shutil.rmtree(root / "nut/ground_truth")
    for index in range(3, 40):
        put(root / f"nut/train/good/{index:03}.png", grey(100 + index))
    nut = load_category(dataset(root=str(root), calibration=0.25), "nut")
    assert nut.notes[0] == "There is no test split, so nothing is measured."
    assert (nut.splits == "train").sum() == 30 and (nut.splits == "validation").sum() == 10
    assert not nut.labels.any()


def test_a_share_of_the_training_images_calibrates(root):
    for index in range(3, 40):
        put(root / f"nut/train/good/{index:03}.png")
    source = dataset(root=str(root), calibration=0.25)
    nut, again = load_category(source, "nut"), load_category(source, "nut")
    held_out = nut.splits == "validation"
    assert held_out.sum() == 10 and len(nut.training_images()) == 30
    assert not nut.labels[held_out].any() and (nut.splits == again.splits).all()
    assert all(name.startswith("train/good/") for name in nut.names[held_out])
    assert "10 of 40 images of train/good are held out for calibration." in nut.notes
    put(root / "nut/validation/good/000.png")
    nut = load_category(source, "nut")
    assert len(nut.training_images()) == 40
    assert "dataset.calibration is not used: validation/good has 1." in nut.notes


def test_too_few_calibration_images_are_refused(root):
    with pytest.raises(ValueError, match=r"calibration 0\.1: 0 of 3 images of nut/train/good held"):
        load_category(dataset(root=str(root), calibration=0.1), "nut")
