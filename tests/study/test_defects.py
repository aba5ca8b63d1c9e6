"""The table by type of defect, on hand-made scores."""

from dataclasses import replace

import pandas as pd
import pytest

from study import params, results
from study.tables import defects

SETTINGS = params.load()
SETTINGS = replace(SETTINGS, calibration=replace(SETTINGS.calibration, alpha=(0.1,)))
TEST = [
    ("test", "good", 0, 0.2),
    ("test", "good", 0, 0.6),
    ("test", "dent", 1, 0.9),
    ("test", "scratch", 1, 0.4),
    ("test", "scratch", 1, 0.8),
]
KNOWN = [("validation", "good", 0, 0.1 * index) for index in range(8)] + [
    ("validation", "good", 0, 0.1) for _ in range(2)
]


def images(rows=TEST + KNOWN, combined=False):
    """Scores by image of one student and two seeds; the cosine map of seed 1 finds no scratch."""
    frame = pd.DataFrame(rows, columns=["split", "defect", "label", "score"])
    found = frame.assign(name=[f"{i}.png" for i in range(len(rows))], drawn=False)
    low = frame.score.where(frame.defect != "scratch", 0)
    columns = {f"full/segmentation/{seed}": frame.score for seed in (0, 1)}
    columns |= {"full/cosine/0": frame.score, "full/cosine/1": low}
    columns |= {"none/combined/0": frame.score} if combined else {}
    order = ["name", "split", "defect", "label", "drawn"]
    return found[order].assign(**columns)


def test_each_type_is_ranked_against_all_good_images():
    table = defects.by_type(images(), SETTINGS)
    assert table.images.to_dict() == {"dent": 1, "scratch": 2}
    assert table["image AUROC, segmentation"].to_dict() == {
        "dent": "100.0 ± 0.0",
        "scratch": "75.0 ± 0.0",
    }
    # The threshold is 0.7: one scratch of two is found, and none in the seed that scores them 0.
    assert table["found, segmentation"]["scratch"] == "50.0 ± 0.0"
    assert table["found, cosine"]["scratch"] == "25.0 ± 35.4"


def test_too_few_calibration_images_find_nothing_but_rank():
    table = defects.by_type(images(TEST + KNOWN[:8]), SETTINGS)
    assert list(table) == ["images", "image AUROC, cosine", "image AUROC, segmentation"]


@pytest.mark.parametrize("kept", [TEST[:2], TEST[2:5]])
def test_one_kind_of_image_has_no_table(kept):
    assert defects.by_type(images(kept), SETTINGS).empty


def test_the_combination_stands_beside_the_maps(elsewhere):
    folder = results.scores(SETTINGS.study, "monocrystalline").parent
    folder.mkdir(parents=True)
    images().to_csv(folder / "monocrystalline.csv", index=False)
    images(combined=True).to_csv(folder / "monocrystalline-calibration.csv", index=False)
    title, about, heading, table = defects.sections(SETTINGS)
    assert "found, combined" in table and heading == "### monocrystalline"
    assert "10 % false alarms" in about and title.startswith("## ")
