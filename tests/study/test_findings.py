"""What the cells say, on cells whose law is known."""

import numpy as np
import pandas as pd
import pytest

from study.beyond import findings, ledger, scaling
from study.beyond.cells import IMAGES, LADDER_IMAGES, TEACHERS, WIDTHS

RAW = np.array([np.log(0.1), np.log(0.08), 0.4, np.log(0.1), 0.6])


@pytest.fixture(scope="module")
def law():
    rng, rows = np.random.default_rng(0), []
    for width in WIDTHS:
        for images in IMAGES:
            for seed in (0, 1, 2):
                n = 6000 * width**2
                r = float(scaling.predict(RAW, n, images)) * np.exp(0.002 * rng.standard_normal())
                row = {"teacher": "lite0", "width": width, "images": images, "seed": str(seed)}
                rows.append(row | {"parameters": n, "R": r, "auroc_test": 1 - r / 2})
    return findings.split(pd.DataFrame(rows))[0]


def test_the_law(law):
    fit = findings.fitted(law, 30)
    assert fit.value["a"] == pytest.approx(0.4, abs=0.1)
    text = findings.law(law, fit)
    assert "28 cells, 84 trainings, 3 seeds" in text and "left out of the fit, it predicts" in text
    assert fit.determined["b"]
    assert law.corner.sum() == 3
    assert "is not trained yet" in findings.law(law[~law.corner], fit)


def test_detection(law):
    text = findings.detection(law, 50)
    assert "in all cells -1.00 [-1.00, -1.00], a better student detects better" in text


def test_the_ladder(law):
    rows = []
    for place, teacher in enumerate([*TEACHERS][:5]):
        x = (place - 2) / 2
        for seed in range(3):
            row = {"teacher": teacher, "width": 8, "images": LADDER_IMAGES, "seed": str(seed)}
            auroc = 0.9 - 0.1 * x**2
            rows.append(row | {"R": 0.5, "strength": 0.8 + 0.05 * x, "auroc_test": auroc})
    text = findings.ladder(findings.split(pd.DataFrame(rows))[1], 50)
    assert "width 8 -10.0 [-10.0, -10.0], an arch" in text
    assert "Not measured: `lite0_noise_10`, `random`, `resnet18_tv` and `resnet18_a1`." in text
    other = law[law.images == LADDER_IMAGES].iloc[:2].assign(width=[8, 40], seed="4")
    few, ladder = findings.split(pd.concat([law, other]))
    assert len(few) == len(law) and set(ladder.images) == {LADDER_IMAGES}
    assert 40 not in set(ladder.width) and "4" in set(ladder.seed.astype(str))
    assert findings.ladder(ladder, 50).startswith("Not measured: the ladder of teachers.")


def test_nothing_was_run(tmp_path):
    rows = ledger.load("scaling", tmp_path)
    law, ladder = findings.split(rows)
    assert findings.fitted(law, 10) is None
    said = (findings.law(law, None), findings.detection(law, 9), findings.ladder(ladder, 9))
    assert all(text.startswith("Not measured: ") for text in said)
