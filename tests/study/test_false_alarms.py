"""The histogram of realised false-alarm rates."""

from itertools import product

import pandas as pd
import pytest

from study.figures import false_alarms
from study.scoring.calibration import binomial_interval

COLUMNS = ["map", "alpha", "false alarms", "images", "calibration"]


def test_a_panel_for_each_alpha_and_map():
    grid = product(("gaussian", "combined"), (0.05, 0.1), (3.0, 5.0, 9.0))
    rows = [(*row, 80, 99) for row in grid]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    figure = false_alarms.histogram(frame)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["gaussian, alpha 0.05", "combined, alpha 0.05", "gaussian, alpha 0.1",
                      "combined, alpha 0.1"]  # fmt: skip
    wide, band, *bars = figure.axes[0].patches
    assert wide.get_width() > band.get_width()
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(
        binomial_interval(0.05, 80)
    )
    assert sum(bar.get_height() for bar in bars) == 3


def test_without_thresholds_it_says_so():
    frame = pd.DataFrame(columns=COLUMNS)
    figure = false_alarms.histogram(frame)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no thresholds"]
