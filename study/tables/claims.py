"""The paper's claims as questions, and this study's answers, all by one rule.

A part helps if its row beats the row without it on the same images and seeds, averaged over the
categories. Every such pair of rows of the paper's table 4 is compared, also those that the paper
does not discuss, in image AUROC and, where there are masks, in pixel AP and IAP.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.scoring.metrics import METRICS
from study.scoring.resampling import METRICS as ANSWERED
from study.tables.format import brackets, counted, listed, lower, method_name, plain, signed, upper
from study.tables.intervals import Scores, seeds_interval
from study.tables.paper import HEAD, quoted_rows, quotes, real

MAP_NAMES = {"segmentation": "segmentation network", "cosine": "product of cosine maps"}
QUESTIONS = {
    "denoising": "Does denoising help here?",
    "encoder-decoder": "Does the encoder-decoder help?",
    "both": "Do denoising and the encoder-decoder help together?",
    "fusion": "Is the segmentation network better than the product of cosine maps?",
    "baseline": "Does {method} beat the teacher's features alone?",
    "heads": "Is another segmentation network better than the method's?",
}
YES, NO, OPEN = "Yes", "No", "Undetermined"
RULE = (
    "Each answer compares two rows on the same seeds and test images. It gives the mean difference "
    "in points, a 95 % t-interval over seeds and a 95 % bootstrap interval over test images "
    "({resamples:,} resamples). The answer is yes or no if neither interval includes zero and the "
    "difference is at least {smallest:g} points. It is *no difference beyond {smallest:g} points* "
    "if both intervals lie within ±{smallest:g}, and *undetermined* otherwise. The paper gives no "
    "intervals, so its answer uses its difference alone."
)
NUMBERS = [  # columns of claims.csv
    *("question", "comparison", "student", "map", "other_student", "other_map", "metric"),
    *("drawn_defects", "points", "seeds_low", "seeds_high", "images_low", "images_high"),
    *("answer", "paper_points"),
]


def rule(settings, answers):
    """RULE with the numbers of the section `claims` of params.yaml, and the effect of a correction.

    answers: from `answers`. Intervals over images would be wider, too, so no more answers remain.
    """
    said = RULE.format(smallest=settings.smallest, resamples=settings.resamples)
    found = [one for claim in answers for one in claim["answers"]]
    decided = [one for one in found if one.verdict in (YES, NO)]
    if not decided:
        return said
    wide = [seeds_interval([*one.pairs.values()], 1 - 0.05 / len(found)) for one in decided]
    return (
        f"{said} The intervals are not corrected for the number of comparisons: {len(decided)} of "
        f"{len(found)} answers are yes or no. With Bonferroni-corrected intervals over seeds, at "
        f"most {sum(low > 0 or high < 0 for low, high in wide)} are still yes or no."
    )


class Answer(NamedTuple):
    """One comparison in one metric; differences and intervals in points."""

    label: str
    one: tuple
    other: tuple
    metric: str
    drawn: bool  # on drawn defects, as the real ones have no masks
    categories: tuple
    pairs: dict  # {seed: difference}
    mean: float
    seeds: tuple | None  # the 95 % t-interval; None for one seed
    images: tuple | None  # the 95 % bootstrap interval; None for too few images
    smallest: float
    paper: float | None
    by_category: str = ""
    quoted: bool = True  # whether the paper's answer is shown (`paper.quotes`)

    @property
    def verdict(self):
        return verdict(self.mean, self.seeds, self.images, self.smallest)

    @property
    def figure(self):
        """What is compared, in words."""
        return METRICS[self.metric].label + " on drawn defects" * self.drawn

    @property
    def numbers(self):
        """`-0.9 points [-1.2, -0.6] over seeds, [-2.9, +1.1] over images`."""
        seeds = f" {brackets(self.seeds)} over seeds" if self.seeds else " (one seed)"
        images = f", {brackets(self.images)} over images" if self.images else ""
        return f"{signed(self.mean)} points{seeds}{images}"

    @property
    def reason(self):
        """Which interval includes zero, or what is missing."""
        if not self.seeds:
            return "one seed has no interval over seeds"
        if not self.images:
            return "there are too few test images for an interval over images"
        if self.verdict.startswith(NO + " "):
            return f"both intervals lie within ±{self.smallest:g}"
        both = {"seeds": self.seeds, "images": self.images}
        zero = [over for over, (low, high) in both.items() if low <= 0 <= high]
        if zero:
            one = f"the interval over {zero[0]} includes zero"
            return one if len(zero) == 1 else "both intervals include zero"
        small = ", but the difference is too small to count" * (self.verdict == OPEN)
        return f"neither interval includes zero{small}"

    @property
    def paper_says(self):
        """The paper's answer in the words of ours."""
        if not self.quoted:
            return ""
        if self.paper is None:
            return "the paper has no such comparison"
        said = verdict(self.paper, 2 * (self.paper,), 2 * (self.paper,), self.smallest)
        if self.verdict == OPEN:
            return f"the paper: {lower(said)} ({signed(self.paper)})"
        if self.verdict == said:
            return f"as in the paper ({signed(self.paper)})"
        return f"unlike the paper ({lower(said)}, {signed(self.paper)})"

    @property
    def sentence(self):
        """The answer to the claim's question, with its numbers and the paper's."""
        parts = filter(None, (self.numbers, self.reason, self.paper_says))
        return f"{self.verdict}: {'; '.join(parts)}."


