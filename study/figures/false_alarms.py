"""How far the realised false-alarm rate strays from the one that was allowed."""

from matplotlib.figure import Figure

from study.figures.plots import COLOURS, _grid, _say, _styled
from study.scoring.calibration import binomial_interval


@_styled
def histogram(splits) -> Figure:
    """False alarms over the splits of `Calibrated.splits`, a panel for each alpha and map.

    The line is alpha. The dark band is the binomial 95 % interval; the light one also counts the
    luck of the calibration images.
    """
    alphas, maps = (list(dict.fromkeys(splits[key])) for key in ("alpha", "map"))
    figure, axes = _grid(max(1, len(alphas)), max(1, len(maps)), 1.8, 1.5, sharex="row")
    if not len(splits):
        _say(axes[0, 0], "no thresholds")
    for (alpha, kind), found in splits.groupby(["alpha", "map"], sort=False):
        axis, rates = axes[alphas.index(alpha), maps.index(kind)], found["false alarms"]
        images, known = (int(found[key].iloc[0]) for key in ("images", "calibration"))
        axis.axvspan(*binomial_interval(alpha, images, known), color="0.93")
        axis.axvspan(*binomial_interval(alpha, images), color="0.85")
        axis.axvline(100 * alpha, color=COLOURS[3], linestyle="--")
        axis.hist(rates, bins=10, color=COLOURS[0], edgecolor="white")
        axis.set(title=f"{kind}, alpha {alpha:g}", yticks=[])
    figure.supxlabel(
        "false alarms on good images that did not calibrate, percent", fontsize="small"
    )
    return figure
