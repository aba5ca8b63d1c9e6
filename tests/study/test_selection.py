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


def test_choices():
    found = selection.choices(curve(TEST, VALIDATION), "image_auroc")
    assert found[["last", "best", "at_validation"]].to_numpy() == pytest.approx(
        np.array([[91, 95, 91], [92, 92, 90]])
    )
    assert found.optimism.tolist() == pytest.approx([4, 0])
    line = selection.summary(curve(TEST, VALIDATION)).loc[("method", "image AUROC")]
    assert line["best on validation"] == "90.5" and line["optimism"].startswith("+2.0 [-")


def test_without_validation(tmp_path):
    bare = curve(TEST).rename(columns={"head": "phase"}).drop(columns="split")
    (tmp_path / "reports/run").mkdir(parents=True)
    bare.to_csv(tmp_path / "reports/run/curve.csv", index=False)
    found = selection.protocol_curves(tmp_path)
    table = selection.choices(found, "image_auroc")
    assert table.at_validation.isna().all() and table.optimism.tolist() == pytest.approx([4, 0])
    line = selection.summary(found).loc[("method", "image AUROC")]
    assert line["best on validation"] == "–" and line["last step"] == "91.5" and line["n"] == 2
    one = selection.summary(found[found.seed == "0"]).loc[("method", "image AUROC")]
    assert one["optimism"] == "+4.0 (one seed)"
    assert selection.summary(selection.protocol_curves(tmp_path / "none")).empty


def test_the_gaps_that_it_would_explain():
    assert selection.explained(0.2, "image_auroc").startswith("3 of 6 gaps")
    assert "table 2 (pixel AP)" in selection.explained(0.2, "pixel_ap")
    text = selection.answer(curve(TEST, VALIDATION), "toys")
    assert "the best of 3 points on test is +2.0 points above the last step" in text
    assert selection.answer(curve(TEST), "others").startswith("Not measured: the curve of `method`")


def test_tops():
    rows = [
        {"category": "nut", "student": "full", "head": "method", "seed": str(seed), "split": split,
         "top_pixels": top, "image_auroc": value}
        for seed in (0, 1)
        for split, values in {"test": (0.9, 0.92), "validation": (0.8, 0.7)}.items()
        for top, value in zip((10, 100), values, strict=True)
    ]  # fmt: skip
    text = selection.tops(pd.DataFrame(rows), 10)
    assert "is +2.0 points [+2.0, +2.0] above T = 10, over 2 trainings" in text
    assert text.endswith("Validation chooses T = 10.")


def test_noise():
    """Seed 0 moves by 5 and 4 points, seed 1 by 2 and 2."""
    found = selection.noise(curve(TEST, VALIDATION), ["method", "ema"], "toys")
    assert found.endswith("changes on average by: `method` 3.2, `ema` not measured.")
