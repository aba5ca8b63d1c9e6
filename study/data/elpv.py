"""ELPV, exported from its package into a folder in MVTec AD's layout.

    python -m study.data.elpv CATEGORY

writes data/elpv/<category>/{train,validation,test}/{good,defective}/*.png, from the package's
files: grey images of single solar cells, 300x300 pixels. Only cells that are surely good (defect
probability 0) or surely defective (1) are exported. ELPV has no masks.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from study import params
from study.files import end_with_parent, whole

TYPES = {"monocrystalline": "mono", "polycrystalline": "poly"}
ABOUT = """\
{category} cells of ELPV (https://github.com/zae-bayern/elpv-dataset), CC BY-NC-SA 4.0, exported
from the package elpv-dataset with elpv.held_out {held_out} and elpv.split_seed {split_seed} of
params.yaml. {unsure} cells of uncertain label were left out: {third} with defect probability 1/3,
{two_thirds} with 2/3. The stage elpv writes this folder again: change nothing here.
"""


def export(settings, category: str, target: Path) -> None:
    """Write one of TYPES to the folder `target`, whole or not at all.

    `settings` is the `elpv` section of params.yaml. Raises ValueError if a split is empty.
    """
    import elpv_dataset  # imported here, because no other data set needs the package

    # The package's load_dataset decodes all 2,624 cells and gives no names: its table is read here.
    data = Path(elpv_dataset.__file__).parent / "data"
    table = np.genfromtxt(data / "labels.csv", dtype="U24,f8,U4", names="path,probability,type")
    table = table[table["type"] == TYPES[category]]
    third, two_thirds = (int(np.isclose(table["probability"], n / 3).sum()) for n in (1, 2))
    table = table[np.isin(table["probability"], (0, 1))]
    splits = split(table["probability"] == 1, settings)
    with whole(target) as partial:
        for (path, probability, _), part in zip(table.tolist(), splits.tolist(), strict=True):
            folder = partial / part / ("defective" if probability else "good")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / path, folder / Path(path).name)
        counts = {"unsure": third + two_thirds, "third": third, "two_thirds": two_thirds}
        about = ABOUT.format(category=category, **vars(settings), **counts)
        (partial / "README.txt").write_text(about, encoding="utf-8")


def split(defective: np.ndarray, settings) -> np.ndarray:
    """Hold out a share of the good cells; halve them and the defective into validation and test.

    `defective` is bool (N,); returns `train`, `validation` or `test` for each, str (N,).
    """
    rng = np.random.default_rng(settings.split_seed)
    splits = np.full(len(defective), "train", dtype="U10")
    good = rng.permutation(np.flatnonzero(~defective))
    held_out = good[: round(settings.held_out * len(good))]
    if not 2 <= len(held_out) < len(good):
        raise ValueError(
            f"elpv.held_out {settings.held_out}: {len(held_out)} of {len(good)} good cells held "
            "out; training, validation and test each need some, take 0.25"
        )
    for group in (held_out, rng.permutation(np.flatnonzero(defective))):
        splits[group] = "test"
        splits[group[: len(group) // 2]] = "validation"
    return splits


if __name__ == "__main__":  # the stage `elpv`, one item for each category
    end_with_parent()
    try:
        (category,) = sys.argv[1:]
        export(params.load().elpv, category, params.ROOT / params.ELPV / category)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
