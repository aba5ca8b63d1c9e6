"""What a threshold makes of each image: scores, hits and false alarms, and verdicts that changed.

A table of scores has a row for each real held-out image, in the columns name, split, defect, label
and `score-<seed>`: the full student's segmentation map. The threshold is never in it: it follows
from the validation rows.
"""

import numpy as np
import pandas as pd

from lib.evaluation import outcomes, plus_minus, threshold

NAMES = {"true positive": "hits", "false negative": "misses", "false positive": "false alarms",
         "true negative": "good, passed"}  # fmt: skip


def table(view, seeds):
    """Scores of all seeds from an `evaluation.View`."""
    real = ~view.held_out.drawn
    keys = {"name": "names", "split": "splits", "defect": "defects", "label": "labels"}
    columns = {key: getattr(view.held_out, field)[real] for key, field in keys.items()}
    columns |= {f"score-{seed}": view.scores(seed, "segmentation")[real] for seed in seeds}
    return pd.DataFrame(columns)


def seeds(scores):
    """Names of the score columns."""
    return [name for name in scores.columns if name.startswith("score-")]


def cut(scores, column):
    """The seed's threshold: best on validation, or where 5 % of the good test images alarm."""
    tuning = scores[scores.split == "validation"]
    if len(tuning):
        return threshold(tuning[column].to_numpy(), tuning.label.to_numpy())
    return float(scores[column][(scores.split == "test") & (scores.label == 0)].quantile(0.95))


def alarms(scores):
    """Test images by name: true label, and the share of the seeds that call them defective."""
    test = scores[scores.split == "test"].set_index("name")
    share = np.mean([test[one] >= cut(scores, one) for one in seeds(scores)], axis=0)
    return test[["defect", "label"]].assign(alarms=share)


def by_threshold(scores, points=41):
    """Counts of test images against the threshold, long: threshold, outcome, seed, images.

    A row of each seed and outcome for `points` thresholds between its least and greatest score.
    """
    test, rows = scores[scores.split == "test"], []
    for column in seeds(scores):
        values = test[column].to_numpy()
        for level in np.linspace(values.min(), values.max(), points):
            counts = pd.Series(outcomes(values, test.label.to_numpy(), level)).value_counts()
            rows += [(level, NAMES[kind], column[6:], counts.get(kind, 0)) for kind in NAMES]
    return pd.DataFrame(rows, columns=["threshold", "outcome", "seed", "images"])


def answer(scores):
    """Two sentences on how well one threshold, chosen on validation, separates the test images."""
    test = scores[scores.split == "test"]
    found = [test[one] >= cut(scores, one) for one in seeds(scores)]
    shares = {
        label: plus_minus(np.mean(rates), np.std(rates, ddof=1) if len(rates) > 1 else np.nan)
        for label in (0, 1)
        for rates in [[100 * alarm[test.label == label].mean() for alarm in found]]
    }
    missed = int((alarms(scores).query("label == 1").alarms == 0).sum())
    return (
        f"**Answer.** With one threshold for all images the full method finds {shares[1]} % of the "
        f"{(test.label == 1).sum()} defective test images and calls {shares[0]} % of the "
        f"{(test.label == 0).sum()} good ones defective (mean over {len(found)} "
        f"seed{'s' * (len(found) > 1)}). It misses {missed} defective images with every seed: "
        "what these have in common is where it fails."
    )


def changed(before, after):
    """Test images whose verdict, that of most seeds, differs between two tables of scores.

    Returns defect, truth and the share of alarming seeds before and after; right or wrong now.
    """
    later = alarms(after).alarms.rename("alarms_after")
    both = alarms(before).join(later, how="inner")
    flipped = both[(both.alarms > 0.5) != (both.alarms_after > 0.5)]
    right = (flipped.alarms_after > 0.5) == (flipped.label == 1)
    return pd.DataFrame(
        {
            "defect": flipped.defect,
            "alarming seeds, before": flipped.alarms.map("{:.0%}".format),
            "after": flipped.alarms_after.map("{:.0%}".format),
            "now": np.where(right, "right", "wrong"),
        }
    ).sort_values(["now", "defect"], kind="stable")
