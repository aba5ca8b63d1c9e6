"""Why published PRO figures of one method disagree: the same maps, read off in different ways.

study.scoring.metrics.pro is what the study reports. Here its curve is drawn again in the plainest
way and then read off as other scripts do: tied pixels in another order, N equidistant thresholds,
another range of false-positive rates, another resolution. Maps are (N, H, W) finite scores, masks
(N, H, W) bool with both kinds of pixels; figures are 0..1 unless said otherwise.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from scipy import ndimage

from study.figures import plots
from study.scoring.scores import MAPS, full_size, test_subsets, without_pixels

LIMIT = 0.3
COUNTS = (100, 200, 1000)  # equidistant thresholds; MambaAD's configuration asks for 100
SIZES = (64, 128, 256)
LIMITS = (0.05, 0.1, 0.3, 1.0)
FOUR, EIGHT = (ndimage.generate_binary_structure(2, rank) for rank in (1, 2))


class Curve(NamedTuple):
    """Points from the highest threshold down, (T,) each: what the pixels at or above it give."""

    threshold: np.ndarray  # the first one is inf: nothing is called anomalous
    fpr: np.ndarray  # share of the normal pixels
    coverage: np.ndarray  # share of a region, mean over regions


def coverage_curve(maps, masks, connected=EIGHT) -> Curve:
    """A point for every distinct value of the maps, so that tied pixels share one threshold."""
    regions, count = ndimage.label(masks, np.pad(connected[None], ((1, 1), (0, 0), (0, 0))))
    regions = regions.ravel()
    order = np.argsort(-maps.ravel(), kind="stable")
    values, normal = maps.ravel()[order], regions[order] == 0
    gain = 1 / np.bincount(regions)[regions[order]] / count  # what a pixel adds to the coverage
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # of each run of ties
    fpr = np.cumsum(normal)[ends] / normal.sum()
    coverage = np.cumsum(np.where(normal, 0, gain))[ends]
    return Curve(np.r_[np.inf, values[ends]], np.r_[0, fpr], np.r_[0, coverage])


def pro(curve: Curve, limit: float = LIMIT, ties: str = "shared") -> float:
    """Area under the curve up to the false-positive rate `limit`, divided by `limit`.

    ties: "shared" joins the points by straight lines, as study.scoring.metrics does; "normal last"
    ranks the normal pixels of a tie behind its anomalous ones, the best case; "normal first", the
    worst.
    """
    end = np.searchsorted(curve.fpr, limit) + 1  # the points below the limit and the next one
    fpr, coverage = curve.fpr[:end], curve.coverage[:end]
    left, right, width = coverage[:-1], coverage[1:], np.diff(np.minimum(fpr, limit))
    inside = width / np.maximum(np.diff(fpr), 1e-300)  # 1, but less where the limit cuts a step
    height = {
        "shared": left + (right - left) * inside / 2,
        "normal last": right,
        "normal first": left,
    }
    return float((width * height[ties]).sum() / limit)


def equidistant(curve: Curve, count: int) -> Curve:
    """The points of `count` equidistant thresholds from the least value up (value > threshold)."""
    low, high = curve.threshold[-1], curve.threshold[1]
    thresholds = np.linspace(low, high, count, endpoint=False)[::-1]
    above = np.searchsorted(-curve.threshold, -thresholds) - 1  # the last point above each
    return Curve(thresholds, curve.fpr[above], curve.coverage[above])


def up_to_limit(points: Curve, limit: float = LIMIT) -> float:
    """`pro` of points put between (0, 0) and (1, 1)."""
    fpr, coverage = np.r_[0, points.fpr, 1], np.r_[0, points.coverage, 1]
    return pro(Curve(points.threshold, fpr, coverage), limit)


def stretched(points: Curve, limit: float = LIMIT) -> float:
    """Area over the false-positive rates that the points happen to reach below the limit.

    These rates are stretched to 0..1 by their least and greatest, as the evaluator of ADer does
    (github.com/zhangzjn/ADer, util/metric.py), which MambaAD uses. NaN if all points have one rate.
    """
    below = points.fpr < limit
    fpr, coverage = points.fpr[below], points.coverage[below]
    if not len(fpr) or fpr[0] == fpr[-1]:
        return float("nan")
    return float(np.trapezoid(coverage, fpr) / (fpr[-1] - fpr[0]))


def reshaped(curve: Curve, power: float) -> Curve:
    """The curve of the maps (less their least value) raised to a power: no pixel changes its rank.

    Above 1 pushes the pixels towards 0, as training a segmentation network for longer does.
    """
    return curve._replace(threshold=(curve.threshold - curve.threshold[-1]) ** power)


def eight_bits(maps):
    """Maps on 256 equidistant grey levels between their least and greatest value, or all at 0."""
    low, high = maps.min(), maps.max()
    return np.round((maps - low) / (high - low or 1) * 255).astype(np.float32)


def resized(maps, masks, size: int):
    """Stride-4 maps and full-size masks as (N, size, size); masks antialiased, then cut at 0.5."""
    masks = torch.from_numpy(masks).float().unsqueeze(1)
    masks = F.interpolate(masks, size=(size, size), mode="bilinear", antialias=True)
    return full_size(maps, size), masks[:, 0].numpy() >= 0.5


def scored_maps(view, seed: int):
    """Benchmark, masks (n, S, S) and {kind: stride-4 maps} of the test images; view: View.

    Real defects if their masks are known, else drawn ones; without any no images and no maps.
    """
    held_out = view.held_out
    for benchmark, chosen in test_subsets(held_out):
        if not without_pixels(held_out, chosen):
            maps = {kind: view.maps(seed, kind)[chosen] for kind in MAPS}
            return benchmark, held_out.masks[chosen], maps
    return f"{held_out.benchmark}, no masks", held_out.masks[:0], {}


def readings(maps, masks, limit: float = LIMIT):
    """PRO of stride-4 maps in every way: (what is varied, variant, figure)."""
    full = full_size(maps, masks.shape[-1])
    exact = coverage_curve(full, masks)
    yield "definition", f"all thresholds, ties shared, limit {limit:g}", pro(exact, limit)
    half = coverage_curve(full.astype(np.float16).astype(np.float32), masks)
    byte = coverage_curve(eight_bits(full), masks)
    for name, curve in (("float32", exact), ("float16", half), ("8 bits", byte)):
        for ties in ("shared", "normal last", "normal first"):
            yield "ties", f"{name}, {ties}", pro(curve, limit, ties)
    for count in COUNTS:
        points = equidistant(exact, count)
        yield "thresholds", f"{count} equidistant, to the limit", up_to_limit(points, limit)
        yield "thresholds", f"{count} equidistant, stretched", stretched(points, limit)
    for name, power in (("square root of the map", 0.5), ("map squared", 2)):
        curve = reshaped(exact, power)
        points = equidistant(curve, COUNTS[0])
        yield "same order of pixels", f"{name}, all thresholds", pro(curve, limit)
        yield "same order of pixels", f"{name}, {COUNTS[0]}, stretched", stretched(points, limit)
    yield "regions", "4-connected", pro(coverage_curve(full, masks, FOUR), limit)
    for size in SIZES:
        curve = coverage_curve(*resized(maps, masks, size))
        yield "resolution", f"{size}x{size}", pro(curve, limit)
    for other in LIMITS:
        yield "limit", f"{other:g}", pro(exact, other)


def table(masks, maps: dict, limit: float = LIMIT) -> pd.DataFrame:
    """PRO in percent: a row for each variant, a column for each kind of {kind: stride-4 maps}."""
    columns = {}
    for kind, found in maps.items():
        figures = {(what, how): figure for what, how, figure in readings(found, masks, limit)}
        columns[f"PRO {kind} map"] = pd.Series(figures).rename_axis(["varied", "variant"])
    return (pd.DataFrame(columns) * 100).round(1)


@plt.rc_context(plots.STYLE)
def figure(masks, maps: dict, limit: float = LIMIT, count: int = COUNTS[0]) -> Figure:
    """Coverage against false-positive rate of {kind: stride-4 maps}, and `count` points of it."""
    panels = max(len(maps), 1)
    picture, axes = plt.subplots(1, panels, figsize=(3.6 * panels, 4), squeeze=False, sharey=True)
    axes[0, 0].set(title="no masks, no PRO", ylabel="mean coverage of a region")
    for axis, (kind, found) in zip(axes[0], maps.items(), strict=False):
        curve = coverage_curve(full_size(found, masks.shape[-1]), masks)
        points, rates = equidistant(curve, count), np.geomspace(1 / (~masks).sum(), 1, 500)
        reached = np.append(points.fpr[points.fpr < limit], 0)
        coverage = np.interp(rates, curve.fpr, curve.coverage)
        label = f"all thresholds, up to {limit:g}: PRO {pro(curve, limit):.1%}"
        axis.plot(rates, coverage, color=plots.COLOURS[0], label=label)
        label = f"{count} equidistant, stretched: “PRO” {stretched(points, limit):.1%}"
        axis.plot(points.fpr, points.coverage, "x", ms=5, color=plots.COLOURS[1], label=label)
        style = {"color": plots.COLOURS[1], "alpha": 0.12, "lw": 0}
        label = f"reached below the limit: up to {reached.max():.3f}"
        axis.axvspan(max(points.fpr[0], rates[0]), reached.max(), label=label, **style)
        axis.axvline(limit, color="k", ls="--", lw=1, label=f"limit {limit:g}")
        axis.set(xscale="log", title=f"{kind} map", xlabel="false-positive rate")
        axis.set(ylim=(-0.02, 1.02), xlim=(rates[0] / 2, 2))
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return picture
