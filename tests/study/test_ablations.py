"""Tables, on hand-made rows."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from study import params, results
from study.scoring import scores
from study.scoring.scores import COLUMNS, MAPS
from study.tables import ablations, claims
from study.tables.paper import CATEGORIES

PARAMS = replace(params.load(), study="toy", categories=("nut", "bolt"), seeds=(0, 1))
STUDENTS = {
    "plain": (False, False),
    "denoising": (True, False),
    "encoder_decoder": (False, True),
    "full": (True, True),
}
# In points around 50: the paper's signs, but for the two differences that the tests are about.
POINTS = {
    ("plain", "cosine"): 2.0,
    ("denoising", "cosine"): 1.0,
    ("encoder_decoder", "cosine"): 4.0,
    ("full", "cosine"): 3.0,
    ("plain", "segmentation"): 6.0,
    ("denoising", "segmentation"): 7.0,
    ("encoder_decoder", "segmentation"): 8.0,
    ("full", "segmentation"): 9.0,
}


def rows(points=None, categories=("nut", "bolt"), seeds=(0, 1), lift=0.0):
    """Test and validation rows of real and drawn defects; a seed is worth 0.5 points."""
    found = []
    points = POINTS | (points or {})
    for category, seed, student, kind in product(categories, seeds, STUDENTS, MAPS):
        for split, drawn in product(("validation", "test"), (False, True)):
            score = points[student, kind]
            score = score(seed) if callable(score) else score + 0.5 * seed
            score = (50 + lift + score + 20 * drawn) / 100
            denoising, encoder_decoder = STUDENTS[student]
            pixel = dict.fromkeys(("pixel_auroc", "pixel_ap", "pro", "iap", "iap90"), 0.25)
            found.append(
                {
                    "split": split,
                    "benchmark": "elpv_drawn" if drawn else "elpv",
                    "category": category,
                    "student": student,
                    "denoising": denoising,
                    "encoder_decoder": encoder_decoder,
                    "map": kind,
                    "seed": seed,
                    "image_auroc": score,
                    "real_defects": not drawn,
                    "device": "Toy CPU",
                }
                | (pixel if drawn else {})
            )
    return pd.DataFrame(found, columns=["split", *COLUMNS])


def baseline_rows(categories=("nut", "bolt"), score=0.55):
    """What the baseline leaves: students and parts do not apply."""
    frame = rows(categories=categories)
    frame = frame[(frame.student == "full") & (frame["map"] == "cosine")]
    frame = frame.assign(student="none", map="nearest_neighbour", image_auroc=score)
    return frame.assign(denoising=None, encoder_decoder=None)


def head_rows(frame, heads=("distance",), score=0.8):
    """Rows of declared heads on the full student of `frame`."""
    full = frame[(frame.student == "full") & (frame["map"] == "segmentation")]
    return pd.concat([full.assign(map=f"segmentation, {h}", image_auroc=score) for h in heads])


def draws_of(frame, width=0.0, count=200):
    """Resamples of test rows: their figures, and noise of this width that each row has alone."""
    random, found = np.random.default_rng(0), {}
    for row in frame[frame.split == "test"].to_dict("records"):
        for metric in ("image_auroc", "pixel_ap", "iap"):
            key = tuple((row | {"metric": metric})[k] for k in scores.KEYS)
            if pd.notna(row[metric]):
                found[key] = row[metric] + width * random.standard_normal(count)
    return found


def make_tables(frame, nearest=None, width=0.0, student="full"):
    """`ablations.Tables` of such rows."""
    nearest = baseline_rows() if nearest is None else nearest
    test, validation = (frame[frame.split == s] for s in ("test", "validation"))
    draws = draws_of(pd.concat([frame, nearest]), width)
    rows = (test.drop(columns="split"), validation.drop(columns="split"), nearest)
    return ablations.Tables(*rows, draws, student)


def scored(frame):
    """What a stage leaves of such rows."""
    return scores.Scored(frame, pd.DataFrame({"name": ["a"]}), draws_of(frame))


def leave(categories, heads=(), **more):
    frame = rows(**more)
    frame = pd.concat([frame, head_rows(frame, heads)] if heads else [frame])
    none = baseline_rows()[:0]  # no calibration images
    for stage, found in (
        ("evaluation", frame),
        ("baseline", baseline_rows()),
        ("calibration", none),
    ):
        for name in categories:
            chosen = found[found.category == "nut"].assign(category=name)
            if name in CATEGORIES:
                chosen["benchmark"] = chosen.benchmark.str.replace("elpv", "mvtec")
            scores.save(scored(chosen), stage, name, "toy")


def settings(*categories):
    return replace(PARAMS, categories=categories)


@pytest.fixture
def tables(elsewhere):
    leave(["nut", "bolt"])
    return ablations.collect(settings("nut", "bolt"))


def test_collect_declared_categories_only(elsewhere):
    leave(["nut", "bolt", "left_over"])
    tables = ablations.collect(settings("nut", "bolt"))
    assert all(set(frame.category) == {"nut", "bolt"} for frame in tables[:3])
    assert list(tables.test.columns) == list(tables.validation.columns) == COLUMNS
    assert len(tables.test) == len(tables.validation) == 2 * 2 * 4 * 2 * 2
    assert {key[1] for key in tables.draws} == {"nut", "bolt"}
    with pytest.raises(FileNotFoundError, match="missing"):
        ablations.collect(settings("nut", "missing"))


def test_saved_tables_hold_every_row(tables):
    folder = results.reports("toy")
    ablations.save_tables(tables, folder, 0.5)
    for one, name in zip(tables[:3], ("ablations", "validation", "baseline"), strict=True):
        back = pd.read_csv(folder / f"{name}.csv")
        pd.testing.assert_frame_equal(one.reset_index(drop=True), back, check_dtype=False)
    claims = pd.read_csv(folder / "claims.csv")
    row = claims[(claims.metric == "image_auroc") & (claims.comparison.str.startswith("with a"))]
    assert row.iloc[0][["points", "answer", "paper_points"]].tolist() == [1.0, "Yes", 0.9]
    assert (folder / "ablations.csv").read_text().startswith("benchmark,category,student")


def test_table4(tables):
    table = ablations.table4(tables)
    assert len(table) == 9  # eight of the paper and the baseline
    ours = ["nut test", "bolt test", "nut validation", "bolt validation"]
    assert set(table.columns) == {*ours, "paper (MVTec AD, quoted)"}
    full = table.loc[("full", "segmentation")]
    assert full["nut test"] == "59.2 ± 0.4"  # 59.0 and 59.5; drawn defects would be 79
    assert full["paper (MVTec AD, quoted)"] == 98.6
    nearest = table.loc[("none", "nearest_neighbour")]
    assert nearest["bolt test"] == "55.0 ± 0.0"
    assert nearest["paper (MVTec AD, quoted)"] == ""


def test_pixel_table_marks_drawn_defects(tables):
    table = ablations.pixel_table(tables).reset_index()
    assert set(table.category) == {"nut", "bolt"}
    assert set(table.benchmark) == {"elpv_drawn"}
    assert set(table.pixel_ap) == {"25.0 ± 0.0"}
    assert len(table) == 2 * 9


def test_the_record_of_another_run_goes_with_its_tables(tables, tmp_path):
    ablations.save_tables(tables, tmp_path, 0.5)
    record = tmp_path / "run.md"
    record.write_text(f"sha256 `{ablations.fingerprint(tmp_path)}`")
    ablations.save_tables(tables, tmp_path, 0.5)
    assert record.exists(), "the same tables"
    ablations.save_tables(tables._replace(test=tables.test[:-1]), tmp_path, 0.5)
    assert not record.exists()


def test_the_answer_gives_the_level_and_every_claim():
    tables = make_tables(rows(), width=0.01)
    found = list(claims.answers(tables, 0.5))
    said = ablations.answer(tables, found)
    assert said.startswith("**Answer.** The full method reaches an image AUROC of 59.2 [58")
    assert said.count("\n- ") == len(found) == 5
    assert said.count("over seeds") == 3 * 5  # image AUROC, pixel AP and IAP of each
    assert "No image AUROC" in ablations.answer(tables._replace(test=tables.test[:0]), [])
    plain = tables._replace(student="plain", draws={})
    assert ablations.answer(plain, []) == (
        "**Answer.** The student `plain` reaches an image AUROC of 56.2 percent on real defects."
    )
