"""A table by type of defect: which kinds of defect are found, and which are missed."""

import pandas as pd

from study import results
from study.scoring import metrics, thresholds
from study.scoring.scores import MAPS, load_scores
from study.tables.format import markdown, plus_minus

TITLE = "Test images by type of defect"
ABOUT = (
    "Percent, mean ± standard deviation over seeds. Each type is ranked against all good test "
    "images. “Found” is the share of its images that reach the threshold chosen on validation; "
    "without a validation split, there is none."
)


def by_type(images, student):
    """A row for each type of real test defect: images, image AUROC of both maps, share found.

    images: a table of scores by image. Each type is ranked against all good test images. The share
    found is at the threshold that validation chooses, and is left out where there is none. Percent,
    mean ± standard deviation over seeds. Empty without good or defective test images.
    """
    rows = {}
    for kind in MAPS:
        scores = thresholds.table(images, student, kind)
        seeds, cuts = thresholds.seeds(scores), thresholds.cuts(scores)
        test = scores[scores.split == "test"]
        good, defective = test[test.label == 0], test[test.label == 1]
        for defect, group in defective.groupby("defect") if len(good) else ():
            both, row = pd.concat([good, group]), rows.setdefault(defect, {"images": len(group)})
            row[f"image AUROC, {kind}"] = spread(
                metrics.image_auroc(both[one].to_numpy(), both.label.to_numpy()) for one in seeds
            )
            if None not in cuts.values():
                row[f"found, {kind}"] = spread((group[one] >= cuts[one]).mean() for one in seeds)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("defect")


def spread(shares):
    """`93.1 ± 0.4` in percent of a share for each seed."""
    values = 100 * pd.Series([*shares])
    return plus_minus(values.mean(), values.std(ddof=1))


def sections(settings):
    """Markdown blocks: a heading and each category's table, of those that have one."""
    blocks = []
    for category in settings.categories:
        images = load_scores(results.scores(settings.study, category))
        found = by_type(images, settings.headline)
        if len(found):
            blocks += [f"### {category}", markdown(found)]
    return [f"## {TITLE}", ABOUT, *blocks] if blocks else []
