import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lib.benchmarks import (
    Category,
    load_category,
    load_textures,
    near_duplicates,
    read_image,
    summary,
)
from lib.drawn_defects import KINDS

MVTEC = Path(__file__).parents[2] / "shared" / "data" / "mvtec"


def dataset(**changed):
    base = {"source": "folder", "root": None, "image_size": 32, "channels": 1, "held_out": 0.25}
    return SimpleNamespace(**{**base, "split_seed": 0, "drawn_defects": False, **changed})


def textures(**changed):
    base = {"source": "skimage", "root": None, "count": 12, "seed": 0}
    return SimpleNamespace(**{**base, "min_side": 16, "max_side": 999, **changed})


def grey(value=128, size=(40, 40)):
    return Image.new("L", size, value)


def put(path, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or grey()).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """A small category `nut` in MVTec AD layout; 000 has a mask on its left half, 001 has none."""
    base = tmp_path / "toys" / "nut"
    for index in range(3):
        put(base / f"train/good/{index:03}.png", grey(100 + index))
    put(base / "test/good/000.png")
    put(base / "test/scratch/000.png")
    put(base / "test/scratch/001.png")
    mask = grey(0)
    mask.paste(255, (0, 0, 20, 40))
    put(base / "ground_truth/scratch/000_mask.png", mask)
    return base.parent


@pytest.fixture(scope="module")
def mono():
    return load_category(dataset(source="elpv", drawn_defects=True), "monocrystalline")


@pytest.fixture(scope="module")
def poly():
    return load_category(dataset(source="elpv", channels=3), "polycrystalline")


def counts(category):
    return summary(category).to_dict("index")


def test_elpv_counts(mono, poly):
    table = counts(mono)
    assert table["good"] == {"train": 441, "validation": 73, "test": 74}
    assert table["defective"] == {"train": 0, "validation": 156, "test": 157}
    assert sum(sum(table[f"drawn_{kind}"].values()) for kind in KINDS) == 73 + 74
    assert counts(poly) == {
        "good": {"train": 690, "validation": 115, "test": 115},
        "defective": {"train": 0, "validation": 201, "test": 201},
    }
    assert "117 with defect probability 1/3, 56 with 2/3" in mono.notes[0]
    assert "178 with defect probability 1/3, 50 with 2/3" in poly.notes[0]


def test_elpv_arrays(mono, poly):
    assert mono.images.shape == (588 + 313 + 147, 32, 32, 1) and mono.images.dtype == np.uint8
    assert poly.images.shape == (920 + 402, 32, 32, 3)
    assert (poly.images[..., 0] == poly.images[..., 2]).all()
    assert mono.benchmark == "elpv" and mono.category == "monocrystalline"
    assert len(set(mono.names)) == len(mono.names) and "cell0001.png" in mono.names
    np.testing.assert_array_equal(mono.labels == 0, mono.defects == "good")
    np.testing.assert_array_equal(mono.has_mask, mono.defects != "defective")
    np.testing.assert_array_equal(mono.masks.any(axis=(1, 2)), mono.drawn)


def test_elpv_drawn_copies_stay_in_the_split_of_their_cell(mono):
    split = dict(zip(mono.names, mono.splits, strict=True))
    image = dict(zip(mono.names, mono.images, strict=True))
    for index in np.flatnonzero(mono.drawn):
        cell, kind = mono.names[index].split("+")
        assert mono.defects[index] == f"drawn_{kind}" and mono.labels[index] == 1
        assert mono.splits[index] == split[cell] != "train"
        changed = (mono.images[index] != image[cell]).any(axis=-1)
        assert not (changed & ~mono.masks[index]).any()


def test_elpv_split_depends_on_the_seed_only(mono):
    with_copies = mono.splits[~mono.drawn]
    again = load_category(dataset(source="elpv", image_size=8), "monocrystalline")
    np.testing.assert_array_equal(again.splits, with_copies)
    np.testing.assert_array_equal(again.names, mono.names[~mono.drawn])
    other = load_category(dataset(source="elpv", image_size=8, split_seed=1), "monocrystalline")
    assert (other.splits != with_copies).any() and (other.labels == again.labels).all()


