"""Rows, spreads, thresholds and the figures' view of a small finished run."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from lib import evaluation, metrics, params, plots
from lib.category import Category
from lib.evaluation import COLUMNS, HEAD_COLUMNS, MAPS, METRICS, View, score_maps, subsets

SIZE, STRIDE = 32, 4
KINDS = (
    *[("good", "validation")] * 6,
    *[("good", "test")] * 6,
    *[("scratch", "validation")] * 3,
    *[("scratch", "test")] * 3,
    *[("drawn_crack", "validation")] * 3,
    *[("drawn_crack", "test")] * 3,
)
SETTINGS = replace(
    params.load(),
    categories=("nut",),
    seeds=(0, 1),
    evaluation=replace(params.load().evaluation, top_pixels=16),
)


def category(real_masks=False, drawn=True, validation=True):
    """24 held-out images: good, really defective (with or without masks) and drawn ones."""
    kinds = [k for k in KINDS if (drawn or "drawn" not in k[0]) and (validation or k[1] == "test")]
    defects, splits = map(np.array, zip(*kinds, strict=True))
    is_drawn = defects == "drawn_crack"
    masks = np.zeros((len(kinds), SIZE, SIZE), bool)
    masks[is_drawn | (real_masks & (defects == "scratch")), 8:16, 8:16] = True
    rng = np.random.default_rng(0)
    return Category(
        benchmark="toy",
        category="nut",
        images=rng.integers(0, 256, (len(kinds), SIZE, SIZE, 1), dtype=np.uint8),
        masks=masks,
        has_mask=is_drawn | (defects == "good") | real_masks,
        labels=(defects != "good").astype(np.uint8),
        defects=defects,
        names=np.array([f"{i}.png" for i in range(len(kinds))]),
        splits=splits,
        drawn=is_drawn,
        notes=(),
    )


def maps_of(held_out, seed=0, noise=0.3):
    """Stride-4 maps that rise where an image is defective, and noise."""
    shape = (len(held_out.labels), SIZE // STRIDE, SIZE // STRIDE)
    maps = np.random.default_rng(seed).random(shape) * noise
    maps[held_out.labels == 1, 2:4, 2:4] += 0.5
    return maps.astype(np.float32)


def test_full_size():
    ramp = np.array([[[0, 1], [0, 1]]], np.float32)
    found = evaluation.full_size(ramp, 4)
    assert found.shape == (1, 4, 4)
    assert found[0, 0].tolist() == [0, 0.25, 0.75, 1]


def test_image_scores():
    maps = np.zeros((2, 2, 2), np.float32)
    maps[1] = 3
    assert evaluation.image_scores(maps, 8, 10).tolist() == [0, 3]


def test_subsets():
    held_out = category()
    found = list(subsets(held_out))
    assert [row[:3] for row in found] == [
        ("validation", "toy", True),
        ("validation", "toy_drawn", False),
        ("test", "toy", True),
        ("test", "toy_drawn", False),
    ]
    for split, benchmark, _, chosen in found:
        assert set(held_out.splits[chosen]) == {split}
        defect = "drawn_crack" if benchmark.endswith("_drawn") else "scratch"
        kinds, counts = np.unique(held_out.defects[chosen], return_counts=True)
        assert dict(zip(kinds, counts, strict=True)) == {"good": 6, defect: 3}


def test_subsets_without_drawn_defects_or_validation():
    found = [row[:3] for row in subsets(category(drawn=False, validation=False))]
    assert found == [("test", "toy", True)]


def test_rows_without_real_masks():
    held_out = category()
    maps = maps_of(held_out)
    rows = score_maps(held_out, maps, SETTINGS.evaluation)
    assert [row["real_defects"] for row in rows] == [True, False, True, False]
    full = evaluation.full_size(maps, SIZE)
    scores = np.sort(full.reshape(len(full), -1), axis=1)[:, -16:].mean(1)
    for row, (split, benchmark, _, chosen) in zip(rows, subsets(held_out), strict=True):
        assert (row["split"], row["benchmark"], row["category"]) == (split, benchmark, "nut")
        labels = held_out.labels[chosen]
        assert row["image_auroc"] == pytest.approx(metrics.image_auroc(scores[chosen], labels))
        pixel = [row[name] for name in METRICS[1:]]
        if row["real_defects"]:
            assert pixel == [None] * 5
        else:
            expected = metrics.evaluate(
                full[chosen], held_out.masks[chosen], scores[chosen], labels
            )
            assert pixel == pytest.approx([expected[name] for name in METRICS[1:]])


def test_rows_with_real_masks():
    held_out = category(real_masks=True, drawn=False)
    rows = score_maps(held_out, maps_of(held_out), SETTINGS.evaluation)
    assert [row["real_defects"] for row in rows] == [True, True]
    assert all(0 < row[name] <= 1 for row in rows for name in METRICS)


@pytest.fixture
def run(tmp_path):
    """A finished run of two seeds: results/, its category and maps."""
    held_out = category()
    for student in SETTINGS.students:
        for seed in SETTINGS.seeds:
            for phase in ("student", "segmentation"):
                folder = tmp_path / phase / "nut" / f"{student}-{seed}"
                folder.mkdir(parents=True)
                (folder / "history.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
            maps = {kind: maps_of(held_out, 10 * seed + i) for i, kind in enumerate(MAPS)}
            np.savez(folder / "maps.npz", **maps, device=f"device {seed}")
    return tmp_path, held_out


def test_score_students(run):
    results, held_out = run
    # What lies on disk and is not in the declared grid is left alone.
    (results / "segmentation" / "nut" / "other-7").mkdir()
    frame = evaluation.score_students(held_out, SETTINGS, results / "segmentation")
    assert list(frame.columns) == ["split", *COLUMNS]
    assert len(frame) == 4 * 2 * 2 * 4  # students, seeds, maps, subsets
    assert not frame.duplicated(["split", "benchmark", "student", "map", "seed"]).any()
    full = frame[frame.student == "full"]
    assert full.denoising.all() and full.encoder_decoder.all()
    plain = frame[frame.student == "plain"]
    assert not plain.denoising.any() and not plain.encoder_decoder.any()
    assert frame[frame.real_defects].pixel_ap.isna().all()
    assert frame[~frame.real_defects][METRICS].notna().all(axis=None)
    assert (frame.benchmark == np.where(frame.real_defects, "toy", "toy_drawn")).all()
    assert (frame.device == "device " + frame.seed.astype(str)).all()


def test_score_students_names_the_missing_item(run):
    results, held_out = run
    (results / "segmentation" / "nut" / "denoising-1" / "maps.npz").unlink()
    with pytest.raises(FileNotFoundError, match="denoising-1"):
        evaluation.score_students(held_out, SETTINGS, results / "segmentation")


HEADS = {
    "focal_only": params.Head(input="product", l1_weight=0.0),
    "distance": params.Head(input="distance", l1_weight=1.0),
}


def test_score_heads(run):
    """Of the declared heads only, on test, each with its own maps and parameters."""
    results, held_out = run
    for number, (head, seed) in enumerate(product((*HEADS, "left_over"), SETTINGS.seeds)):
        folder = results / "segmentation" / "nut" / f"full-{head}-{seed}"
        folder.mkdir()
        maps = {"cosine": np.zeros(1), "segmentation": maps_of(held_out, number, noise=2.0)}
        np.savez(folder / "maps.npz", **maps, device=f"device {number}")
    chosen = replace(SETTINGS, heads=HEADS)
    frame = evaluation.score_heads(held_out, chosen, results / "segmentation")
    assert list(frame.columns) == HEAD_COLUMNS
    assert set(frame.benchmark) == {"toy", "toy_drawn"} and set(frame.category) == {"nut"}
    assert len(frame) == 2 * 2 * 2  # heads, seeds, subsets of the test split
    for number, ((name, head), seed) in enumerate(product(HEADS.items(), SETTINGS.seeds)):
        rows = frame[(frame["head"] == name) & (frame.seed == seed)]
        assert set(rows.input) == {head.input} and set(rows.l1_weight) == {head.l1_weight}
        assert set(rows.device) == {f"device {number}"}
        scored = score_maps(held_out, maps_of(held_out, number, noise=2.0), SETTINGS.evaluation)
        expected = [row["image_auroc"] for row in scored if row["split"] == "test"]
        assert rows.image_auroc.tolist() == pytest.approx(expected)
    (results / "segmentation" / "nut" / "full-distance-1" / "maps.npz").unlink()
    with pytest.raises(FileNotFoundError, match="full-distance-1"):
        evaluation.score_heads(held_out, chosen, results / "segmentation")


def test_score_no_heads(run):
    results, held_out = run
    frame = evaluation.score_heads(held_out, replace(SETTINGS, heads={}), results / "segmentation")
    assert frame.empty and list(frame.columns) == HEAD_COLUMNS


def rows(values, **more):
    row = {"benchmark": "toy", "category": "nut", "student": "full", "map": "cosine"}
    return evaluation.table(
        [row | {"split": "test", "seed": i, "image_auroc": v} | more for i, v in enumerate(values)]
    )


def test_spread():
    found = evaluation.spread(rows([0.9, 0.92, 0.94], pixel_ap=None))
    assert found.index.names == ["benchmark", "student", "map"]
    assert list(found.columns) == ["image_auroc"]  # what was measured
    assert found.loc[("toy", "full", "cosine"), "image_auroc"] == "92.0 ± 2.0"
    assert evaluation.spread(rows([0.9])).iloc[0, 0] == "90.0"
    mixed = pd.concat([rows([0.9, 0.9]), rows([0.5, 0.7], map="segmentation", pixel_ap=0.25)])
    found = evaluation.spread(mixed)
    assert list(found["image_auroc"]) == ["90.0 ± 0.0", "60.0 ± 14.1"]
    assert list(found["pixel_ap"].where(found["pixel_ap"].notna(), "-")) == ["-", "25.0 ± 0.0"]


def test_means():
    frame = pd.concat([rows([0.9, 0.95]), rows([0.1], split="validation")])
    assert evaluation.means(frame) == {"toy": {"full": {"cosine": {"image_auroc": 0.925}}}}


def test_threshold():
    scores, labels = np.array([0.1, 0.2, 0.3, 0.6, 0.7]), np.array([0, 0, 0, 1, 1])
    assert evaluation.threshold(scores, labels) == 0.6
    # 0.2: all defects at one false alarm of two; 0.9: half of the defects at none; 0.4: as 0.2, ...
    scores, labels = np.array([0.1, 0.4, 0.2, 0.9, 0.5]), np.array([0, 0, 1, 1, 1])
    assert evaluation.threshold(scores, labels) == 0.5  # two of three found, no false alarm


def test_outcomes():
    found = evaluation.outcomes(np.array([0.5, 0.5, 0.4, 0.4]), np.array([1, 0, 1, 0]), 0.5)
    assert found.tolist() == [
        "true positive",
        "false positive",
        "false negative",
        "true negative",
    ]


@pytest.fixture
def view(run):
    results, held_out = run
    return View(held_out, results / "segmentation" / "nut", SETTINGS)


def test_view_scores(view):
    assert view.maps(1, "cosine").shape == (24, SIZE // STRIDE, SIZE // STRIDE)
    scores = view.scores(1, "segmentation")
    expected = evaluation.image_scores(view.maps(1, "segmentation"), SIZE, 16)
    assert np.array_equal(scores, expected)
    assert view.real.sum() == 9


def test_view_threshold_is_of_the_validation_split(view):
    labels, splits = view.held_out.labels, view.held_out.splits
    scores = np.where(labels == 1, 0.8, 0.2) + np.where(splits == "test", 5.0, 0)
    assert view.cut(scores) == 0.8
    drawn = np.where(view.held_out.drawn, 0.3, scores)  # drawn defects choose nothing
    assert view.cut(drawn) == 0.8


def test_view_threshold_without_validation(tmp_path):
    held_out = category(validation=False)
    scores = np.where(held_out.labels == 1, 9.0, np.arange(len(held_out.labels)))
    assert View(held_out, tmp_path, SETTINGS).cut(scores) == pytest.approx(4.75)  # of 0 to 5


def test_view_examples(view):
    found = view.examples(0, 2)
    names = [example["name"] for example in found]
    assert len(set(names)) == len(names)
    scores = view.scores(0, "segmentation")
    cut = view.cut(scores)
    position = {name: i for i, name in enumerate(view.held_out.names)}
    for example in found:
        i = position[example["name"]]
        assert view.real[i]
        assert example["score"] == pytest.approx(scores[i])
        assert example["outcome"] == evaluation.outcomes(scores, view.held_out.labels, cut)[i]
        assert example["image"].shape == (SIZE, SIZE, 1)
        assert example["cosine"].shape == example["segmentation"].shape == (SIZE, SIZE)
        assert (example["mask"] is None) == (view.held_out.labels[i] == 1)  # real: unknown
    for outcome in {example["outcome"] for example in found}:
        shown = [abs(e["score"] - cut) for e in found if e["outcome"] == outcome]
        assert len(shown) <= 2 and shown == sorted(shown, reverse=True)
    plots.outcomes(found)


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


def test_view_history(run, view):
    history = view.history(run[0])
    assert len(history) == 2 * 4 * 2 * 2  # phases, students, seeds, steps
    assert set(history.phase) == {"student", "segmentation"}
    assert set(history.item) >= {"full-0", "plain-1"}
    plots.training_curves(history)


@pytest.mark.parametrize(("real", "kind"), [(False, "drawn"), (True, "real")])
def test_the_answer_names_both_maps_and_whose_pixels(tmp_path, real, kind):
    held_out = category(real_masks=real)
    for student, seed in product(SETTINGS.students, SETTINGS.seeds):
        folder = tmp_path / "nut" / f"{student}-{seed}"
        folder.mkdir(parents=True)
        np.savez(folder / "maps.npz", cosine=maps_of(held_out, seed, 3), device="Toy CPU",
                 segmentation=maps_of(held_out, seed))  # fmt: skip
    answer = evaluation.answer(evaluation.score_students(held_out, SETTINGS, tmp_path))
    assert "100.0 ± 0.0 % by its segmentation map" in answer
    assert f"On {kind} defects" in answer and "pixel AP" in answer
    frame = evaluation.score_students(category(), SETTINGS, tmp_path)
    assert "there are no masks" in evaluation.answer(frame[frame.real_defects])
