"""Comparisons of a run's rows: pairs, intervals, the choice on validation, what is missing."""

import numpy as np
import pandas as pd
import pytest

from study import params
from study.beyond import comparisons, ledger
from study.beyond.comparisons import Comparison

GAIN = {"method": 0, "good": 2, "lucky": 1}


def rows():
    """Rows of three heads in three seeds, and of the student `noisy` in one."""
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
    lines.append(lines[1] | {"student": "noisy", "image_auroc": 0.95})
    return pd.DataFrame(lines)


def compared(folder, frame=None):
    """A `Comparison` of these rows as the run leaves them."""
    (rows() if frame is None else frame).to_csv(folder / "variants.csv", index=False)
    return Comparison("toys", folder=folder)


def test_pairs_are_of_the_same_seed(tmp_path):
    found = compared(tmp_path)
    assert found.estimate("good")[0] == pytest.approx({"0": 2, "1": 2.1, "2": 2.2})
    assert found.said("good") == "+2.1 points [+1.9, +2.3] over 3 seeds: yes"
    assert found.said("noisy/method") == "+5.0 points over 1 seed: undetermined"
    assert found.said("none") is None


def test_over_images(tmp_path):
    rng, count = np.random.default_rng(0), 60
    labels = np.repeat([0, 1], count // 2)
    frame = {"name": "x", "split": "test", "kind": np.where(labels == 0, "good", "real")}
    frame |= {"label": labels, "full/good/0/segmentation": labels + 0.3 * rng.random(count)}
    frame |= {"full/method/0/segmentation": rng.random(count)}
    pd.DataFrame(frame).to_csv(tmp_path / "scores-nut.csv", index=False)
    one = compared(tmp_path, rows().query("seed == '0'"))
    low, high = one.estimate("good")[1]
    assert 20 < low < 50 < high < 80
    assert one.estimate("lucky")[1] is None and one.estimate("good", split="validation")[1] is None
    assert compared(tmp_path).estimate("good")[1] is None  # two seeds without scores


def test_the_choice_is_made_on_validation(tmp_path):
    found = compared(tmp_path)
    best, means = found.choice(["method", "lucky"])
    assert best == "lucky" and means["lucky"] == pytest.approx(91)
    text = found.answer(["lucky"], also=found)
    assert text.startswith("Validation chooses `lucky` (91.0 on validation; `method`: 90.0).")
    assert "On test, its image AUROC differs from `method` by -1.0 points" in text
    assert "On real defects, image AUROC: -1.0 points" in text
    assert found.answer(["absent"]) == "Not measured: `absent`. `make beyond` runs it."
    shown = found.table(["method", "good", "absent"])
    assert shown.loc["good", "test"] == "92.1 ± 0.1" and shown.loc["absent", "test"] == (
        "not measured"
    )


def test_the_choice_takes_the_seeds_that_most_heads_have(tmp_path):
    frame = rows()
    one = frame[(frame.seed == "0") & (frame.student == "full")]
    more = one[one["head"] == "method"].assign(seed="9", image_auroc=0.0)
    few = one[one["head"] == "lucky"].assign(head="once")
    heads = ["method", "lucky", "good", "once"]
    _, means = compared(tmp_path, pd.concat([frame, more, few])).choice(heads)
    assert means == compared(tmp_path).choice(heads)[1]
    assert set(means) == {"method", "lucky", "good"}


def test_a_table_that_does_not_exist(tmp_path):
    assert ledger.load("variants", tmp_path).empty
    nothing = Comparison("toys", folder=tmp_path)
    assert nothing.answer(["a"]).startswith("Not measured: `a`.")
    assert nothing.averaged(["a"]).empty
    assert comparisons.seen_and_unseen(["a"], "toys", folder=tmp_path).empty


def test_seen_and_unseen(tmp_path):
    """The head gains 2 points on seen, 3 on drawn: it loses a point less on what it never saw."""
    drawn = {"toys_seen": 0.02, "toys_drawn": 0.03, "toys": 0.01}
    lines = []
    for benchmark, gain in drawn.items():
        for head, more in (("method", 0), ("bump", gain)):
            for seed in ("0", "1"):
                line = {"category": "nut", "student": "full", "head": head, "seed": seed}
                line |= {"map": "log", "split": "test", "benchmark": benchmark}
                lines.append(line | {"image_auroc": 0.9 + more, "pixel_ap": 0.5 + more})
    pd.DataFrame(lines).to_csv(tmp_path / "variants.csv", index=False)
    table = comparisons.seen_and_unseen(["bump"], "toys", folder=tmp_path)
    assert table.loc["bump", "seen corruption, pixel AP"].startswith("+2.0 points")
    assert table.loc["bump", "real defects, image AUROC"].startswith("+1.0 points")
    assert table.loc["bump", "unseen minus seen"] == "+1.0 [+1.0, +1.0]"


def test_averaged_maps(tmp_path):
    frame = rows()
    both = frame.query("head == 'good' and seed == '0'").assign(seed="all")
    table = compared(tmp_path, pd.concat([frame, both])).averaged(["good", "absent"])
    assert table.loc["good", "mean of the seeds"] == "92.1"
    assert table.loc["good", "averaged maps"] == "92.0" and "absent" not in table.index


def test_both_parts_of_the_student():
    text = comparisons.denoising_and_decoder()
    assert "over 3 seeds" in text and "points [" in text


def test_both_parts_of_the_student_that_the_study_lacks(tmp_path, monkeypatch):
    frame = pd.read_csv(params.ROOT / "reports/quick/ablations.csv").query("student == 'full'")
    monkeypatch.setattr(params, "ROOT", tmp_path)
    absent = "Not measured: denoising and decoder, by the study `quick`."
    assert comparisons.denoising_and_decoder() == absent
    (tmp_path / "reports/quick").mkdir(parents=True)
    frame.to_csv(tmp_path / "reports/quick/ablations.csv", index=False)
    assert comparisons.denoising_and_decoder() == absent
