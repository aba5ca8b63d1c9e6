"""What selection on the test set buys: scores of the test maps along the training.

A curve has a row for each point of training (study.beyond.run, or `bench.protocol --points 10`).
For each training and metric: the last step, the best point on test, and the point that is best on
validation, scored on test. The *optimism* is best on test less last step. It can never be negative.
"""

import numpy as np
import pandas as pd

from study.beyond.comparisons import FOLDER, missing
from study.params import ROOT
from study.scoring.metrics import METRICS
from study.tables.format import brackets, counted, signed, upper
from study.tables.intervals import seeds_interval
from study.tables.paper import quoted

TRAINING = ["category", "student", "head", "seed"]


def protocol_curve(path):
    """The curve that bench.protocol leaves, in the columns of ours; test only."""
    found = pd.read_csv(path, dtype={"seed": str})
    return found.rename(columns={"phase": "head"}).assign(split="test")


def points(curve, metric, benchmark=None):
    """A row for each training: last, best, at_validation, optimism and luck, in percent.

    luck: best on test less best on validation; NaN where there is no validation.
    """
    found = curve[curve[metric].notna()]
    found = found[found.benchmark == benchmark] if benchmark else found
    rows = []
    for key, group in found.groupby(TRAINING, sort=False):
        test = group[group.split == "test"].set_index("step")[metric].sort_index() * 100
        validation = group[group.split == "validation"].set_index("step")[metric].sort_index()
        row = dict(zip(TRAINING, key, strict=True)) | {"points": len(test)}
        row |= {"last": test.iloc[-1], "best": test.max()}
        row["at_validation"] = test[validation.idxmax()] if len(validation) else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    if len(table):
        table["optimism"] = table.best - table["last"]
        table["luck"] = table.best - table.at_validation
    return table


def optimism(table, column="optimism"):
    """(mean, t-interval over the trainings or None, number of trainings), in points."""
    found = table[column].dropna().to_numpy()
    return float(found.mean()), seeds_interval(found), len(found)


def summary(curve, benchmark=None):
    """One line for each head and metric that the curve has."""
    lines = []
    for metric, known in METRICS.items():
        if metric not in curve or curve[metric].isna().all():
            continue
        found = points(curve, metric, benchmark)
        for head, group in found.groupby("head", sort=False) if len(found) else ():
            mean, interval, count = optimism(group)
            line = {"head": head, "metric": known.label, "last step": f"{group['last'].mean():.1f}"}
            line |= {"best on test": f"{group.best.mean():.1f}"}
            chosen = group.at_validation.mean()
            line["best on validation"] = "–" if np.isnan(chosen) else f"{chosen:.1f}"
            text = f"{signed(mean)}{' ' + brackets(interval) if interval else ' (one seed)'}"
            lines.append(line | {"optimism": text, "n": count})
    return pd.DataFrame(lines).set_index(["head", "metric"]) if lines else pd.DataFrame()


def published_gaps():
    """Differences in points between neighbours of the paper's tables 1 and 2, by metric."""
    one, two = quoted("table1"), quoted("table2").query("category == 'mean'")
    found = {"image_auroc": one.image_auroc, "pixel_ap": two.pixel_ap}
    return {k: np.diff(np.sort(v.dropna().to_numpy())).round(1) for k, v in found.items()}


def explained(mean, metric):
    """How many neighbouring pairs of the paper's table differ by no more than this optimism."""
    gaps = published_gaps().get(metric)
    if gaps is None:
        return ""
    count = int((gaps <= mean).sum())
    table = {"image_auroc": "table 1 (image AUROC)", "pixel_ap": "table 2 (pixel AP)"}[metric]
    return f"{count} of {len(gaps)} gaps between neighbours in the paper's {table} are no larger"


def protocol_curves():
    """The curves of full-size runs among the reports, one below the other; maybe empty."""
    found = [path for path in ROOT.glob("reports/*/curve.csv") if path.parent != FOLDER]
    curves = [protocol_curve(path) for path in sorted(found)]
    return pd.concat(curves) if curves else pd.DataFrame(columns=["head", "map", *METRICS])


def noise(curve, head, benchmark, metric="image_auroc"):
    """Mean change between points of the second half of training, on test, by seed."""
    found = curve[
        (curve["head"] == head) & (curve.benchmark == benchmark) & (curve.split == "test")
    ]
    changes = {}
    for key, group in found.groupby(["category", "seed"]):
        values = 100 * group.sort_values("step")[metric].to_numpy()
        changes[key] = float(np.abs(np.diff(values[len(values) // 2 - 1 :])).mean())
    return changes


def tops_answer(table, default):
    """What the best T on test gains over `default`, in words."""
    if table.empty:
        return missing("the image score for several T")
    gains, chosen = tops(table, default)
    interval = f" {brackets(seeds_interval(gains))}" if len(gains) > 1 else ""
    return (
        f"The best of {table.top_pixels.nunique()} values of T on test is "
        f"{signed(gains.mean())} points{interval} above T = {default}, over "
        f"{counted(len(gains), 'training')}. Validation would take T = "
        f"{', '.join(map(str, sorted(set(chosen))))}."
    )


def tops(table, default):
    """(optimism of the best T on test in points for each training, T that validation chooses)."""
    gains, chosen = [], []
    for _, group in table.groupby(TRAINING, sort=False):
        wide = group.pivot_table("image_auroc", "top_pixels", "split") * 100
        gains.append(wide.test.max() - wide.test[min(wide.index, key=lambda t: abs(t - default))])
        chosen.append(int(wide.validation.idxmax()))
    return np.array(gains), chosen


def answer(curve, benchmark, metric="image_auroc", head="method"):
    """The optimism of one head in words."""
    table = points(curve[curve["head"] == head], metric, benchmark)
    if table.empty:
        return missing(f"the curve of `{head}`")
    mean, interval, count = optimism(table)
    over = f" {brackets(interval)} over {counted(count, 'seed')}" if interval else " (one seed)"
    label = upper(METRICS[metric].label)
    text = f"{label}, `{head}`: the best of {table.points.iloc[0]} points on "
    text += f"test is {signed(mean)} points above the last step{over}"
    more = explained(mean, metric)
    return f"{text}; {more}." if more else f"{text}."
