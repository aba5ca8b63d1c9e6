"""The figures beyond the paper show what they are given."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from test_comparisons import compared
from test_scaling import RAW, D, N
from test_selection import TEST, VALIDATION, curve

from study.beyond import figures, scaling


def lines(axis):
    return [line for line in axis.get_lines() if len(line.get_xdata())]


def test_one_unit_separates_xor_and_a_half_space_does_not():
    points, labels = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]), np.array([1, 0, 0, 1])
    right = []
    for probability in figures.UNITS.values():
        *w, b = figures.unit(points, labels, probability)
        right.append(((probability(points @ w + b) > 0.5) == labels).mean())
    assert right[0] <= 0.75 and right[1] == 1
    figure = figures.xor()
    assert [axis.get_title() for axis in figure.axes] == [*figures.UNITS]
    plt.close(figure)


def test_differences(tmp_path):
    figure = figures.differences(compared(tmp_path), ["good", "lucky", "absent"])
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["good", "lucky", "absent"]
    marks = np.concatenate([points.get_offsets()[:, 0] for points in axis.collections])
    assert np.allclose(np.sort(marks), [-1, -1, -1, 1, 1, 1, 2, 2, 2.1, 2.1, 2.2, 2.2])
    nothing = figures.differences(compared(tmp_path), ["absent"])
    assert nothing.axes[0].texts[0].get_text() == "not measured"
    plt.close("all")


def test_curves():
    figure = figures.curves(curve(TEST, VALIDATION), "toys", ["method"])
    drawn = lines(figure.axes[0])
    assert drawn[0].get_ydata().tolist() == [90, 95, 91]
    (best,) = figure.axes[0].collections
    assert best.get_offsets().tolist() == [[20, 95], [10, 92]]
    plt.close(figure)


def test_law_detection_and_ladder():
    r = scaling.predict(RAW, N, D)
    frame = pd.DataFrame({"parameters": N, "width": N / 1e4, "images": D, "R": r, "teacher": "a"})
    frame["auroc_test"], frame["strength"] = 1 - r / 2, N / 2e6
    fit = scaling.fit(N, D, r, range(len(N)), resamples=3, starts=scaling.STARTS[::50])
    for figure in (figures.law(frame, fit), figures.detection(frame), figures.ladder(frame)):
        assert all(axis.get_xlabel() for axis in figure.axes)
        plt.close(figure)
