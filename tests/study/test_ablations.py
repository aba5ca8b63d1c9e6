"""Tables and the page, on hand-made rows."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from lib.devices import device_name
from study import params
from study.scoring import scores
from study.scoring.scores import COLUMNS, MAPS, METRICS
from study.tables import ablations

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
                    "benchmark": "toy_drawn" if drawn else "toy",
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


def leave(results, categories, heads=(), **more):
    frame = rows(**more)
    frame = pd.concat([frame, head_rows(frame, heads)] if heads else [frame])
    for stage, found in (("evaluation", frame), ("baseline", baseline_rows())):
        (results / stage).mkdir(parents=True, exist_ok=True)
        for name in categories:
            chosen = found[found.category == "nut"].assign(category=name)
            scores.save(scored(chosen), results / stage / name, results / "scores.csv")


def settings(*categories):
    return replace(PARAMS, categories=categories)


@pytest.fixture
def tables(tmp_path):
    leave(tmp_path, ["nut", "bolt"])
    return ablations.collect(tmp_path, settings("nut", "bolt"))


def test_collect_declared_categories_only(tmp_path):
    leave(tmp_path, ["nut", "bolt", "left_over"])
    tables = ablations.collect(tmp_path, settings("nut", "bolt"))
    assert all(set(frame.category) == {"nut", "bolt"} for frame in tables[:3])
    assert list(tables.test.columns) == list(tables.validation.columns) == COLUMNS
    assert len(tables.test) == len(tables.validation) == 2 * 2 * 4 * 2 * 2
    assert {key[1] for key in tables.draws} == {"nut", "bolt"}
    with pytest.raises(FileNotFoundError, match="missing"):
        ablations.collect(tmp_path, settings("nut", "missing"))


def test_saved_tables_come_back(tables, tmp_path):
    ablations.save_tables(tables, tmp_path / "reports", 0.5)
    leave(tmp_path / "results", ["nut", "bolt"])
    back = ablations.load_tables(
        tmp_path / "reports", settings("nut", "bolt"), tmp_path / "results"
    )
    for one, other in zip(tables[:3], back[:3], strict=True):
        pd.testing.assert_frame_equal(
            one.reset_index(drop=True), other, check_dtype=False, atol=1e-6
        )
    assert back.draws.keys() == tables.draws.keys() and back.student == "full"
    claims = pd.read_csv(tmp_path / "reports/claims.csv")
    row = claims[(claims.metric == "image_auroc") & (claims.comparison.str.startswith("with a"))]
    assert row.iloc[0][["points", "answer", "paper_points"]].tolist() == [1.0, "Yes", 0.9]
    assert (tmp_path / "reports/ablations.csv").read_text().startswith("benchmark,category,student")


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
    assert set(table.benchmark) == {"toy_drawn"}
    assert set(table.pixel_ap) == {"25.0 ± 0.0"}
    assert len(table) == 2 * 9


def test_protocol():
    found = ablations.protocol(PARAMS)
    for text in ("toy", "nut, bolt", "128x128", "2 seeds", "tf_efficientnet_lite0", "torch 2."):
        assert text in found
    assert f"Device: {device_name()}." in found


def test_page(tables):
    page = ablations.page(PARAMS, tables, ["rendered/toy/dataset-nut.ipynb"])
    assert page.startswith("# Study `toy`\n")
    assert page.endswith("\n") and not page.endswith("\n\n")
    for text in (
        "nut test",
        "bolt test",
        "figures/nut-outcomes.png",
        "figures/bolt-outcomes.png",
        "(../../rendered/toy/figures-bolt.ipynb)",
        "(../../rendered/toy/dataset-nut.ipynb)",
        "paper (MVTec AD, quoted)",
        "Does denoising help here?",
        "toy_drawn",
        "ablations.csv",
        "claims.csv",
    ):
        assert text in page
    assert "nan" not in page.lower().replace("nano", "")
    assert page.count("98.6") == 1  # the paper's number stands in the quoted column only
    assert "an image AUROC of 59.2 [59.2, 59.2] percent" in page
    assert "No pixel metrics on toy: " in page and "[-0.0" not in page and "+0.0" not in page


def test_page_of_mvtec_stands_beside_the_paper(tmp_path):
    leave(tmp_path, ["bottle", "screw"], heads=["distance"])
    tables = ablations.collect(tmp_path, settings("bottle", "screw"))
    page = ablations.page(replace(PARAMS, categories=("bottle", "screw")), tables, [])
    assert "2 of 15 categories, 2 seeds" in page and "### Tables 5 and 6" in page
    assert page.index("## Beside the paper") < page.index("## Notebooks")
    (line,) = (line for line in page.splitlines() if line.startswith("| distance"))
    assert [cell.strip() for cell in line.split("|")][3:5] == ["80.0 ± 0.0", "98.5"]  # ours, quoted


def test_markdown_keeps_numbers_as_they_are():
    frame = pd.DataFrame({"b": ["59.0 ± 0.4", "60.0"]}, index=pd.Index(["x", "y"], name="a"))
    lines = ablations.markdown(frame).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0], *cells[2:]] == [["a", "b"], ["x", "59.0 ± 0.4"], ["y", "60.0"]]


def test_headline_notebooks_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "ROOT", tmp_path)
    chosen = replace(PARAMS, seeds=(3, 1))
    for stage in ablations.HEADLINE_STAGES:
        item = "nut-full-3" if stage in ("student", "segmentation") else "nut"
        folder = tmp_path / "rendered" / "items" / stage
        folder.mkdir(parents=True)
        (folder / f"{item}.ipynb").write_text(stage)
    copied = ablations.copy_headline_notebooks(chosen)
    assert "rendered/toy/student-nut-full-3.ipynb" in copied
    assert len(copied) == len(ablations.HEADLINE_STAGES)
    for path, stage in zip(copied, ablations.HEADLINE_STAGES, strict=True):
        assert (tmp_path / path).read_text() == stage


def test_a_smoke_run_says_that_it_is_no_result():
    assert ablations.protocol(replace(PARAMS, study="mvtec_smoke")).startswith("**A smoke run, not")
    assert "smoke" not in ablations.protocol(PARAMS)


def test_what_is_missing_is_said_and_stops_nothing(tables):
    """Each optional input alone: tables, page and the sentence that says why."""
    full = tables.test.student == "full"
    cases = {
        "No validation columns": tables._replace(validation=tables.validation[:0]),
        "No baseline rows": tables._replace(baseline=tables.baseline[:0]),
        "No pixel metrics on toy_drawn: ": tables._replace(
            test=tables.test.assign(**dict.fromkeys(METRICS[1:], np.nan))
        ),
        "No pixel metrics on toy in nut: ": tables._replace(
            test=tables.test.fillna(dict.fromkeys(METRICS[1:], 0.3)).where(
                ~(tables.test.real_defects & (tables.test.category == "nut")), tables.test
            )
        ),
        "No figures on real defects": tables._replace(test=tables.test[:0]),
        "one seed has no interval": tables._replace(test=tables.test[tables.test.seed == 0]),
        "bolt": tables.only("bolt"),
        "The student `plain`": tables._replace(
            test=tables.test[tables.test.student == "plain"], student="plain"
        ),
        "with a decoder": tables._replace(draws={}),
        "too few test images": tables._replace(draws={}),
        "Full": tables._replace(test=tables.test[full]),
    }
    for words, found in cases.items():
        page = ablations.page(PARAMS, found, [])
        assert words.lower() in page.lower(), words
        assert "nan" not in page.lower().replace("nano", ""), words


def test_the_record_of_another_run_goes_with_its_tables(tables, tmp_path):
    ablations.save_tables(tables, tmp_path, 0.5)
    record = tmp_path / "run.md"
    record.write_text(f"sha256 `{ablations.fingerprint(tmp_path)}`")
    ablations.save_tables(tables, tmp_path, 0.5)
    assert record.exists(), "the same tables"
    ablations.save_tables(tables._replace(test=tables.test[:-1]), tmp_path, 0.5)
    assert not record.exists()
