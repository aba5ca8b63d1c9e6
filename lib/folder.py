"""Any folder in MVTec AD layout: `<root>/<category>/{train/good, test/<defect>, ground_truth/...}`.

Images are decoded once, resized bilinearly with antialiasing without keeping their aspect, and
labelled by their folder; masks are optional (design, sections 1 and 2). Errors name the file.
"""

import sys
import unicodedata
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lib.category import entry
from lib.memory import check_memory
from lib.params import ROOT

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # what file managers leave behind, beside dot files
ORIENTATION = 0x0112  # a tag; Pillow 13 turns a TIFF that has it twice
UNPACKED = ROOT / "results" / "archive"  # where lib/archive.py puts an archive's categories
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


def read_category(root: Path, category: str, dataset) -> tuple[list[dict], list[str]]:
    """Decode `<root>/<category>` into one `lib.category.entry` an image, and notes on what is odd.

    `dataset` gives image_size (pixels), channels and strict: with strict, ValueError instead of a
    note where the counts are not MVTec AD's. Raises ValueError for a missing category, training
    images, good or defective test images, for unreadable files, masks that do not fit and links
    that lead out of `root`.
    """
    found = [path.name for path in _entries(root) if path.is_dir()]
    if category not in found:
        raise ValueError(f"{root}: no category {category!r}; found: {', '.join(found) or 'none'}")
    base = root / category
    if unused := [path.name for path in _entries(base / "train") if path.name != "good"]:
        print(f"note: {base}/train: not used, beside good: {', '.join(unused)}", file=sys.stderr)
    pairs = images_and_masks(base)
    check_links(root, [path for pair in pairs for path in pair if path])
    check_fits(len(pairs), category, dataset)
    rows = [_folder_row(path, mask, base, dataset) for path, mask in pairs]
    good = [row["defects"] == "good" for row in rows if row["splits"] == "test"]
    if all(good) or not any(good):
        raise ValueError(
            f"{base}/test: {sum(good)} good and {len(good) - sum(good)} defective images; AUROC is "
            "undefined without both, add to test/good or to a folder named after the defect"
        )
    empty = sum(row["labels"] and row["has_mask"] and not row["masks"].any() for row in rows)
    missing = sum(not row["has_mask"] for row in rows)
    notes = _compare_counts(base, len(rows) - len(good), len(good), dataset)
    notes += [f"{missing} defective images have no mask."] if missing else []
    notes += (
        [f"{empty} masks (0 and 255) of defective images are empty at this size."] if empty else []
    )
    if frames := sum(_is_frame(row["masks"]) for row in rows):
        notes.append(
            f"{frames} masks mark the whole border of their image but not all of it: are they "
            "inverted? The defect is white."
        )
        print(f"note: {base}: {notes[-1]}", file=sys.stderr)
    return rows, notes


def _is_frame(mask: np.ndarray) -> bool:
    border = mask[0].all() and mask[-1].all() and mask[:, 0].all() and mask[:, -1].all()
    return bool(border and not mask.all())


def check_links(root: Path, paths: list[Path]) -> None:
    """ValueError for a file that a link takes from outside `root`: data is not trusted that far."""
    top = root.resolve()
    for path in paths:
        if not path.resolve().is_relative_to(top):
            raise ValueError(
                f"{path}: a link out of {root}; copy what it leads to, or name the folder "
                "that holds both"
            )


def _compare_counts(base: Path, train: int, test: int, dataset) -> list[str]:
    """A note where a category of MVTec AD's name has other counts; ValueError if `strict`."""
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
            "dataset or a part of it is meant"
        )
    note = f"{found}; ignore this if it is another dataset."
    print(f"note: {note}", file=sys.stderr)
    return [note]


def images_and_masks(base: Path) -> list[tuple[Path, Path | None]]:
    """Each image of the category folder `base` with its mask or None: training, then by defect.

    Raises ValueError without training images, for a file that is no image and for a mask without
    an image.
    """
    pairs = [(path, None) for path in _images(base / "train" / "good")]
    if not pairs:
        raise ValueError(f"{base}/train/good: no images; put the normal images there")
    folders = {path.name for part in ("test", "ground_truth") for path in _entries(base / part)}
    for defect in sorted(folders):
        paths = _images(base / "test" / defect)
        masks = _masks(base / "ground_truth" / defect, paths)
        pairs += [(path, masks.get(path.stem)) for path in paths]
    return pairs


def check_fits(images: int, category: str, dataset) -> None:
    """MemoryError if so many images, once decoded, will not fit: arrays, and their grey copy."""
    size, grey = dataset.image_size, 8
    needed = images * size**2 * (2 * dataset.channels + 1 + grey)
    check_memory(needed, f"{category}: {images} images of {size}x{size} pixels")


def check_mask_size(mask: Path, size: tuple, image: Path, image_size: tuple) -> None:
    """ValueError unless a mask's (width, height) is its image's."""
    if size != image_size:
        raise ValueError(
            f"{mask}: {size[0]}x{size[1]} pixels, but its image {image} has "
            f"{image_size[0]}x{image_size[1]}; export the mask at the size of its image"
        )


def _folder_row(path: Path, mask_path: Path | None, base: Path, dataset) -> dict:
    image, mask = read_image(path, dataset.channels), None
    if mask_path is not None:
        # An archive's masks were checked before they were resized, which makes small defects grey.
        unpacked = dataset.source == "archive"
        grey = read_image(mask_path, 1) if unpacked else read_mask(mask_path)
        check_mask_size(mask_path, grey.size, path, image.size)
        mask = resized(grey, dataset.image_size)[..., 0] >= 128  # 0.5 of 255
    name = path.relative_to(base).as_posix()
    split, defect, _ = name.split("/")
    if defect == "good" and mask is not None and mask.any():
        raise ValueError(f"{mask_path}: marks a defect in a good image; empty or remove it")
    return entry(resized(image, dataset.image_size), mask, defect, name, split)


