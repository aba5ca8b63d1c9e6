"""The page of answers: without tables, and with rows that it has to compare."""

import numpy as np
import pandas as pd

from study import params
from study.beyond import summary


def test_nothing_was_run(tmp_path):
    text = summary.page(tmp_path)
    assert text.count("## ") == 7 and text.count("Not measured") >= 7
    assert "`make beyond` runs it" in text and "nan" not in text


def test_rows_are_compared(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for head in ("method", "bump_1", "darken"):
        for seed in ("0", "1", "2", "all"):
            for split in ("validation", "test"):
                for end in ("", "_drawn", "_seen"):
                    for kind in ("segmentation", "log"):
                        line = {"category": "monocrystalline", "student": "full", "head": head}
                        line |= {"seed": seed, "map": kind, "split": split}
                        line |= {"benchmark": f"elpv{end}", "pixel_ap": 0.5 + 0.01 * bool(end)}
                        better = 0.02 * (head == "darken") + 0.001 * rng.random()
                        rows.append(line | {"image_auroc": 0.9 + better})
    pd.DataFrame(rows).to_csv(tmp_path / "variants.csv", index=False)
    text = summary.page(tmp_path)
    assert "Validation chooses `darken` (92." in text
    assert "`bump_1`: seen corruption, pixel AP 0.0 points" in text
    assert "Among 3 rows, validation chooses `darken`" in text and "the nearest-neighbour" in text


def test_the_names_are_those_of_the_profile():
    settings = params.load(summary.PROFILE)
    named = summary.CORRUPTIONS + summary.BUMPS + summary.CHEAP + summary.AVERAGES
    heads = {name for name in named if "/" not in name}
    assert heads == {*settings.heads}
    assert {n.split("/")[0] for n in named if "/" in n} == {*settings.students} - {"full"}
