"""The paper's claims as questions, and this study's answers: differences paired by seed.

A part helps where its row beats the row without it on the same images with the same seed, in the
mean of the categories. Every such pair of rows of the paper's table 4 is compared, not only those
that the paper speaks of.
"""

from collections import Counter
from typing import NamedTuple

import pandas as pd

from lib.paper import METHOD, paper_table4, real
from lib.report import paired, test_rows

MAP_NAMES = {"segmentation": "segmentation network", "cosine": "product of cosine maps"}
BETTER, WORSE = "better in every seed", "worse in every seed"
WITHIN = "no difference beyond the spread of the seeds"
DISAGREE = "undecided: the seeds disagree"
ALONE = "undecided: one seed has no spread"


class Claim(NamedTuple):
    """A question, what the paper says to it, and the rows (student, map) that can answer it.

    comparisons: (what is held fixed, row with, row without); the first is about the method itself.
    """

    key: str
    question: str
    paper: str
    comparisons: tuple


def _students(one, other, decider):
    """Comparisons of students by both maps; `decider` names what is the same in both, or None."""
    for kind in ("segmentation", "cosine"):
        yield f"{decider}, {MAP_NAMES[kind]}", (one, kind), (other, kind)


FIXED = (
    Claim(
        "denoising",
        "Does denoising help here?",
        "There it costs by cosine maps, and pays with a decoder and the segmentation network.",
        (
            *_students("full", "encoder_decoder", "with a decoder"),
            *_students("denoising", "plain", "without a decoder"),
        ),
    ),
    Claim(
        "encoder-decoder",
        "Does the encoder-decoder help?",
        "There it helps in all four comparisons.",
        (
            *_students("full", "denoising", "with denoising"),
            *_students("encoder_decoder", "plain", "without denoising"),
        ),
    ),
    Claim(
        "fusion",
        "Does a segmentation network fuse better than the product of cosine maps?",
        "There it does for every student, most of all for the full one.",
        tuple(
            (f"{student.replace('_', '-')} student", (student, "segmentation"), (student, "cosine"))
            for student in ("full", "plain", "denoising", "encoder_decoder")
        ),
    ),
)


def claims(tables):
    """All questions; the full method is compared with every row of the baseline, best first."""
    rivals = real(test_rows(tables.baseline)).groupby(["student", "map"]).image_auroc.mean()
    against = [
        (f"against {row[1]}", METHOD, row) for row in rivals.sort_values(ascending=False).index
    ]
    question = "Does the full method beat a nearest-neighbour search in the teacher's features?"
    return *FIXED, Claim("baseline", question, "The paper has no such row.", tuple(against))


def verdict(pairs):
    """Words for paired differences: a sign that all seeds share, or how far they spread."""
    if len(pairs) < 2:
        return ALONE
    if (pairs > 0).all() or (pairs < 0).all():
        return BETTER if pairs.iloc[0] > 0 else WORSE
    return WITHIN if abs(pairs.mean()) <= pairs.std(ddof=1) else DISAGREE


def compare(frame, label, one, other, metric="image_auroc"):
    """One comparison as a dict: rows, pairs {seed: points}, mean, deviation, verdict.

    `categories` says how the categories' own verdicts differ ("" for one category); `paper` is the
    paper's difference in points, None where it lacks one of the rows.
    """
    by_category = paired(frame, one, other, metric).unstack("category")
    pairs = by_category.dropna().mean(axis=1)
    verdicts = Counter(verdict(column.dropna()) for _, column in by_category.items())
    parts = [f"{count} {words}" for words, count in verdicts.most_common()]
    quoted = paper_table4()[metric]
    known = one in quoted.index and other in quoted.index
    return {
        "label": label,
        "one": one,
        "other": other,
        "pairs": pairs.to_dict(),
        "mean": pairs.mean(),
        "deviation": pairs.std(ddof=1),
        "paper": float(round(quoted[one] - quoted[other], 1)) if known else None,
        "verdict": verdict(pairs),
        "categories": "; ".join(parts) if by_category.shape[1] > 1 else "",
    }


def answers(tables):
    """Every claim with its comparisons on test rows of real defects, and one line that sums up."""
    frame = pd.concat([tables.test, test_rows(tables.baseline)])
    for claim in claims(tables):
        found = [compare(frame, *comparison) for comparison in claim.comparisons]
        yield claim._asdict() | {"comparisons": found, "verdict": summary(found)}


def summary(comparisons):
    """The verdict on a claim: that of the comparisons where they agree, else a count."""
    verdicts = [one["verdict"] for one in comparisons]
    better, worse, all_of = verdicts.count(BETTER), verdicts.count(WORSE), len(verdicts)
    if not verdicts:
        return "Not measured"
    if set(verdicts) == {ALONE}:
        return "Undecided: one seed has no spread"
    if not better + worse:
        same = set(verdicts) == {WITHIN}
        return "No difference beyond the spread of the seeds" if same else "The seeds disagree"
    if all_of in (better, worse):
        return "Yes, in every comparison and seed" if better else "No, worse in every comparison"
    counted = [f"{word} in {n}" for word, n in (("better", better), ("worse", worse)) if n]
    counted = f"{' and '.join(counted)} of {all_of} comparisons, the rest undecided"
    word = "It depends" if better and worse else "Partly" if better else "No sign of it"
    return f"{word}: {counted}"
