"""The histogram of realised false-alarm rates."""

import pandas as pd
import pytest

from study.figures import false_alarms
from study.scoring.calibration import binomial_interval


def test_a_panel_for_each_alpha_and_map():
    rows = [(kind, alpha, rate, 80) for kind in ("gaussian", "combined") for alpha in (0.05, 0.1)
            for rate in (3.0, 5.0, 9.0)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["map", "alpha", "false alarms", "images"])
    figure = false_alarms.histogram(frame)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["gaussian, alpha 0.05", "combined, alpha 0.05", "gaussian, alpha 0.1",
                      "combined, alpha 0.1"]  # fmt: skip
    band, *bars = figure.axes[0].patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx(
        binomial_interval(0.05, 80)
    )
    assert sum(bar.get_height() for bar in bars) == 3


def test_without_thresholds_it_says_so():
    frame = pd.DataFrame(columns=["map", "alpha", "false alarms", "images"])
    figure = false_alarms.histogram(frame)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no thresholds"]
