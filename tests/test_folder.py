"""lib.folder: the layout, image formats, masks, and an error that names the file for each fault."""

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


def sixteen(value):
    return Image.fromarray(np.full((40, 40), value, np.uint16))


RED = 76  # luminance of (255, 0, 0)
FORMATS = {
    "grey.png": (grey(200), 200),
    "bilevel.png": (Image.new("1", (40, 40), 1), 255),
    "rgb.PNG": (Image.new("RGB", (40, 40), (255, 0, 0)), RED),
    "rgba.png": (Image.new("RGBA", (40, 40), (255, 0, 0, 7)), RED),
    "grey_alpha.png": (Image.new("LA", (40, 40), (200, 7)), 200),
    "palette.png": (Image.new("RGB", (40, 40), (255, 0, 0)).convert("P"), RED),
    "sixteen.png": (sixteen(200 * 257), 200),
    "sixteen.tif": (sixteen(65535), 255),
    "thirtytwo.tiff": (Image.fromarray(np.full((40, 40), 200 * 257, np.int32)), 200),
    "photo.JPG": (grey(200), 200),
    "photo.jpeg": (Image.new("CMYK", (40, 40), (0, 0, 0, 55)), 200),
    "picture.bmp": (grey(200), 200),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    image, luminance = FORMATS[name]
    path = tmp_path / name
    image.save(path)
    one, three = (read_image(path, channels) for channels in (1, 3))
    assert (one.mode, three.mode) == ("L", "RGB")
    assert abs(int(np.asarray(one)[3, 4]) - luminance) <= 1
    expected = [254, 0, 0] if luminance == RED else [luminance] * 3
    np.testing.assert_allclose(np.asarray(three)[3, 4], expected, atol=1)


def test_palette_with_transparency(tmp_path):
    image = Image.new("RGB", (40, 40), (255, 0, 0)).convert("P")
    image.save(tmp_path / "p.png", transparency=bytes([0, 128, 255]))
    assert abs(int(np.asarray(read_image(tmp_path / "p.png", 1))[0, 0]) - RED) <= 1


@pytest.mark.parametrize("name", FORMATS)
def test_formats_in_a_folder(name, root):
    FORMATS[name][0].save(root / "nut/test/scratch" / name)
    nut = load_category(dataset(root=str(root), channels=3), "nut")
    assert f"test/scratch/{name}" in nut.names and nut.images.shape == (7, 32, 32, 3)


def broken(root, path, content=b"no image"):
    path = root / "nut" / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def truncated(root, path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    file = put(root / "nut" / path, Image.fromarray(noise))
    file.write_bytes(file.read_bytes()[:-400])


BAD = {
    "no train/good": (lambda root: shutil.rmtree(root / "nut/train"), "nut/train/good: no images"),
    "empty train/good": (
        lambda root: [path.unlink() for path in (root / "nut/train/good").iterdir()],
        "nut/train/good: no images",
    ),
    "not an image": (lambda root: broken(root, "train/good/x.png"), "good/x.png: unreadable"),
    "empty file": (lambda root: broken(root, "test/good/x.jpg", b""), "good/x.jpg: unreadable"),
    "truncated png": (lambda root: truncated(root, "test/good/x.png"), "good/x.png: unreadable"),
    "truncated jpg": (lambda root: truncated(root, "test/good/x.jpg"), "good/x.jpg: unreadable"),
    "truncated bmp": (lambda root: truncated(root, "test/good/x.bmp"), "good/x.bmp: unreadable"),
    "truncated tif": (lambda root: truncated(root, "test/good/x.tif"), "good/x.tif: unreadable"),
    "broken mask": (
        lambda root: broken(root, "ground_truth/scratch/001_mask.png"),
        "scratch/001_mask.png: unreadable",
    ),
    "floating point": (
        lambda root: put(root / "nut/test/good/x.tif", Image.new("F", (40, 40), 0.5)),
        "good/x.tif: unreadable image .neither 8 nor 16 bit",
    ),
    "mask of another size": (
        lambda root: put(root / "nut/ground_truth/scratch/001_mask.png", grey(255, (20, 30))),
        "001_mask.png: 20x30 pixels, but its image .*scratch/001.png has 40x40",
    ),
    "mask without an image": (
        lambda root: put(root / "nut/ground_truth/scratch/007_mask.png"),
        "007_mask.png: a mask without an image in test/scratch",
    ),
    "masks of an unknown defect": (
        lambda root: put(root / "nut/ground_truth/dent/000_mask.png"),
        "dent/000_mask.png: a mask without an image in test/dent",
    ),
    "two masks": (
        lambda root: put(root / "nut/ground_truth/scratch/000.png"),
        "scratch/000_mask.png: a second mask of 000",
    ),
    "mask of a good image": (
        lambda root: put(root / "nut/ground_truth/good/000.png", grey(255)),
        "good/000.png: marks a defect in a good image",
    ),
    "no good test images": (
        lambda root: shutil.rmtree(root / "nut/test/good"),
        "nut/test: 0 good and 2 defective images; AUROC is undefined",
    ),
    "no defective test images": (
        lambda root: [shutil.rmtree(root / "nut" / p) for p in ("test/scratch", "ground_truth")],
        "nut/test: 1 good and 0 defective images; AUROC is undefined",
    ),
    "no test": (lambda root: shutil.rmtree(root / "nut/test"), "000_mask.png: a mask without"),
    "unknown extension": (lambda root: broken(root, "test/scratch/a.webp"), "scratch/a.webp: not"),
    "unknown file in train": (lambda root: broken(root, "train/good/a.txt"), "good/a.txt: not an"),
    "loose file": (lambda root: put(root / "nut/test/000.png"), "test/000.png: not an image in"),
    "nested folder": (lambda root: put(root / "nut/test/scratch/a/0.png"), "scratch/a: not an"),
}


@pytest.mark.parametrize("case", BAD)
def test_folder_errors_name_the_file(case, root):
    spoil, message = BAD[case]
    spoil(root)
    with pytest.raises(ValueError, match=message):
        load_category(dataset(root=str(root)), "nut")


def test_folder_unknown_category_and_root(root):
    with pytest.raises(ValueError, match="no category 'bolt'; found: nut"):
        load_category(dataset(root=str(root)), "bolt")
    for missing in (None, str(root / "nowhere")):
        with pytest.raises(FileNotFoundError, match=r"dataset.root"):
            load_category(dataset(root=missing), "nut")


def test_decompression_bomb_is_refused(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"good/000.png: unreadable image .*decompression bomb"):
        load_category(dataset(root=str(root)), "nut")


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
