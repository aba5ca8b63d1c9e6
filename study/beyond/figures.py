"""Figures of the notebooks beyond the paper; each function returns a matplotlib Figure."""

import numpy as np
import pandas as pd
import seaborn
import torch
from matplotlib import pyplot as plt
from scipy import optimize, special

from study import params
from study.beyond import scaling
from study.data.mvtec import load_category
from study.figures.plots import COLOURS, _grid, _say, _styled, round_ticks, side_by_side
from study.variants.corruptions import SOURCES

UNITS = {  # P(anomalous) of z
    "half-space: sigmoid(z)": special.expit,
    "equality: 1 - exp(-z²/2)": lambda z: 1 - np.exp(-(z**2) / 2),
}
BY_WIDTH = {"hue": "width", "style": "width", "palette": "colorblind"}


def unit(points, labels, probability):
    """Fit one unit to points (N, 2) with labels 0 (normal) or 1 by cross-entropy: (w1, w2, b).

    probability: P(anomalous) of z = w x + b. It starts at small weights, where a bump says normal.
    """

    def loss(unit):
        found = probability(points @ unit[:2] + unit[2])
        return -np.log(np.where(labels, found, 1 - found) + 1e-12).sum()

    return optimize.minimize(loss, (0.01, 0.02, 0)).x


@_styled
def xor():
    """The four points of XOR, and where one unit of each kind says anomalous."""
    points = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    labels = np.array([1, 0, 0, 1])
    names = np.where(labels, "anomalous", "normal")
    line = np.linspace(-1.6, 1.6, 200)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    figure, (axes,) = _grid(1, 2, 3.2, 3, sharey=True)
    for axis, (title, probability) in zip(axes, UNITS.items(), strict=True):
        *w, b = unit(points, labels, probability)
        anomalous = probability(grid @ w + b)
        axis.contourf(line, line, anomalous, levels=np.linspace(0, 1, 11), cmap="Blues", vmax=1.4)
        if anomalous.min() < 0.5 < anomalous.max():
            axis.contour(line, line, anomalous, levels=[0.5], colors="k", linewidths=0.8)
        shown = {"x": points[:, 0], "y": points[:, 1], "hue": names, "style": names, "s": 70}
        seaborn.scatterplot(**shown, palette=[COLOURS[3], COLOURS[0]], ax=axis)
        axis.set(title=title, xticks=[-1, 1], yticks=[-1, 1], aspect="equal")
    return figure


def sources(profile, count=6):
    """Images of a profile's first category, corrupted by each source; None without images."""
    settings = params.load(params.ROOT / profile)
    if not (params.ROOT / settings.dataset.root / settings.categories[0]).is_dir():
        return None
    images = load_category(settings.dataset, settings.categories[0]).training_images()[:count]
    generator = torch.Generator().manual_seed(0)
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    columns = {"normal": clean} | {k: f(clean, generator)[0] for k, f in SOURCES.items()}
    return side_by_side({k: found.permute(0, 2, 3, 1).numpy() for k, found in columns.items()})


@_styled
def differences(comparison, heads):
    """Each head's difference to the method by seed, on validation and test, in points."""
    found = [
        {"variant": head, "split": split, "points": value}
        for split in ("validation", "test")
        for head in heads
        for value in comparison.estimate(head, split=split)[0].values()
    ]
    figure, ((axis,),) = _grid(1, 1, 6.4, 0.8 + 0.32 * len(heads))
    if not found:
        _say(axis, "not measured")
        return figure
    shown = {"data": pd.DataFrame(found), "x": "points", "y": "variant", "order": heads}
    shown |= {"hue": "split", "palette": COLOURS[1::-1], "ax": axis}
    seaborn.stripplot(**shown, dodge=True, jitter=False, size=4, alpha=0.7)
    mean = {"marker": "|", "markersize": 14, "mew": 2, "errorbar": None, "ls": ""}
    seaborn.pointplot(**shown, **mean, dodge=0.4, legend=False)
    axis.axvline(0, color="0.4", lw=0.8)
    label = f"{comparison.metric} minus `method`, points; each mark is a seed, each tick the mean"
    axis.set(xlabel=label, ylabel="")
    return figure


@_styled
def curves(curve, benchmark, heads):
    """Image AUROC along the training on test: a line for each seed; a disc marks the best point."""
    found = curve[(curve.benchmark == benchmark) & (curve.split == "test")]
    found = found.assign(percent=100 * found.image_auroc)
    figure, (axes,) = _grid(1, len(heads), 3.2, 2.6, sharey=True)
    for axis, head in zip(axes, heads, strict=True):
        here = found[found["head"] == head]
        best = here.loc[here.groupby("seed").percent.idxmax()]
        shown = {"x": "step", "y": "percent", "hue": "seed", "palette": "colorblind", "ax": axis}
        seaborn.lineplot(here, **shown, style="seed", errorbar=None)
        seaborn.scatterplot(best, **shown, s=70, legend=False)
        axis.set(title=head, ylabel="image AUROC, %")
    return figure


@_styled
def law(rows, fit):
    """R against images seen with the law of each width, and the residuals in percent."""
    rows = rows.assign(law=scaling.predict(fit.raw, rows.parameters, rows.images))
    rows["residual"] = 100 * np.log(rows.R / rows.law)
    figure, ((left, right),) = _grid(1, 2, 3.4, 3)
    line = {"errorbar": None, "legend": False}
    seaborn.lineplot(rows, x="images", y="law", ax=left, **BY_WIDTH, **line)
    seaborn.scatterplot(rows, x="images", y="R", ax=left, **BY_WIDTH)
    seaborn.scatterplot(rows, x="images", y="residual", ax=right, legend=False, **BY_WIDTH)
    right.axhline(0, color="0.4", lw=0.8)
    left.set(yscale="log", ylabel="R, held-out clean images (log)")
    right.set(ylabel="residual of log R, %")
    plt.setp([left, right], xscale="log", xlabel="images seen (log)")
    round_ticks(left.xaxis, left.yaxis, right.xaxis)
    return figure


@_styled
def detection(rows):
    """Image AUROC of the cosine map on test against R, a mark for each training."""
    figure, ((axis,),) = _grid(1, 1, 5, 3.2)
    seaborn.scatterplot(rows.assign(auroc=100 * rows.auroc_test), x="R", y="auroc", **BY_WIDTH)
    axis.set(xscale="log", xlabel="R (log): a better student is further left")
    axis.set_ylabel("image AUROC, %")
    round_ticks(axis.xaxis)
    return figure


@_styled
def ladder(rows):
    """Image AUROC on test against the teacher's strength, a line for each width."""
    figure, ((axis,),) = _grid(1, 1, 5, 3.2)
    shown = {"data": 100 * rows[["strength", "auroc_test"]], "x": "strength", "y": "auroc_test"}
    shown["data"]["width"] = rows.width
    seaborn.lineplot(**shown, **BY_WIDTH, errorbar=None, legend=False)
    seaborn.scatterplot(**shown, **BY_WIDTH)
    for name, strength in rows.groupby("teacher").strength.first().items():
        axis.annotate(name, (100 * strength, 0.02), xycoords=("data", "axes fraction"),
                      rotation=90, fontsize="x-small", color="0.4")  # fmt: skip
    axis.set(xlabel="teacher alone: nearest-neighbour AUROC on validation, %",
             ylabel="student's image AUROC, %")  # fmt: skip
    return figure
