"""Tables of the stage `calibration`: each map alone, the combination, and the thresholds' rates."""

import pandas as pd

from study import results
from study.scoring.calibration import binomial_interval, load
from study.tables.format import markdown, over_seeds
from study.tables.paper import real, together


def each_map(category, combined, headline):
    """Image AUROC on real test images, in percent: every map alone, the combination, the best.

    combined: rows of the combination, from `scores.score`.
    """
    frames = [pd.read_csv(results.rows(stage, category)) for stage in ("evaluation", "baseline")]
    rows = together(*frames, combined)
    rows = real(rows[(rows.split == "test") & rows.student.isin([headline, "none"])])
    found = (100 * rows.image_auroc).groupby(rows["map"].str.replace("_", " "), sort=False)
    best = found.mean() == found.mean().max()
    text = {"image AUROC": found.agg(over_seeds), "of the test images": best}
    return pd.DataFrame(text).replace({True: "best", False: ""})


def rates(frame):
    """`Calibrated.rates` as text, mean and deviation over seeds, by map and threshold."""
    groups = frame.groupby(["map", "threshold"], sort=False)[["false alarms", "hits"]]
    return groups.agg(over_seeds)


def sections(categories):
    """Sections of Markdown: `rates` of each calibrated category, from what the stage left."""
    found = {}
    for category in categories:
        if results.calibration(category).exists() and (document := load(category))["rates"]:
            table = rates(pd.DataFrame(document["rates"]))
            found[f"{category}, {document['n']} calibration images"] = table
    if not found:
        return []
    return [
        "## Thresholds from good images alone (percent of real test images)",
        "False alarms on good images should be near alpha. *Peeking* is the threshold that "
        "maximises F1 on the test images themselves; it is not known beforehand.",
        markdown(pd.concat(found, names=["category"])),
    ]


def within(splits):
    """Mean rate of `Calibrated.splits`, and how many of them lie in each 95 % interval."""
    rows = {}
    for (alpha, kind), found in splits.groupby(["alpha", "map"], sort=False):
        images, known = (int(found[key].iloc[0]) for key in ("images", "calibration"))
        row = {"mean false alarms": f"{found['false alarms'].mean():.1f}"}
        for name, drawn in (("binomial", None), ("beta-binomial", known)):
            low, high = binomial_interval(alpha, images, drawn)
            inside = found["false alarms"].between(low - 1e-9, high + 1e-9).sum()
            row[f"{name} 95 %"] = f"[{low:.1f}, {high:.1f}]"
            row[f"inside, {name}"] = f"{inside} of {len(found)}"
        rows[alpha, kind] = row
    index = pd.MultiIndex.from_tuples(rows, names=["alpha", "map"]) if rows else None
    return pd.DataFrame([*rows.values()], index=index)


def answer(found, table):
    """The answer that the notebook begins with; found: a `Calibrated`, table: from `rates`."""
    if found.problem:
        return (
            f"**Answer.** There are no thresholds: {found.problem}. Add good images to "
            "`validation/good`, or hold out a share of train/good with `dataset.calibration`."
        )
    said = (
        f"**Answer.** The thresholds come from {int(found.known.sum())} good images that were not "
        "used for training."
    )
    if not len(table):
        return said
    row = table.loc[("combined", f"alpha {found.alpha:g}")]
    peeked = table.loc[("combined", "F1 on test (peeking)")]
    return (
        f"{said} With {100 * found.alpha:g} % false alarms allowed, the combination raises false "
        f"alarms on {row['false alarms']} % of the good test images and finds {row['hits']} % of "
        "the defective ones. The threshold that maximises F1 on the test images gives "
        f"{peeked['false alarms']} % and {peeked['hits']} %, but it was chosen with the answers "
        "known."
    )
