"""New images: which files are read, one at a time, and whether they look like the known ones.

Any size and any kind that study/data/images.py reads. A file that it refuses is reported by name
and stops nothing.

The guarantee on false alarms holds for good images that are exchangeable with the calibration
images. Then their p-values are uniform, because new and calibration scores have one distribution.
The two-sample Kolmogorov-Smirnov test checks this for scores and for brightness.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.stats import ks_2samp

from study.data.images import CONVERTIBLE, EXTENSIONS, check_links, is_hidden, read_image, resized

UNLIKELY = 0.001  # a p-value of the test below which a warning is given
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


def about_scores(known, new, alpha, alarms):
    """Warnings on scores: known (n,) of calibration images, new (m,) with so many alarms."""
    if len(new) < 5 or (p := ks_2samp(known, new).pvalue) >= UNLIKELY:
        return []
    higher = np.median(new) > np.median(known)
    return [
        f"The scores are {'higher' if higher else 'lower'} than those of the {len(known)} "
        f"calibration images (Kolmogorov-Smirnov p = {p:.1g}): {alarms} of {len(new)} images "
        f"raise an alarm; of good images, at most {alpha:.1%} would. "
        + (
            "Either many parts are defective, or camera, light or parts have changed."
            if higher
            else "Are these images that the models were trained on?"
        )
    ]


def about_brightness(known, new):
    """Warnings on mean grey levels (0..255) of calibration images (n,) and new ones (m,)."""
    low, high = np.min(known), np.max(known)
    room = (high - low) / 2
    beyond = int(np.sum((new < low - room) | (new > high + room)))
    differs = len(new) >= 5 and ks_2samp(known, new).pvalue < UNLIKELY
    if not (differs or beyond):
        return []
    return [
        f"The brightness differs: new images have a mean grey level of {np.min(new):.0f} to "
        f"{np.max(new):.0f} (median {np.median(new):.0f}), the calibration images of {low:.0f} to "
        f"{high:.0f} (median {np.median(known):.0f}). Then the false-alarm rate is not guaranteed."
    ]


def about_sizes(known, new):
    """Warnings on image sizes (width, height) that no calibration image has; [] without known."""
    if not known or not (others := Counter(size for size in new if size not in set(known))):
        return []
    usual, unusual = Counter(known).most_common(1)[0][0], others.most_common(1)[0][0]
    ratios = usual[0] / usual[1], unusual[0] / unusual[1]
    squeezed = abs(ratios[0] / ratios[1] - 1) > 0.02
    return [
        f"{others.total()} of {len(new)} images have another size than the calibration images, "
        f"such as {unusual[0]}x{unusual[1]} instead of {usual[0]}x{usual[1]} pixels"
        + (
            ", and another shape: resizing distorts them differently. Crop them alike."
            if squeezed
            else ". They are resized, so finer or coarser detail is left of them."
        )
    ]


def about_colours(channels, coloured):
    """Warnings on colour: the model's channels, and whether each new image is coloured."""
    if channels == 1 and any(coloured):
        return [
            f"{sum(coloured)} of {len(coloured)} images are coloured, but the model sees grey only "
            "(dataset.channels: 1): a defect of colour alone may be missed."
        ]
    if channels == 3 and coloured and not any(coloured):
        return [
            "All images are grey, but the model was trained on three channels. Were the training "
            "images coloured? Then these are other images."
        ]
    return []