def _masks(folder: Path, images: list[Path]) -> dict[str, Path]:
    """Mask file by the stem of its image; `<stem>_mask.*` as MVTec AD names it, or `<stem>.*`."""
    stems, masks = [path.stem for path in images], {}
    for path in _images(folder):
        stem = path.stem.removesuffix("_mask")
        stem = stem if stem in stems else path.stem
        if stems.count(stem) != 1 or stem in masks:
            problem = f"a second mask of {stem}" if stem in masks else "a mask without an image"
            problem = f"a mask of two images {stem}" if stems.count(stem) > 1 else problem
            raise ValueError(f"{path}: {problem} in test/{folder.name}; remove or rename it")
        masks[stem] = path
    return masks


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is one that nobody means: a dot file or a system file."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _entries(folder: Path) -> list[Path]:
    """Sorted content of a folder without hidden and system files; nothing if it is missing."""
    content = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in content if not is_hidden(path.name)]


def _images(folder: Path) -> list[Path]:
    """Image files of a folder, sorted; anything else in it, or a file in its place, is an error."""
    paths = [folder] if folder.is_file() else _entries(folder)
    for path in paths:
        # Line breaks and bytes that are no UTF-8 would break tables that are written hours later.
        if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in f"{folder.name}{path.name}"):
            raise ValueError(
                f"{str(path)!r}: a name with characters that no table holds; rename it"
            )
        if path.is_symlink() and not path.exists():
            raise ValueError(f"{path}: a link that leads nowhere; remove it or copy what is meant")
        if path == folder or not path.is_file() or path.suffix.lower() not in EXTENSIONS:
            raise ValueError(f"{path}: not an image in a defect's folder; move or remove it")
    return paths


def read_image(file: Path | BinaryIO, channels: int, name: str = "") -> Image.Image:
    """Decode a whole file to 8-bit grey (`channels` 1, luminance) or RGB (3), without alpha.

    As viewers show it: turned as its EXIF data say. 16-bit grey is divided by 257. Raises
    ValueError if the file can not be decoded or holds several pictures; it names the path, or
    `name` for an open file.
    """
    return _decode(file, name).convert("L" if channels == 1 else "RGB")


def read_mask(file: Path | BinaryIO, name: str = "") -> Image.Image:
    """Decode a mask to 8-bit grey: white on the defect, black elsewhere, grey along soft edges.

    Raises ValueError like `read_image`, and for a mask whose meaning we would have to guess.
    """
    image, problem = _decode(file, name), ""
    if "A" in image.mode and image.getchannel("A").getextrema()[0] < 255:
        problem = "transparent in places"
    rgb = np.asarray(image.convert("RGB"))
    if np.ptp(rgb.astype(np.int16), axis=2).max() > 16:  # more than JPEG makes of grey
        problem = "coloured"
    elif 0 < (brightest := rgb.max()) < 128:
        problem = f"never brighter than {brightest} of 255"
    if problem:
        raise ValueError(
            f"{name or file}: a mask that is {problem}; save 0 for good, 255 for defect"
        )
    return image.convert("L")


def _decode(file: Path | BinaryIO, name: str) -> Image.Image:
    """The only picture of a file, 8 bits a channel, not as a palette."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG", "JPEG", "BMP", "TIFF")) as image:
                if image.format == "TIFF" and image.getexif().get(ORIENTATION, 1) != 1:
                    raise ValueError("turned by its tag Orientation; save it upright")
                deep = "16" in str(image.tile[:1])  # Pillow keeps the upper 8 bits of 16-bit RGB
                image.load()
                if deep and image.mode[0] != "I" and not np.asarray(image).any():
                    raise ValueError("16 bit per channel, but none above 255: all black")
                # MPO is what some cameras call a JPEG with a preview behind the photograph.
                if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                    raise ValueError(f"{frames} pictures in one file")
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":
            image = _eight_bit(image)
        if image.mode in ("P", "PA"):  # Pillow asks for this detour with transparent palettes
            image = image.convert("RGBA")
        if image.mode == "LAB":  # which Pillow shows in no other mode
            raise ValueError("colours as LAB; save RGB")
        return image
    except Exception as error:  # a broken file can raise almost anything inside the decoders
        reason = "no PNG, JPEG, BMP or TIFF" if isinstance(error, UnidentifiedImageError) else error
        shown = name or file
        raise ValueError(f"{shown}: unreadable image ({reason}); replace or remove it") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(float)
    if not 0 <= values.min() <= values.max() <= 65535 or image.mode == "F":
        raise ValueError("neither 8 nor 16 bit per pixel")
    if 0 < values.max() <= 255:
        raise ValueError(f"16 bit per pixel, but none above {values.max():.0f}: all but black")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def resize(image: Image.Image, size: int) -> Image.Image:
    """To size x size pixels, bilinear; Pillow's filter antialiases when it reduces.

    An image that has this size already comes back as it is.
    """
    return image.resize((size, size), Image.Resampling.BILINEAR)


def resized(image: Image.Image, size: int) -> np.ndarray:
    """`resize` as an array: uint8 (size, size, C)."""
    pixels = np.asarray(resize(image, size))
    return pixels if pixels.ndim == 3 else pixels[..., None]
