"""The rule for an answer, its intervals, and the paper's claims answered from hand-made rows."""

import numpy as np
import pandas as pd
import pytest
from test_ablations import PARAMS, baseline_rows, head_rows, make_tables, rows

from study.tables import claims
from study.tables.claims import NO, OPEN, YES

FULL, HALF = ("full", "segmentation"), ("encoder_decoder", "segmentation")
NONE = "No difference beyond 0.5 points"


def answer(key, found, smallest=0.5):
    return next(one for one in claims.answers(found, smallest) if one["key"] == key)


@pytest.mark.parametrize(
    ("mean", "seeds", "images", "expected"),
    [
        (1.0, (0.5, 1.5), (0.2, 1.8), YES),
        (-1.0, (-1.5, -0.5), (-1.8, -0.2), NO),
        (1.0, (0.5, 1.5), (-0.2, 2.2), OPEN),
        (1.0, (-0.5, 2.5), (0.2, 1.8), OPEN),
        (0.4, (0.1, 0.7), (0.1, 0.7), OPEN),  # surely above zero, but does not count
        (0.3, (0.1, 0.5), (0.2, 0.4), NONE),
        (0.0, (-0.5, 0.5), (-0.4, 0.4), NONE),
        (0.0, (-0.5, 0.6), (-0.4, 0.4), OPEN),
        (9.0, None, (8.0, 10.0), OPEN),
        (9.0, (8.0, 10.0), None, OPEN),
    ],
)
def test_the_rule(mean, seeds, images, expected):
    assert claims.verdict(mean, seeds, images, 0.5) == expected
    turned = [one and (-one[1], -one[0]) for one in (seeds, images)]
    mirrored = {YES: NO, NO: YES}.get(expected, expected)
    assert claims.verdict(-mean, *turned, 0.5) == mirrored


def one(mean=1.0, seeds=(0.5, 1.5), images=(0.2, 1.8), paper=0.9):
    fixed = ("with a decoder", FULL, HALF, "image_auroc", False, ("nut",), {0: mean}, mean)
    return claims.Answer(*fixed, seeds, images, 0.5, paper)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            one(),
            "Yes: +1.0 points [+0.5, +1.5] over seeds, [+0.2, +1.8] over images; neither interval "
            "includes zero; as in the paper (+0.9).",
        ),
        (
            one(-0.9, (-1.2, -0.6), (-1.9, -0.1)),
            "No: -0.9 points [-1.2, -0.6] over seeds, [-1.9, -0.1] over images; neither interval "
            "includes zero; unlike the paper (yes, +0.9).",
        ),
        (
            one(-0.9, (-1.2, -0.6), (-2.9, 1.1), -1.4),
            "Undetermined: -0.9 points [-1.2, -0.6] over seeds, [-2.9, +1.1] over images; the "
            "interval over images includes zero; the paper: no (-1.4).",
        ),
        (
            one(-0.04, (-0.3, 0.2), (-0.4, 0.04), None),
            "No difference beyond 0.5 points: 0.0 points [-0.3, +0.2] over seeds, [-0.4, +0.04] "
            "over images; both intervals lie within ±0.5; the paper has no such comparison.",
        ),
        (
            one(2.0, None, (1.0, 3.0), 0.3),
            "Undetermined: +2.0 points (one seed), [+1.0, +3.0] over images; one seed has no "
            "interval over seeds; the paper: no difference beyond 0.5 points (+0.3).",
        ),
        (
            one(2.0, (-1.0, 3.0), None),
            "Undetermined: +2.0 points [-1.0, +3.0] over seeds; there are too few test images for "
            "an interval over images; the paper: yes (+0.9).",
        ),
        (
            one(0.4, (0.1, 0.7), (0.1, 0.7)),
            "Undetermined: +0.4 points [+0.1, +0.7] over seeds, [+0.1, +0.7] over images; neither "
            "interval includes zero, but the difference is too small to count; the paper: yes "
            "(+0.9).",
        ),
    ],
)
def test_an_answer_in_a_sentence(found, sentence):
    assert found.sentence == sentence


def test_the_summary_groups_the_metrics():
    both = [one(), one(0.0, (-1, 1), (-1, 1))._replace(metric="iap", drawn=True)]
    assert claims.summary(both[:1]) == "Yes"
    assert claims.summary(both) == "Yes for image AUROC; undetermined for IAP on drawn defects"


def test_the_rule_is_printed_with_its_numbers():
    text = claims.rule(PARAMS.claims, ())
    assert "2,000 resamples" in text and "at least 0.5 points" in text
    assert "correct" not in text  # without an answer there is nothing to correct


def test_a_correction_leaves_what_is_decided_at_a_hundredth_of_the_error():
    """Three seeds, df 2, t at 0.9975: 14.09; of the mean 1.0 with deviation 0.1, 0.81 is left."""
    sure, unsure = ({seed: 1 + s * seed for seed in (-1, 0, 1)} for s in (0.1, 0.2))
    found = [one()._replace(pairs=pairs) for pairs in (sure, unsure)] + [one(0.0, (-1, 1))] * 8
    text = claims.rule(PARAMS.claims, [{"answers": found}])
    assert "2 of 10 answers are yes or no." in text and "at most 1 are still yes or no." in text


