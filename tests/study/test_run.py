"""A tiny run of the profile beyond: its tables, their rows, and that a second run adds nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from runs import tiny
from toys import put

from study import params
from study.beyond import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    base, rng = tmp_path_factory.mktemp("beyond"), np.random.default_rng(0)
    for folder, count in {
        "train/good": 4,
        "validation/good": 3,
        "validation/bad": 2,
        "test/good": 3,
        "test/bad": 3,
    }.items():
        for index in range(count):
            pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
            put(base / "toys/nut" / folder / f"{index:03}.png", Image.fromarray(pixels))
    settings = tiny()
    base_head, full = settings.segmentation, settings.students["full"]
    settings = replace(
        settings,
        categories=("nut",),
        seeds=(0, 1),
        head_seeds=(0,),
        dataset=replace(settings.dataset, root=str(base / "toys"), image_size=32),
        textures=replace(settings.textures, count=4),
        students={"full": full, "noisy": replace(full, noise=0.1)},
        heads={
            "bump": replace(base_head, activation="bump"),
            "ema": replace(base_head, ema=0.9, steps=10),
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.params, "load", lambda path: settings)
        patch.setattr(run.params, "ROOT", base)
        patch.setattr(run, "commit", lambda: "abc")
        run.main(["--out", str(base / "reports"), "--only", "method", "bump"])
        first = (base / "reports/variants.csv").read_text()
        run.main(["--out", str(base / "reports")])
        whole = (base / "reports/variants.csv").read_text()
        run.main(["--out", str(base / "reports")])
        assert (base / "reports/variants.csv").read_text() == whole and whole.startswith(first)
    return base / "reports"


def test_every_variant_has_its_rows(finished):
    rows = pd.read_csv(finished / "variants.csv", dtype={"seed": str})
    items = set(rows[["student", "head", "seed"]].itertuples(index=False, name=None))
    many, few = {("full", "method"), ("full", "bump")}, {("full", "ema"), ("noisy", "method")}
    expected = {(*pair, seed) for pair in many for seed in ("0", "1", "all")}
    assert items == expected | {(*pair, seed) for pair in few for seed in ("0", "all")}
    assert set(rows.benchmark) == {"toys", "toys_drawn", "toys_seen"} or set(rows.benchmark) == {
        "toys",
        "toys_seen",
    }
    assert set(rows.split) == {"validation", "test"}
    real, seen = rows[rows.benchmark == "toys"], rows[rows.benchmark == "toys_seen"]
    assert real.image_auroc.between(0, 1).all() and real.pixel_ap.isna().all()
    assert seen.pixel_ap.between(0, 1).all() and (rows.commit == "abc").all()
    assert set(rows[(rows["head"] == "method") & (rows.seed == "0")]["map"]) == {
        *("cosine", "segmentation", "log")
    }


def test_the_log_ranks_pixels_as_the_probability_does(finished):
    rows = pd.read_csv(finished / "variants.csv").query(
        "benchmark == 'toys_seen' and seed != 'all'"
    )
    wide = rows.pivot_table("pixel_auroc", ["student", "head", "seed", "split"], "map")
    assert np.allclose(wide["segmentation"], wide["log"], atol=2e-2)  # up to resizing


def test_curves_and_tops(finished):
    curve = pd.read_csv(finished / "curve.csv")
    assert set(curve["head"]) == {"method", "ema"} and set(curve.student) == {"full"}
    steps = curve[(curve["head"] == "ema") & (curve.seed == 0)].step.unique()
    assert list(steps) == [*range(1, 11)]
    tops = pd.read_csv(finished / "tops.csv")
    assert set(tops.student) == {"full"}
    assert set(tops.top_pixels) == set(run.TOPS) and set(tops.split) == {"validation", "test"}


def test_scores_by_image(finished):
    scores = pd.read_csv(finished / "scores-nut.csv")
    assert {"name", "split", "kind", "label", "full/method/0/cosine", "full/bump/all/log"} <= set(
        scores.columns
    )
    assert not scores.isna().any().any()


def test_seeds_are_outermost():
    settings = params.load(params.ROOT / "profiles/beyond.yaml")
    seeds = [seed for *_, seed in run.order(settings)]
    assert seeds == sorted(seeds)


def test_bumps_take_every_seed_and_the_others_those_of_the_heads():
    settings = params.load(params.ROOT / "profiles/beyond.yaml")
    rows = [row[1:] for row in run.order(settings, {"bump_1", "dice", "noise_2"})]
    expected = [("full", "bump_1", seed) for seed in settings.seeds]
    expected += [("full", "dice", seed) for seed in settings.head_seeds]
    expected += [("noise_2", "method", seed) for seed in settings.head_seeds]
    assert len(settings.head_seeds) < len(settings.seeds) and sorted(rows) == sorted(expected)
