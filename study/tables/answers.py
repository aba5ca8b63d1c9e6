"""The sentences that notebooks and pages begin with, each computed from the run's own results."""

import numpy as np
import pandas as pd

from study.scoring import metrics, thresholds
from study.tables import paper
from study.tables.format import counted, level, listed, method_name, plus_minus, spread, upper


def dataset(category, pairs):
    """What there is to learn from, and what could fool us; pairs: of `near_duplicates`."""
    real, grey = ~category.drawn, category.images.mean(axis=(1, 2, 3))
    test = real & (category.splits == "test")
    held_out, alike = real & (category.splits != "train"), len({name for _, name, _ in pairs})
    said = (
        f"**Answer.** There are {len(category.training_images())} good images to learn from and "
        f"{(held_out & (category.labels == 1)).sum()} real defective ones to find. "
    )
    if len(np.unique(category.labels[test])) == 2:
        area = metrics.image_auroc(grey[test], category.labels[test])
        said += (
            "Mean brightness alone tells good from defective test images with an AUROC of "
            f"{100 * max(area, 1 - area):.1f} %, which a method has to beat. "
        )
    else:
        said += "The test split lacks good or defective images, so no AUROC can be measured. "
    return said + f"{alike} of {held_out.sum()} held-out images look almost like a training image."


def baseline(frame):
    """The rows of all sets of teacher levels: which is best on real test images."""
    if frame.empty:
        return "**Answer.** No baseline is measured: `baseline.levels` is empty, or nothing tested."
    real = paper.real(frame[frame.split == "test"])
    if real.empty:
        return "**Answer.** No real defective test images, so no image AUROC on real defects."
    found = spread(real)["image_auroc"].droplevel(["benchmark", "student"])
    best = real.groupby("map").image_auroc.mean().idxmax()
    levels = ", ".join(f"{name[18:].replace('_', '-')}: {value}" for name, value in found.items())
    return (
        f"**Answer.** Without any training the teacher's features give an image AUROC of "
        f"{found[best]} % on real test images, with teacher level {best[18:].replace('_', '-')} "
        f"the best (levels {levels}). A student and a segmentation network gain only what they "
        "reach above this."
    )


def evaluation(frame, student, left_out):
    """The headline student's test rows: images, then pixels; left_out: what cannot be scored."""
    test = frame[(frame.split == "test") & (frame.student == student)]
    real, masks = paper.real(test), test[test.pixel_ap.notna()]
    said = ["**Answer.**"]
    if len(real):
        both = spread(real).droplevel(["benchmark", "student"])["image_auroc"]
        said.append(
            f"On real test images {method_name(student)} gives an image AUROC of "
            f"{both['segmentation']} % by its segmentation map and {both['cosine']} % by its "
            "cosine map: so often a defective image scores above a good one."
        )
    if len(masks):
        kind = "real" if masks.real_defects.any() else "drawn"
        found = spread(masks).xs("segmentation", level="map").iloc[0]
        said.append(
            f"On {kind} defects, whose pixels are known, the segmentation map has a pixel AP of "
            f"{found['pixel_ap']} % and PRO {found['pro']} %."
        )
    return " ".join([*said, *left_out])


def figures(scores, student):
    """How well one threshold, chosen on validation, separates the test images."""
    test = scores[scores.split == "test"]
    alarms = thresholds.alarms(scores)
    if alarms is None:
        return f"**Answer.** {thresholds.NO_CUT} The curves below cover all thresholds."
    rates, many = thresholds.rates(scores), len(thresholds.seeds(scores))
    deviation = {label: np.std(x, ddof=1) if many > 1 else np.nan for label, x in rates.items()}
    said = "**Answer.** With one threshold for all images, chosen on validation, "
    said += f"{method_name(student)} "
    parts = [
        f"{verb} {plus_minus(np.mean(rates[label]), deviation[label])} % of the "
        f"{(test.label == label).sum()} {kind}"
        for label, verb, kind in (
            (1, "finds", "defective test images"),
            (0, "raises false alarms on", "good ones"),
        )
        if (test.label == label).any()
    ]
    missed = int((alarms.query("label == 1").alarms == 0).sum())
    return said + (
        f"{listed(parts)} (mean over {counted(many, 'seed')}). Every seed misses "
        f"{counted(missed, 'defective image')}."
    )


