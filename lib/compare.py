"""Two experiments side by side: parameters, scores paired by seed, verdicts that changed.

    python -m lib.compare A B       # writes rendered/compare/<A>--<B>.ipynb and .html

A and B are what `revisions.load` takes: git's names, or DVC's of experiments; empty: as it is now.
"""

import re
import sys

import pandas as pd

from lib import interruption, revisions, verdicts
from lib.claims import verdict
from lib.evaluation import METRICS, plus_minus
from lib.paper import points, rows_of, seed_means
from lib.params import ROOT

ROW = ["category", "benchmark", "student", "map"]


def both(before, after, root=ROOT):
    """Two experiments of one study. Raises ValueError where they are of different ones."""
    one, two = (revisions.load(name, root) for name in (before, after))
    studies = [found.params["study"] for found in (one, two)]
    if len(set(studies)) > 1:
        raise ValueError(
            f"{one.name} is of the study {studies[0]}, {two.name} of {studies[1]}: their images "
            "differ, so their scores cannot be paired; compare two runs of one study"
        )
    return one, two


def parameters(one, two):
    """Parameters that differ: key, value in A and in B; – where a side lacks the key."""
    keys = dict.fromkeys([*one.params, *two.params])
    rows = [(key, *(str(side.params.get(key, "–")) for side in (one, two))) for key in keys]
    rows = [row for row in rows if row[1] != row[2]]
    columns = ["parameter", f"A: {one.name}", f"B: {two.name}"]
    return pd.DataFrame(rows, columns=columns).set_index("parameter")


def _percent(side, metric):
    return side.rows.set_index([*ROW, "seed"])[metric].astype(float).rename(None) * 100


def said(pairs):
    """The verdict on differences paired by seed; equal bits are said to be equal."""
    return "–" if pairs.empty else "unchanged" if (pairs == 0).all() else verdict(pairs)


def beside(one, two, metric="image_auroc"):
    """A row for each row of the tables: B − A in points paired by seed, the verdict, A and B."""
    table = pd.concat({"A": _percent(one, metric), "B": _percent(two, metric)}, axis=1, sort=False)
    found = {}
    for key, rows in table.dropna(how="all").groupby(ROW, sort=False):
        pairs = (rows.B - rows.A).dropna()
        a, b = (plus_minus(rows[side].mean(), rows[side].std(ddof=1)) or "–" for side in "AB")
        found[key] = [points(pairs), said(pairs), a, b]
    columns = ["B − A (points)", "verdict", f"A: {one.name}", f"B: {two.name}"]
    frame = pd.DataFrame.from_dict(found, orient="index", columns=columns)
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=ROW)
    return frame


def gains(one, two):
    """B − A in points of every metric that both measured, a row for each row of the tables."""
    columns = {metric: beside(one, two, metric)["B − A (points)"] for metric in METRICS}
    frame = pd.DataFrame(columns, index=columns["image_auroc"].index).fillna("–")
    return frame.loc[(frame[METRICS[1:]] != "–").any(axis=1)]


def flipped(one, two):
    """Test images whose verdict changed, of the categories that both have scores of."""
    shared = [category for category in one.scores if category in two.scores]
    tables = {c: verdicts.changed(one.scores[c], two.scores[c]) for c in shared}
    return (
        pd.concat(tables, names=["category", "image"]) if tables else pd.DataFrame(columns=["now"])
    )


def answer(one, two):
    """Two sentences: what was changed, and what became of the full method and its verdicts."""
    table = parameters(one, two)
    shown = [f"`{key}` {a} → {b}" for key, a, b in table.head(3).itertuples(name=None)]
    more = [f"{len(table) - 3} more"] if len(table) > 3 else []
    what = f"{len(table)} parameters differ" if len(table) > 1 else "one parameter differs"
    what = f"{what}: {', '.join(shown + more)}" if len(table) else "no parameter differs"
    shared = [c for c in one.params["categories"] if c in two.params["categories"]]
    a, b = (seed_means(rows_of(x.rows), "image_auroc", shared) for x in (one, two))
    pairs = (b - a).dropna()
    levels = [plus_minus(x.mean(), x.std(ddof=1)) for x in (a, b)]
    images = flipped(one, two)
    right = int((images["now"] == "right").sum())
    if not set(one.scores) & set(two.scores):
        flips = "whether verdicts changed is unknown, as a side keeps no scores of single images"
    elif images.empty:
        flips = "no test image changes its verdict"
    else:
        flips = f"{len(images)} test images change their verdict, {right} of them to the right one"
    return (
        f"**Answer.** From {one.name} to {two.name}, {what}. The full method's image AUROC goes "
        f"from {levels[0]} to {levels[1]} % ({points(pairs)} points over {len(pairs)} paired "
        f"seed{'s' * (len(pairs) != 1)}: {said(pairs)}); {flips}."
    ) + "".join(warnings(one, two))


def warnings(one, two):
    """A sentence for each side whose results are older than its params.yaml."""
    for side in (one, two):
        if side.stale:
            yield (
                f"\n\n**Careful:** the results of {side.name} were made with other values of "
                f"{', '.join(side.stale[:5])}; `dvc repro` brings them up to date."
            )


def main(arguments):
    """The command line; returns the exit status."""
    from lib import notebook, rendered  # not for the notebook, which imports this

    before, after = [*arguments, "", ""][:2]
    name = re.sub(r"[^\w.-]+", "_", f"{before or 'working-tree'}--{after or 'working-tree'}")
    target = ROOT / "rendered" / "compare" / f"{name}.ipynb"
    try:
        both(before, after)  # a wrong name is told before a kernel starts
        parameters = {"before": before, "after": after}
        notebook.run(ROOT / "notebooks" / "compare.ipynb", target, parameters)
        with interruption.whole(target.with_suffix(".html")) as path:
            style = (ROOT / "templates" / "site.css").read_text(encoding="utf-8")
            path.write_text(rendered.alone(target, style), encoding="utf-8")
    except (ValueError, OSError, notebook.NotebookError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    shown = target.relative_to(ROOT)
    print(f"{shown}, and to read in a browser {shown.with_suffix('.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
