"""Thresholds, hits and misses, and verdicts that changed, on a few images counted by hand."""

import numpy as np
import pandas as pd

from lib import verdicts


def scores(seed_0=(1, 3, 2, 4), seed_1=(1, 2, 3, 4), validation=True):
    """Test images a, b (good), c, d (defective); on validation 2.5 separates."""
    test = pd.DataFrame({"name": list("abcd"), "split": "test", "label": [0, 0, 1, 1]})
    test = test.assign(**{"score-0": np.array(seed_0, float), "score-1": np.array(seed_1, float)})
    tuning = pd.DataFrame({"name": ["v", "w"], "split": "validation", "label": [0, 1],
                           "score-0": [1.0, 2.5], "score-1": [1.0, 2.5]})  # fmt: skip
    frame = pd.concat([tuning, test] if validation else [test], ignore_index=True)
    return frame.assign(defect=np.where(frame.label == 1, "crack", "good"))


def test_the_threshold_is_validation_s():
    assert verdicts.cut(scores(), "score-0") == 2.5
    without = verdicts.cut(scores(validation=False), "score-0")
    assert without == np.quantile([1, 3], 0.95)


def test_alarms_are_the_share_of_the_seeds():
    assert verdicts.alarms(scores()).alarms.to_dict() == {"a": 0, "b": 0.5, "c": 0.5, "d": 1}


def test_the_answer_counts_hits_false_alarms_and_what_no_seed_finds():
    answer = verdicts.answer(scores())
    assert "finds 75.0 ± 35.4 % of the 2 defective" in answer
    assert "calls 25.0 ± 35.4 % of the 2 good" in answer and "misses 0 defective" in answer
    assert "misses 1 defective" in verdicts.answer(scores((1, 1, 1, 4), (1, 1, 1, 4)))


def test_counts_by_threshold_add_up_and_move_one_way():
    found = verdicts.by_threshold(scores(), points=4)
    assert set(found.outcome) == set(verdicts.NAMES.values()) and set(found.seed) == {"0", "1"}
    assert (found.groupby(["seed", "threshold"]).images.sum() == 4).all()
    hits = found[(found.outcome == "hits") & (found.seed == "1")].images.tolist()
    assert hits == [2, 2, 2, 1]


def test_changed_names_what_flipped_and_whether_that_is_right():
    before = scores((1, 1, 1, 4), (1, 1, 1, 4))
    after = scores((1, 9, 9, 4), (1, 9, 9, 4))
    found = verdicts.changed(before, after)
    assert found["now"].to_dict() == {"b": "wrong", "c": "right"}
    assert found.loc["c", "alarming seeds, before"] == "0%" and found.loc["c", "after"] == "100%"
    assert verdicts.changed(before, before).empty
