"""The answers that notebooks and pages begin with, each computed from the results of the run."""

import numpy as np
import pandas as pd

from study.scoring import metrics, thresholds
from study.tables import paper
from study.tables.format import counted, listed, method_name, over_seeds, spread


def dataset(category, pairs):
    """How many images there are, and what could mislead us; pairs: of `near_duplicates`."""
    real, grey = ~category.drawn, category.images.mean(axis=(1, 2, 3))
    test = real & (category.splits == "test")
    held_out, alike = real & (category.splits != "train"), len({name for _, name, _ in pairs})
    said = (
        f"**Answer.** There are {len(category.training_images())} good images to train on and "
        f"{(held_out & (category.labels == 1)).sum()} real defective ones to find. "
    )
    if len(np.unique(category.labels[test])) == 2:
        area = metrics.image_auroc(grey[test], category.labels[test])
        said += (
            "Mean brightness alone separates good from defective test images with an AUROC of "
            f"{100 * max(area, 1 - area):.1f} %; a method has to beat that. "
        )
    else:
        said += "The test split lacks good or defective images, so no AUROC can be measured. "
    return said + f"{alike} of {held_out.sum()} held-out images closely resemble a training image."


def baseline(frame):
    """Image AUROC of every set of teacher levels on real test images."""
    real = paper.real(frame[frame.split == "test"])
    if real.empty:
        return (
            "**Answer.** No baseline was measured: `baseline.levels` is empty, or the test split "
            "lacks good or defective images."
        )
    found = spread(real)["image_auroc"].droplevel(["benchmark", "student"])
    best = real.groupby("map").image_auroc.mean().idxmax()
    rows = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in found.items())
    return (
        f"**Answer.** Without any training, the teacher's features reach an image AUROC of "
        f"{found[best]} % on real test images (best row: {best.replace('_', ' ')}; all rows: "
        f"{rows}). A "
        "student and a segmentation network are worth what they add to this."
    )


def evaluation(frame, student, left_out):
    """The headline student's test figures; left_out: sentences on what cannot be scored."""
    test = frame[(frame.split == "test") & (frame.student == student)]
    real, masks = paper.real(test), test[test.pixel_ap.notna()]
    said = ["**Answer.**"]
    if len(real):
        both = spread(real).droplevel(["benchmark", "student"])["image_auroc"]
        said.append(
            f"On real test images, {method_name(student)} reaches an image AUROC of "
            f"{both['segmentation']} % with its segmentation map and {both['cosine']} % with its "
            "cosine map. This is how often a defective image scores above a good one."
        )
    if len(masks):
        kind = "real" if masks.real_defects.any() else "drawn"
        found = spread(masks).xs("segmentation", level="map").iloc[0]
        said.append(
            f"On {kind} defects, which have masks, the segmentation map reaches a pixel AP of "
            f"{found['pixel_ap']} % and a PRO of {found['pro']} %."
        )
    return " ".join([*said, *left_out])


def figures(scores, student):
    """How well one threshold, chosen on validation, separates the test images."""
    test = scores[scores.split == "test"]
    alarms = thresholds.alarms(scores)
    if alarms is None:
        return f"**Answer.** {thresholds.NO_CUT} The curves below cover all thresholds."
    rates, seeds = thresholds.rates(scores), len(thresholds.seeds(scores))
    words = ((1, "finds", "defective test images"), (0, "raises false alarms on", "good ones"))
    parts = [
        f"{verb} {over_seeds(pd.Series(rates[label]))} % of the {many} {kind}"
        for label, verb, kind in words
        if (many := (test.label == label).sum())
    ]
    missed = int((alarms.query("label == 1").alarms == 0).sum())
    return (
        "**Answer.** With one threshold for all images, chosen on validation, "
        f"{method_name(student)} {listed(parts)} (mean over {counted(seeds, 'seed')}). Every seed "
        f"misses {counted(missed, 'defective image')}."
    )


def explore(view, seed, index):
    """The method's verdict on the image at `index` of `view.held_out`."""
    scores, labels = view.scores(seed, "segmentation"), view.held_out.labels
    cut, score = view.cut(scores), scores[index]
    truth = ("good", "defective")[int(labels[index])]
    said = f"**Answer.** `{view.held_out.names[index]}` is {truth}"
    if cut is None:
        said += f" and its score is {score:.3f}. {thresholds.NO_CUT} "
    else:
        called = ("good", "defective")[int(score >= cut)]
        said += (
            f" and the method calls it **{called}**: its score is {score:.3f} and the "
            f"threshold is {cut:.3f}. "
        )
    shares = [
        f"{(scores[chosen] < score).mean():.0%} of the {kind}"
        for label, kind in ((0, "good"), (1, "defective"))
        for chosen in [view.real & (labels == label)]
        if chosen.any()
    ]
    return said + (f"It scores above {listed(shares)} test images." if shares else "")


def pro(table):
    """How far the way of reading a map moves its PRO; table: of `pro_variants.table`."""
    if table.empty:
        return "**Answer.** There are no masks here, so there is no PRO."
    exact = table.iloc[0]
    read = table.loc[("thresholds", "100 equidistant, stretched")]
    squared = table.loc[("same order of pixels", "map squared, 100, stretched")]
    if undefined := [name[4:] for name in table if np.isnan(read[name] + squared[name])]:
        return (
            f"**Answer.** MambaAD's way of reading a map gives no figure for the "
            f"{listed(undefined)} or its square: its thresholds reach a single false-positive "
            "rate below the limit."
        )
    maps = [
        f"{exact[name]:.1f} to {read[name]:.1f} % on the {name[4:]} ({squared[name]:.1f} % on its "
        "square)"
        for name in table
    ]
    moved = max((one - exact).abs().max() for one in (read, squared))
    ties = (table.loc["ties"] - exact).abs().max(axis=None)
    regions = (table.loc[("regions", "4-connected")] - exact).abs().max()
    return (
        f"**Answer.** MambaAD's way of reading a map changes PRO from {listed(maps)}. Squaring a "
        "map keeps the order of its pixels, so by definition its PRO does not change. The reading "
        f"alone moves these figures by up to {moved:.1f} points, ties of an 8-bit map by up to "
        f"{ties:.1f}, and 4-connected regions by up to {regions:.1f}; the published figures differ "
        "by 8.4."
    )
