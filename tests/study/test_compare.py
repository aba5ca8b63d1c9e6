"""Two runs in a small git repository: what differs, by how much, and the words for it."""

import pandas as pd
import pytest
from test_revisions import PARAMS, commit, repository, write_run  # noqa: F401
from test_thresholds import by_image

from study.tables import compare

LONGER = PARAMS | {"students": {"full": {"steps": 800}}}
FULL = ("nut", "elpv", "full", "segmentation")


@pytest.fixture
def pair(repository):  # noqa: F811
    """HEAD, and a working tree with more steps, 2 points more, and two verdicts turned."""
    (repository / "reports/toy/scores").mkdir(exist_ok=True)
    write_run(repository, images=by_image((1, 1, 1, 4), (1, 1, 1, 4)))
    commit(repository)
    write_run(repository, LONGER, lift=2.0, images=by_image((1, 9, 9, 4), (1, 9, 9, 4)))
    return compare.both("HEAD", "", repository)


def test_parameters_that_differ_and_no_others(pair):
    table = compare.parameters(*pair)
    assert table.to_dict("index") == {
        "students.full.steps": {"A: HEAD": "400", "B: working tree": "800"}
    }
    added = pair[1]._replace(params=pair[1].params | {"heads.mine.input": "distance"})
    assert compare.parameters(pair[0], added).loc["heads.mine.input"].tolist() == ["–", "distance"]


def test_differences_are_paired_by_seed(pair):
    table = compare.Pair(*pair).beside()
    few = "Undetermined"  # two good test images give no interval over images
    assert table.loc[FULL].tolist() == ["+2.0 [+2.0, +2.0]", few, "59.2 ± 0.4", "61.2 ± 0.4"]
    nearest = table.xs("none", level="student")
    assert set(nearest.iloc[:, 0]) == {"0.0"} and set(nearest["is B better?"]) == {"unchanged"}
    real = [benchmark == "elpv" for _, benchmark, *_ in table.index]
    assert real == sorted(real, reverse=True), "real defects first"


def test_images_are_resampled_in_pairs(pair):
    """With 20 copies of the four test images there is an interval over images, and so an answer."""
    runs = []
    for run, seeds in zip(pair, ((1, 3, 2, 4), (1, 2, 3, 4)), strict=True):
        images = by_image(seeds, seeds, copies=20)
        runs.append(run._replace(scores={"nut": images, "bolt": images}))
    numbers, answer, *_ = compare.Pair(*runs).beside().loc[FULL]
    assert answer == "Yes" and numbers.startswith("+2.0 [+2.0, +2.0] [+")
    others = by_image(copies=20).assign(name=lambda frame: frame["name"] + "x")
    runs[1] = runs[1]._replace(scores={"nut": others})
    assert compare.Pair(*runs).beside().loc[FULL].iloc[1] == "Undetermined", "of other images"


def test_a_row_or_seed_of_one_side_only_has_no_difference(pair):
    one, two = pair
    head = two.rows[(two.rows.student == "full") & (two.rows["map"] == "cosine")]
    more = two._replace(rows=pd.concat([two.rows, head.assign(map="segmentation, mine")]))
    row = compare.Pair(one, more).beside().loc[("nut", "elpv", "full", "segmentation, mine")]
    assert row.tolist() == ["–", "–", "–", "55.3 ± 0.4"]
    alone = two._replace(rows=two.rows[two.rows.seed == 1])
    assert compare.Pair(one, alone).beside().loc[FULL, "is B better?"] == "Undetermined"
    none = two._replace(rows=two.rows.assign(seed=two.rows.seed + 5))
    assert compare.Pair(one, none).beside().loc[FULL].iloc[0] == "–"


def test_every_metric_where_there_are_masks(pair):
    table = compare.Pair(*pair).gains()
    assert set(table.index.get_level_values("benchmark")) == {"elpv_drawn"}
    assert list(table.columns) == compare.METRICS
    row = table.loc[("nut", "elpv_drawn", "full", "segmentation")]
    assert row.image_auroc == "+2.0 [+2.0, +2.0]" and row.pixel_ap == "0.0"


def test_flipped_images_by_category(pair):
    table = compare.flipped(*pair)
    assert table["now"].to_dict() == {
        (category, image): word
        for category in ("nut", "bolt")
        for image, word in (("b", "wrong"), ("c", "right"))
    }


def test_the_answer(pair):
    said = compare.answer(compare.Pair(*pair))
    assert "one parameter differs: `students.full.steps` 400 → 800" in said
    assert "goes from 59.2 ± 0.4 to 61.2 ± 0.4 %" in said
    assert "Is B better? Undetermined: +2.0 points [+2.0, +2.0] over seeds; there are too" in said
    assert "on 4 test images changed; 2 of the new verdicts are right" in said
    assert "Careful" not in said
    stale = pair[1]._replace(stale=["students.full.steps"], scores={})
    older = compare.answer(compare.Pair(pair[0], stale))
    assert "**Careful:** the results of working tree were made with other values" in older
    assert "Whether verdicts changed is unknown" in older
    same = compare.answer(compare.Pair(pair[0], pair[0]))
    assert "no parameter differs" in same and "Is B better? Unchanged" in same
    assert "No test image changed its verdict." in same
    without = {"nut": by_image(validation=False)}
    untuned = compare.answer(compare.Pair(*(run._replace(scores=without) for run in pair)))
    assert "no threshold is chosen" in untuned


def test_different_studies_are_refused(pair, repository):  # noqa: F811
    write_run(repository, PARAMS | {"study": "other"})
    with pytest.raises(ValueError, match="HEAD is of the study toy, working tree of other"):
        compare.both("HEAD", "", repository)
