"""`make inspect`: what it writes, and that it refuses bad input before any work (all kinds:
tests/helpers/hostile_inspect.py).
"""

import csv
import json
from dataclasses import replace
from unittest import mock

import judged
import pytest
from PIL import Image
from toys import grey, put

from study import params
from study.inspector import inspect, judge


@pytest.fixture(scope="module")
def made():
    return judged.make()


@pytest.fixture
def ready(made, elsewhere, monkeypatch):
    """A finished run, and twenty new images, the last of them with a defect and larger."""
    judged.leave(made, elsewhere)
    monkeypatch.setattr(params, "load", lambda: made.settings)
    for index, image in enumerate(judged.pictures(20, seed=2)):
        put(elsewhere / f"new/{index:02}.png", Image.fromarray(image[..., 0]))
    image = Image.fromarray(judged.pictures(1, seed=3)[0, ..., 0]).resize((128, 256))
    image.paste(255, (40, 80, 90, 160))
    put(elsewhere / "new/lot 2/defect.png", image)
    return elsewhere


def rows(folder):
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_a_folder_of_new_images(ready, made, capsys):
    assert inspect.main([str(ready / "new"), "--alpha", "0.05"]) == 0
    out = ready / "inspected/new"
    found = rows(out)
    assert list(found) == sorted(found) and len(found) == 21
    alarm = found["lot 2/defect.png"]
    assert alarm["verdict"] == "alarm" and float(alarm["p_value"]) == pytest.approx(
        1 / 41, rel=1e-3
    )
    assert json.loads(alarm["boxes"]) and int(alarm["regions"]) == len(json.loads(alarm["boxes"]))
    assert sum(row["verdict"] == "alarm" for row in found.values()) <= 6
    images = judged.pictures(20, seed=2)
    _, scores, p = made.judge.judge(images)
    for index in (0, 7, 19):
        assert float(found[f"{index:02}.png"]["score"]) == pytest.approx(scores[index], rel=1e-3)
        assert float(found[f"{index:02}.png"]["p_value"]) == pytest.approx(p[index], rel=1e-3)
    assert (out / "overlays/lot 2/defect.png.jpg").is_file()
    page = (out / "index.html").read_text("utf-8")
    assert page.count("<img") == 21 and "128x256 instead of 64x64" in page
    said = capsys.readouterr()
    assert "of 21 images raise an alarm" in said.out and "21/21 images" in said.err
    assert "warning: 1 of 21 images have another size" in said.err


def test_a_broken_file_is_reported_and_nothing_else_is_lost(ready, capsys):
    (ready / "new/05.png").write_bytes(b"broken")
    grey().save(ready / "new/z.webp")
    (ready / "new/notes.txt").write_text("x")
    assert inspect.main([str(ready / "new")]) == 1
    found = rows(ready / "inspected/new")
    assert len(found) == 22 and found["05.png"]["verdict"] == "unreadable"
    assert found["z.webp"]["note"].endswith("z.webp: convert it to PNG")
    assert sum(row["score"] != "" for row in found.values()) == 20
    said = capsys.readouterr().err
    assert "not scored: " in said and "05.png: unreadable image" in said
    assert "skipped, no image: " in said and "notes.txt" in said


def test_an_interruption_keeps_what_was_scored(ready, made, monkeypatch):
    batches, judged_once = [], judge.Judge.judge

    def interrupted(self, images):
        batches.append(images)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return judged_once(self, images)

    monkeypatch.setattr(judge.Judge, "judge", interrupted)
    assert inspect.main([str(ready / "new")]) == 130
    out = ready / "inspected/new"
    assert len(rows(out)) == inspect.BATCH and (out / "index.html").is_file()


def test_one_file_one_map_and_a_folder_of_its_own(ready):
    out = ready / "here"
    options = ["--map", "cosine", "--seed", "1", "--out", str(out), "--category", "monocrystalline"]
    assert inspect.main([str(ready / "new/00.png"), *options]) == 0
    assert list(rows(out)) == ["00.png"]
    assert "map cosine, seed 1" in (out / "index.html").read_text("utf-8")


def test_bad_input_gets_one_line_before_any_work(ready, made, monkeypatch, capsys):
    def refused(message, *arguments):
        with mock.patch.object(judge, "load", side_effect=AssertionError("work was done")):
            assert inspect.main([*map(str, arguments)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and message in said, said

    new = ready / "new"
    refused("alpha is 1.5; it must be above 0 and below 1\n", new, "--alpha", 1.5)
    put(ready / "inspected/new/old.png")
    refused("inspected/new is not empty; remove it, or name another with OUT=...", new)


def test_a_model_that_is_not_the_calibrated_one_is_refused(ready, made, monkeypatch, capsys):
    other = replace(made.settings, evaluation=replace(made.settings.evaluation, top_pixels=9))
    monkeypatch.setattr(params, "load", lambda: other)
    assert inspect.main([str(ready / "new")]) == 2
    assert "another model or other parameters" in capsys.readouterr().err
    assert not (ready / "inspected").exists()
