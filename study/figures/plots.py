"""One function per figure, each returns a matplotlib Figure; the caller shows, saves or closes it.

One style, seaborn's colour-blind palette. A line style, hatch or name goes with every colour, so
that the figures are readable in a grey print. Images are `(H, W, C)` or `(H, W)`, uint8 or 0..1.
"""

import textwrap
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager, style
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import ndimage

from study.data.category import Category
from study.tables.format import plain

MAPS = ("cosine", "segmentation")
CURVES = {
    "roc": ("ROC", "false-positive rate", "true-positive rate"),
    "precision_recall": ("precision-recall", "recall", "precision"),
    "pro": ("PRO", "false-positive rate", "mean coverage"),
}
# seaborn's palette and, as matplotlib ships it, its look. Importing seaborn takes seconds, and
# training notebooks import this module: only the figures that seaborn draws import it.
COLOURS = [to_rgb(x) for x in ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161"]]
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
STYLE = style.library["seaborn-v0_8-whitegrid"] | style.library["seaborn-v0_8-paper"]
STYLE |= {"figure.constrained_layout.use": True, "legend.frameon": False, "grid.linewidth": 0.5}
STYLE |= {"font.size": 9.6, "lines.markeredgewidth": 1, "patch.linewidth": 0.8}
PERCENT = PercentFormatter(1, None, "")  # of a share, without the sign
ROW_LABEL = {"rotation": 0, "ha": "right", "va": "center", "fontsize": "small"}
# Start the backend before any rc_context: started inside one, a notebook's backend is left
# non-interactive, and the notebook shows its first figure only.
plt.switch_backend(plt.get_backend())
_styled = plt.rc_context(STYLE)  # a decorator: leaves matplotlib's own settings as they were


def _grid(rows: int, columns: int, width: float, height: float, margin: float = 0, **options):
    """Axes of width x height inches each, with a margin for labels at the left."""
    size = (margin + columns * width, rows * height)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, **options)


def _say(axis, text: str) -> None:
    """Text where there is nothing to draw."""
    axis.set_xticks([])
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color="0.3")


def readable(text: str) -> str:
    r"""A file's name for a figure: a character that the font lacks becomes its code, like \u87ba.

    Otherwise matplotlib draws an empty box and warns. A dollar sign starts no formula.
    """
    signs = (sign if ord(sign) in _font() else f"\\u{ord(sign):04x}" for sign in text)
    return "".join(signs).replace("$", r"\$")


@cache
def _font():
    """Codes of the characters in the font that matplotlib ships, and of the line break."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return {10, *font.get_charmap()}


def show(axis, image, **options):
    """An image without ticks; one channel is grey unless a colour map is given."""
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if image.ndim == 2:
        white = 255 if image.dtype == np.uint8 else 1
        options = {"cmap": "gray", "vmin": 0, "vmax": white} | options
    elif image.dtype != np.uint8:
        image = np.clip(image, 0, 1)  # rotation and blending round a hair above 1
    axis.set(xticks=[], yticks=[])
    return axis.imshow(image, **options)


def _legend_below(figure, axes) -> None:
    """One legend for all panels, under them; every label once."""
    pairs = (zip(*axis.get_legend_handles_labels(), strict=True) for axis in axes.flat)
    handles = {label: handle for pair in pairs for handle, label in pair}
    columns = int(figure.get_figwidth() / 1.6)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns)


def smoothed(loss: pd.Series) -> pd.Series:
    """Running mean over a 25th of the steps."""
    return loss.rolling(max(1, len(loss) // 25), min_periods=1).mean()


def round_ticks(*axes) -> None:
    """1, 2 and 5 times a power of ten on log axes, as plain numbers."""
    for axis in axes:
        axis.set(major_locator=plt.LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
        axis.set_minor_locator(plt.NullLocator())


def _loss_against_step(axis, title: str, label: str) -> None:
    """A log axis with round ticks, and whole steps."""
    axis.set(title=title, xlabel="step", ylabel=label, yscale="log")
    round_ticks(axis.yaxis)
    axis.xaxis.set_major_locator(plt.MaxNLocator(4, integer=True))


@_styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Loss against step: a column per student, a row per phase, a line per seed (and item).

    `history` has the columns item, student, seed, phase, step, loss; pass one category at a time.
    """
    students, phases, seeds = (list(history[key].unique()) for key in ("student", "phase", "seed"))
    size = max(2.0, 4 / len(students)), 1.8
    figure, axes = _grid(len(phases), len(students), *size, sharey="row", sharex="row")
    runs = history.groupby(["phase", "student", "seed", "item"], sort=False)
    for (phase, student, seed, _), run in runs:
        axis, number = axes[phases.index(phase), students.index(student)], seeds.index(seed)
        smooth = smoothed(run.sort_values("step").set_index("step")["loss"])
        style = {"color": COLOURS[number % 10], "linestyle": LINES[number % 6], "lw": 1.2}
        axis.plot(smooth.index, smooth, label=f"seed {seed}", **style)
    for (row, column), axis in np.ndenumerate(axes):
        title = "" if row else students[column].replace("_", "-")
        _loss_against_step(axis, title, "" if column else f"{phases[row]} loss (log)")
    figure.suptitle("loss, running mean over a 25th of the steps", fontsize="medium")
    _legend_below(figure, axes)
    return figure


