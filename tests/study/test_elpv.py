"""study.data.elpv: the exported folder has the package's files, ELPV's counts and one split by
seed.
"""

import filecmp
import os
from pathlib import Path
from types import SimpleNamespace

import elpv_dataset
import numpy as np
import pytest
from toys import dataset

from study.data import elpv
from study.data.category import summary
from study.data.drawn_defects import KINDS
from study.data.mvtec import load_category

DATA = Path(elpv_dataset.__file__).parent / "data"


def settings(**changed):
    return SimpleNamespace(**{"held_out": 0.25, "split_seed": 0} | changed)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "elpv"
    for category in elpv.TYPES:
        elpv.export(settings(), category, root / category)
    return root


@pytest.fixture(scope="module")
def mono(exported):
    return load_category(dataset(root=str(exported), drawn_defects=True), "monocrystalline")


def test_counts(exported, mono):
    table = summary(mono).to_dict("index")
    assert table["good"] == {"train": 441, "validation": 73, "test": 74}
    assert table["defective"] == {"train": 0, "validation": 156, "test": 157}
    assert sum(sum(table[f"drawn_{kind}"].values()) for kind in KINDS) == 73 + 74
    poly = load_category(dataset(root=str(exported)), "polycrystalline")
    assert summary(poly).to_dict("index") == {
        "good": {"train": 690, "validation": 115, "test": 115},
        "defective": {"train": 0, "validation": 201, "test": 201},
    }
    about = {name: (exported / name / "README.txt").read_text() for name in elpv.TYPES}
    assert "117 with defect probability 1/3,\n56 with 2/3" in about["monocrystalline"]
    assert "178 with defect probability 1/3,\n50 with 2/3" in about["polycrystalline"]


def test_the_files_are_the_package_s(exported, mono):
    files = sorted((exported / "monocrystalline").rglob("*.png"))
    assert all(filecmp.cmp(path, DATA / "images" / path.name, shallow=False) for path in files)
    table = [line.split() for line in (DATA / "labels.csv").read_text().splitlines()]
    probability = {Path(path).name: float(value) for path, value, _ in table}
    real = ~mono.drawn
    names = [Path(name).name for name in mono.names[real]]
    assert len(set(names)) == len(files)
    assert [probability[name] for name in names] == mono.labels[real].tolist()


def test_arrays(mono):
    assert mono.benchmark == "elpv" and mono.images.shape == (588 + 313 + 147, 32, 32, 1)
    np.testing.assert_array_equal(mono.labels == 0, mono.defects == "good")
    np.testing.assert_array_equal(mono.has_mask, mono.defects != "defective")
    np.testing.assert_array_equal(mono.masks.any(axis=(1, 2)), mono.drawn)
    assert "No defective image has a mask" in mono.notes[0]


def test_drawn_copies_stay_in_the_split_of_their_cell(mono):
    split = dict(zip(mono.names, mono.splits, strict=True))
    image = dict(zip(mono.names, mono.images, strict=True))
    for index in np.flatnonzero(mono.drawn):
        cell, kind = mono.names[index].split("+")
        assert mono.defects[index] == f"drawn_{kind}" and mono.labels[index] == 1
        assert mono.splits[index] == split[cell] != "train"
        changed = (mono.images[index] != image[cell]).any(axis=-1)
        assert not (changed & ~mono.masks[index]).any()


def test_the_split_depends_on_the_seed_alone():
    defective = np.arange(40) % 4 == 0
    first, again, other = (elpv.split(defective, settings(split_seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first[defective] != "train").all()
    for share in (0.001, 0.999):
        with pytest.raises(ValueError, match=f"elpv.held_out {share}: .* take 0.25"):
            elpv.split(defective, settings(held_out=share))


def test_a_new_export_replaces_the_old_one(tmp_path):
    target = tmp_path / "elpv" / "monocrystalline"
    (target / "train" / "good").mkdir(parents=True)
    (target / "train" / "good" / "old.png").touch()
    elpv.export(settings(held_out=0.5), "monocrystalline", target)
    assert not (target / "train/good/old.png").exists()
    assert os.listdir(target.parent) == ["monocrystalline"]
    assert len(os.listdir(target / "train/good")) == 294
