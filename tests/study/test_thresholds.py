"""Thresholds, hits and misses, and verdicts that changed, on a few images counted by hand."""

import numpy as np
import pandas as pd
import pytest

from study.scoring import thresholds


def scores(seed_0=(1, 3, 2, 4), seed_1=(1, 2, 3, 4), validation=True):
    """Test images a, b (good), c, d (defective); on validation 2.5 separates."""
    test = pd.DataFrame({"name": list("abcd"), "split": "test", "label": [0, 0, 1, 1]})
    test = test.assign(**{"score-0": np.array(seed_0, float), "score-1": np.array(seed_1, float)})
    tuning = pd.DataFrame({"name": ["v", "w"], "split": "validation", "label": [0, 1],
                           "score-0": [1.0, 2.5], "score-1": [1.0, 2.5]})  # fmt: skip
    frame = pd.concat([tuning, test] if validation else [test], ignore_index=True)
    return frame.assign(defect=np.where(frame.label == 1, "crack", "good"))


def by_image(*seeds, copies=1, **more):
    """The same as `evaluation` leaves it, each image `copies` times under names of its own."""
    frame = pd.concat([scores(*seeds, **more)] * copies, ignore_index=True).assign(drawn=False)
    if copies > 1:
        frame["name"] += frame.index.astype(str)
    names = {f"score-{seed}": f"full/segmentation/{seed}" for seed in (0, 1)}
    return frame.rename(columns=names)[[*thresholds.FACTS, *names.values()]]


def test_threshold():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.7]), np.array([0, 0, 0, 1, 1])
    splits = ["validation"] * 5
    assert thresholds.cut(scores, labels, splits) == 0.6
    # 0.2: all defects at one false alarm of two; 0.9: half of the defects at none; 0.4: as 0.2, ...
    scores, labels = np.array([0.1, 0.4, 0.2, 0.9, 0.5]), np.array([0, 0, 1, 1, 1])
    assert thresholds.cut(scores, labels, splits) == 0.5  # two of three found, no false alarm


def test_outcomes():
    found = thresholds.outcomes(np.array([0.5, 0.5, 0.4, 0.4]), np.array([1, 0, 1, 0]), 0.5)
    assert found.tolist() == [
        "true positive",
        "false positive",
        "false negative",
        "true negative",
    ]


def test_the_threshold_is_validation_s():
    assert thresholds.cuts(scores()) == {"score-0": 2.5, "score-1": 2.5}


@pytest.mark.parametrize("kept", ["split == 'test'", "split == 'test' or label == 0"])
def test_without_good_and_defective_validation_images_nothing_is_judged(kept):
    """No threshold comes from the test split, nor from good images alone."""
    without = scores().query(kept)
    assert set(thresholds.cuts(without).values()) == {None}
    assert thresholds.alarms(without) is None and thresholds.changed(without, scores()) is None


def test_the_real_images_of_one_student_and_map():
    images = scores().drop(columns=["score-0", "score-1"]).assign(drawn=[False] * 5 + [True])
    for name in (
        "full/segmentation/0",
        "full/segmentation/7",
        "full/segmentation, x/0",
        "a/cosine/0",
    ):
        images[name] = 1.0
    found = thresholds.table(images, "full")
    assert list(found.columns) == ["name", "split", "defect", "label", "score-0", "score-7"]
    assert len(found) == 5


def test_alarms_are_the_share_of_the_seeds():
    assert thresholds.alarms(scores()).alarms.to_dict() == {"a": 0, "b": 0.5, "c": 0.5, "d": 1}


def test_counts_by_threshold_add_up_and_move_one_way():
    found = thresholds.by_threshold(scores(), points=4)
    assert set(found.outcome) == set(thresholds.NAMES.values()) and set(found.seed) == {"0", "1"}
    assert (found.groupby(["seed", "threshold"]).images.sum() == 4).all()
    hits = found[(found.outcome == "hits") & (found.seed == "1")].images.tolist()
    assert hits == [2, 2, 2, 1]


def test_changed_names_what_flipped_and_whether_that_is_right():
    before = scores((1, 1, 1, 4), (1, 1, 1, 4))
    after = scores((1, 9, 9, 4), (1, 9, 9, 4))
    found = thresholds.changed(before, after)
    assert found["now"].to_dict() == {"b": "wrong", "c": "right"}
    assert found.loc["c", "alarming seeds, before"] == "0%" and found.loc["c", "after"] == "100%"
    assert thresholds.changed(before, before).empty


def test_equal_scores_are_ranked_by_the_second():
    assert thresholds.ranked([0.5, 1.0, 1.0, 1.0], [9, 2, 3, 2]).tolist() == [2, 1, 3, 0]


def test_images_that_every_seed_misses():
    """Each seed has a threshold of its own: 0.5, and 5."""
    columns = ["name", "split", "defect", "label", "score-0", "score-1"]
    rows = [("a", "validation", "good", 0, 0.1, 1.0), ("b", "validation", "cut", 1, 0.5, 5.0),
            ("c", "test", "cut", 1, 0.4, 4.0), ("d", "test", "cut", 1, 0.4, 6.0),
            ("e", "test", "good", 0, 0.2, 2.0)]  # fmt: skip
    scores = pd.DataFrame(rows, columns=columns)
    found = thresholds.missed(scores)
    assert found.reset_index().values.tolist() == [["c", "cut", 0.4, 4.0]]
    assert list(found) == ["defect", "score, seed 0", "score, seed 1"]
    assert thresholds.missed(scores[2:]) is None


def test_a_saturated_map_shows_near_the_top():
    scores = pd.DataFrame({"split": "test", "label": 1, "score-0": [0.1, 0.9, 1.0, 1.0]})
    row = thresholds.near_the_top(scores, 3).loc["seed 0"]
    assert row["highest score"] == 1.0 and row["score of place 3"] == 0.9
    assert row["images with the highest score"] == 2
    assert row["different scores in the first 3"] == 2
    assert thresholds.near_the_top(scores[:0]).empty
