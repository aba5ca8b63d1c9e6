"""Image and mask files as arrays: what counts as an image, how it is read, what is refused.

A file is decoded to 8 bits, as viewers show it, and resized bilinearly with antialiasing. Its
aspect ratio is not kept. Errors name the file and say what to do.
"""

import functools
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from study.params import ROOT

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
CONVERTIBLE = (".webp", ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl")  # images, not read here
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # what file managers leave behind, beside dot files
ORIENTATION = 0x0112  # an EXIF tag; Pillow 13 rotates a TIFF with this tag twice


def is_hidden(name: str) -> bool:
    """Whether this is a dot file or a file that the system made."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def problem(path: Path) -> str | None:
    """Why a file is not read as an image; None if it is."""
    if path.is_symlink() and not path.exists():
        return "a link that leads nowhere"
    if path.is_dir():
        return "a folder"
    if not path.is_file():
        return "no plain file"
    if path.suffix.lower() in CONVERTIBLE:
        return "convert it to PNG"
    return None if path.suffix.lower() in EXTENSIONS else "not an image"


def check_links(root: Path, paths: list[Path]) -> None:
    """Raise ValueError for a link that leads out of `root`; data is not trusted to do that.

    Links into DVC's cache are trusted: DVC makes them if `cache.type` is symlink.
    """
    for path in paths:
        real = path.resolve()
        if not real.is_relative_to(root.resolve()) and not real.is_relative_to(dvc_cache()):
            raise ValueError(
                f"{path}: a link out of {root}; copy the file that it points to, or name the "
                "folder that holds both"
            )


@functools.cache
def dvc_cache() -> Path:
    """The folder of this repository's DVC cache. DVC is slow to import, so only links need it."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        return Path(repo.cache.local.path).resolve()


def read_image(file: Path | BinaryIO, channels: int) -> Image.Image:
    """Decode a whole file to 8-bit grey (`channels` 1, luminance) or RGB (3), without alpha.

    The image is rotated as its EXIF data say. 16-bit grey is divided by 257. Raises ValueError for
    a file that cannot be decoded or that holds several pictures.
    """
    return _decode(file).convert("L" if channels == 1 else "RGB")


def read_mask(file: Path) -> Image.Image:
    """Decode a mask to 8-bit grey: white on the defect, black elsewhere, grey along soft edges.

    Raises ValueError like `read_image`, and for a mask whose meaning is not clear.
    """
    image, problem = _decode(file), ""
    if "A" in image.mode and image.getchannel("A").getextrema()[0] < 255:
        problem = "transparent in places"
    rgb = np.asarray(image.convert("RGB"))
    if np.ptp(rgb.astype(np.int16), axis=2).max() > 16:  # more than JPEG changes grey
        problem = "coloured"
    elif 0 < (brightest := rgb.max()) < 128:
        problem = f"never brighter than {brightest} of 255"
    if problem:
        raise ValueError(f"{file}: a mask that is {problem}; save 0 for good, 255 for defect")
    return image.convert("L")


def _decode(file: Path | BinaryIO) -> Image.Image:
    """The only picture of a file, 8 bits a channel, not as a palette."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            ImageFile.LOAD_TRUNCATED_IMAGES = False  # WeasyPrint sets it, for example
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
        if image.mode == "LAB":  # Pillow does not convert it
            raise ValueError("colours as LAB; save RGB")
        return image
    except Exception as error:  # a broken file can raise almost anything inside the decoders
        reason = "no PNG, JPEG, BMP or TIFF" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{file}: unreadable image ({reason}); replace or remove it") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(float)
    if not 0 <= values.min() <= values.max() <= 65535 or image.mode == "F":
        raise ValueError("neither 8 nor 16 bit per pixel")
    if 0 < values.max() <= 255:
        raise ValueError(f"16 bit per pixel, but none above {values.max():.0f}: all but black")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def resized(image: Image.Image, size: int) -> np.ndarray:
    """uint8 (size, size, C), bilinear; Pillow's filter antialiases when it reduces."""
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return pixels if pixels.ndim == 3 else pixels[..., None]
