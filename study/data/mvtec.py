"""The one reader of data sets: folders in MVTec AD's layout.

    <root>/<category>/train/good/*.png
                      test/{good,<defect>}/*.png
                      validation/{good,<defect>}/*.png      optional
                      ground_truth/<defect>/*_mask.png      optional

Images are decoded once, resized, and labelled by their folder. Errors name the file and say what
to do.
"""

import sys
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from study.data.category import Category, about_duplicates, entry
from study.data.drawn_defects import draw_on
from study.data.images import check_links, is_hidden, problem, read_image, read_mask, resized
from study.limits import check_memory
from study.params import ROOT

HELD_OUT = ("validation", "test")
# Training and test images of MVTec AD (Bergmann et al., CVPR 2019): 3,629 and 1,725 together.
OFFICIAL_COUNTS = {
    "bottle": (209, 83),
    "cable": (224, 150),
    "capsule": (219, 132),
    "carpet": (280, 117),
    "grid": (264, 78),
    "hazelnut": (391, 110),
    "leather": (245, 124),
    "metal_nut": (220, 115),
    "pill": (267, 167),
    "screw": (320, 160),
    "tile": (230, 117),
    "toothbrush": (60, 42),
    "transistor": (213, 100),
    "wood": (247, 79),
    "zipper": (240, 151),
}


def load_category(dataset, category: str) -> Category:
    """Decode the category folder that the `dataset` section of params.yaml names.

    With `drawn_defects`, every held-out good image has a copy with a drawn defect at the end. The
    share `calibration` of train/good becomes good images of split `validation`, if it has none.
    Raises ValueError for a missing category, for one without training images or good test images,
    for files that are no images or cannot be read, for masks that do not fit or are all black, for
    links out of the root, and with `strict` for counts that are not MVTec AD's. Raises MemoryError
    if it will not fit.
    """
    root, size = ROOT / dataset.root, dataset.image_size
    folders = sorted(path.name for path in root.glob("*") if path.is_dir())
    found = [name for name in folders if not is_hidden(name)]
    if category not in found:
        raise ValueError(f"{root}: no category {category!r}; found: {', '.join(found) or 'none'}")
    base = root / category
    pairs = images_and_masks(base, dataset.ignore)
    check_links(root, [path for pair in pairs for path in pair if path])
    grey = 8  # bytes of a pixel of the copy that finds duplicates
    needed = len(pairs) * size**2 * (2 * dataset.channels + 1 + grey)
    check_memory(needed, f"{category}: {len(pairs)} images of {size}x{size} pixels")
    rows = [_row(path, mask, base, dataset) for path, mask in pairs]
    notes = _check_test(base, rows)
    _check_black(base, pairs, rows)
    benchmark = "mvtec" if "mvtec" in root.name.lower() else root.name
    notes = notes or about_masks(rows, size)
    if benchmark == "mvtec" or dataset.strict:  # a `tile` of another data set is not MVTec AD's
        notes = _compare_counts(base, rows, dataset) + notes
    notes += _calibrate(rows, category, dataset.calibration)
    if dataset.drawn_defects:
        rows += draw_on(rows, category)
    arrays = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    found = Category(benchmark, category, **arrays, notes=())
    found = replace(found, notes=(*notes, *about_duplicates(found)))
    for note in found.notes:
        print(f"note: {base}: {note}", file=sys.stderr)
    return found


def images_and_masks(base: Path, ignore: Sequence[str]) -> list[tuple[Path, Path | None]]:
    """Each image of the category folder `base`, with its mask or None.

    Training images come first, then validation and test, each by defect. Raises ValueError
    without training images, for files that are no images and for masks that fit no image.
    """
    found = _list_images(base, ignore)
    if not found.get(("train", "good")):
        raise ValueError(f"{base}/train/good: no images; put the normal images there")
    masks = {}
    for (part, defect), paths in found.items():
        if part == "ground_truth":
            images = [path for split in HELD_OUT for path in found.get((split, defect), [])]
            masks |= _masks(paths, images, base)
    parts = [images for (part, _), images in found.items() if part != "ground_truth"]
    return [(path, masks.get(path)) for images in parts for path in images]


