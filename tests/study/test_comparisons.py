"""Comparisons of a run's rows: pairs, intervals, the choice on validation, what is missing."""

import numpy as np
import pandas as pd
import pytest

from study.beyond import comparisons

GAIN = {"method": 0, "good": 2, "lucky": 1}


@pytest.fixture
def rows():
    lines = []
    for head, gain in GAIN.items():
        for seed in (0, 1, 2):
            for split in ("validation", "test"):
                more = -gain if (head, split) == ("lucky", "test") else gain
                value = 0.9 + 0.01 * more + 0.001 * seed * (head == "good")
                line = {"category": "nut", "student": "full", "head": head, "seed": str(seed)}
                line |= {"map": "segmentation", "split": split, "benchmark": "toys"}
                lines.append(line | {"image_auroc": value, "pixel_ap": np.nan})
    lines.append(lines[-1] | {"seed": "all", "image_auroc": 0.1})
    lines.append(lines[0] | {"student": "noisy", "image_auroc": 0.95, "split": "test"})
    return pd.DataFrame(lines)


def test_pairs_are_of_the_same_seed(rows, tmp_path):
    found = comparisons.compare(rows, "good", "method", benchmark="toys", folder=tmp_path)
    assert found["points"] == pytest.approx(2.1) and found["n"] == 3
    low, high = found["seeds"]
    assert (low + high) / 2 == pytest.approx(2.1) and high - low == pytest.approx(2 * 0.2484, 1e-2)
    assert found["answer"] == "Yes" and found["images"] is None
    text = comparisons.said(found)
    assert text == "+2.1 points [+1.9, +2.3] over 3 seeds: yes"
    other = comparisons.compare(rows, "noisy/method", "method", benchmark="toys", folder=tmp_path)
    assert other["points"] == pytest.approx(5) and other["answer"] == "Undetermined"  # one seed
    assert comparisons.compare(rows, "none", "method", benchmark="toys") is None


def test_over_images(tmp_path):
    rng, count = np.random.default_rng(0), 60
    labels = np.repeat([0, 1], count // 2)
    frame = {"split": "test", "kind": np.where(labels == 0, "good", "real"), "label": labels}
    frame |= {"full/a/0/segmentation": labels + 0.3 * rng.random(count)}
    frame |= {"full/b/0/segmentation": rng.random(count)}
    pd.DataFrame(frame).to_csv(tmp_path / "scores-nut.csv", index=False)
    low, high = comparisons.over_images("a", "b", "nut", ["0"], folder=tmp_path)
    assert 20 < low < 50 < high < 80
    assert comparisons.over_images("a", "b", "nut", ["1"], folder=tmp_path) is None


def test_the_choice_is_made_on_validation(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(comparisons, "FOLDER", tmp_path)
    best, means = comparisons.chosen_on_validation(rows, ["method", "lucky"], "toys")
    assert best == "lucky" and means["lucky"] == pytest.approx(91)
    text = comparisons.answer(rows, ["lucky"], "toys")
    assert text.startswith("Validation chooses `lucky` (91.0 on validation against 90.0).")
    assert "-1.0 points" in text
    kept = comparisons.answer(rows[rows["head"] != "good"], ["absent"], "toys")
    assert kept == "Not measured: `absent`. `make beyond` runs it."
    shown = comparisons.table(rows, ["method", "good", "absent"], "toys")
    assert shown.loc["good", "test"] == "92.1 ± 0.1" and shown.loc["absent", "test"] == (
        "not measured"
    )


def test_the_choice_takes_the_seeds_that_most_heads_have(rows):
    more = rows[rows["head"] == "method"].assign(seed="9", image_auroc=0.0)
    few = rows[(rows["head"] == "lucky") & (rows.seed == rows.seed.min())].assign(head="once")
    heads = ["method", "lucky", "good", "once"]
    _, means = comparisons.chosen_on_validation(pd.concat([rows, more, few]), heads, "toys")
    assert means == comparisons.chosen_on_validation(rows, heads, "toys")[1]
    assert set(means) == {"method", "lucky", "good"}


def test_a_table_that_does_not_exist(tmp_path):
    empty = comparisons.load("variants", tmp_path)
    assert empty.empty
    assert comparisons.answer(empty, ["a"], "toys").startswith("Not measured: `a`.")
    assert comparisons.seen_and_unseen(empty, ["a"]).empty
    assert comparisons.averaged_maps(empty, ["a"], "toys").empty
    assert comparisons.missing("the law") == "Not measured: the law. `make beyond` runs it."


def test_seen_and_unseen(rows):
    """The head gains 2 points on seen, 3 on drawn: it loses a point less on what it never saw."""
    drawn = {"toys_seen": 0.02, "toys_drawn": 0.03, "toys": 0.01}
    lines = []
    for benchmark, gain in drawn.items():
        for head, more in (("method", 0), ("bump", gain)):
            for seed in ("0", "1"):
                line = {"category": "nut", "student": "full", "head": head, "seed": seed}
                line |= {"map": "log", "split": "test", "benchmark": benchmark}
                lines.append(line | {"image_auroc": 0.9 + more, "pixel_ap": 0.5 + more})
    table = comparisons.seen_and_unseen(pd.DataFrame(lines), ["bump"])
    assert table.loc["bump", "seen: pixel AP"].startswith("+2.0 points")
    assert table.loc["bump", "unseen less seen"] == "+1.0 [+1.0, +1.0]"
    frame = pd.DataFrame(lines)
    assert comparisons.spreads(frame, ["bump"], "toys") == {"bump": pytest.approx(0, abs=1e-9)}


def test_averaged_maps(rows):
    frame = pd.concat([rows, rows.query("head == 'good' and seed == '0'").assign(seed="all")])
    table = comparisons.averaged_maps(frame, ["good", "absent"], "toys")
    assert table.loc["good", "mean of the seeds"] == "92.1"
    assert table.loc["good", "averaged maps"] == "92.0" and "absent" not in table.index


def test_both_parts_of_the_student():
    text = comparisons.denoising_and_decoder()
    assert "over 3 seeds" in text and "points [" in text
