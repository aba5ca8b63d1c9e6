"""The benchmarks: ELPV from its package, any folder or archive in MVTec AD layout.

`load_category` gives one category as arrays (lib/category.py); every split, label and drawn defect
follows from the `dataset` section of params.yaml. Errors name the file, folder or value.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from lib import folder
from lib.category import Category, entry
from lib.drawn_defects import KINDS, draw_defect
from lib.params import ROOT

ELPV_TYPES = {"monocrystalline": "mono", "polycrystalline": "poly"}


def load_category(dataset, category: str) -> Category:
    """Decode one category as the `dataset` section of params.yaml says.

    With `drawn_defects`, every held-out good image has a copy with a drawn defect at the end.
    Raises ValueError, or FileNotFoundError for dataset.root.
    """
    benchmark, rows, notes = READERS[dataset.source](dataset, category)
    if dataset.drawn_defects:
        rng = np.random.default_rng([dataset.split_seed, *category.encode()])
        good = [row for row in rows if row["defects"] == "good" and row["splits"] != "train"]
        for index, row in enumerate(sorted(good, key=lambda row: row["splits"])):
            kind = KINDS[index % len(KINDS)]  # in turn, so that each split has as many of each
            image, mask = draw_defect(row["images"], kind, rng)
            name = f"{row['names']}+{kind}"
            rows.append(entry(image, mask, f"drawn_{kind}", name, row["splits"], drawn=True))
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Category(benchmark, category, **arrays, notes=tuple(notes))


def _read_elpv(dataset, category: str) -> tuple[str, list[dict], list[str]]:
    """Cells that are surely good (defect probability 0) or surely defective (1)."""
    import elpv_dataset  # only here, so that a folder needs no ELPV

    if category not in ELPV_TYPES:
        raise ValueError(f"ELPV has no category {category!r}; available: {', '.join(ELPV_TYPES)}")
    # The package's load_dataset decodes all 2,624 cells and gives no names: its table is read here.
    data = Path(elpv_dataset.__file__).parent / "data"
    table = np.genfromtxt(data / "labels.csv", dtype="U24,f8,U4", names="path,probability,type")
    table = table[table["type"] == ELPV_TYPES[category]]
    unsure = [np.isclose(table["probability"], share / 3).sum() for share in (1, 2)]
    notes = [
        f"{sum(unsure)} cells of uncertain label were left out: {unsure[0]} with defect "
        f"probability 1/3, {unsure[1]} with 2/3.",
        "ELPV has no pixel masks: its defective cells have image labels only.",
    ]
    table = table[np.isin(table["probability"], (0, 1))]
    folder.check_fits(len(table), category, dataset)
    splits = _elpv_splits(table["probability"] == 1, dataset)
    rows = []
    for (path, probability, _), split in zip(table.tolist(), splits.tolist(), strict=True):
        image = folder.resized(folder.read_image(data / path, dataset.channels), dataset.image_size)
        defect = "defective" if probability else "good"
        rows.append(entry(image, None, defect, Path(path).name, split))
    return "elpv", rows, notes


def _elpv_splits(defective: np.ndarray, dataset) -> np.ndarray:
    """Hold out a share of the good cells; halve them and the defective into validation and test."""
    rng = np.random.default_rng(dataset.split_seed)
    splits = np.full(len(defective), "train", dtype="U10")
    good = rng.permutation(np.flatnonzero(~defective))
    held_out = good[: round(dataset.held_out * len(good))]
    if not 2 <= len(held_out) < len(good):
        raise ValueError(
            f"dataset.held_out {dataset.held_out}: {len(held_out)} of {len(good)} good cells held "
            "out; training, validation and test each need some, take 0.25"
        )
    for group in (held_out, rng.permutation(np.flatnonzero(defective))):
        splits[group] = "test"
        splits[group[: len(group) // 2]] = "validation"
    return splits


def _read_folder(dataset, category: str) -> tuple[str, list[dict], list[str]]:
    root = ROOT / (dataset.root or "")
    if dataset.root is None or not root.is_dir():
        raise FileNotFoundError(f"dataset.root {dataset.root}: no such folder; give MVTec AD's")
    benchmark = "mvtec" if "mvtec" in root.name.lower() else root.name
    return benchmark, *folder.read_category(root, category, dataset)


def _read_archive(dataset, category: str) -> tuple[str, list[dict], list[str]]:
    """What `python -m lib.archive` unpacked at image_size from the archive dataset.archive."""
    if not folder.UNPACKED.is_dir():
        raise FileNotFoundError(f"{folder.UNPACKED}: not there yet; `dvc repro archive` makes it")
    return "mvtec", *folder.read_category(folder.UNPACKED, category, dataset)


READERS = {"elpv": _read_elpv, "folder": _read_folder, "archive": _read_archive}


def near_duplicates(category: Category, threshold: float) -> list[tuple[str, str, float]]:
    """Pairs (training image, held-out image, similarity), most similar first; not drawn copies.

    Similarity is the correlation (-1..1) of 16x16 thumbnails less the mean training thumbnail, all
    at unit contrast: aligned parts look alike, and only what sets an image apart counts.
    """
    grey = category.images.mean(axis=-1).astype(np.uint8)
    tiny = [np.asarray(Image.fromarray(i).resize((16, 16), Image.Resampling.BOX)) for i in grey]
    vectors = np.stack(tiny).reshape(len(tiny), -1).astype(float)
    train = np.flatnonzero(category.splits == "train")
    held_out = np.flatnonzero((category.splits != "train") & ~category.drawn)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.maximum(vectors.std(axis=1, keepdims=True), 1e-9)
    vectors -= vectors[train].mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    similarity = vectors[train] @ vectors[held_out].T
    a, b = np.nonzero(similarity >= threshold)
    names = category.names[train[a]].tolist(), category.names[held_out[b]].tolist()
    return sorted(zip(*names, similarity[a, b].tolist(), strict=True), key=lambda pair: -pair[2])


def summary(category: Category):
    """Counts as a pandas.DataFrame: one row per defect, one column per split."""
    import pandas as pd

    counts = pd.crosstab(category.defects, category.splits, rownames=["defect"], colnames=["split"])
    return counts[[split for split in ("train", "validation", "test") if split in counts]]