def test_all_questions_in_one_sentence():
    def overall(*answers):
        return claims.overall([{"first": [one]} for one in answers])

    unsure, pixels = one(0.0, (-1, 1), (-1, 1)), one()._replace(metric="iap")
    assert overall(unsure, unsure, pixels) == "Undetermined for all 2 questions, in image AUROC."
    assert overall(one(), unsure, unsure) == (
        "Undetermined for 2 and yes for 1 of 3 questions, in image AUROC."
    )
    assert overall(pixels) == ""


def test_a_comparison_pairs_seeds_of_the_mean_category():
    found = make_tables(rows({FULL: lambda seed: 9.0 - 3 * seed, HALF: 8.0}))
    first = answer("denoising", found)["first"][0]
    assert (first.one, first.other, first.metric) == (FULL, HALF, "image_auroc")
    assert first.pairs == pytest.approx({0: 1.0, 1: -2.5})
    assert first.mean == pytest.approx(-0.75)
    assert first.paper == 0.9  # 98.6 − 97.7
    assert first.images == pytest.approx((-0.75, -0.75))  # the toy resamples do not vary
    assert first.verdict == OPEN and first.by_category == "2 undetermined"


def test_categories_and_seeds_far_apart_cancel_in_pairs():
    apart = pd.concat([rows(categories=["nut"]), rows(categories=["bolt"], lift=-30.0)])
    found = answer("denoising", make_tables(apart.sample(frac=1, random_state=0)))["first"][0]
    assert found.pairs == pytest.approx({0: 1.0, 1: 1.0}) and found.verdict == YES
    assert found.seeds == pytest.approx((1.0, 1.0))


def test_images_decide_too():
    sure, unsure = (answer("denoising", make_tables(rows(), width=w)) for w in (0.0, 0.05))
    assert sure["first"][0].verdict == YES and unsure["first"][0].verdict == OPEN
    assert "images includes zero" in unsure["first"][0].reason


def test_pixel_metrics_answer_on_real_defects_else_on_drawn_ones():
    frame = rows()
    drawn = answer("fusion", make_tables(frame))["first"]
    assert [(a.metric, a.drawn) for a in drawn] == [
        ("image_auroc", False), ("pixel_ap", True), ("iap", True),
    ]  # fmt: skip
    masks = frame.real_defects & (frame.category == "nut")  # one category of two
    with_masks = frame.assign(pixel_ap=frame.pixel_ap.where(~masks, 0.4))
    found = answer("fusion", make_tables(with_masks))["first"][1]
    assert not found.drawn and found.categories == ("nut",) and found.mean == 0
    assert found.paper == pytest.approx(21.8)
    none = frame.assign(pixel_ap=np.nan, iap=np.nan)
    assert [a.metric for a in answer("fusion", make_tables(none))["answers"]] == 4 * ["image_auroc"]


def test_drawn_defects_and_validation_do_not_count():
    frame = rows()
    counts = (frame.split == "test") & frame.real_defects
    other = frame.assign(image_auroc=frame.image_auroc.where(counts, 0.1))
    assert list(claims.answers(make_tables(other), 0.5)) == list(
        claims.answers(make_tables(frame), 0.5)
    )


def test_every_part_is_compared_in_every_row_of_the_table():
    for key, part in (("denoising", "denoising"), ("encoder-decoder", "encoder_decoder")):
        frame = rows().drop_duplicates(["student"]).set_index("student")
        found = answer(key, make_tables(rows()))["answers"]
        assert len({(one.one, one.other) for one in found}) == 4
        for one in found:
            (with_, kind), (without, other_kind) = one.one, one.other
            assert kind == other_kind and frame[part][with_] and not frame[part][without]


def test_the_baseline_comes_best_first_and_is_not_the_papers():
    second = baseline_rows(score=0.7).assign(map="nearest_neighbour_3")
    found = make_tables(rows(), pd.concat([baseline_rows(), second]))
    one, other = (a for a in answer("baseline", found)["answers"] if a.metric == "image_auroc")
    assert one.other == ("none", "nearest_neighbour_3") and one.paper is None
    assert one.mean < 0 < other.mean


def test_heads_are_rows_and_answer_with_the_papers_tables_5_and_6():
    found = answer("heads", make_tables(pd.concat([rows(), head_rows(rows())])))
    first = found["first"][0]
    assert first.one == ("full", "segmentation, distance") and first.other == FULL
    assert first.mean == pytest.approx(80 - 59.25)
    assert first.paper == pytest.approx(98.5 - 98.6)
    assert "heads" not in {one["key"] for one in claims.answers(make_tables(rows()), 0.5)}


def test_only_rows_that_exist_are_compared():
    plain = rows()
    plain = plain[plain.student == "plain"]
    found = list(claims.answers(make_tables(plain, student="plain"), 0.5))
    assert [one["key"] for one in found] == ["fusion", "baseline"]
    assert "the student `plain`" in found[1]["question"]
    nothing = make_tables(plain[:0], baseline_rows()[:0])
    assert list(claims.answers(nothing, 0.5)) == [] and claims.table([]).empty


def test_one_seed_decides_nothing():
    for claim in claims.answers(make_tables(rows(seeds=(0,))), 0.5):
        assert claim["verdict"] == OPEN
        assert all(one.seeds is None for one in claim["answers"])


def test_levels_have_an_interval_over_images():
    mean, images = claims.reached(make_tables(rows(), width=0.01))
    assert mean == pytest.approx(59.25) and images[0] < mean < images[1]
    assert claims.reached(make_tables(rows(), student="other")) is None