def test_elpv_labels_and_pixels_are_the_package_s(mono):
    import elpv_dataset

    data = Path(elpv_dataset.__file__).parent / "data"
    table = [line.split() for line in (data / "labels.csv").read_text().splitlines()]
    probability = {Path(path).name: float(value) for path, value, _ in table}
    real = ~mono.drawn
    assert [probability[name] for name in mono.names[real]] == mono.labels[real].tolist()
    with Image.open(data / "images" / mono.names[5]) as file:
        expected = np.asarray(file.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(mono.images[5, ..., 0], expected)


def test_elpv_errors():
    with pytest.raises(ValueError, match=r"'screw'.*monocrystalline, polycrystalline"):
        load_category(dataset(source="elpv"), "screw")
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"dataset.held_out {share}"):
            load_category(dataset(source="elpv", held_out=share), "monocrystalline")


def test_category_file_is_deterministic_and_complete(mono, tmp_path):
    for name in ("a.npz", "b.npz"):
        mono.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]
    loaded = Category.load(tmp_path / "a.npz")
    for field, value in vars(mono).items():
        np.testing.assert_array_equal(getattr(loaded, field), value)
    assert isinstance(loaded.category, str) and isinstance(loaded.notes, tuple)
    assert loaded.labels.dtype == np.uint8 and loaded.masks.dtype == bool


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


def test_folder_drawn_defects_are_on_good_test_images(root):
    nut = load_category(dataset(root=str(root), drawn_defects=True), "nut")
    assert nut.names[nut.drawn].tolist() == ["test/good/000.png+crack"]


def test_mvtec_is_called_mvtec(root):
    root = root.rename(root.with_name("MVTec_AD"))
    assert load_category(dataset(root=str(root)), "nut").benchmark == "mvtec"


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


@pytest.mark.skipif(not MVTEC.is_dir(), reason="needs MVTec AD's screw and bottle beside the clone")
@pytest.mark.parametrize(
    ("name", "train", "good", "defective"), [("screw", 320, 41, 119), ("bottle", 209, 20, 63)]
)
def test_mvtec(name, train, good, defective):
    category = load_category(dataset(root=str(MVTEC), channels=3, image_size=64), name)
    test = category.splits == "test"
    assert category.benchmark == "mvtec" and category.images.shape[1:] == (64, 64, 3)
    assert (~test).sum() == train and category.notes == () and category.has_mask.all()
    assert (category.labels[test] == 0).sum() == good
    assert category.labels.sum() == defective == category.masks.any(axis=(1, 2)).sum()


@pytest.mark.parametrize("channels", [1, 3])
def test_textures_of_skimage(channels):
    crops = load_textures(textures(), 32, channels)
    assert crops.shape == (12, 32, 32, channels) and crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, load_textures(textures(), 32, channels))
    assert (crops != load_textures(textures(seed=1), 32, channels)).any()
    assert len({crop.tobytes() for crop in crops}) == 12 and crops.std(axis=(1, 2)).min() > 1


def test_textures_of_a_folder(tmp_path):
    put(tmp_path / "b/2.jpg", Image.new("RGB", (60, 20), (90, 90, 90)))
    put(tmp_path / "a/1.png", grey(30, (20, 70)))
    (tmp_path / "labels.txt").write_text("not an image")
    whole = load_textures(textures(source="folder", root=str(tmp_path), count=0), 32, 3)
    assert whole.shape == (2, 32, 32, 3) and whole[:, 5, 5, 0].tolist() == [30, 90]
    crops = load_textures(textures(source="folder", root=str(tmp_path), count=9), 64, 1)
    assert crops.shape == (9, 64, 64, 1)


def test_textures_errors(tmp_path):
    for root in (None, str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(FileNotFoundError, match=r"textures.root .*no images"):
            load_textures(textures(source="folder", root=root), 32, 1)
    broken(tmp_path, "x.png")
    with pytest.raises(ValueError, match=r"x.png: unreadable"):
        load_textures(textures(source="folder", root=str(tmp_path)), 32, 1)


def test_near_duplicates_finds_the_copy(root):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)) for _ in range(6)]
    for index in range(3):
        put(root / f"nut/train/good/{index:03}.png", noise[index])
        put(root / f"nut/test/good/{index:03}.png", noise[index + 3])
    put(root / "nut/test/scratch/001.png", noise[1].point(lambda value: value // 2 + 20))
    pairs = near_duplicates(load_category(dataset(root=str(root), drawn_defects=True), "nut"), 0.9)
    assert [pair[:2] for pair in pairs] == [("train/good/001.png", "test/scratch/001.png")]
    assert pairs[0][2] > 0.9
