"""Synthetic electroluminescence defects with exact masks, drawn on held-out good cells.

ELPV labels whole cells, so pixel metrics need defects whose pixels are known.
Each kind is vector geometry times a darkening factor. Nothing is shared with the training
corruption (no noise field, no textures), so a network cannot score by recognising the training
generator.
"""

from itertools import pairwise

import numpy as np
from skimage.draw import polygon2mask

from study.data.category import entry

KINDS = ("crack", "inactive", "finger", "spot")
VISIBLE = 0.9  # a pixel belongs to the defect if it keeps less than this share of its intensity
OVERSAMPLING = 4  # sub-pixels per side that give polygons antialiased borders


def draw_on(rows: list[dict], category: str) -> list[dict]:
    """A copy of every held-out good image, with a drawn defect; rows are
    `study.data.category.entry`s.

    The kinds take turns within each split. The draws depend on the category's name alone.
    """
    rng, drawn = np.random.default_rng([0, *category.encode()]), []
    good = [row for row in rows if row["defects"] == "good" and row["splits"] != "train"]
    for index, row in enumerate(sorted(good, key=lambda row: row["splits"])):
        kind = KINDS[index % len(KINDS)]
        image, mask = draw_defect(row["images"], kind, rng)
        name = f"{row['names']}+{kind}"
        drawn.append(entry(image, mask, f"drawn_{kind}", name, row["splits"], drawn=True))
    return drawn


def draw_defect(
    image: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Darken one randomly placed defect of `kind` (one of KINDS) into `image` uint8 (H, W, C).

    Returns the new image and its mask, bool (H, W), never empty. Pixels outside the mask are
    unchanged; inside it they keep less than VISIBLE of their intensity.
    """
    draw = {"crack": _crack, "inactive": _inactive, "finger": _finger, "spot": _spot}[kind]
    mask = np.zeros(image.shape[:2], bool)
    while not mask.any():  # a stroke can miss the grid of a very small image
        factor = draw(*image.shape[:2], rng)
        mask = factor < VISIBLE
    factor = np.where(mask, factor, 1.0)[..., None]
    return np.floor(image * factor).astype(np.uint8), mask


def _stroke(height: int, width: int, points: np.ndarray, thickness: float) -> np.ndarray:
    """Antialiased coverage (H, W) in 0..1 of a polyline of (y, x) points, thickness in pixels."""
    pixels = np.stack(np.mgrid[:height, :width], axis=-1).astype(float)
    distance = np.full((height, width), np.inf)
    for start, end in pairwise(points):
        along = end - start
        offset = pixels - start
        share = np.clip(offset @ along / max(along @ along, 1e-9), 0, 1)
        to_segment = np.linalg.norm(offset - share[..., None] * along, axis=-1)
        distance = np.minimum(distance, to_segment)
    return np.clip(thickness / 2 + 0.5 - distance, 0, 1)


def _walk(start: np.ndarray, heading: float, length: float, rng) -> np.ndarray:
    """Polyline (8, 2) that starts at `start` and keeps `heading` (radians) with small bends."""
    angles = heading + np.cumsum(rng.normal(0, 0.12, 7))
    steps = length / 7 * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.vstack([start, start + np.cumsum(steps, axis=0)])


def _crack(height: int, width: int, rng) -> np.ndarray:
    """A thin dark line, mostly oblique as silicon cleaves; half of the lines have a branch."""
    side = min(height, width)
    heading = rng.choice([1, 3, 5, 7]) * np.pi / 4 + rng.normal(0, 0.3)
    start = rng.uniform(0.2, 0.8, 2) * (height, width)
    trunk = _walk(start, heading, rng.uniform(0.4, 1.0) * side, rng)
    thickness = max(1.0, rng.uniform(0.008, 0.014) * side)
    coverage = _stroke(height, width, trunk, thickness)
    if rng.random() < 0.5:
        fork = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
        branch = _walk(trunk[rng.integers(2, 6)], fork, rng.uniform(0.15, 0.4) * side, rng)
        coverage = np.maximum(coverage, _stroke(height, width, branch, thickness))
    return 1 - rng.uniform(0.3, 0.65) * coverage


def _inactive(height: int, width: int, rng) -> np.ndarray:
    """The strongly darkened area that a crack cuts off between itself and the cell's border."""
    begin, span = rng.random(), rng.uniform(0.08, 0.25)
    edge = _border(begin + np.linspace(0, span, 65))
    share = np.linspace(0, 1, 9)[:, None]
    chord = edge[0] + share * (edge[-1] - edge[0])
    bulge = np.interp(share, [0, rng.uniform(0.3, 0.7), 1], [0, rng.uniform(0.2, 0.45), 0])
    crack = chord + bulge * (0.5 - chord) + rng.normal(0, 0.008, chord.shape)
    grid = np.array([height, width]) * OVERSAMPLING
    inside = polygon2mask(grid, np.vstack([crack, edge[::-1]]) * grid - 0.5)
    shape = height, OVERSAMPLING, width, OVERSAMPLING
    return 1 - rng.uniform(0.4, 0.85) * inside.reshape(shape).mean(axis=(1, 3))


def _border(position: np.ndarray) -> np.ndarray:
    """Points (y, x) on the border of the unit square; `position` 0..1 goes round it once."""
    corner = np.array([0, 1, 2, 3, 4])
    y = np.interp(position % 1 * 4, corner, [0, 0, 1, 1, 0])
    x = np.interp(position % 1 * 4, corner, [0, 1, 1, 0, 0])
    return np.stack([y, x], axis=-1)


def _finger(height: int, width: int, rng) -> np.ndarray:
    """Dark stripes along interrupted fingers, vertical: ELPV's busbars are horizontal."""
    kept = np.ones((height, width))
    top = rng.uniform(0.05, 0.6) * height
    left = rng.uniform(0.05, 0.75) * width
    for _ in range(rng.integers(1, 6)):
        thickness = max(1, round(rng.uniform(0.01, 0.035) * width))
        start, length = top + rng.normal(0, 0.02) * height, rng.uniform(0.12, 0.33) * height
        rows, columns = slice(max(0, int(start)), int(start + length) + 1), int(left)
        kept[rows, columns : columns + thickness] = rng.uniform(0.4, 0.8)
        left += thickness + rng.uniform(0, 0.03) * width
    return kept


def _spot(height: int, width: int, rng) -> np.ndarray:
    """One to three dark ellipses whose borders fade."""
    side, kept = min(height, width), np.ones((height, width))
    y, x = np.mgrid[:height, :width]
    for _ in range(rng.integers(1, 4)):
        centre_y, centre_x = rng.uniform(0.1, 0.9, 2) * (height, width)
        angle, radii = rng.uniform(0, np.pi), np.maximum(1, rng.uniform(0.015, 0.07, 2) * side)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        along = (y - centre_y) * np.sin(angle) + (x - centre_x) * np.cos(angle)
        radius = np.hypot(across / radii[0], along / radii[1])
        fade = np.clip((1 - radius) / rng.uniform(0.3, 0.8) + 0.5, 0, 1)
        kept = np.minimum(kept, 1 - rng.uniform(0.35, 0.8) * fade)
    return kept
