"""Tables, verdicts and the page, on hand-made rows."""

from dataclasses import replace
from itertools import product

import pandas as pd
import pytest

from lib import params, report
from lib.devices import device_name
from lib.evaluation import COLUMNS, HEAD_COLUMNS, MAPS

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


def head_rows(category, heads=("focal_only", "distance"), score=0.8):
    """Rows of the declared heads on real defects."""
    row = {"benchmark": "toy", "category": category, "input": "product", "l1_weight": 0.5}
    row |= {"image_auroc": score, "real_defects": True, "device": "Toy GPU"}
    found = [row | {"head": head, "seed": seed} for head, seed in product(heads, (0, 1))]
    return pd.DataFrame(found, columns=HEAD_COLUMNS)


def leave(results, categories, heads=(), **more):
    for stage, frame in (("evaluation", rows(**more)), ("baseline", baseline_rows())):
        (results / stage).mkdir(parents=True, exist_ok=True)
        for name in categories:
            chosen = frame[frame.category == "nut"].assign(category=name)
            chosen.to_csv(results / stage / f"{name}.csv", index=False, float_format="%.6f")
    for name in categories:
        path = results / "evaluation" / f"{name}-heads.csv"
        head_rows(name, heads).to_csv(path, index=False, float_format="%.6f")


@pytest.fixture
def tables(tmp_path):
    leave(tmp_path, ["nut", "bolt"])
    return report.collect(tmp_path, ["nut", "bolt"])


def test_collect_declared_categories_only(tmp_path):
    leave(tmp_path, ["nut", "bolt", "left_over"])
    tables = report.collect(tmp_path, ["nut", "bolt"])
    assert all(set(frame.category) == {"nut", "bolt"} for frame in tables[:3])
    assert tables.heads.empty and list(tables.heads.columns) == HEAD_COLUMNS
    assert list(tables.test.columns) == list(tables.validation.columns) == COLUMNS
    assert len(tables.test) == len(tables.validation) == 2 * 2 * 4 * 2 * 2
    with pytest.raises(FileNotFoundError, match="missing"):
        report.collect(tmp_path, ["nut", "missing"])


def test_collect_heads(tmp_path):
    leave(tmp_path, ["nut", "bolt", "left_over"], heads=["distance"])
    heads = report.collect(tmp_path, ["nut", "bolt"]).heads
    assert list(heads.columns) == HEAD_COLUMNS and len(heads) == 2 * 2
    assert set(heads.category) == {"nut", "bolt"} and set(heads["head"]) == {"distance"}
    # A category whose heads have not run leaves its rows out and no others.
    head_rows("nut", heads=[]).to_csv(tmp_path / "evaluation" / "nut-heads.csv", index=False)
    assert set(report.collect(tmp_path, ["nut", "bolt"]).heads.category) == {"bolt"}


METRICS = "image_auroc,pixel_auroc,pixel_ap,pro,iap,iap90,real_defects,device"
HEADERS = {
    "ablations": f"benchmark,category,student,denoising,encoder_decoder,map,seed,{METRICS}",
    "heads": f"benchmark,category,head,input,l1_weight,seed,{METRICS}",
}


@pytest.mark.parametrize("heads", [(), ("distance", "focal_only")])
def test_save_and_load(tmp_path, heads):
    leave(tmp_path, ["nut", "bolt"], heads)
    tables, folder = report.collect(tmp_path, ["nut", "bolt"]), tmp_path / "reports" / "toy"
    report.save_tables(tables, folder)
    for name, header in HEADERS.items():
        assert (folder / f"{name}.csv").read_text().splitlines()[0] == header
    assert len(tables.heads) == 2 * 2 * len(heads)
    for found, expected in zip(report.load_tables(folder), tables, strict=True):
        pd.testing.assert_frame_equal(
            found, expected.reset_index(drop=True), check_dtype=False, atol=1e-6
        )


def test_the_record_of_another_run_goes_with_its_tables(tables, tmp_path):
    report.save_tables(tables, tmp_path)
    record = tmp_path / "run.md"
    record.write_text(f"sha256 `{report.fingerprint(tmp_path)}`")
    report.save_tables(tables, tmp_path)
    assert record.exists(), "the same tables"
    report.save_tables(tables._replace(test=tables.test[:-1]), tmp_path)
    assert not record.exists()


def test_rows_of_real_defects_and_what_was_measured(tables):
    assert set(report.real(tables.test).benchmark) == {"toy"}
    assert report.measured(report.real(tables.test)) == ["image_auroc"]
    assert len(report.measured(tables.test)) == 6


def test_paper_table():
    quoted = report.paper_table4()
    assert len(quoted) == 8
    assert quoted.loc[("full", "segmentation")].tolist() == [98.6, 75.8, 76.4]
    assert quoted.loc[("plain", "cosine")].tolist() == [94.8, 52.9, 55.8]
    assert quoted.loc[("denoising", "cosine")].tolist() == [93.4, 49.6, 53.9]
    assert quoted.loc[("encoder_decoder", "segmentation")].tolist() == [97.7, 69.7, 71.2]


def test_table4(tables):
    table = report.table4(tables)
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
    table = report.pixel_table(tables).reset_index()
    assert set(table.category) == {"nut", "bolt"}
    assert set(table.benchmark) == {"toy_drawn"}
    assert set(table.pixel_ap) == {"25.0 ± 0.0"}
    assert len(table) == 2 * 9


def verdict(frame, number=4):
    return report.effects(frame[frame.split == "test"]).iloc[number]


