"""The paper's claims, answered from hand-made rows."""

import pandas as pd
import pytest
from test_report import baseline_rows, rows

from lib import claims, report
from lib.claims import ALONE, BETTER, DISAGREE, WITHIN, WORSE

FULL, HALF = ("full", "segmentation"), ("encoder_decoder", "segmentation")


def tables(points=None, **more):
    frame = rows(points, **more)
    test, validation = (frame[frame.split == split] for split in ("test", "validation"))
    return report.Tables(test.drop(columns="split"), validation, baseline_rows())


def answer(key, found):
    return next(one for one in claims.answers(found) if one["key"] == key)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([1.0], ALONE),
        ([0.1, 2.0], BETTER),
        ([-0.1, -2.0], WORSE),
        ([-1.0, 1.5], WITHIN),
        ([-0.1, 2.0, 2.0], DISAGREE),
        ([0.0, 0.0], WITHIN),
    ],
)
def test_verdict(pairs, words):
    assert claims.verdict(pd.Series(pairs)) == words


def test_a_comparison_pairs_seeds_of_the_mean_category():
    found = tables({FULL: lambda seed: 9.0 - 3 * seed, HALF: 8.0})
    first = answer("denoising", found)["comparisons"][0]
    assert (first["one"], first["other"]) == (FULL, HALF)
    assert first["pairs"] == pytest.approx({0: 1.0, 1: -2.5})
    assert first["mean"] == pytest.approx(-0.75)
    assert first["paper"] == 0.9  # 98.6 − 97.7
    assert first["verdict"] == WITHIN and first["categories"] == f"2 {WITHIN}"


def test_drawn_defects_and_validation_do_not_count():
    found = tables()
    changed = found.test.assign(
        image_auroc=found.test.image_auroc.where(found.test.real_defects, 0.1)
    )
    other = found._replace(test=changed, validation=found.validation.assign(image_auroc=0.1))
    assert list(claims.answers(other)) == list(claims.answers(found))


def test_every_part_is_compared_in_every_row_of_the_table():
    for key, part in (("denoising", "denoising"), ("encoder-decoder", "encoder_decoder")):
        frame = rows().drop_duplicates(["student"]).set_index("student")
        found = answer(key, tables())["comparisons"]
        assert len({(one["one"], one["other"]) for one in found}) == 4
        for one in found:
            (with_, kind), (without, other_kind) = one["one"], one["other"]
            assert kind == other_kind and frame[part][with_] and not frame[part][without]


def test_the_baseline_comes_best_first_and_is_not_the_papers():
    found = tables()
    second = baseline_rows(score=0.7).assign(map="nearest_neighbour_3")
    found = found._replace(baseline=pd.concat([found.baseline, second]))
    one, other = answer("baseline", found)["comparisons"]
    assert one["other"] == ("none", "nearest_neighbour_3") and one["paper"] is None
    assert one["verdict"] == WORSE and other["verdict"] == BETTER


def test_one_seed_decides_nothing():
    found = tables(seeds=(0,))
    assert {one["verdict"] for one in claims.answers(found)} == {
        "Undecided: one seed has no spread"
    }


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([], "Not measured"),
        ([BETTER, BETTER], "Yes, in every comparison and seed"),
        ([WORSE, WORSE], "No, worse in every comparison"),
        ([WITHIN, WITHIN], "No difference beyond the spread of the seeds"),
        ([WITHIN, DISAGREE], "The seeds disagree"),
        ([BETTER, WITHIN], "Partly: better in 1 of 2 comparisons, the rest undecided"),
        ([WORSE, WITHIN], "No sign of it: worse in 1 of 2 comparisons, the rest undecided"),
        (
            [WORSE, BETTER, WITHIN],
            "It depends: better in 1 and worse in 1 of 3 comparisons, the rest undecided",
        ),
    ],
)
def test_summary(verdicts, words):
    assert claims.summary([{"verdict": verdict} for verdict in verdicts]) == words