@_styled
def side_by_side(columns: dict, rows=(), masks=(), maps=(), size: float = 1.3) -> Figure:
    """A column for each {title: pictures (N, H, W, C) or (N, H, W)}, a row for each example.

    rows: labels of the examples; masks: (H, W) or None of each, outlined on the first column; maps:
    titles of the columns with a colour scale, up to their 99.5 % quantile: maps have a long tail;
    size: of a picture, inches.
    """
    count = len(next(iter(columns.values())))
    room = 1.3 * bool(len(rows)) + len(columns) * size, count * size + 0.4 + 0.5 * bool(maps)
    figure, axes = plt.subplots(count, len(columns), figsize=room, squeeze=False)
    few = plt.get_cmap("cividis", 48)  # colours, for small files
    for column, (title, pictures) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(title, fontsize="small")
        style = {"cmap": few, "vmin": 0} if title in maps else {}
        style |= {"vmax": np.quantile(pictures, 0.995)} if style else {}
        drawn = [show(*pair, **style) for pair in zip(column, pictures, strict=True)]
        if maps:  # also below pictures without a scale, but invisible: the rows stay level
            bar = {"location": "bottom", "fraction": 0.15 / count, "pad": 0.05 / count}
            bar |= {"extend": "max", "shrink": 0.8, "aspect": 14, "ticks": plt.MaxNLocator(2)}
            coloured = drawn[-1] if style else plt.cm.ScalarMappable()
            figure.colorbar(coloured, ax=column, **bar).ax.set_visible(bool(style))
    for axis, label in zip(axes[:, 0], rows, strict=False):
        axis.set_ylabel(readable(label), **ROW_LABEL)
    for axis, mask in zip(axes[:, 0], masks, strict=False):
        if mask is not None and mask.any():
            axis.contour(mask, [0.5], colors=[COLOURS[1]], linewidths=0.8)
    return figure


def corrupted_images(images, corrupted, masks) -> Figure:
    """A row per example: image, corrupted image, mask. `(N, H, W, C)` twice and `(N, H, W)`."""
    return side_by_side({"image": images, "corrupted": corrupted, "mask": masks})


def outcomes(examples: list[dict]) -> Figure:
    """A row for each of `View.examples`: image, the mask outlined where it is known, both maps."""
    columns = {key: [one[key] for one in examples] for key in ("image", *MAPS)}
    labels = [
        "\n".join([one["outcome"], *textwrap.wrap(one["name"].replace("/", "/ "), 25),
                   f"score {one['score']:.3g}"]).replace("/ ", "/")
        for one in examples
    ]  # fmt: skip
    return side_by_side(columns, labels, [one["mask"] for one in examples], MAPS)


