"""The site's tables: constant levels leave the rows, names become words."""

import pandas as pd

from study.site import rows


def test_a_level_that_never_changes_goes_into_the_caption():
    keys = [("nut", "full", "cosine"), ("nut", "none", "nearest_neighbour_2_3")]
    index = pd.MultiIndex.from_tuples(keys, names=["category", "student", "map"])
    frame = pd.DataFrame({"image_auroc": ["92.9", None], "paper": ["", "98.6"]}, index=index)
    found = rows.table(frame, "T", "About.", "Note.")
    assert found["note"] == "About. Category: nut. Note."
    assert found["columns"] == ["student, map", "image AUROC", "paper"]
    assert found["rows"] == [
        ["full, cosine", "92.9", "–"],
        ["nearest neighbour, levels 2 and 3", "not measured", "98.6"],
    ]


def test_names_of_files_stay_as_they_are():
    frame = pd.DataFrame({"defect": ["a_b"]}, index=pd.Index(["test/a_b/0.png"], name="name"))
    assert rows.table(frame, "T", "", words=str)["rows"] == [["test/a_b/0.png", "a_b"]]