def verdict(mean, seeds, images, smallest):
    """The rule: Yes, No, No difference beyond `smallest` points, or Undetermined."""
    if not seeds or not images:
        return OPEN
    low, high = min(seeds[0], images[0]), max(seeds[1], images[1])
    if (low > 0 or high < 0) and abs(mean) >= smallest:
        return YES if mean > 0 else NO
    if -smallest <= low and high <= smallest:
        return f"No difference beyond {smallest:g} points"
    return OPEN


def answer(scores, comparison, smallest):
    """The `Answer` of a comparison from `Scores` of one metric; None where a row is missing."""
    label, one, other = comparison
    if (found := scores.estimate(one, other)) is None:
        return None
    pairs, images, categories = found
    quoted, metric = quoted_rows(), scores.metric
    shown = quotes(scores.benchmarks.values())
    known = shown and metric in quoted and one in quoted.index and other in quoted.index
    paper = float(round(quoted[metric][one] - quoted[metric][other], 1)) if known else None
    counts = Counter()
    for category in categories if len(categories) > 1 else ():
        own, over_images, _ = scores.estimate(one, other, (category,))
        mean = float(np.mean([*own.values()]))
        counts[verdict(mean, seeds_interval([*own.values()]), over_images, smallest)] += 1
    return Answer(
        *(label, one, other, metric, scores.drawn, categories, pairs),
        *(float(np.mean([*pairs.values()])), seeds_interval([*pairs.values()]), images),
        *(smallest, paper),
        "; ".join(f"{count} {lower(said)}" for said, count in counts.most_common()),
        shown,
    )


def comparisons(tables):
    """{key of QUESTIONS: [(what is held fixed, row with, row without)]}, a row: (student, map).

    The first is about the method itself. Rows that were not measured are among them.
    """
    frame, student = tables.tested, tables.student
    method, networks = (student, "segmentation"), frame[frame.student != "none"]

    def students(one, other, decider):
        for kind, name in MAP_NAMES.items():
            yield f"{decider}, {name}", (one, kind), (other, kind)

    alone = frame[(frame.student == "none") & (frame["map"] != "combined")]
    rivals = real(alone).groupby("map").image_auroc.mean().sort_values(ascending=False)
    heads = sorted(set(networks["map"][networks["map"].str.startswith(HEAD)]))
    return {
        "denoising": [
            *students("full", "encoder_decoder", "with a decoder"),
            *students("denoising", "plain", "without a decoder"),
        ],
        "encoder-decoder": [
            *students("full", "denoising", "with denoising"),
            *students("encoder_decoder", "plain", "without denoising"),
        ],
        "both": [*students("full", "plain", "both or neither")],
        "fusion": [
            (f"{name.replace('_', '-')} student", (name, "segmentation"), (name, "cosine"))
            for name in dict.fromkeys([student, *networks.student])
        ],
        "baseline": [(f"against {plain(kind)}", method, ("none", kind)) for kind in rivals.index],
        "heads": [(kind.removeprefix(HEAD), (student, kind), method) for kind in heads],
    }


