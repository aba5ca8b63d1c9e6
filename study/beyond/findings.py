"""What the cells of the scaling study say, computed."""

from study.beyond import scaling
from study.beyond.cells import IMAGES, LADDER_IMAGES, LADDER_WIDTHS, SEEDS, TEACHERS, WIDTHS
from study.beyond.ledger import missing
from study.tables.format import counted, listed

NEAR = 0.8  # R of cells that are left out of the fit
LEAST = {"law": 12, "detection": 6, "ladder": 5}  # cells of an answer, and teachers of the ladder


def split(rows):
    """(trainings of the law, of the teachers' ladder), which share those of Lite0.

    New columns: `cell` is its name, whose seeds stay together in resamples. `corner` is the widest
    student with the most images, held out of the fit. `beginning` is a cell still near the constant
    predictor, where no power law can hold. This rule was made after the first cells were seen: at
    100 images, R was about 1 at every width.
    """
    names = rows.teacher + " " + rows.width.astype(str) + " " + rows.images.astype(str)
    rows = rows.assign(cell=names)
    grid = rows.images.isin(IMAGES) & rows.width.isin(WIDTHS) & rows.seed.astype(int).isin(SEEDS)
    law = rows[(rows.teacher == "lite0") & grid]
    corner = (law.width == law.width.max()) & (law.images == law.images.max())
    ladder = rows[(rows.images == LADDER_IMAGES) & rows.width.isin(LADDER_WIDTHS)]
    beginning = law.R.groupby(law.cell).transform("mean") > NEAR
    return law.assign(corner=corner, beginning=beginning), ladder


def fitted(law, resamples):
    """The table of `scaling.fit` without the corner, or None for too few cells."""
    if law.cell.nunique() < LEAST["law"]:
        return None
    rows = law[~law.corner & ~law.beginning]
    return scaling.fit(rows.parameters, rows.images, rows.R, rows.cell, resamples)


def counts(rows):
    seeds = counted(rows.seed.nunique(), "seed")
    return f"{counted(rows.cell.nunique(), 'cell')}, {len(rows)} trainings, {seeds}"


def interval(value, ends, form):
    """`+0.50 [+0.41, +0.60]` in a format of numbers."""
    low, high = ends
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def law(rows, fit):
    """What the law is, which exponents are known, and how far it is off in the held-out corner."""
    if fit is None:
        return missing("the law of width and images")
    exponents = [
        f"{name} = {interval(value, ends, '.2f')}{'' if determined else ', undetermined'}"
        for name, value, *ends, determined, _ in fit.loc[["a", "b"]].itertuples()
    ]
    check, at = "The cell that is left out of the fit is not trained yet.", rows[rows.corner]
    if len(at):
        guess = scaling.predict(fit.raw, at.parameters, at.images)[0]
        check = (
            f"For the cell that was left out of the fit, it predicts R = {guess:.3f}; the measured "
            f"R is {at.R.mean():.3f}."
        )
    return (
        f"The law R = E + A/N^a + B/D^b ({counts(rows[~rows.beginning])} with R up to {NEAR}): "
        f"{'; '.join(exponents)}. {check}"
    )


def sign(ends, below, above):
    """What it means that an interval lies below or above zero."""
    low, high = ends
    return below if high < 0 else above if low > 0 else "undetermined"


def detection(law, resamples):
    """Whether a lower R goes with a better cosine map, over all cells and among the best half."""
    if law.cell.nunique() < LEAST["detection"]:
        return missing("detection against imitation")
    parts, best = [], law[law.R.median() >= law.R]
    for rows, name in ((law, "all cells"), (best, "the better half of the trainings")):
        value, ends = scaling.rank_correlation(rows.R, rows.auroc_test, rows.cell, resamples)
        found = sign(ends, "a better student detects better", "a better student detects worse")
        parts.append(f"in {name} {interval(value, ends, '+.2f')}, {found}")
    return f"Rank correlation of R with the image AUROC of the cosine map: {'; '.join(parts)}."


def ladder(rows, resamples):
    """The curvature of detection in the teacher's strength for each width, and what is missing."""
    means = rows.groupby("teacher").auroc_test.mean().mul(100).sort_values(ascending=False)
    absent = [f"`{name}`" for name in TEACHERS if name not in means]
    left = f" Not measured: {listed(absent)}." if absent else ""
    if len(means) < LEAST["ladder"]:
        return missing("the ladder of teachers") + left
    parts = []
    for width, group in rows.groupby("width"):
        value, ends = scaling.curvature(group.strength, 100 * group.auroc_test, resamples)
        found = sign(ends, "an arch", "a bowl")
        parts.append(f"width {width} {interval(value, ends, '+.1f')}, {found}")
    levels = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
    return (
        f"Curvature of image AUROC in the teacher's strength, in points ({counts(rows)}): "
        f"{'; '.join(parts)}. An arch would mean that a teacher of medium strength is best. A "
        "damaged or random teacher at the weak end also bends the fitted quadratic. "
        f"Mean AUROC: {levels}.{left}"
    )
