"""A table by type of defect: which kinds of defect are found, and which are missed."""

import pandas as pd

from study import results
from study.scoring import conformal, metrics, thresholds
from study.scoring.scores import load_scores
from study.tables.format import markdown, over_seeds

TITLE = "Test images by type of defect"
ABOUT = (
    "Percent, mean ± standard deviation over seeds. Each type is ranked against all good test "
    "images. “Found” is the share of its images that score above the threshold. The threshold "
    "comes from good images alone and allows {alpha:g} % false alarms. With too few calibration "
    "images there is none."
)


def about(settings):
    """ABOUT in the numbers of params.yaml."""
    return ABOUT.format(alpha=100 * settings.calibration.alpha[0])


def load(settings, category):
    """Scores by image of the networks and of the combination, if there is one."""
    images = load_scores(results.scores(settings.study, category))
    more = load_scores(results.scores(settings.study, category, "calibration"))
    return images.join(more.loc[:, more.columns.str.startswith("none/combined/")])


def by_type(images, settings):
    """A row for each type of real test defect: images, image AUROC of each map, share found.

    images: the result of `load`. Empty without good or defective test images.
    """
    rows, maps = {}, {"cosine": settings.headline, "segmentation": settings.headline}
    for kind, student in (maps | {"combined": "none"}).items():
        scores = thresholds.table(images, student, kind)
        seeds, cuts = thresholds.seeds(scores), calibrated(scores, settings.calibration.alpha[0])
        test = scores[scores.split == "test"]
        good, defective = test[test.label == 0], test[test.label == 1]
        for defect, group in defective.groupby("defect") if len(good) and seeds else ():
            both, row = pd.concat([good, group]), rows.setdefault(defect, {"images": len(group)})
            areas = [metrics.image_auroc(both[x].to_numpy(), both.label.to_numpy()) for x in seeds]
            row[f"image AUROC, {kind}"] = over_seeds(100 * pd.Series(areas))
            if cuts:
                found = [(group[one] > cuts[one]).mean() for one in seeds]
                row[f"found, {kind}"] = over_seeds(100 * pd.Series(found))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("defect")


def calibrated(scores, alpha):
    """{score column: its conformal threshold}; empty where too few images calibrate."""
    known = scores[(scores.split == "validation") & (scores.label == 0)]
    try:
        return {one: conformal.threshold(known[one], alpha) for one in thresholds.seeds(scores)}
    except ValueError:
        return {}


def sections(settings):
    """Markdown blocks: a heading and each category's table, of those that have one."""
    blocks = []
    for category in settings.categories:
        found = by_type(load(settings, category), settings)
        if len(found):
            blocks += [f"### {category}", markdown(found)]
    return [f"## {TITLE}", about(settings), *blocks] if blocks else []
