"""What the site shows of one category: curves, and test images as sheets of small pictures.

A sheet shows one kind of picture of up to ROWS * COLUMNS test images, row by row. The sheets of
every kind have the same tiles in the same order: one index finds an image, its mask and its maps.
"""

import numpy as np
from matplotlib import colormaps
from PIL import Image

from study.figures.plots import CURVES, smoothed
from study.scoring.scores import MAPS, full_size

SIDE = 128  # pixels of a tile, at most
COLUMNS = 16  # tiles in a row of a sheet
ROWS = 16  # in a sheet, at most: a browser decodes a sheet whole, here to 17 MB
WEBP = {"quality": 75, "method": 4}


def sheet(tiles):
    """uint8 (N, h, w[, 3]) -> one picture of COLUMNS tiles a row; unused tiles are black."""
    rows = -(-len(tiles) // COLUMNS)
    room = np.zeros((rows * COLUMNS, *tiles.shape[1:]), np.uint8)
    room[: len(tiles)] = tiles
    height, width, *channels = tiles.shape[1:]
    room = room.reshape(rows, COLUMNS, height, width, *channels).swapaxes(1, 2)
    return Image.fromarray(room.reshape(rows * height, COLUMNS * width, *channels))


def in_sheets(tiles):
    """The pictures that show uint8 (N, h, w[, 3]), ROWS * COLUMNS tiles in each but the last."""
    room = ROWS * COLUMNS
    return [sheet(tiles[start : start + room]) for start in range(0, len(tiles), room)]


def smaller(images, side):
    """uint8 (N, H, W, C) brought to side x side; a single channel is dropped."""
    images = images[..., 0] if images.shape[-1] == 1 else images
    size = (side, side)
    return np.stack([np.asarray(Image.fromarray(i).resize(size, Image.BOX)) for i in images])


def coloured(maps, side):
    """Maps (N, h, w) -> uint8 (N, side, side, 3); one scale for all, as in the figures."""
    maps = full_size(maps, side)
    top = max(np.quantile(maps, 0.995), np.finfo(np.float32).tiny)
    return colormaps["cividis"](np.clip(maps / top, 0, 1), bytes=True)[..., :3]


def save_sheets(view, seed, folder):
    """Write <category>-{image,mask,cosine,segmentation}-<number>.webp of the test images."""
    chosen, side = view.shown, min(SIDE, view.size)
    held_out = view.held_out.select(chosen)
    masks = held_out.masks[..., None].astype(np.uint8) * 255
    pictures = {"image": smaller(held_out.images, side), "mask": smaller(masks, side)}
    pictures |= {kind: coloured(view.maps(seed, kind)[chosen], side) for kind in MAPS}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, tiles in pictures.items():
        for number, picture in enumerate(in_sheets(tiles)):
            picture.save(folder / f"{held_out.category}-{kind}-{number}.webp", **WEBP)


def facts(view, seed):
    """What the page knows of the sheets: names, defects, scores by map, validation thresholds.

    Scores keep all digits of float32: the page must decide as `evaluation.outcomes` does.
    """
    chosen = view.shown
    held_out = view.held_out.select(chosen)
    scores = {kind: view.scores(seed, kind) for kind in MAPS}
    return {
        "category": held_out.category,
        "benchmark": held_out.benchmark,
        "seed": seed,
        "columns": COLUMNS,
        "rows": ROWS,
        "threshold": {kind: view.cut(scores[kind]) for kind in MAPS},  # None without validation
        "images": [
            {"name": str(name), "defect": str(defect), "label": int(label), "drawn": bool(drawn),
             "mask": bool(known), "scores": {k: float(scores[k][chosen][i]) for k in MAPS}}
            for i, (name, defect, label, drawn, known) in enumerate(
                zip(held_out.names, held_out.defects, held_out.labels, held_out.drawn,
                    held_out.has_mask, strict=True)
            )
        ],
    }  # fmt: skip


def chart(title, x, y, series, log=False):
    """A chart for the page's script; series: {name: (xs, ys)}. A loss that diverged leaves gaps."""
    lines = []
    for name, (xs, ys) in series.items():
        known = [
            (a, b) for a, b in zip(xs, ys, strict=True) if np.isfinite(b) and (b > 0 or not log)
        ]
        points = [[float(f"{a:.4g}"), float(f"{b:.4g}")] for a, b in known]
        lines += [{"name": name, "points": points}] * bool(points)
    return {"title": title, "x": x, "y": y, "log": log, "series": lines}


def charts(view, seed):
    """Image curves, pixel curves and training losses of a category."""
    for group, found in (("image", view.image_curves(seed)), ("pixel", view.pixel_curves(seed))):
        for name, (title, x, y) in CURVES.items():
            series = {label: curves[name] for label, curves in found.items() if name in curves}
            if series:
                yield chart(
                    f"{title}, {group} scores, test, student {view.settings.headline}, seed {seed}",
                    x,
                    y,
                    series,
                )
    history = view.history()
    history = history[history.seed == seed]
    for phase, rows in history.groupby("phase", sort=False):
        series = {}
        for student, run in rows.groupby("student", sort=False):
            loss = smoothed(run.set_index("step").loss)
            series[student.replace("_", " ")] = (loss.index, loss)
        yield chart(f"Training loss, {phase}, seed {seed}", "step", "loss", series, log=True)
