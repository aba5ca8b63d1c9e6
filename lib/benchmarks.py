"""Benchmarks and textures as arrays: ELPV from its package, any folder in MVTec AD layout.

Images are decoded once, resized bilinearly with antialiasing without keeping their aspect, and
labelled by their folder (design, sections 1 and 2). Errors name the file, folder or value.
"""

import os
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lib.drawn_defects import KINDS, draw_defect
from lib.params import ROOT

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # what file managers leave behind, beside dot files
ELPV_TYPES = {"monocrystalline": "mono", "polycrystalline": "poly"}
# Photographs inside the scikit-image package, so nothing is downloaded; without drawings, text
# and photographs of mostly one flat surface (moon, rocket, retina).
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png"),
)


@dataclass(frozen=True, eq=False)
class Category:
    """One category of a benchmark: N images of one size; every array has N rows."""

    benchmark: str
    category: str
    images: np.ndarray  # uint8 (N, H, W, C)
    masks: np.ndarray  # bool (N, H, W), True on the defect
    has_mask: np.ndarray  # bool (N,), False where the defect's pixels are not known
    labels: np.ndarray  # uint8 (N,), 0 good, 1 defective
    defects: np.ndarray  # str (N,), "good" or the kind of defect
    names: np.ndarray  # str (N,), file name, unique
    splits: np.ndarray  # str (N,), train, validation or test
    drawn: np.ndarray  # bool (N,), True for synthetic defects
    notes: tuple[str, ...]  # what was left out or is missing, in sentences

    def save(self, path: str | Path) -> None:
        """Write one .npz whose bytes depend on the content only; a half-written one never shows."""
        partial = Path(f"{path}.partial")
        with partial.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        os.replace(partial, path)

    def select(self, chosen: np.ndarray) -> "Category":
        """The images where `chosen`, bool (N,), is True."""
        arrays = {k: v[chosen] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)

    def training_images(self) -> np.ndarray:
        """The normal images to train on, uint8 (n, H, W, C)."""
        return self.images[self.splits == "train"]

    def held_out(self) -> "Category":
        """Everything that is not trained on: validation and test, real and drawn defects."""
        return self.select(self.splits != "train")

    @classmethod
    def load(cls, path: str | Path) -> "Category":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            content = {field.name: file[field.name] for field in fields(cls)}
        content |= {key: str(content[key]) for key in ("benchmark", "category")}
        return cls(**content | {"notes": tuple(content["notes"].astype(str).tolist())})


def load_category(dataset, category: str) -> Category:
    """Decode one category as the `dataset` section of params.yaml says.

    With `drawn_defects`, every held-out good image has a copy with a drawn defect at the end.
    Raises ValueError, or FileNotFoundError for dataset.root.
    """
    read = {"elpv": _read_elpv, "folder": _read_folder}[dataset.source]
    benchmark, rows, notes = read(dataset, category)
    if dataset.drawn_defects:
        rng = np.random.default_rng([dataset.split_seed, *category.encode()])
        good = [row for row in rows if row["defects"] == "good" and row["splits"] != "train"]
        for index, row in enumerate(sorted(good, key=lambda row: row["splits"])):
            kind = KINDS[index % len(KINDS)]  # in turn, so that each split has as many of each
            image, mask = draw_defect(row["images"], kind, rng)
            name = f"{row['names']}+{kind}"
            rows.append(_row(image, mask, f"drawn_{kind}", name, row["splits"], drawn=True))
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return Category(benchmark, category, **arrays, notes=tuple(notes))


def _row(image, mask, defect, name, split, drawn=False) -> dict:
    """One image's entry in each array of Category; a good image has a known, empty mask."""
    return {
        "images": image,
        "masks": np.zeros(image.shape[:2], bool) if mask is None else mask,
        "has_mask": mask is not None or defect == "good",
        "labels": np.uint8(defect != "good"),
        "defects": defect,
        "names": name,
        "splits": split,
        "drawn": drawn,
    }


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
    splits = _elpv_splits(table["probability"] == 1, dataset)
    rows = []
    for (path, probability, _), split in zip(table.tolist(), splits.tolist(), strict=True):
        image = _resized(read_image(data / path, dataset.channels), dataset.image_size)
        defect = "defective" if probability else "good"
        rows.append(_row(image, None, defect, Path(path).name, split))
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
    """`<root>/<category>/{train/good, test/<defect>, ground_truth/<defect>}`, masks optional."""
    root = ROOT / (dataset.root or "")
    if dataset.root is None or not root.is_dir():
        raise FileNotFoundError(f"dataset.root {dataset.root}: no such folder; give MVTec AD's")
    found = [path.name for path in _entries(root) if path.is_dir()]
    if category not in found:
        raise ValueError(f"{root}: no category {category!r}; found: {', '.join(found) or 'none'}")
    base = root / category
    rows = [_folder_row(path, None, base, dataset) for path in _images(base / "train" / "good")]
    if not rows:
        raise ValueError(f"{base}/train/good: no images; put the normal images there")
    folders = {path.name for part in ("test", "ground_truth") for path in _entries(base / part)}
    for defect in sorted(folders):
        paths = _images(base / "test" / defect)
        masks = _masks(base / "ground_truth" / defect, paths)
        rows += [_folder_row(path, masks.get(path.stem), base, dataset) for path in paths]
    good = [row["defects"] == "good" for row in rows if row["splits"] == "test"]
    if all(good) or not any(good):
        raise ValueError(
            f"{base}/test: {sum(good)} good and {len(good) - sum(good)} defective images; AUROC is "
            "undefined without both, add to test/good or to a folder named after the defect"
        )
    empty = sum(row["labels"] and row["has_mask"] and not row["masks"].any() for row in rows)
    missing = sum(not row["has_mask"] for row in rows)
    notes = [f"{missing} defective images have no mask."] if missing else []
    notes += (
        [f"{empty} masks (0 and 255) of defective images are empty at this size."] if empty else []
    )
    return "mvtec" if "mvtec" in root.name.lower() else root.name, rows, notes


