"""The table by type of defect, on hand-made scores."""

import pandas as pd
import pytest

from study.tables import defects

ROWS = [
    ("test", "good", 0, 0.2),
    ("test", "good", 0, 0.6),
    ("test", "dent", 1, 0.9),
    ("test", "scratch", 1, 0.4),
    ("test", "scratch", 1, 0.8),
    ("validation", "good", 0, 0.1),
    ("validation", "dent", 1, 0.7),
]


def images(rows=ROWS):
    """Scores by image of one student and two seeds; the cosine map of seed 1 finds no scratch."""
    frame = pd.DataFrame(rows, columns=["split", "defect", "label", "score"])
    found = frame.assign(name=[f"{i}.png" for i in range(len(rows))], drawn=False)
    low = frame.score.where(frame.defect != "scratch", 0)
    columns = {f"full/segmentation/{seed}": frame.score for seed in (0, 1)}
    columns |= {"full/cosine/0": frame.score, "full/cosine/1": low}
    return found.drop(columns="score").assign(**columns)


def test_each_type_is_ranked_against_all_good_images():
    table = defects.by_type(images(), "full")
    assert table.images.to_dict() == {"dent": 1, "scratch": 2}
    assert table["image AUROC, segmentation"].to_dict() == {
        "dent": "100.0 ± 0.0",
        "scratch": "75.0 ± 0.0",
    }
    # The cut is 0.7: one scratch of two is found, and none in the seed that scores them 0.
    assert table["found, segmentation"]["scratch"] == "50.0 ± 0.0"
    assert table["found, cosine"]["scratch"] == "25.0 ± 35.4"


def test_without_validation_nothing_is_found_but_ranked():
    table = defects.by_type(images(ROWS[:5]), "full")
    assert list(table) == ["images", "image AUROC, cosine", "image AUROC, segmentation"]


@pytest.mark.parametrize("kept", [ROWS[:2], ROWS[2:5]])
def test_one_kind_of_image_has_no_table(kept):
    assert defects.by_type(images(kept), "full").empty
