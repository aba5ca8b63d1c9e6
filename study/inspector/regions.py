"""Where an image is anomalous: regions above the pixel threshold, and a picture that shows them."""

from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw
from skimage import measure

HEAT = colormaps["inferno"]
LINE = (0, 255, 255)  # no colour of HEAT


class Region(NamedTuple):
    """A connected region, its box and its area, in pixels of the image as it was given."""

    left: int
    top: int
    width: int
    height: int
    area: int


def regions(heat, size):
    """Regions of pixels above 1, the largest first.

    heat: (S, S), in units of the pixel threshold; size: (width, height) of the image as given.
    """
    across, down = size[0] / heat.shape[1], size[1] / heat.shape[0]
    found = []
    for one in measure.regionprops(measure.label(heat > 1, connectivity=2)):
        top, left, bottom, right = one.bbox
        x, y = int(left * across), int(top * down)
        box = x, y, int(np.ceil(right * across)) - x, int(np.ceil(bottom * down)) - y
        found.append(Region(*box, max(1, round(one.area * across * down))))
    return sorted(found, key=lambda region: -region.area)


def overlay(picture, heat, boxes, side=640):
    """The picture, its longer side `side` at most, with the heat over it and a line round each box.

    Heat shows from half of the pixel threshold on, and is opaque by half at twice the threshold.
    """
    scale = min(1, side / max(picture.size))
    size = tuple(max(1, round(scale * length)) for length in picture.size)
    shown = picture.resize(size, Image.Resampling.BILINEAR)
    levels = Image.fromarray(np.clip(heat * 127.5, 0, 255).astype(np.uint8))
    levels = np.asarray(levels.resize(size, Image.Resampling.BILINEAR)) / 255
    opacity = (np.clip(levels - 0.25, 0, 0.5) * 1.2)[..., None]
    mixed = (1 - opacity) * np.asarray(shown) + opacity * 255 * HEAT(levels)[..., :3]
    result = Image.fromarray(mixed.astype(np.uint8))
    draw = ImageDraw.Draw(result)
    for box in boxes:
        left, top = box.left * scale, box.top * scale
        corner = (left + max(2, box.width * scale), top + max(2, box.height * scale))
        draw.rectangle(((left, top), corner), outline=LINE, width=max(1, max(size) // 300))
    return result
