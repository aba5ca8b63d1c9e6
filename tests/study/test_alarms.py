"""What the notebook `calibration` shows, on the toy of test_calibration."""

from test_ablations import baseline_rows, rows
from test_calibration import ALPHA, many, toy_maps

from study import results
from study.scoring.calibration import Calibrated, save
from study.tables import alarms


def calibrated(**options):
    held_out = many(**options)
    return Calibrated(held_out, toy_maps(held_out), ALPHA)


def test_rates_answer_and_splits():
    found = calibrated()
    table = alarms.rates(found.rates())
    assert table.loc[("segmentation", "F1 on test (peeking)"), "hits"] == "100.0 ± 0.0"
    assert table.loc[("combined", "alpha 0.1"), "hits"] == "100.0"  # all seeds together
    said = alarms.answer(found, table)
    assert "30 good images" in said and "10 % false alarms allowed" in said
    assert "finds 100.0 %" in said and "chosen with the answers known" in said
    inside = alarms.within(found.splits())
    assert inside.loc[(0.1, "combined"), "binomial 95 %"] == "[0.0, 23.3]"
    assert inside["inside, binomial"].str.endswith(" of 20").all()


def test_the_page_gets_the_rates_of_what_is_calibrated(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    save(calibrated().document(), "nut")
    save(calibrated(validation=False).document(), "bolt")
    save(calibrated().document() | {"rates": []}, "disc")  # without defective test images
    title, about, table = alarms.sections(["nut", "bolt", "disc", "not_run"])
    assert title.startswith("## Thresholds") and "Peeking" in about
    assert "nut, 30 calibration images" in table and "bolt" not in table and "disc" not in table
    assert alarms.sections(["bolt"]) == []


def test_no_calibration():
    found = calibrated(validation=False)
    said = alarms.answer(found, alarms.rates(found.rates()))
    assert said.startswith("**Answer.** There are no thresholds") and "dataset.calibration" in said
    assert alarms.within(found.splits()).empty


def test_each_map_names_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    for stage, frame in (("evaluation", rows(categories=("nut",))), ("baseline", baseline_rows())):
        path = results.rows(stage, "nut")
        path.parent.mkdir(parents=True)
        frame.assign(split="test").to_csv(path, index=False)
    combined = baseline_rows(score=0.99).assign(split="test", map="combined")
    table = alarms.each_map("nut", combined, "full")
    assert table["of the test images"]["combined"] == "best"
    assert (table["of the test images"] == "best").sum() == 1
    assert {"cosine", "segmentation", "combined"} <= set(table.index)
