"""What an inspection shows: regions above the pixel threshold, pictures of them, and the page.

The page is one HTML file with every picture inside, which requests nothing.
"""

import base64
import heapq
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import colormaps
from PIL import Image, ImageDraw
from skimage import measure

from study.files import whole

HEAT = colormaps["inferno"]
LINE = (0, 255, 255)  # no colour of HEAT
SHOWN = 400  # pictures in the page, those of the highest scores: about 1 MB
SIDE = 224  # of a picture in the page, in pixels


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


class Pictures:
    """Small pictures of the images with the highest scores, and no more of them in memory."""

    def __init__(self, most=SHOWN):
        self.most, self.kept = most, []

    def add(self, score, file, picture):
        """Add the picture; if there are too many, drop the one with the lowest score."""
        small, content = picture.copy(), io.BytesIO()
        small.thumbnail((SIDE, SIDE))
        small.save(content, "WEBP", quality=75)
        heapq.heappush(self.kept, (score, file, base64.b64encode(content.getvalue()).decode()))
        if len(self.kept) > self.most:
            heapq.heappop(self.kept)

    def by_file(self):
        """{file: base64 of a WebP}."""
        return {file: picture for _, file, picture in self.kept}


def write(path, rows, pictures, **words):
    """Write the page. rows: dicts of a row of scores.csv; words: name, summary, warnings and more.

    Unreadable files come first, then the highest score.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    shown = pictures.by_file()
    ordered = sorted(rows, key=lambda row: (-float(row["score"] or "inf"), row["file"]))
    ordered = [row | {"picture": shown.get(row["file"])} for row in ordered]
    scored = sum(row["verdict"] != "unreadable" for row in rows)
    with whole(path) as partial:
        page = templates.get_template("inspected.html")
        text = page.render(rows=ordered, without=scored - len(shown), **words)
        partial.write_text(text, encoding="utf-8")