def test_effect_that_holds():
    found = verdict(rows())  # denoising 1.0, plain 2.0; the paper: 93.4, 94.8
    assert found["ours (points)"] == "-1.0 [-1.0, -1.0]"
    assert found["paper (points, MVTec AD)"] == "-1.4"
    assert found.verdict == "holds"


def test_effect_that_is_reversed():
    found = verdict(rows({("denoising", "cosine"): 5.0}))
    assert found["ours (points)"] == "+3.0 [+3.0, +3.0]"
    assert found.verdict == "reversed"


@pytest.mark.parametrize("other", [2.5, 3.5])  # the second seed: no difference, the opposite
def test_effect_that_is_undecided(other):
    found = verdict(rows({("denoising", "cosine"): lambda seed: other if seed else 1.0}))
    assert found.verdict == "undecided"


def test_effect_in_one_category_of_two_is_undecided():
    other = rows({("denoising", "cosine"): 5.0}, categories=["bolt"])
    found = verdict(pd.concat([rows(categories=["nut"]), other]))
    assert found.verdict == "undecided"
    assert found["ours (points)"] == "+1.0 [-1.0, +3.0]"


def test_effects_are_paired():
    # Categories and seeds lie far apart; the difference within each is the same.
    apart = pd.concat([rows(categories=["nut"]), rows(categories=["bolt"], lift=-30.0)])
    assert verdict(apart)["ours (points)"] == "-1.0 [-1.0, -1.0]"
    shuffled = apart.sample(frac=1, random_state=0)
    assert verdict(shuffled)["ours (points)"] == "-1.0 [-1.0, -1.0]"


def test_effects_answer_every_question_on_real_defects():
    test = rows()
    test = test[test.split == "test"]
    found = report.effects(test)
    assert len(found) == len(report.QUESTIONS)
    assert set(found.verdict) == {"holds"}
    drawn_only_differ = test.assign(image_auroc=test.image_auroc.where(test.real_defects, 0.5))
    pd.testing.assert_frame_equal(report.effects(drawn_only_differ), found)


def test_conclusions(tables):
    found = list(report.conclusions(tables))
    assert len(found) == len(report.QUESTIONS) + 2
    assert sum(line.startswith("- holds: ") for line in found) == len(report.QUESTIONS)
    assert any("-1.0 [-1.0, -1.0] points (paper -1.4)" in line for line in found)
    for category in ("nut", "bolt"):
        line = next(line for line in found if line.startswith(f"- {category}: "))
        # Mean of 59.0 and 59.5 against 55.
        assert "4.2 points above the baseline nearest neighbour (59.2 against 55.0)" in line
    below = tables._replace(baseline=tables.baseline.assign(image_auroc=0.6))
    assert "0.8 points below" in list(report.conclusions(below))[-1]


def test_protocol():
    found = report.protocol(PARAMS)
    for text in ("toy", "nut, bolt", "128x128", "2 seeds", "tf_efficientnet_lite0", "torch 2."):
        assert text in found
    assert f"Device: {device_name()}." in found


def test_page(tables):
    page = report.page(PARAMS, tables, ["rendered/toy/dataset-nut.ipynb"])
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
        "paper (points, MVTec AD)",
        "toy_drawn",
        "ablations.csv",
        *(question for question, *_ in report.QUESTIONS),
    ):
        assert text in page
    assert "nan" not in page.lower().replace("nano", "")
    assert page.count("98.6") == 1  # the paper's number stands in the quoted column only


def test_page_of_mvtec_stands_beside_the_paper(tmp_path):
    leave(tmp_path, ["bottle", "screw"], heads=["distance"])
    tables = report.collect(tmp_path, ["bottle", "screw"])
    page = report.page(replace(PARAMS, categories=("bottle", "screw")), tables, [])
    assert "2 of 15 categories, 2 seeds" in page and "### Tables 5 and 6" in page
    assert page.index("## Beside the paper") < page.index("## Notebooks")
    (line,) = (line for line in page.splitlines() if line.startswith("| distance"))
    assert [cell.strip() for cell in line.split("|")][3:5] == ["80.0 ± 0.0", "98.5"]  # ours, quoted


def test_markdown_keeps_numbers_as_they_are():
    frame = pd.DataFrame({"b": ["59.0 ± 0.4", "60.0"]}, index=pd.Index(["x", "y"], name="a"))
    lines = report.markdown(frame).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [cells[0], *cells[2:]] == [["a", "b"], ["x", "59.0 ± 0.4"], ["y", "60.0"]]


def test_headline_notebooks_are_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "ROOT", tmp_path)
    chosen = replace(PARAMS, seeds=(3, 1))
    for stage in report.HEADLINE_STAGES:
        item = "nut-full-3" if stage in ("student", "segmentation") else "nut"
        folder = tmp_path / "rendered" / "items" / stage
        folder.mkdir(parents=True)
        (folder / f"{item}.ipynb").write_text(stage)
    copied = report.copy_headline_notebooks(chosen)
    assert "rendered/toy/student-nut-full-3.ipynb" in copied
    assert len(copied) == len(report.HEADLINE_STAGES)
    for path, stage in zip(copied, report.HEADLINE_STAGES, strict=True):
        assert (tmp_path / path).read_text() == stage


def test_a_smoke_run_says_that_it_is_no_result():
    assert report.protocol(replace(PARAMS, study="mvtec_smoke")).startswith("**A smoke run, not")
    assert "smoke" not in report.protocol(PARAMS)


def test_the_answer_tells_of_denoising_and_the_baseline(tables):
    answer = report.answer(tables)
    assert "moves the full method by +1.0 [+1.0, +1.0] points" in answer
    assert "7 effects" in answer and "0 are reversed" in answer
    assert "nearest-neighbour search" in answer
