"""Rows and spreads of a small finished run."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import test_ablations
from toys import category_of

from study import params, results
from study.data.category import entry
from study.scoring import metrics, scores, thresholds
from study.scoring.scores import COLUMNS, MAPS, METRICS, subsets
from study.tables import format

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
    shape, mask = (len(kinds), SIZE, SIZE, 1), np.zeros((SIZE, SIZE), bool)
    mask[8:16, 8:16] = True
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    known = {"drawn_crack": mask, "scratch": mask if real_masks else None, "good": None}
    return category_of(
        [
            entry(image, known[defect], defect, f"{i}.png", split, defect == "drawn_crack")
            for i, (image, (defect, split)) in enumerate(zip(images, kinds, strict=True))
        ]
    )


def maps_of(held_out, seed=0, noise=0.3):
    """Stride-4 maps that rise where an image is defective, and noise."""
    shape = (len(held_out.labels), SIZE // STRIDE, SIZE // STRIDE)
    maps = np.random.default_rng(seed).random(shape) * noise
    maps[held_out.labels == 1, 2:4, 2:4] += 0.5
    return maps.astype(np.float32)


def images_of(held_out, both, seed=0):
    """The table of scores by image of the full student, from {kind: maps}."""
    items = [({"student": "full", "map": kind, "seed": seed}, maps) for kind, maps in both.items()]
    return scores.score(held_out, items, SETTINGS).images


def test_full_size():
    ramp = np.array([[[0, 1], [0, 1]]], np.float32)
    found = scores.full_size(ramp, 4)
    assert found.shape == (1, 4, 4)
    assert found[0, 0].tolist() == [0, 0.25, 0.75, 1]


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


ITEM = {"student": "full", "map": "cosine", "seed": 0}


def score_item(held_out, maps, settings=SETTINGS):
    return scores.score_item(held_out, maps, ITEM, settings)


def test_rows_without_real_masks():
    held_out = category()
    maps = maps_of(held_out)
    rows, per_image, draws = score_item(held_out, maps)
    assert [row["real_defects"] for row in rows] == [True, False, True, False]
    full = scores.full_size(maps, SIZE)
    top = np.sort(full.reshape(len(full), -1), axis=1)[:, -16:].mean(1)
    np.testing.assert_allclose(per_image, top, rtol=1e-6)
    for row, (split, benchmark, _, chosen) in zip(rows, subsets(held_out), strict=True):
        assert (row["split"], row["benchmark"], row["category"]) == (split, benchmark, "nut")
        labels = held_out.labels[chosen]
        assert row["image_auroc"] == metrics.image_auroc(per_image[chosen], labels)
        pixel = [row[name] for name in METRICS[1:]]
        if row["real_defects"]:
            assert np.isnan(pixel).all()
        else:
            expected = metrics.evaluate(
                full[chosen], held_out.masks[chosen], per_image[chosen], labels
            )
            assert pixel == pytest.approx([expected[name] for name in METRICS[1:]])
    assert draws == {}, "six good and three defective images are too few to resample"


def test_rows_with_real_masks():
    held_out = category(real_masks=True, drawn=False)
    rows, _, _ = score_item(held_out, maps_of(held_out))
    assert [row["real_defects"] for row in rows] == [True, True]
    assert all(0 < row[name] <= 1 for row in rows for name in METRICS)


def test_what_cannot_be_scored_is_left_out_with_the_reason():
    held_out = category(real_masks=True, drawn=False)
    assert list(scores.left_out(held_out)) == []
    test = np.flatnonzero((held_out.splits == "test") & (held_out.labels == 1))
    one_missing = replace(held_out, has_mask=held_out.has_mask & (np.arange(18) != test[0]))
    empty = replace(held_out, masks=held_out.masks & False)
    for changed, reason in (
        (category(drawn=False), "there are no masks"),
        (one_missing, "1 of 3 defective images have no mask"),
        (empty, "the masks are empty at this image size"),
    ):
        assert list(scores.left_out(changed)) == [f"No pixel metrics on toy: {reason}."]
        rows, _, _ = score_item(changed, maps_of(changed))
        assert rows[-1]["image_auroc"] == 1 and np.isnan(rows[-1]["pixel_ap"])
    good = held_out.select((held_out.splits != "test") | (held_out.labels == 0))
    assert list(scores.left_out(good)) == [
        "No figures: the test split lacks good or defective images."
    ]
    found = scores.score(good, [(ITEM, maps_of(good))], SETTINGS)
    assert set(found.rows.split) == {"validation"} and len(found.images) == 15


def test_resamples_are_kept_by_their_keys(elsewhere):
    held_out = category(real_masks=True, drawn=False)
    many = held_out.select(np.repeat(np.arange(18), 5))
    many = replace(many, names=np.array([f"{i}.png" for i in range(90)]))
    found = scores.score(many, [(ITEM, maps_of(many))], SETTINGS)
    keys = [("toy", "nut", "full", "cosine", 0, m) for m in ("image_auroc", "pixel_ap", "iap")]
    assert list(found.draws) == keys
    assert scores.score_item(many, maps_of(many), ITEM, SETTINGS, resample=False)[2] == {}
    scores.save(found, "evaluation", "nut", "toy")
    back = scores.load_draws(results.draws("evaluation", "nut"))
    assert list(back) == keys
    for key in keys:
        np.testing.assert_allclose(back[key], found.draws[key], rtol=1e-6)
    images = scores.load_scores(results.scores("toy", "nut"))
    kept = images["full/cosine/0"].to_numpy(np.float32)
    assert np.array_equal(kept, found.images["full/cosine/0"]), "all digits"
    assert list(images.columns[:5]) == thresholds.FACTS and images.drawn.dtype == bool
    nothing = scores.Scored(found.rows[:0], found.images, {})
    scores.save(nothing, "baseline", "nut", "toy")
    assert scores.load_draws(results.draws("baseline", "nut")) == {}


def leave(settings, held_out, noise=0.3):
    """Losses of both phases and maps of every network of a category, where the stages leave them.

    Returns {(student, seed): {kind: maps}}.
    """
    found = {}
    for student, seed in product(settings.students, settings.seeds):
        item = results.item(student, seed)
        for phase in ("student", "segmentation"):
            folder = results.network(phase, held_out.category, item)
            folder.mkdir(parents=True)
            (folder / "history.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
        maps = {kind: maps_of(held_out, 10 * seed + i, noise) for i, kind in enumerate(MAPS)}
        put_maps(held_out.category, item, device=f"device {seed}", **maps)
        found[student, seed] = maps
    return found


def put_maps(category, item, **content):
    path = results.maps(category, item)
    path.parent.mkdir(parents=True)
    np.savez(path, **content)


@pytest.fixture
def run(elsewhere):
    """The held-out images of a finished run of two seeds."""
    held_out = category()
    leave(SETTINGS, held_out)
    return held_out


HEAD = {"distance": replace(SETTINGS.segmentation, input="distance")}


def score(run, settings=SETTINGS):
    return scores.score(run, scores.networks(run, settings), settings)


def test_score_the_declared_grid(run):
    # What lies on disk and is not in the declared grid is left alone.
    results.maps("nut", "other-7").parent.mkdir()
    frame, images, _ = score(run)
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
    assert images.shape == (24, 5 + 4 * 2 * 2)


def test_a_missing_item_is_named(run):
    results.maps("nut", "denoising-1").unlink()
    with pytest.raises(FileNotFoundError, match="denoising-1"):
        score(run)


def test_any_students_and_heads_of_the_headline(run):
    students = {"plain": SETTINGS.students["plain"]}
    chosen = replace(
        SETTINGS, students=students, headline="plain", heads=HEAD, head_seeds=SETTINGS.seeds
    )
    for seed in SETTINGS.seeds:
        maps = {"cosine": np.zeros(1), "segmentation": maps_of(run, seed, noise=2.0)}
        put_maps("nut", f"plain-distance-{seed}", device="device", **maps)
    frame = score(run, chosen).rows
    assert set(frame.student) == {"plain"}
    assert set(frame["map"]) == {"cosine", "segmentation", "segmentation, distance"}
    head = frame[frame["map"] == "segmentation, distance"]
    assert len(head) == 2 * 4 and not head.denoising.any()
    rows, _, _ = score_item(run, maps_of(run, 0, noise=2.0))
    expected = [row["image_auroc"] for row in rows]
    assert head[head.seed == 0].image_auroc.tolist() == expected


def rows(values, **more):
    row = {"benchmark": "toy", "category": "nut", "student": "full", "map": "cosine"}
    return scores.table(
        [row | {"split": "test", "seed": i, "image_auroc": v} | more for i, v in enumerate(values)]
    )


def test_spread():
    found = format.spread(rows([0.9, 0.92, 0.94], pixel_ap=None))
    assert found.index.names == ["benchmark", "student", "map"]
    assert list(found.columns) == ["image_auroc"]  # what was measured
    assert found.loc[("toy", "full", "cosine"), "image_auroc"] == "92.0 ± 2.0"
    assert format.spread(rows([0.9])).iloc[0, 0] == "90.0"
    mixed = pd.concat([rows([0.9, 0.9]), rows([0.5, 0.7], map="segmentation", pixel_ap=0.25)])
    found = format.spread(mixed)
    assert list(found["image_auroc"]) == ["90.0 ± 0.0", "60.0 ± 14.1"]
    assert list(found["pixel_ap"].where(found["pixel_ap"].notna(), "-")) == ["-", "25.0 ± 0.0"]


def test_means():
    frame = pd.concat([rows([0.9, 0.95]), rows([0.1], split="validation")])
    assert scores.means(frame) == {"toy": {"full": {"cosine": {"image_auroc": 0.925}}}}


def test_the_headline_has_six_figures_at_most():
    """Real defects for the image score; their masks where they have some, else drawn ones."""
    frame = test_ablations.rows()  # real 50 + points of student and map + half a point for seed 1
    found = scores.headline(frame, "full")
    assert found == {
        "image_auroc": 59.2, "image_auroc_cosine_map": 53.2,
        "pixel_auroc_drawn": 25.0, "pixel_ap_drawn": 25.0, "pro_drawn": 25.0, "iap_drawn": 25.0,
    }  # fmt: skip
    masked = frame.fillna({"pixel_ap": 0.5})
    assert scores.headline(masked, "full")["pixel_ap"] == 50.0
    bare = frame.assign(pixel_ap=np.nan)
    assert list(scores.headline(bare, "full")) == ["image_auroc", "image_auroc_cosine_map"]
    assert scores.headline(frame[:0], "full") == {}