def explore(view, seed, index):
    """How the method judges the image at `index` of `view.held_out`."""
    scores, labels = view.scores(seed, "segmentation"), view.held_out.labels
    cut, score = view.cut(scores), scores[index]
    truth = ("good", "defective")[int(labels[index])]
    said = f"**Answer.** `{view.held_out.names[index]}` is {truth}"
    if cut is None:
        said += f" and its score is {score:.3f}. {thresholds.NO_CUT} "
    else:
        called = ("good", "defective")[int(score >= cut)]
        said += (
            f" and the method calls it **{called}**: its score is {score:.3f}, the threshold "
            f"{cut:.3f}. "
        )
    shares = [
        f"{(scores[chosen] < score).mean():.0%} of the {kind}"
        for label, kind in ((0, "good"), (1, "defective"))
        for chosen in [view.real & (labels == label)]
        if chosen.any()
    ]
    return said + (f"It scores above {listed(shares)} test images." if shares else "")


def ablations(claims, reached, student):
    """The headline with its interval, then every claim's answer on the method itself.

    claims: of `claims.answers`; reached: of `claims.reached` for the method, or None.
    """
    said = "**Answer.** No image AUROC on real defects was measured."
    if reached:
        mean, _, images = reached
        where = " (95 % interval over test images)" if images else ""
        said = (
            f"**Answer.** {upper(method_name(student))} reaches an image AUROC of "
            f"{level(mean, images)} percent on real defects{where}."
        )
    lines = []
    for claim in claims:
        lines.append(f"- {claim['question']} **{claim['verdict']}.**")
        lines += [f"    - {upper(one.figure)}. {one.sentence}" for one in claim["first"]]
    return "\n".join([said, "", *lines]) if lines else said


def paper_figures(test):
    """What was run of the paper's grid, and how many figures lie within the paper's spread."""
    if not paper.applies(test):
        return (
            "The paper's figures are for MVTec AD and this study is not, so there is no table to "
            "compare with."
        )
    rows = paper.rows_of(test)
    measured = paper.within(test)
    text = (
        f"Run: {paper.coverage(rows)}; the paper: {len(paper.CATEGORIES)} categories, 5 seeds. "
        f"{(measured == 'yes').sum()} of {len(measured)} measured figures that the paper gives a "
        "standard deviation for lie within two of these (+ 0.05 for rounding)."
    )
    if rows.seed.nunique() == 1:
        text += " One seed has no spread of its own: a single no may be the luck of the seed."
    return text


def compare(parameters, student, levels, said, flipped):
    """What was changed, what became of the method, and of the verdicts on images.

    levels: mean and deviation of A and B; said: the answer to "Is B better?"; flipped: images whose
    verdict changed, or a sentence on why that is unknown.
    """
    shown = [f"`{key}` {a} → {b}" for key, a, b in parameters.head(3).itertuples(name=None)]
    more = [f"{len(parameters) - 3} more"] if len(parameters) > 3 else []
    many = len(parameters)
    what = f"{many} parameters differ" if many > 1 else "one parameter differs"
    what = f"{what}: {', '.join(shown + more)}" if many else "no parameter differs"
    before, after = (name[3:] for name in parameters.columns)
    if isinstance(flipped, pd.DataFrame):
        right = int((flipped["now"] == "right").sum())
        changed = (
            f"{counted(len(flipped), 'test image')} changed verdict, {right} to the right one."
        )
        flipped = changed if len(flipped) else "No test image changed its verdict."
    return (
        f"**Answer.** From {before} to {after}, {what}. The image AUROC of {method_name(student)} "
        f"goes from {levels[0]} to {levels[1]} %. {said} {flipped}"
    )
