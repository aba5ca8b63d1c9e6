"""Segmentation networks of the reader's own beside the method's, on the same full students.

Tables 5 and 6 of the paper ask this of MVTec AD (`paper.heads_table`); here it is asked of a study
whose params.yaml declares `heads`.
"""

import pandas as pd

from lib.evaluation import METRICS, plus_minus
from lib.paper import METHOD, markdown, points

ITEM = ["category", "benchmark", "seed"]
NAMED = ["category", "benchmark", "head", "input", "l1_weight"]


def beside_method(test, heads, segmentation):
    """A row for each head and category, the method's first: percent, and the paired difference.

    test, heads: rows of the test split; segmentation: the method's own settings, for its row. Only
    items that heads ran on count. The last column is in points of image AUROC.
    """
    chosen = (test.student == METHOD[0]) & (test["map"] == METHOD[1])
    own = {"head": "method", "input": segmentation.input, "l1_weight": segmentation.l1_weight}
    method = test[chosen].merge(heads[ITEM].drop_duplicates()).assign(**own)
    both = pd.concat([method, heads]).sort_values("real_defects", ascending=False, kind="stable")
    reference = method.set_index(ITEM).image_auroc * 100
    rows = {}
    for key, group in both.groupby(NAMED, sort=False):
        scores = group.set_index(ITEM)[METRICS].astype(float) * 100
        found = {m: plus_minus(scores[m].mean(), scores[m].std(ddof=1)) for m in METRICS}
        pairs = (scores.image_auroc - reference).dropna()
        rows[key] = found | {"head − method": "" if key[2] == "method" else points(pairs)}
    frame = pd.DataFrame.from_dict(rows, orient="index").dropna(axis=1, how="all")
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=NAMED)
    return frame.fillna("–")


def section(test, heads, segmentation):
    """Markdown blocks for the study's page; none where no heads are declared."""
    if heads.empty:
        return []
    return [
        "## Other segmentation networks (`heads`; percent, difference in points of image AUROC)",
        markdown(beside_method(test, heads, segmentation)),
    ]
