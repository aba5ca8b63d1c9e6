"""New images: which files are read, one at a time, and what is noticed on the way.

Any size and any kind that study/data/images.py reads. A file that it refuses is reported by name
and stops nothing.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from study.data.images import CONVERTIBLE, EXTENSIONS, check_links, is_hidden, read_image, resized

COLOUR = 16  # difference of a pixel's channels that is more than JPEG gives grey


class Incoming(NamedTuple):
    """A decoded file: its picture for viewers, its pixels for the networks, and its facts."""

    picture: Image.Image  # RGB, at its own size
    pixels: np.ndarray  # uint8 (S, S, C)
    size: tuple[int, int]  # width, height
    coloured: bool
    brightness: float  # mean grey level, 0..255, of `pixels`


def find(path):
    """(folder, its image files in order, other files that are no images).

    Folders are searched at any depth; hidden files and folders are left out. Raises
    FileNotFoundError where nothing is at `path`, and ValueError where no image is, or for a link
    that leads out of the folder.
    """
    if not path:
        raise ValueError("IMAGES is not given: make inspect IMAGES=<folder or file>")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"IMAGES: there is no file or folder {path}")
    folder = path if path.is_dir() else path.parent
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [one for one in inside if one.is_file() and not _is_hidden(one, folder)]
    images = [one for one in found if one.suffix.lower() in (*EXTENSIONS, *CONVERTIBLE)]
    others = [one for one in found if one not in set(images)]
    if not images:
        raise ValueError(f"{path}: no images; PNG, JPG, BMP and TIFF are read")
    check_links(folder, images)
    return folder, images, others


def _is_hidden(path, folder):
    return any(is_hidden(part) for part in path.relative_to(folder).parts)


def read(path, size, channels):
    """`Incoming` of a file, for networks of this image size and number of channels.

    Raises ValueError for a file that cannot be read, and says what to do.
    """
    if path.suffix.lower() in CONVERTIBLE:
        raise ValueError(f"{path}: convert it to PNG")
    picture = read_image(path, 3)
    small = np.asarray(picture.reduce(max(1, min(picture.size) // 64))).astype(np.int16)
    coloured = bool(np.ptp(small, axis=2).max() > COLOUR)
    pixels = resized(picture.convert("L") if channels == 1 else picture, size)
    return Incoming(picture, pixels, picture.size, coloured, float(pixels.mean()))
