"""Numbers as text."""

import numpy as np
import pandas as pd
import pytest

from study.tables import format


@pytest.mark.parametrize(
    ("value", "text"), [(0.94, "+0.9"), (-0.06, "-0.1"), (-0.04, "0.0"), (0.04, "0.0"), (0, "0.0")]
)
def test_a_rounded_zero_has_no_sign(value, text):
    assert format.signed(value) == text


def test_numbers_with_their_spread():
    assert format.plus_minus(93.14, 0.36) == "93.1 ± 0.4"
    assert format.plus_minus(93.14, np.nan) == "93.1" and format.plus_minus(np.nan, 1) is None
    assert (
        format.brackets((-1.24, 0.02)) == "[-1.2, +0.02]"
        and format.brackets((0, 1)) == "[0.0, +1.0]"
    )
    assert format.level(92.94, (89.9, 95.72)) == "92.9 [89.9, 95.7]" and format.level(90) == "90.0"


def test_words():
    assert format.plain("encoder_decoder") == "encoder decoder"
    assert format.plain("nearest_neighbour_3") == "nearest neighbour, level 3"
    assert format.plain("nearest_neighbour_2_3") == "nearest neighbour, levels 2 and 3"
    assert format.plain("gaussian_2_3") == "gaussian, levels 2 and 3"
    assert format.counted(1, "seed") == "1 seed" and format.counted(2000, "draw") == "2,000 draws"
    assert format.listed("a") == "a" and format.listed("abc") == "a, b and c"
    assert format.lower("No AP") == "no AP" and format.upper("pixel AP") == "Pixel AP"


def test_markdown_keeps_numbers_as_they_are():
    frame = pd.DataFrame({"b": ["59.0 ± 0.4", "60.0"]}, index=pd.Index(["x", "y"], name="a"))
    lines = format.markdown(frame).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0], *cells[2:]] == [["a", "b"], ["x", "59.0 ± 0.4"], ["y", "60.0"]]
