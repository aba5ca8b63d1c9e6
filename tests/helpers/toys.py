"""Small datasets in MVTec AD layout and their section of params.yaml, for the tests of data."""

from types import SimpleNamespace

import numpy as np
import yaml
from PIL import Image

from study.data.category import Category
from study.params import ROOT


def dataset(**changed):
    """The `dataset` section of params.yaml."""
    base = {"root": "none", "ignore": (), "strict": False, "image_size": 32, "channels": 1}
    base |= {"drawn_defects": False, "calibration": 0.0}
    return SimpleNamespace(**{**base, **changed})


def shipped_with(key, value):
    """The shipped params.yaml with another value, as YAML text, at `key` (dots between levels)."""
    raw = here = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    *parents, last = key.split(".")
    for parent in parents:
        here = here[parent]
    here[last] = "VALUE"
    return yaml.safe_dump(raw).replace(": VALUE", f": {value}")


def category_of(rows, benchmark="toy", category="nut", notes=()):
    """A `Category` of the rows that `entry` makes."""
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Category(benchmark, category, **arrays, notes=notes)


def grey(value=128, size=(40, 40)):
    return Image.new("L", size, value)


def put(path, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or grey()).save(path)
    return path


def write_nut(base):
    """A small category `nut`; 000 has a mask on its left half, 001 has none. Returns its root."""
    base = base / "nut"
    for index in range(3):
        put(base / f"train/good/{index:03}.png", grey(100 + index))
    put(base / "test/good/000.png")
    put(base / "test/scratch/000.png")
    put(base / "test/scratch/001.png")
    mask = grey(0)
    mask.paste(255, (0, 0, 20, 40))
    put(base / "ground_truth/scratch/000_mask.png", mask)
    return base.parent
