"""The optimism of a choice on test, on curves whose points are known."""

import numpy as np
import pandas as pd
import pytest

from study.beyond import selection


def curve(test, validation=None):
    """A curve for each seed: rows of `test` and `validation` (seeds, points), 0..1."""
    rows = []
    splits = {"test": test} | ({"validation": validation} if validation is not None else {})
    for split, values in splits.items():
        for seed, line in enumerate(values):
            for step, value in enumerate(line, 1):
                item = {"category": "nut", "student": "full", "head": "method", "seed": str(seed)}
                item |= {"step": 10 * step, "split": split, "benchmark": "toys"}
                rows.append(item | {"image_auroc": value, "pixel_ap": np.nan})
    return pd.DataFrame(rows)


TEST = [[0.90, 0.95, 0.91], [0.92, 0.90, 0.92]]
VALIDATION = [[0.80, 0.85, 0.90], [0.80, 0.90, 0.70]]


def test_points():
    found = selection.points(curve(TEST, VALIDATION), "image_auroc", "toys")
    assert found[["last", "best", "at_validation"]].to_numpy() == pytest.approx(
        np.array([[91, 95, 91], [92, 92, 90]])
    )
    assert found.optimism.tolist() == pytest.approx([4, 0])
    assert found.luck.tolist() == pytest.approx([4, 2])
    mean, (low, high), count = selection.optimism(found)
    assert mean == pytest.approx(2) and count == 2 and (low + high) / 2 == pytest.approx(2)


def test_without_validation(tmp_path):
    bare = curve(TEST).rename(columns={"head": "phase"}).drop(columns="split")
    bare.to_csv(tmp_path / "curve.csv", index=False)
    found = selection.protocol_curve(tmp_path / "curve.csv")
    table = selection.points(found, "image_auroc")
    assert table.at_validation.isna().all() and table.optimism.tolist() == pytest.approx([4, 0])
    line = selection.summary(found).loc[("method", "image AUROC")]
    assert selection.summary(curve(TEST), "others").empty
    assert line["best on validation"] == "–" and line["last step"] == "91.5" and line["n"] == 2


def test_the_gaps_that_it_would_explain():
    gaps = selection.published_gaps()
    assert gaps["image_auroc"].tolist() == [7.4, 0.1, 2.8, 0.2, 0.3, 0.1]
    assert selection.explained(0.2, "image_auroc").startswith("3 of 6 gaps")
    assert selection.explained(1, "iap") == ""
    text = selection.answer(curve(TEST, VALIDATION), "toys")
    assert "the best of 3 points on test is +2.0 points above the last step" in text


def test_tops():
    rows = [
        {"category": "nut", "student": "full", "head": "method", "seed": str(seed), "split": split,
         "top_pixels": top, "image_auroc": value}
        for seed in (0, 1)
        for split, values in {"test": (0.9, 0.92), "validation": (0.8, 0.7)}.items()
        for top, value in zip((10, 100), values, strict=True)
    ]  # fmt: skip
    gains, chosen = selection.tops(pd.DataFrame(rows), 10)
    assert gains == pytest.approx([2, 2]) and chosen == [10, 10]
    text = selection.tops_answer(pd.DataFrame(rows), 10)
    assert "is +2.0 points [+2.0, +2.0] above T = 10, over 2 trainings" in text
    assert text.endswith("Validation would take T = 10.")


def test_noise():
    found = selection.noise(curve(TEST, VALIDATION), "method", "toys")
    assert found == {("nut", "0"): pytest.approx(4.5), ("nut", "1"): pytest.approx(2)}
