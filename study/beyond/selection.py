"""What selection on the test set buys: scores of the test maps along the training.

A curve has a row for each point of training (study.beyond.run, or `bench.protocol --points 10`).
For each training and metric: the last step, the best point on test, and the point that is best on
validation, scored on test. The *optimism* is best on test less last step. It can never be negative.
"""

import numpy as np
import pandas as pd

from study.beyond.comparisons import points
from study.beyond.ledger import FOLDER, TRAINING, load, missing
from study.params import ROOT
from study.scoring.metrics import METRICS
from study.tables.format import brackets, counted, signed, upper
from study.tables.intervals import seeds_interval
from study.tables.paper import quoted


def protocol_curves(root=ROOT):
    """The curves of full-size runs (bench.protocol) in the columns of ours; test only."""
    folders = [path.parent for path in sorted(root.glob("reports/*/curve.csv"))]
    found = [load("curve", folder) for folder in folders if folder != FOLDER]
    curves = pd.concat(found or [pd.DataFrame()])
    return curves.rename(columns={"phase": "head"}).assign(split="test")


def wide(curve, metric, along="step"):
    """A row for each training, a column for each split and step, in percent."""
    found = curve[curve[metric].notna()].set_index([*TRAINING, "split", along])[metric]
    return 100 * found.unstack(["split", along], sort=False).sort_index(axis=1)


def choices(curve, metric):
    """A row for each training: points, last, best, at_validation and optimism, in percent.

    at_validation is NaN where there is no validation.
    """
    found = wide(curve, metric)
    test = found.get("test", pd.DataFrame(index=found.index))
    table = pd.DataFrame({"points": test.count(axis=1), "best": test.max(axis=1)})
    table["last"] = test.ffill(axis=1).iloc[:, -1] if len(test) else []
    table["at_validation"] = np.nan
    if "validation" in found:
        steps = found.validation.idxmax(axis=1)
        table["at_validation"] = [test.at[key, step] for key, step in steps.items()]
    return table.assign(optimism=table.best - table["last"])


def summary(curve):
    """One line for each head and metric that the curve has."""
    lines = {}
    for metric in [key for key in METRICS if key in curve]:
        for head, group in choices(curve, metric).groupby("head", sort=False):
            chosen, one = group.at_validation.mean(), " (one seed)" * (len(group) == 1)
            lines[head, METRICS[metric].label] = {
                "last step": f"{group['last'].mean():.1f}",
                "best on test": f"{group.best.mean():.1f}",
                "best on validation": "–" if np.isnan(chosen) else f"{chosen:.1f}",
                "optimism": points(group.optimism, "") + one,
                "n": len(group),
            }
    table = pd.DataFrame.from_dict(lines, "index")
    return table.rename_axis(["head", "metric"]) if lines else table


def explained(mean, metric):
    """How many neighbouring pairs of the paper's table differ by no more than this optimism."""
    if metric == "image_auroc":
        name, figures = "table 1 (image AUROC)", quoted("table1").image_auroc
    else:
        name = "table 2 (pixel AP)"
        figures = quoted("table2").query("category == 'mean'").pixel_ap
    gaps = np.diff(np.sort(figures.dropna())).round(1)
    count = int((gaps <= mean).sum())
    where = f"gaps between neighbours in the paper's {name}"
    return f"{count} of {len(gaps)} {where} are no larger than this"


def answer(curve, benchmark, metric="image_auroc", head="method"):
    """The optimism of one head in words, for image AUROC or pixel AP."""
    table = choices(curve[(curve["head"] == head) & (curve.benchmark == benchmark)], metric)
    if table.empty:
        return missing(f"the curve of `{head}`")
    mean, interval = table.optimism.mean(), seeds_interval(table.optimism)
    over = f"{brackets(interval)} over {counted(len(table), 'seed')}" if interval else "(one seed)"
    return (
        f"{upper(METRICS[metric].label)}, `{head}`: the best of {table.points.iloc[0]} points on "
        f"test is {signed(mean)} points above the last step {over}; {explained(mean, metric)}."
    )


def noise(curve, heads, benchmark):
    """How far the image AUROC on test moves between points of the second half, in words."""
    texts = []
    for head in heads:
        found = curve[(curve["head"] == head) & (curve.benchmark == benchmark)]
        test = wide(found, "image_auroc").get("test", pd.DataFrame())
        changes = test.diff(axis=1).abs().iloc[:, test.shape[1] // 2 :].mean(axis=1)
        texts.append(f"`{head}` {changes.mean():.1f}" if len(changes) else f"`{head}` not measured")
    return (
        f"From point to point of training, image AUROC changes on average by: {', '.join(texts)}."
    )


def tops(table, default):
    """What the best T on test gains over the value of T nearest to `default`, in words."""
    if table.empty:
        return missing("the image score for several T")
    found = wide(table, "image_auroc", "top_pixels")
    nearest = min(found.test, key=lambda top: abs(top - default))
    gains, chosen = found.test.max(axis=1) - found.test[nearest], found.validation.idxmax(axis=1)
    return (
        f"The best of {found.test.shape[1]} values of T on test is {points(gains)} above "
        f"T = {default}, over {counted(len(gains), 'training')}. Validation chooses T = "
        f"{', '.join(map(str, sorted(set(chosen))))}."
    )
