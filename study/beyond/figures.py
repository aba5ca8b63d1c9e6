"""Figures of the notebooks beyond the paper; each function returns a matplotlib Figure."""

import numpy as np
import torch
from matplotlib import pyplot as plt

from study import params
from study.beyond import comparisons, equality
from study.beyond.corruptions import SOURCES
from study.data.mvtec import load_category
from study.figures.plots import COLOURS, LINES, ROW_LABEL, STYLE, show
from study.scoring.metrics import METRICS

_styled = plt.rc_context(STYLE)


@_styled
def xor(sigma=1.0):
    """The four points of XOR, and where one unit of each kind says anomalous."""
    points = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    labels = np.array([1, 0, 0, 1])
    line = np.linspace(-1.6, 1.6, 200)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 3), sharey=True)
    for axis, activation in zip(axes, ("sigmoid", "bump"), strict=True):
        w, b = equality.fit(points, labels, activation, sigma)
        z = grid @ w + b
        bumped = 1 - np.exp(-(z**2) / (2 * sigma**2))
        anomalous = bumped if activation == "bump" else 1 / (1 + np.exp(-z))
        axis.contourf(line, line, anomalous, levels=np.linspace(0, 1, 11), cmap="Blues", vmax=1.4)
        if anomalous.min() < 0.5 < anomalous.max():
            axis.contour(line, line, anomalous, levels=[0.5], colors="k", linewidths=0.8)
        for label, marker, name in ((0, "o", "normal"), (1, "X", "anomalous")):
            chosen = points[labels == label].T
            axis.scatter(*chosen, marker=marker, s=70, c=[COLOURS[3 * label]], ec="w", label=name)
        title = {"sigmoid": "half-space: sigmoid(z)", "bump": "equality: 1 - exp(-z²/2σ²)"}
        axis.set(title=title[activation], xticks=[-1, 1], yticks=[-1, 1], aspect="equal")
    axes[0].legend(loc="center")
    return figure


@_styled
def sources(profile, count=6):
    """Images of a profile's first category, corrupted by each source; None without images."""
    settings = params.load(params.ROOT / profile)
    if not (params.ROOT / settings.dataset.root / settings.categories[0]).is_dir():
        return None
    images = load_category(settings.dataset, settings.categories[0]).training_images()[:count]
    generator = torch.Generator().manual_seed(0)
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    rows = {"normal": clean} | {k: f(clean, generator)[0] for k, f in SOURCES.items()}
    figure, axes = plt.subplots(len(rows), count, figsize=(1.1 * count, 1.1 * len(rows)))
    for line, (name, found) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, **ROW_LABEL)
        for axis, image in zip(line, found.permute(0, 2, 3, 1).numpy(), strict=True):
            show(axis, image)
    return figure


@_styled
def differences(rows, heads, benchmark, metric="image_auroc", kind="segmentation", base="method"):
    """Each head's difference to `base` by seed, on validation and test, in points."""
    figure, axis = plt.subplots(figsize=(6.4, 0.8 + 0.32 * len(heads)))
    for split, colour, marker, shift in (("validation", 1, "s", 0.12), ("test", 0, "o", -0.12)):
        for place, head in enumerate(heads):
            where = {"map": kind, "split": split, "benchmark": benchmark}
            seeds = comparisons.by_seed(comparisons.pairs(rows, head, base, metric, **where))
            x, y = [*seeds.values()], np.full(len(seeds), place + shift)
            label = split if place == 0 else None
            axis.plot(x, y, marker, c=COLOURS[colour], ms=4, alpha=0.7, label=label)
            if x:
                axis.plot([np.mean(x)], [place + shift], "|", c=COLOURS[colour], ms=14, mew=2)
    axis.axvline(0, color="0.4", lw=0.8)
    axis.set(yticks=range(len(heads)), yticklabels=heads, ylim=(len(heads) - 0.5, -0.5))
    axis.set_xlabel(
        f"{METRICS[metric].label} less `{base}`, points; a mark a seed, a tick the mean"
    )
    axis.legend(loc="best")
    return figure


