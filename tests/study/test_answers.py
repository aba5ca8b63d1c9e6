"""The sentences that notebooks begin with, on runs with everything and on runs that lack a part."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_ablations import baseline_rows, rows
from test_scores import SETTINGS, category, images_of, maps_of
from test_thresholds import scores

from study.scoring.scores import MAPS
from study.scoring.view import View
from study.tables import answers


def test_dataset_counts_real_images_and_pairs():
    held_out = category()
    said = answers.dataset(held_out, [("a", "x", 0.99), ("b", "x", 0.98), ("a", "y", 0.98)])
    assert "6 real defective ones" in said and "2 of 18 held-out images" in said
    assert "AUROC of " in said
    good = held_out.select(held_out.labels == 0)
    assert "lacks good or defective images" in answers.dataset(good, [])


def test_baseline_names_the_best_levels():
    best = baseline_rows(score=0.94).assign(map="nearest_neighbour_3")
    frame = baseline_rows().assign(map="nearest_neighbour_2_3")
    said = answers.baseline(pd.concat([frame, best]))
    assert "94.0 ± 0.0 % on real test images (best row: nearest neighbour 3;" in said
    assert "nearest neighbour 2 3: 55.0 ± 0.0" in said
    assert "No baseline" in answers.baseline(frame[:0])
    assert "No baseline" in answers.baseline(frame[~frame.real_defects])


@pytest.mark.parametrize(("real", "kind"), [(False, "drawn"), (True, "real")])
def test_evaluation_names_both_maps_and_whose_pixels(real, kind):
    frame = rows(categories=("nut",))
    if real:
        frame = frame.assign(pixel_ap=0.3, pro=0.4)
    said = answers.evaluation(frame, "full", ["Nothing else."])
    assert "59.2 ± 0.4 % with its segmentation map and 53.2 ± 0.4 % with its cosine" in said
    assert f"On {kind} defects" in said and said.endswith(" Nothing else.")


def test_evaluation_without_masks_or_defects():
    frame = rows()
    said = answers.evaluation(frame[frame.real_defects], "full", ["No pixels."])
    assert "pixel AP" not in said and said.endswith("No pixels.")
    assert answers.evaluation(frame[:0], "full", ["No figures."]) == "**Answer.** No figures."


def test_figures_counts_hits_false_alarms_and_what_no_seed_finds():
    said = answers.figures(scores(), "full")
    assert "finds 75.0 ± 35.4 % of the 2 defective" in said
    assert "false alarms on 25.0 ± 35.4 % of the 2 good" in said
    assert "Every seed misses 0 defective images" in said
    assert "misses 1 defective image." in answers.figures(
        scores((1, 1, 1, 4), (1, 1, 1, 4)), "full"
    )
    assert "no threshold is chosen" in answers.figures(scores(validation=False), "full")
    good = scores().query("split != 'test' or label == 0")
    assert "defective test images" not in answers.figures(good, "full")


def test_explore_says_truth_verdict_and_rank():
    held_out = category()
    images = images_of(held_out, dict.fromkeys(MAPS, maps_of(held_out, noise=0)))
    view = View(held_out, SETTINGS, images)
    bad = int(np.flatnonzero(view.real & (held_out.labels == 1))[0])
    good, defective = (answers.explore(view, 0, index) for index in (6, bad))
    assert "`6.png` is good and the method calls it **good**" in good
    assert "is defective and the method calls it **defective**" in defective
    assert "above 100% of the good and" in defective
    view.held_out = replace(held_out, splits=np.full(24, "test"))
    assert "no threshold is chosen" in answers.explore(view, 0, bad)


def test_pro_says_how_far_each_reading_moves_the_figure():
    index = pd.MultiIndex.from_tuples(
        [
            ("definition", "all"),
            ("ties", "float32, shared"),
            ("ties", "float16, normal last"),
            ("ties", "8 bits, normal last"),
            ("thresholds", "100 equidistant, stretched"),
            ("same order of pixels", "map squared, 100, stretched"),
            ("regions", "4-connected"),
        ]
    )
    table = pd.DataFrame(
        {
            "PRO cosine map": [90.0, 90.0, 90.1, 95.0, 85.0, 61.0, 90.4],
            "PRO segmentation map": [95.0, 95.0, 95.2, 99.0, 94.0, 88.6, 95.0],
        },
        index,
    )
    said = answers.pro(table)
    assert "from 90.0 to 85.0 % on the cosine map (61.0 % on its square) and 95.0 to 94.0" in said
    assert (
        "up to 29.0 points, ties of an 8-bit map by up to 5.0, and 4-connected regions by up to 0.4"
        in said
    )
    assert "no masks" in answers.pro(pd.DataFrame())
