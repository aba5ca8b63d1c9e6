"""lib.benchmarks: ELPV's counts and splits, which reader a source gets, drawn and double images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import dataset, put

from lib import folder
from lib.benchmarks import load_category, near_duplicates, summary
from lib.drawn_defects import KINDS


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


def test_folder_drawn_defects_are_on_good_test_images(root):
    nut = load_category(dataset(root=str(root), drawn_defects=True), "nut")
    assert nut.names[nut.drawn].tolist() == ["test/good/000.png+crack"]


def test_mvtec_is_called_mvtec(root):
    root = root.rename(root.with_name("MVTec_AD"))
    assert load_category(dataset(root=str(root)), "nut").benchmark == "mvtec"


def test_folder_without_a_root():
    with pytest.raises(FileNotFoundError, match=r"dataset.root None: no such folder"):
        load_category(dataset(), "nut")


def test_an_archive_is_read_where_its_stage_left_it(root, monkeypatch):
    monkeypatch.setattr(folder, "UNPACKED", root / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere: not there yet; `dvc repro archive`"):
        load_category(dataset(source="archive", archive="some.tar.xz"), "nut")
    monkeypatch.setattr(folder, "UNPACKED", root)
    nut = load_category(dataset(source="archive", archive="some.tar.xz"), "nut")
    assert nut.benchmark == "mvtec" and len(nut.names) == 6


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