def map_rows(category: Category, cosine, segmentation) -> Figure:
    """Images with both maps `(N, h, w)` of a category, each row labelled by its defect."""
    columns = {"image": category.images, "cosine": cosine, "segmentation": segmentation}
    labels = [defect.replace("_", " ") for defect in category.defects]
    return side_by_side(columns, labels, category.masks, MAPS)


@_styled
def image_grid(images, columns: int = 8) -> Figure:
    """Images `(N, H, W, C)` in rows of `columns`, without labels."""
    figure, axes = _grid(-(-len(images) // columns), columns, 0.8, 0.8)
    for number, axis in enumerate(axes.flat):
        show(axis, images[number]) if number < len(images) else axis.set_visible(False)
    return figure


@_styled
def loss_curve(history, title: str) -> Figure:
    """Loss against step of one run, [(step, loss)]."""
    figure, ((axis,),) = _grid(1, 1, 4, 2.2)
    axis.plot(*zip(*history, strict=True), color=COLOURS[0], lw=1.2)
    _loss_against_step(axis, title, "loss (log)")
    return figure


@_styled
def curves(curves_by_label: dict[str, dict]) -> Figure:
    """ROC, precision-recall and PRO panels; {label: {roc, precision_recall, pro: (x, y)}}.

    The values are what `metrics.curves` or `metrics.image_curves` give; a curve may be missing.
    """
    figure, axes = _grid(1, 3, 2.3, 2.6)
    for axis, (name, (title, x_label, y_label)) in zip(axes[0], CURVES.items(), strict=True):
        axis.set(title=title, xlabel=x_label, ylabel=y_label, ylim=(-0.02, 1.02))
        for number, (label, found) in enumerate(curves_by_label.items()):
            style = {"color": COLOURS[number % 10], "linestyle": LINES[number % 6]}
            if found.get(name) is not None:
                axis.plot(*found[name], label=label, **style)
        if not axis.lines:
            _say(axis, "not measured")
    _legend_below(figure, axes)
    return figure


@_styled
def score_histograms(scores, labels, title: str, threshold: float | None = None) -> Figure:
    """Image scores of good and defective images, each as a share of its own class."""
    import seaborn

    figure, ((axis,),) = _grid(1, 1, 4, 2.6)
    for label, name, hatch in ((0, "good", None), (1, "defective", "////")):
        chosen = scores[labels == label]
        style = {"element": "step", "alpha": 0.45, "color": COLOURS[label], "hatch": hatch}
        style |= {"stat": "proportion", "label": f"{name} ({len(chosen)})", "ax": axis}
        seaborn.histplot(x=chosen, bins=np.linspace(scores.min(), scores.max(), 31), **style)
    if threshold is not None:
        axis.axvline(threshold, color="k", ls="--", lw=1, label=f"threshold {threshold:.3g}")
    axis.set(title=title, xlabel="image score", ylabel="share of the class")
    axis.legend()
    return figure


@_styled
def ablation_points(frame: pd.DataFrame, metrics: dict, baseline=None) -> Figure:
    """A point per seed and the mean for student x map; a column per metric, a row per category.

    `frame` has the columns of ablations.csv, one row per category, student, map and seed, else
    ValueError; metrics: {column: label}; each `map` of `baseline` is a line at its rows' mean.
    """
    import seaborn

    key = ["category", "student", "map", "seed"]
    if frame.duplicated(key).any():
        raise ValueError(f"several rows for one {' x '.join(key)}; pass real or drawn, not both")
    if frame.empty:
        figure, axes = _grid(1, 1, 4, 1)
        _say(axes[0, 0], "no figures on real defects")
        return figure
    frame = frame.assign(row=frame["student"].str.replace("_", "-") + ", " + frame["map"])
    frame, categories = frame.sort_values("map", kind="stable"), list(frame["category"].unique())
    rows, kinds = frame["row"].unique(), frame["map"].unique()
    size = max(1.7, 3.2 / len(metrics)), 1.1 + 0.18 * len(rows)
    figure, axes = _grid(len(categories), len(metrics), *size, margin=1.7, sharey=True)
    for (row, column), axis in np.ndenumerate(axes):
        category, metric = categories[row], list(metrics)[column]
        here = frame[(frame["category"] == category) & frame[metric].notna()]
        shown = {"data": here, "x": metric, "y": "row", "order": rows, "ax": axis}
        points = {"hue": "map", "hue_order": kinds, "palette": "colorblind", "size": 6}
        seaborn.stripplot(**shown, **points, alpha=0.7, jitter=False, legend=False)
        mean = {"marker": "|", "color": "k", "markersize": 12, "label": "mean of the seeds"}
        seaborn.pointplot(**shown, **mean, mew=1.5, errorbar=None, ls="", legend=False)
        if baseline is not None:
            rivals = baseline[baseline["category"] == category].groupby("map")[metric].mean()
            for number, (name, value) in enumerate(rivals.items()):
                style = {"color": f"{number // 5 * 0.3}", "ls": LINES[1 + number % 5], "lw": 1}
                axis.axvline(value, label=plain(name), **style)
        axis.set(xlabel=f"{metrics[metric]}, %", ylabel="", title="" if column else category)
        axis.xaxis.set(major_locator=plt.MaxNLocator(3), major_formatter=PERCENT)
        axis.yaxis.grid(visible=True)
        if here.empty:
            _say(axis, "not measured")
    _legend_below(figure, axes)
    return figure


@_styled
def category_samples(category: Category, columns: int = 5) -> Figure:
    """A row of images for each kind of defect, spread over the set; known masks are encircled."""
    kinds = sorted(set(category.defects.tolist()), key=lambda kind: (kind != "good", kind))
    figure, axes = _grid(len(kinds), columns, 0.8, 0.8, margin=0.9)
    for kind, row in zip(kinds, axes, strict=True):
        members = np.flatnonzero(category.defects == kind)
        chosen = members[np.unique(np.linspace(0, len(members) - 1, columns).astype(int))]
        for axis, index in zip(row, chosen, strict=False):
            show(axis, category.images[index])
            mask = ndimage.binary_dilation(category.masks[index], iterations=4)  # hides no crack
            if mask.any():
                axis.contour(mask, [0.5], colors=[COLOURS[1]], linewidths=0.7)
        plt.setp(row[len(chosen) :].tolist(), visible=False)
        row[0].set_ylabel(readable(f"{kind.replace('_', ' ')}\n{len(members)} images"), **ROW_LABEL)
    return figure


@_styled
def intensity_histograms(category: Category) -> Figure:
    """Share of the pixels at each grey level, a panel per split, a line per kind of image."""
    splits = [s for s in ("train", "validation", "test") if (category.splits == s).any()]
    real = (category.labels == 1) & ~category.drawn
    kinds = {"good": category.labels == 0, "defective": real, "drawn defects": category.drawn}
    figure, axes = _grid(1, len(splits), 2.3, 2.3, sharey=True)
    edges = np.linspace(0, 256, 65)
    for axis, split in zip(axes[0], splits, strict=True):
        for number, (kind, members) in enumerate(kinds.items()):
            counts, _ = np.histogram(category.images[members & (category.splits == split)], edges)
            if counts.any():
                style = {"color": COLOURS[number], "linestyle": LINES[number], "lw": 1.3}
                axis.stairs(counts / counts.sum(), edges, label=kind, **style)
        axis.set(title=split, xlabel="grey level", xticks=(0, 64, 128, 192, 255))
    axes[0, 0].set_ylabel("share of the pixels")
    _legend_below(figure, axes)
    return figure
