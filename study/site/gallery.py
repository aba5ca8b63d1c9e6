"""What the site shows of one category: curves, and test images as sheets of small pictures.

A sheet shows one kind of picture of up to ROWS * COLUMNS test images, row by row. The sheets of
every kind have the same tiles in the same order: one index finds an image, its mask and its maps.
Sheets of maps are grey. The page colours them, so that it can also make low values transparent.
"""

import numpy as np
from matplotlib import colormaps
from PIL import Image
from skimage.util import montage

from study.figures.plots import CURVES, smoothed
from study.scoring.scores import MAPS, full_size

SIDE = 192  # pixels of a tile, at most
MAP_SIDE = 128  # of a map's tile: maps have stride 4
COLUMNS = 16  # tiles in a row of a sheet
ROWS = 16  # in a sheet, at most: a browser decodes a sheet whole, here to 38 MB
WEBP = {"quality": 75, "method": 4}


def sheets(tiles):
    """The pictures of uint8 (N, h, w[, 3]), row by row; unused tiles are black."""
    channels = -1 if tiles.ndim == 4 else None
    for start in range(0, len(tiles), ROWS * COLUMNS):
        part = tiles[start : start + ROWS * COLUMNS]
        grid = -(-len(part) // COLUMNS), COLUMNS
        yield Image.fromarray(montage(part, (0, 0, 0), grid_shape=grid, channel_axis=channels))


def smaller(images, side):
    """uint8 (N, H, W, C) brought to side x side; a single channel is dropped."""
    images = images[..., 0] if images.shape[-1] == 1 else images
    size = (side, side)
    return np.stack([np.asarray(Image.fromarray(i).resize(size, Image.BOX)) for i in images])


def colours(steps=17):
    """The colour scale as shares of red, green and blue, {"R": (steps,), ...}, from low to high."""
    return dict(zip("RGB", colormaps["cividis"](np.linspace(0, 1, steps))[:, :3].T, strict=True))


def top(view, kind):
    """The map value that gets the last colour: one scale for all images and seeds."""
    maps = [view.maps(seed, kind)[view.shown] for seed in view.settings.seeds]
    return max(float(np.quantile(maps, 0.995)), float(np.finfo(np.float32).tiny))


def grey(maps, side, top):
    """Maps (N, h, w) -> uint8 (N, side, side); `top` and all above it become 255."""
    return (np.clip(full_size(maps, side) / top, 0, 1) * 255).round().astype(np.uint8)


def save_sheets(view, folder):
    """Write <category>-<kind>-<number>.webp of the test images.

    The kinds are image, mask, and each map of each seed: `cosine-0`.
    """
    chosen, side = view.shown, min(SIDE, view.size)
    held_out = view.held_out.select(chosen)
    masks = held_out.masks[..., None].astype(np.uint8) * 255
    pictures = {"image": smaller(held_out.images, side), "mask": smaller(masks, side)}
    for kind in MAPS:
        highest = top(view, kind)
        for seed in view.settings.seeds:
            maps = view.maps(seed, kind)[chosen]
            pictures[f"{kind}-{seed}"] = grey(maps, min(side, MAP_SIDE), highest)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, tiles in pictures.items():
        for number, picture in enumerate(sheets(tiles)):
            picture.save(folder / f"{held_out.category}-{kind}-{number}.webp", **WEBP)


def facts(view):
    """What the page knows of the sheets: names, defects, and by map and seed scores and thresholds.

    Scores keep all digits of float32: the page must decide as `thresholds.outcomes` does.
    """
    settings, known = view.settings, view.held_out.has_mask
    scores = {kind: [view.scores(seed, kind) for seed in settings.seeds] for kind in MAPS}
    images = view.images[["name", "defect", "label", "drawn"]].to_dict("records")
    for index, image in enumerate(images):
        image["mask"] = bool(known[index] and image["label"])  # that of a good image shows nothing
        image["scores"] = {kind: [float(one[index]) for one in scores[kind]] for kind in MAPS}
    return {
        "category": view.held_out.category,
        "benchmark": view.held_out.benchmark,
        "seeds": settings.seeds,
        "columns": COLUMNS,
        "rows": ROWS,
        "top": {kind: top(view, kind) for kind in MAPS},
        # None without validation
        "threshold": {kind: [view.cut(one) for one in scores[kind]] for kind in MAPS},
        "images": [images[index] for index in np.flatnonzero(view.shown)],
    }


def chart(title, x, y, series, log=False):
    """A chart for the page's script; series: {name: (xs, ys)}. A loss that diverged leaves gaps."""
    lines = []
    for name, pairs in series.items():
        points = [
            [float(f"{a:.4g}"), float(f"{b:.4g}")]
            for a, b in zip(*pairs, strict=True)
            if np.isfinite(b) and (b > 0 or not log)
        ]
        lines += [{"name": name, "points": points}] if points else []
    return {"title": title, "x": x, "y": y, "log": log, "series": lines}


def charts(view, seed):
    """Image curves, pixel curves and training losses of a category."""
    for group, found in (("image", view.image_curves(seed)), ("pixel", view.pixel_curves(seed))):
        for name, (title, x, y) in CURVES.items():
            series = {label: curves[name] for label, curves in found.items() if name in curves}
            if series:
                shown = f"{group} scores, test, student {view.settings.headline}, seed {seed}"
                yield chart(f"{title}, {shown}", x, y, series)
    history = view.history().query("seed == @seed")
    for phase, rows in history.groupby("phase", sort=False):
        series = {}
        for student, run in rows.groupby("student", sort=False):
            loss = smoothed(run.set_index("step").loss)
            series[student.replace("_", " ")] = (loss.index, loss)
        yield chart(f"Training loss, {phase}, seed {seed}", "step", "loss", series, log=True)