def _folder_row(path: Path, mask_path: Path | None, base: Path, dataset) -> dict:
    image, mask = read_image(path, dataset.channels), None
    if mask_path is not None:
        grey = read_image(mask_path, 1)
        if grey.size != image.size:
            raise ValueError(
                f"{mask_path}: {grey.size[0]}x{grey.size[1]} pixels, but its image {path} has "
                f"{image.size[0]}x{image.size[1]}; export the mask at the size of its image"
            )
        mask = _resized(grey, dataset.image_size)[..., 0] >= 128  # 0.5 of 255
    name = path.relative_to(base).as_posix()
    split, defect, _ = name.split("/")
    if defect == "good" and mask is not None and mask.any():
        raise ValueError(f"{mask_path}: marks a defect in a good image; empty or remove it")
    return _row(_resized(image, dataset.image_size), mask, defect, name, split)


def _masks(folder: Path, images: list[Path]) -> dict[str, Path]:
    """Mask file by the stem of its image; `<stem>_mask.*` as MVTec AD names it, or `<stem>.*`."""
    stems, masks = {path.stem for path in images}, {}
    for path in _images(folder):
        stem = path.stem.removesuffix("_mask")
        stem = stem if stem in stems else path.stem
        if stem not in stems or stem in masks:
            problem = f"a second mask of {stem}" if stem in stems else "a mask without an image"
            raise ValueError(f"{path}: {problem} in test/{folder.name}; remove or rename it")
        masks[stem] = path
    return masks


def _entries(folder: Path) -> list[Path]:
    """Sorted content of a folder without hidden and system files; nothing if it is missing."""
    content = sorted(folder.iterdir()) if folder.is_dir() else []
    return [p for p in content if p.name[0] != "." and p.name.lower() not in SYSTEM_FILES]


def _images(folder: Path) -> list[Path]:
    """Image files of a folder, sorted; anything else in it, or a file in its place, is an error."""
    paths = [folder] if folder.is_file() else _entries(folder)
    for path in paths:
        if path == folder or not path.is_file() or path.suffix.lower() not in EXTENSIONS:
            raise ValueError(f"{path}: not an image in a defect's folder; move or remove it")
    return paths


def read_image(path: Path, channels: int) -> Image.Image:
    """Decode a whole file to 8-bit grey (`channels` 1, luminance) or RGB (3), without alpha.

    16-bit grey is divided by 257. Raises ValueError if the file can not be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "BMP", "TIFF")) as image:
                image.load()
        if image.mode[0] in "IF":
            values = np.asarray(image).astype(float)
            if not 0 <= values.min() <= values.max() <= 65535 or image.mode == "F":
                raise ValueError("neither 8 nor 16 bit per pixel")
            image = Image.fromarray(np.round(values / 257).astype(np.uint8))
        if image.mode in ("P", "PA"):  # Pillow asks for this detour with transparent palettes
            image = image.convert("RGBA")
        return image.convert("L" if channels == 1 else "RGB")
    except Exception as error:  # a broken file can raise almost anything inside the decoders
        raise ValueError(f"{path}: unreadable image ({error}); replace or remove it") from error


def _resized(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, C), bilinear; Pillow's filter antialiases when it reduces."""
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def load_textures(textures, image_size: int, channels: int) -> np.ndarray:
    """Texture images for the corruption: uint8 (M, image_size, image_size, channels).

    `count` random square crops with a side of min_side to max_side pixels (at most the image's
    short side), or with count 0 each image once, whole. Raises FileNotFoundError for a root without
    images.
    """
    if textures.source == "skimage":
        import skimage.data

        paths = [Path(skimage.data.__file__).parent / name for name in PHOTOGRAPHS]
    else:
        found = [] if textures.root is None else (ROOT / textures.root).rglob("*")
        paths = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
        if not paths:
            raise FileNotFoundError(f"textures.root {textures.root}: no images below this folder")
    rng = np.random.default_rng(textures.seed)
    counts = np.bincount(rng.integers(len(paths), size=textures.count), minlength=len(paths))
    tiles = []
    for index in np.flatnonzero(counts) if textures.count else range(len(paths)):
        image = read_image(paths[index], channels)
        tiles += [] if textures.count else [_resized(image, image_size)]
        for _ in range(counts[index]):
            low, high = (min(*image.size, s) for s in (textures.min_side, textures.max_side))
            side = int(rng.integers(low, high + 1))
            left, top = (int(rng.integers(length - side + 1)) for length in image.size)
            crop = image.crop((left, top, left + side, top + side))
            tiles.append(_resized(crop, image_size))
    return np.stack(tiles)


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