def _list_images(base: Path, ignore: Sequence[str]) -> dict[tuple[str, str], list[Path]]:
    """Image files by part and defect, in their order. ValueError names all that are no images."""

    def entries(folder):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            names = path.name, path.relative_to(base).as_posix()
            ignored = any(fnmatchcase(name, pattern) for name in names for pattern in ignore)
            if not ignored and not is_hidden(path.name):
                yield path

    found, stray = {}, []
    for part in ("train", *HELD_OUT, "ground_truth"):
        for folder in entries(base / part):
            if part == "train" and folder.name != "good":
                print(f"note: {folder}: not used; only train/good is", file=sys.stderr)
                continue
            images = found[part, folder.name] = []
            for path in entries(folder) if folder.is_dir() else [folder]:
                _check_name(path)
                if fault := problem(path) if folder.is_dir() else "in no folder of a defect":
                    stray.append(f"{path.relative_to(base)} ({fault})")
                else:
                    images.append(path)
    if stray:
        raise ValueError(
            f"{base}: not usable as images: {listed(stray)}; move them away, or "
            "skip them with patterns in dataset.ignore, such as ['*.txt', 'backup']"
        )
    return found


def _check_name(path: Path) -> None:
    """Refuse line breaks and bytes that are not UTF-8: they would break tables hours later."""
    name = f"{path.parent.name}{path.name}"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        raise ValueError(
            f"{str(path)!r}: its name has characters that would break tables; rename it"
        )


def _masks(masks: list[Path], images: list[Path], base: Path) -> dict[Path, Path]:
    """{image: its mask}; the mask of `a.png` is `a.png` or, as in MVTec AD, `a_mask.png`."""
    found = {}
    for mask in masks:
        stems = (mask.stem, mask.stem.removesuffix("_mask"))
        owners = [path for path in images if path.stem in stems]
        if len(owners) > 1:
            both = " and ".join(str(path.relative_to(base)) for path in owners[:2])
            raise ValueError(f"{mask}: fits {both}; rename one of them and its mask alike")
        if not owners:
            where = " or ".join(f"{split}/{mask.parent.name}" for split in HELD_OUT)
            raise ValueError(
                f"{mask}: no image in {where} fits this mask; for an image 001.png call it 001.png "
                "or 001_mask.png"
            )
        if owners[0] in found:
            other = found[owners[0]].name
            raise ValueError(
                f"{mask}: a second mask of {owners[0].name}, beside {other}; merge them, or remove "
                "one"
            )
        found[owners[0]] = mask
    return found


def _row(path: Path, mask_path: Path | None, base: Path, dataset) -> dict:
    """The image's entry in the arrays of Category."""
    image, mask = read_image(path, dataset.channels), None
    name = path.relative_to(base).as_posix()
    split, defect, _ = name.split("/")
    if mask_path is not None:
        grey = read_mask(mask_path)
        if grey.size != image.size:
            raise ValueError(
                f"{mask_path}: {grey.size[0]}x{grey.size[1]} pixels, but its image {path} has "
                f"{image.size[0]}x{image.size[1]}; export the mask at the size of its image"
            )
        mask = resized(grey, dataset.image_size)[..., 0] >= 128  # 0.5 of 255
        if defect == "good" and mask.any():
            raise ValueError(f"{mask_path}: marks a defect in a good image; empty or remove it")
    return entry(resized(image, dataset.image_size), mask, defect, name, split)


def _check_test(base: Path, rows: list[dict]) -> list[str]:
    """A note where nothing can be measured; ValueError where only defective images are there."""
    good = [row["defects"] == "good" for row in rows if row["splits"] == "test"]
    if not good:
        return ["There is no test split, so nothing is measured."]
    if not any(good):
        raise ValueError(
            f"{base}/test/good: no images; put some good images there that are not in train/good"
        )
    return ["No test image is defective, so there is no figure to report."] if all(good) else []