@_styled
def curves(curve, benchmark, heads, metric="image_auroc"):
    """The figure along the training on test: a line for each seed; a ring marks the best point."""
    found = curve[(curve.benchmark == benchmark) & (curve.split == "test")]
    figure, axes = plt.subplots(1, len(heads), figsize=(3.2 * len(heads), 2.6), sharey=True,
                                squeeze=False)  # fmt: skip
    for axis, head in zip(axes[0], heads, strict=True):
        for place, (seed, group) in enumerate(found[found["head"] == head].groupby("seed")):
            x, y = group.step.to_numpy(), 100 * group[metric].to_numpy()
            style = {"c": COLOURS[place % 6], "ls": LINES[place % 6]}
            axis.plot(x, y, marker=".", label=f"seed {seed}", **style)
            axis.plot(x[y.argmax()], y.max(), "o", mfc="none", ms=9, c=COLOURS[place % 6])
        axis.set(title=head, xlabel="step")
    axes[0][0].set_ylabel(f"{METRICS[metric].label}, %")
    axes[0][-1].legend()
    return figure


def round_ticks(*axes):
    """1, 2 and 5 times a power of ten on log axes, as plain numbers."""
    for axis in axes:
        axis.set(major_locator=plt.LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}")
        axis.set_minor_locator(plt.NullLocator())


@_styled
def law(rows, fit):
    """R against images seen with the law of each width, and the residuals in percent."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3))
    line = np.geomspace(rows.images.min(), rows.images.max(), 50)
    for place, (width, group) in enumerate(rows.groupby("width")):
        style = {"c": COLOURS[place % 6], "ls": LINES[place % 6]}
        n = group.parameters.iloc[0]
        left.plot(line, fit.predict(np.full(50, n), line), **style)
        left.plot(group.images, group.R, ".", c=COLOURS[place % 6], label=f"width {width}")
        residual = 100 * np.log(group.R / fit.predict(group.parameters, group.images))
        right.plot(group.images * 1.04**place, residual, ".", c=COLOURS[place % 6])
    left.set(yscale="log", ylabel="R, held-out clean images (log)")
    right.set(ylabel="residual of log R, %")
    for axis in (left, right):
        axis.set(xscale="log", xlabel="images seen (log)")
    round_ticks(left.xaxis, left.yaxis, right.xaxis)
    right.axhline(0, color="0.4", lw=0.8)
    left.legend()
    return figure


@_styled
def detection(rows, split="test"):
    """Image AUROC of the cosine map against R, a mark for each cell."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for place, (width, group) in enumerate(rows.groupby("width")):
        axis.plot(group.R, 100 * group[f"auroc_{split}"], "os^Dv<"[place % 6], ms=4, alpha=0.8,
                  c=COLOURS[place % 6], label=f"width {width}")  # fmt: skip
    axis.set(xlabel="R (log): a better student is further left", ylabel="image AUROC, %")
    axis.set_xscale("log")
    round_ticks(axis.xaxis)
    axis.legend()
    return figure


@_styled
def ladder(rows, split="test"):
    """Image AUROC against the teacher's strength, a line for each width."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for place, (width, group) in enumerate(rows.groupby("width")):
        means = group.groupby("strength")[f"auroc_{split}"].mean()
        axis.plot(100 * means.index, 100 * means, c=COLOURS[place % 6], ls=LINES[place % 6])
        x, y = 100 * group.strength, 100 * group[f"auroc_{split}"]
        axis.plot(x, y, ".", c=COLOURS[place % 6], label=f"width {width}")
    names = rows.groupby("teacher").strength.first()
    for name, strength in names.items():
        axis.annotate(name, (100 * strength, 0.02), xycoords=("data", "axes fraction"),
                      rotation=90, fontsize="x-small", color="0.4")  # fmt: skip
    axis.set(xlabel="teacher alone: nearest-neighbour AUROC on validation, %",
             ylabel="student's image AUROC, %")  # fmt: skip
    axis.legend()
    return figure
