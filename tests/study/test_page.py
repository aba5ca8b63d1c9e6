"""The page of a study, on hand-made rows."""

from dataclasses import replace

import numpy as np
import pytest
from test_ablations import PARAMS, baseline_rows, leave, make_tables, rows, settings
from test_scores import category

from lib.devices import device_name
from study import results
from study.scoring.scores import METRICS
from study.tables import ablations, page


@pytest.fixture
def tables():
    return make_tables(rows())


def test_protocol():
    found = page.protocol(PARAMS)
    for text in ("toy", "nut, bolt", "128x128", "2 seeds", "tf_efficientnet_lite0", "torch 2."):
        assert text in found
    assert f"Device: {device_name()}." in found
    asked = replace(PARAMS, arithmetic=replace(PARAMS.arithmetic, precision="fp32"))
    assert "; trained in fp32; last step" in page.protocol(asked)


def test_page(tables):
    found = page.text(PARAMS, tables, ["rendered/toy/dataset-nut.ipynb"])
    assert found.startswith("# Study `toy`\n")
    assert found.endswith("\n") and not found.endswith("\n\n")
    for text in (
        "nut test",
        "bolt test",
        "figures/nut-outcomes.png",
        "figures/bolt-outcomes.png",
        "(../../rendered/toy/figures-bolt.ipynb)",
        "(../../rendered/toy/dataset-nut.ipynb)",
        "paper (MVTec AD, quoted)",
        "Does denoising help here?",
        "elpv_drawn",
        "## Pixel metrics (percent; `_drawn`: drawn on good images, not real)",
        "ablations.csv",
        "claims.csv",
    ):
        assert text in found
    assert "nan" not in found.lower().replace("nano", "")
    assert found.count("98.6") == 1  # the paper's number stands in the quoted column only
    assert "an image AUROC of 59.2 [59.2, 59.2] percent" in found
    assert "No pixel metrics on elpv: " in found and "[-0.0" not in found and "+0.0" not in found


def test_page_mentions_drawn_defects_only_where_there_are_some():
    real = rows().query("real_defects").assign(pixel_auroc=0.9)
    found = page.text(PARAMS, make_tables(real, baseline_rows().query("real_defects")), [])
    assert "## Pixel metrics (percent)" in found and "drawn" not in found


def test_page_of_mvtec_stands_beside_the_paper(elsewhere):
    leave(["bottle", "screw"], heads=["distance"])
    tables = ablations.collect(settings("bottle", "screw"))
    found = page.text(replace(PARAMS, categories=("bottle", "screw")), tables, [])
    assert "2 of 15 categories, 2 seeds" in found and "### Tables 5 and 6" in found
    assert found.index("## Beside the paper") < found.index("## Notebooks")
    (line,) = (line for line in found.splitlines() if line.startswith("| distance"))
    assert [cell.strip() for cell in line.split("|")][3:5] == ["80.0 ± 0.0", "98.5"]  # ours, quoted


def test_headline_notebooks_are_copied(elsewhere):
    chosen = replace(PARAMS, seeds=(3, 1))
    for stage in page.HEADLINE_STAGES:
        item = "nut-full-3" if stage in ("student", "segmentation") else "nut"
        folder = elsewhere / "rendered" / "items" / stage
        folder.mkdir(parents=True)
        (folder / f"{item}.ipynb").write_text(stage)
    copied = page.copy_headline_notebooks(chosen)
    assert "rendered/toy/student-nut-full-3.ipynb" in copied
    assert len(copied) == len(page.HEADLINE_STAGES)
    for path, stage in zip(copied, page.HEADLINE_STAGES, strict=True):
        assert (elsewhere / path).read_text() == stage


def test_a_smoke_run_says_that_it_is_no_result():
    assert page.protocol(replace(PARAMS, study="mvtec_smoke")).startswith("**A smoke run, not")
    assert "smoke" not in page.protocol(PARAMS)


def test_what_is_missing_is_said_and_stops_nothing(tables):
    """Each optional input alone: tables, page and the sentence that says why."""
    full = tables.test.student == "full"
    cases = {
        "No validation columns": tables._replace(validation=tables.validation[:0]),
        "No baseline rows: `baseline.levels` is empty, or no split has both": tables._replace(
            baseline=tables.baseline[:0]
        ),
        "No pixel metrics on elpv_drawn: ": tables._replace(
            test=tables.test.assign(**dict.fromkeys(METRICS[1:], np.nan))
        ),
        "No pixel metrics on elpv in nut: ": tables._replace(
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
    for words, given in cases.items():
        found = page.text(PARAMS, given, [])
        assert words.lower() in found.lower(), words
        assert "nan" not in found.lower().replace("nano", ""), words


def test_parameters_that_differ_from_the_papers_are_named(tmp_path):
    shipped = (page.ROOT / "profiles/paper.yaml").read_text("utf-8")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/paper.yaml").write_text(shipped, "utf-8")
    mine = shipped.replace("channels: 256 ", "channels: 64 ").replace("study: mvtec ", "study: x ")
    (tmp_path / "params.yaml").write_text(mine, "utf-8")
    found = page.differences(tmp_path)
    assert found.to_numpy().tolist() == [["256", "64"]]
    assert found.index.tolist() == ["segmentation.channels"]
    (tmp_path / "params.yaml").write_text(shipped, "utf-8")
    assert page.differences(tmp_path).empty


def test_what_could_mislead_is_named(elsewhere):
    held_out = category(real_masks=True)
    for name, notes in (("nut", ("5 of 9 held-out images resemble.",)), ("bolt", ())):
        replace(held_out, category=name, notes=notes).save(results.dataset(name))
    title, lines = page.misleading(["nut", "bolt"])
    assert lines == "- nut: 5 of 9 held-out images resemble." and title.startswith("## ")
    assert page.misleading(["bolt"]) == []