def answers(tables, smallest):
    """Every claim as a dict: key, question, answers, those on the method itself first, verdict."""
    scores = [Scores(tables.tested, metric, tables.draws) for metric in ANSWERED]
    for key, compared in comparisons(tables).items():
        found = [answer(s, one, smallest) for one in compared for s in scores]
        if found := [one for one in found if one]:
            question = QUESTIONS[key].format(method=method_name(tables.student))
            first = [one for one in found if one.label == found[0].label]
            yield {"key": key, "question": question, "answers": found, "first": first,
                   "verdict": summary(first)}  # fmt: skip


def summary(answers):
    """`Yes`, or `Undetermined for image AUROC; yes for pixel AP and IAP`."""
    by_verdict = {}
    for one in answers:
        by_verdict.setdefault(one.verdict, []).append(one)
    if len(by_verdict) == 1:
        return next(iter(by_verdict))
    parts = []
    for said, group in by_verdict.items():
        names = listed([METRICS[one.metric].label for one in group])
        parts.append(f"{said} for {names}{' on drawn defects' * all(x.drawn for x in group)}")
    return "; ".join([parts[0], *map(lower, parts[1:])])


def overall(answers):
    """One sentence on all questions, in image AUROC; empty where it was not compared."""
    first = [one for claim in answers for one in claim["first"] if one.metric == "image_auroc"]
    counts = Counter(one.verdict for one in first).most_common()
    many = counted(len(first), "question")
    if len(counts) == 1:
        return f"{counts[0][0]} for all {many}, in image AUROC."
    parts = [f"{lower(said)} for {number}" for said, number in counts]
    return upper(f"{listed(parts)} of {many}, in image AUROC.") if parts else ""


def figures(one):
    """`-0.9 [-1.2, -0.6] [-2.9, +1.1]`: difference, interval over seeds and over images."""
    return " ".join([signed(one.mean), *map(brackets, filter(None, (one.seeds, one.images)))])


def table(answers):
    """All answers for readers: a row for each comparison and metric."""
    rows = [
        {
            "question": claim["question"], "comparison": one.label, "figure": one.figure,
            "answer": one.verdict, "points [over seeds] [over images]": figures(one),
            "why": one.reason, "paper (MVTec AD)": one.paper_says,
        }
        for claim in answers for one in claim["answers"]
    ]  # fmt: skip
    found = pd.DataFrame(rows).set_index("question") if rows else pd.DataFrame()
    return found.loc[:, (found != "").any()]  # own parts have no column of the paper


def numbers(answers):
    """All answers as numbers, the columns of claims.csv."""
    rows = [
        (claim["question"], one.label, *one.one, *one.other, one.metric, one.drawn, one.mean,
         *(one.seeds or (None, None)), *(one.images or (None, None)), one.verdict, one.paper)
        for claim in answers for one in claim["answers"]
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=NUMBERS)


def reached(tables):
    """(mean, interval over images) of the method's image AUROC in percent, or None."""
    scores = Scores(tables.tested, "image_auroc", tables.draws)
    if (found := scores.estimate((tables.student, "segmentation"))) is None:
        return None
    return float(np.mean([*found[0].values()])), found[1]