def _check_black(base: Path, pairs, rows: list[dict]) -> None:
    """ValueError if no mask on disk marks a pixel: the masks were exported wrongly."""
    both = zip(pairs, rows, strict=True)
    masks = [mask for (_, mask), row in both if mask and row["labels"]]
    if masks and not any(read_mask(mask).getextrema()[1] for mask in masks):
        raise ValueError(
            f"{base}: all masks are black: {listed([str(m.relative_to(base)) for m in masks])}; "
            "save 255 on the defect, or remove ground_truth to go without masks"
        )


def _compare_counts(base: Path, rows: list[dict], dataset) -> list[str]:
    """A note where a category of MVTec AD's name has other counts; ValueError if `strict`."""
    splits = [row["splits"] for row in rows]
    train, test = splits.count("train"), splits.count("test")
    official = OFFICIAL_COUNTS.get(base.name, (train, test))
    if official == (train, test):
        return []
    found = (
        f"{base.name} has {train} training and {test} test images, but MVTec AD's has "
        f"{official[0]} and {official[1]}"
    )
    if dataset.strict:
        raise ValueError(
            f"{base}: {found}; complete it, or set dataset.strict to false if this is another "
            "data set or a part of it"
        )
    return [f"{found}; ignore this if it is another data set."]


def _calibrate(rows: list[dict], category: str, share: float) -> list[str]:
    """Move a share of the training images to `validation`, and say so; ValueError for too few."""
    good = [row for row in rows if row["splits"] == "validation" and not row["labels"]]
    if good or not share:
        return [f"dataset.calibration is not used: validation/good has {len(good)}."] * bool(share)
    train = [row for row in rows if row["splits"] == "train"]
    held_out = round(share * len(train))
    if not 0 < held_out < len(train):  # `conformal.check` says how many the thresholds need
        raise ValueError(
            f"dataset.calibration {share}: {held_out} of {len(train)} images of {category}/train/"
            "good held out; both sides need some"
        )
    # The seed depends on the name, so categories with equally many images are drawn independently.
    random = np.random.default_rng(zlib.crc32(category.encode()))
    for index in random.permutation(len(train))[:held_out]:
        train[index]["splits"] = "validation"
    return [f"{held_out} of {len(train)} images of train/good are held out for calibration."]


def listed(names: list[str], count: int = 20) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return f"{', '.join(names[:count])}{more}"


def about_masks(rows: list[dict], size: int) -> list[str]:
    """Notes on missing, empty and inverted masks.

    A split whose masks mark no pixel has no pixel metrics: its `has_mask` becomes False here.
    """
    notes, left_out = [], "so the pixel metrics of its real defects are left out."
    if not any(row["labels"] and row["has_mask"] for row in rows):
        return ["No defective image has a mask, so the pixel metrics of real defects are left out."]
    for split in HELD_OUT:
        defective = [row for row in rows if row["labels"] and row["splits"] == split]
        missing = [row["names"] for row in defective if not row["has_mask"]]
        empty = [row for row in defective if row["has_mask"] and not row["masks"].any()]
        if missing:
            notes.append(
                f"{len(missing)} of {len(defective)} defective {split} images have no mask, "
                f"{left_out} Without a mask: {listed(missing, 3)}."
            )
        elif empty and len(empty) == len(defective):
            notes.append(f"No mask of {split} marks a pixel at {size}x{size}, {left_out}")
            for row in empty:
                row["has_mask"] = False
        elif empty:
            notes.append(
                f"{len(empty)} of {len(defective)} masks of {split} mark no pixel at {size}x{size}."
            )
    if frames := sum(_is_frame(row["masks"]) for row in rows):
        notes.append(
            f"{frames} masks mark the whole border of their image but not all of it: are they "
            "inverted? The defect is white."
        )
    return notes


def _is_frame(mask: np.ndarray) -> bool:
    border = mask[0].all() and mask[-1].all() and mask[:, 0].all() and mask[:, -1].all()
    return bool(border and not mask.all())
