"""Thresholds: hits and false alarms at the one that validation chooses, and at all others.

A table of scores has a row for each real held-out image, in the columns name, split, defect, label
and `score-<seed>`: the segmentation map of the study's headline student. No threshold is ever taken
from the test split: without a validation split of good and defective images there is none.
"""

import numpy as np
import pandas as pd

NAMES = {"true positive": "hits", "false negative": "misses", "false positive": "false alarms",
         "true negative": "good, passed"}  # fmt: skip
FACTS = ["name", "split", "defect", "label", "drawn"]  # columns of `scores.load_scores`
NO_CUT = (
    "There is no validation split with good and defective images, so no threshold is chosen, and "
    "hits and false alarms are not counted."
)


def column(student, kind, seed):
    """Name of an item's column in the table of scores by image."""
    return f"{student}/{kind}/{seed}"


def table(images, student, kind="segmentation"):
    """The real images of a table of scores by image, with the columns of one student and map."""
    prefix = column(student, kind, "")
    chosen = {name: name.replace(prefix, "score-") for name in images if name.startswith(prefix)}
    return images.loc[~images.drawn, FACTS[:-1] + list(chosen)].rename(columns=chosen)


def seeds(scores):
    """Names of the score columns."""
    return [name for name in scores.columns if name.startswith("score-")]


def cut(scores, labels, splits):
    """The image score that maximises true minus false positive rate on validation.

    None where validation lacks one kind of image.
    """
    tuning = np.asarray(splits) == "validation"
    scores, labels = np.asarray(scores)[tuning], np.asarray(labels)[tuning]
    if len(np.unique(labels)) < 2:
        return None
    levels = np.unique(scores)
    gain = [(scores[labels == 1] >= x).mean() - (scores[labels == 0] >= x).mean() for x in levels]
    return float(levels[int(np.argmax(gain))])


def cuts(scores):
    """{score column: threshold or None} of a table of scores."""
    return {one: cut(scores[one], scores.label, scores.split) for one in seeds(scores)}


def outcomes(scores, labels, cut):
    """`true positive`, `false positive`, `false negative` or `true negative` for each image."""
    right = np.where((scores >= cut) == (labels == 1), "true", "false")
    return np.char.add(right, np.where(scores >= cut, " positive", " negative"))


def ranked(scores, ties):
    """Indices of scores (N,), the highest first; `ties` (N,) orders equal ones in the same way."""
    return np.lexsort((-np.asarray(ties), -np.asarray(scores)))


def alarms(scores):
    """Test images by name: true label, and the share of the seeds that call them defective.

    None where there is no threshold.
    """
    test, found = scores[scores.split == "test"].set_index("name"), cuts(scores)
    if not found or None in found.values():
        return None
    share = np.mean([test[one] >= level for one, level in found.items()], axis=0)
    return test[["defect", "label"]].assign(alarms=share)


def missed(scores):
    """The defective test images that every seed misses: defect, and each seed's score.

    Each seed has its own threshold. None where there is no threshold.
    """
    found = alarms(scores)
    if found is None:
        return None
    names = found.index[(found.label == 1) & (found.alarms == 0)]
    table = scores[scores.split == "test"].set_index("name").loc[names, ["defect", *seeds(scores)]]
    return table.rename(columns=lambda name: name.replace("score-", "score, seed "))


def near_the_top(scores, count=10):
    """How far apart the highest test scores of each seed lie, and how many images share the first.

    If many do, the map is saturated, and its scores cannot rank these images.
    """
    test, rows = scores[scores.split == "test"], {}
    for one in seeds(scores) * bool(len(test)):
        highest = np.sort(test[one].to_numpy())[::-1][:count]
        rows[f"seed {one[6:]}"] = {
            "highest score": highest[0],
            f"score of place {len(highest)}": highest[-1],
            "images with the highest score": int((test[one] == highest[0]).sum()),
            f"different scores in the first {len(highest)}": len(np.unique(highest)),
        }
    return pd.DataFrame(rows).T.convert_dtypes()


def rates(scores):
    """Share of the defective and of the good test images that alarm, {label: [percent by seed]}."""
    test, found = scores[scores.split == "test"], cuts(scores)
    return {
        label: [100 * (test[one] >= cut)[test.label == label].mean() for one, cut in found.items()]
        for label in (0, 1)
    }


def by_threshold(scores, points=41):
    """Counts of test images against the threshold, long: threshold, outcome, seed, images.

    A row of each seed and outcome for `points` thresholds between its least and greatest score.
    """
    test, rows = scores[scores.split == "test"], []
    for one in seeds(scores) if len(test) else ():
        values = test[one].to_numpy()
        for level in np.linspace(values.min(), values.max(), points):
            counts = pd.Series(outcomes(values, test.label.to_numpy(), level)).value_counts()
            rows += [(level, NAMES[kind], one[6:], counts.get(kind, 0)) for kind in NAMES]
    return pd.DataFrame(rows, columns=["threshold", "outcome", "seed", "images"])


def changed(before, after):
    """Test images whose verdict, that of most seeds, differs between two tables of scores.

    Returns defect, truth and the share of alarming seeds before and after; right or wrong now. None
    where a side has no threshold.
    """
    both, later = alarms(before), alarms(after)
    if both is None or later is None:
        return None
    both = both.join(later.alarms.rename("alarms_after"), how="inner")
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
