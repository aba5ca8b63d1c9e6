"""The figures' view of a small finished run."""

from dataclasses import replace

import numpy as np
import pytest
from test_scores import SETTINGS, SIZE, STRIDE, category, leave, score

from study.figures import plots
from study.scoring import scores, thresholds
from study.scoring.scores import MAPS
from study.scoring.view import RANKED, View


@pytest.fixture
def view(elsewhere):
    held_out = category()
    leave(SETTINGS, held_out)
    return View(held_out, SETTINGS, score(held_out).images)


def test_a_view_wants_scores_of_its_images(view):
    with pytest.raises(ValueError, match="dvc repro evaluation@nut"):
        View(view.held_out.select(np.arange(24)[::-1]), SETTINGS, view.images)


def test_view_scores(view):
    assert view.maps(1, "cosine").shape == (24, SIZE // STRIDE, SIZE // STRIDE)
    per_image = view.scores(1, "segmentation")
    full = scores.full_size(view.maps(1, "segmentation"), SIZE).reshape(24, -1)
    np.testing.assert_allclose(per_image, np.sort(full, axis=1)[:, -16:].mean(1), rtol=1e-6)
    assert view.real.sum() == 9


def test_view_threshold_is_of_the_validation_split(view):
    labels, splits = view.held_out.labels, view.held_out.splits
    per_image = np.where(labels == 1, 0.8, 0.2) + np.where(splits == "test", 5.0, 0)
    assert view.cut(per_image) == 0.8
    drawn = np.where(view.held_out.drawn, 0.3, per_image)  # drawn defects choose nothing
    assert view.cut(drawn) == 0.8


def test_no_threshold_is_taken_from_test(view):
    """Without validation there is none, and examples are chosen by rank."""
    view.held_out = replace(view.held_out, splits=np.full(24, "test"))
    assert view.cut(view.scores(0, "segmentation")) is None
    found = view.examples(0, 2)
    assert [example["outcome"] for example in found[::2]] == [name for name, *_ in RANKED]
    worst, best = found[0]["score"], found[4]["score"]
    assert worst < best and view.histogram(0, "cosine")["threshold"] is None
    plots.outcomes(found)


def test_view_examples(view):
    found = view.examples(0, 2)
    names = [example["name"] for example in found]
    assert len(set(names)) == len(names)
    per_image = view.scores(0, "segmentation")
    cut = view.cut(per_image)
    position = {name: i for i, name in enumerate(view.held_out.names)}
    for example in found:
        i = position[example["name"]]
        assert view.real[i]
        assert example["score"] == pytest.approx(per_image[i])
        assert example["outcome"] == thresholds.outcomes(per_image, view.held_out.labels, cut)[i]
        assert example["image"].shape == (SIZE, SIZE, 1)
        assert example["cosine"].shape == example["segmentation"].shape == (SIZE, SIZE)
        assert (example["mask"] is None) == (view.held_out.labels[i] == 1)  # real: unknown
    for outcome in {example["outcome"] for example in found}:
        shown = [abs(e["score"] - cut) for e in found if e["outcome"] == outcome]
        assert len(shown) <= 2 and shown == sorted(shown)  # nearest to the threshold first
    plots.outcomes(found)


def test_the_cosine_map_orders_images_that_tie(view):
    """A segmentation map that is saturated, 1 everywhere, ranks by nothing."""
    flat = np.ones(24, np.float32)
    view.scores = lambda seed, kind: (
        view.images[f"full/cosine/{seed}"] if kind == "cosine" else flat
    )
    view.cut = lambda scores: None
    best = [one for one in view.examples(0, 3) if one["outcome"] == "defective, highest scores"]
    cosine = view.images.set_index("name")["full/cosine/0"]
    defective = view.images[view.real & (view.held_out.labels == 1)].name
    expected = cosine[defective].sort_values(ascending=False).index[:3]
    assert [one["name"] for one in best] == [*expected]


def test_view_curves_and_histogram(view):
    histogram = view.histogram(1, "cosine")
    assert len(histogram["scores"]) == len(histogram["labels"]) == 9
    assert "nut" in histogram["title"]
    assert set(view.image_curves(0)) == set(MAPS)
    assert set(view.pixel_curves(0)) == {"cosine, toy_drawn", "segmentation, toy_drawn"}
    for curves in view.pixel_curves(0).values():
        assert set(curves) == {"roc", "precision_recall", "pro"}
    plots.score_histograms(**histogram)
    plots.curves(view.pixel_curves(0))
    view.held_out = replace(view.held_out, labels=view.held_out.labels * 0)
    assert view.image_curves(0) == view.pixel_curves(0) == {}
    plots.curves({})


def test_view_history(view):
    history = view.history()
    assert len(history) == 2 * 4 * 2 * 2  # phases, students, seeds, steps
    assert set(history.phase) == {"student", "segmentation"}
    assert set(history.item) >= {"full-0", "plain-1"}
    plots.training_curves(history)
