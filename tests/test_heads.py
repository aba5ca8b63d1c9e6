"""Heads beside the method's own row, on hand-made rows."""

import re

import pandas as pd
import pytest
from test_report import PARAMS, head_rows, rows

from lib import heads, params

KEY = ("nut", "toy", "method", "product", 1.0)


@pytest.fixture
def test():
    frame = rows()
    return frame[frame.split == "test"].drop(columns="split")


def table(test, found):
    return heads.beside_method(test, found, PARAMS.segmentation)


def test_the_method_comes_first_and_heads_are_paired_with_it_by_seed(test):
    found = table(test, head_rows("nut", score=0.6))
    assert found.index[0] == KEY and found.loc[KEY, "image_auroc"] == "59.2 ± 0.4"
    assert found.loc[KEY, "head − method"] == ""
    others = found.drop(index=KEY)
    assert set(others.index.get_level_values("head")) == {"focal_only", "distance"}
    # 60 in both seeds against 59 and 59.5
    assert set(others["head − method"]) == {"+0.8 [+0.5, +1.0]"}


def test_only_items_that_heads_ran_on_count(test):
    one = head_rows("nut")
    found = table(test, one[one.seed == 0])
    assert found.loc[KEY, "image_auroc"] == "59.0"
    assert set(found.index.get_level_values("category")) == {"nut"}
    assert set(found.index.get_level_values("benchmark")) == {"toy"}


def test_pixel_metrics_stand_where_there_are_masks(test):
    real = head_rows("nut")
    assert "pixel_ap" not in table(test, real)
    masks = {"pixel_ap": 0.3, "real_defects": False, "benchmark": "toy_drawn"}
    found = table(test, pd.concat([real, real.assign(**masks)]))
    drawn = found.index.get_level_values("benchmark") == "toy_drawn"
    assert drawn.tolist() == sorted(drawn), "real defects first"
    assert set(found[~drawn].pixel_ap) == {"–"} and "30.0 ± 0.0" in set(found[drawn].pixel_ap)


def test_the_page_has_them_only_where_they_are_declared(test):
    nothing = head_rows("nut", heads=[])
    assert heads.section(test, nothing, PARAMS.segmentation) == []
    title, text = heads.section(test, head_rows("nut"), PARAMS.segmentation)
    assert title.startswith("## ") and "| distance" in text and "| method" in text


def test_the_heads_of_the_guide_are_valid_in_place_of_none(tmp_path):
    guide = (params.ROOT / "docs" / "rerun.md").read_text("utf-8")
    block = re.search(r"^heads:\n(?:  .+\n)+", guide, re.MULTILINE)[0]
    shipped = (params.ROOT / "profiles" / "quick.yaml").read_text("utf-8")
    text, count = re.subn(r"^heads: \{\}.*\n", block, shipped, flags=re.MULTILINE)
    (tmp_path / "params.yaml").write_text(text, "utf-8")
    assert count == 1 and set(params.load(tmp_path / "params.yaml").heads) == {"distance", "no_l1"}
