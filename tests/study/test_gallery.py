"""Sheets of small pictures, what the page knows of them, and curves."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_scores import SETTINGS, category, images_of, leave

from study.scoring import thresholds
from study.scoring.scores import MAPS
from study.scoring.view import View
from study.site import gallery


@pytest.fixture
def view(elsewhere):
    held_out, settings = category(), replace(SETTINGS, seeds=(0,))
    both = leave(settings, held_out)["full", 0]
    return View(held_out, settings, images_of(held_out, both))


def test_a_sheet_has_its_tiles_row_by_row():
    tiles = np.arange(18, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    (picture,) = gallery.sheets(tiles)
    found = np.asarray(picture)
    assert found.shape == (4, 48)
    assert found[0, ::3].tolist() == list(range(16)) and found[2, :9:3].tolist() == [16, 17, 0]


def test_many_images_fill_several_sheets():
    """5,000 tiles of 128 pixels in one picture would pass WebP's 16,383 pixels."""
    tiles = np.broadcast_to(np.arange(5000, dtype=np.uint16)[:, None, None] % 251, (5000, 1, 1))
    found = list(gallery.sheets(tiles.astype(np.uint8)))
    assert [picture.size for picture in found] == [(16, 16)] * 19 + [(16, 9)]
    assert max(found[0].size) * gallery.SIDE < 16383
    assert np.concatenate(found).ravel()[:5000].tolist() == tiles.ravel().tolist()


@pytest.mark.parametrize("columns, rows", [(16, 16), (4, 1), (2, 3)])
def test_sheets_show_the_test_images_in_the_order_of_the_facts(
    view, tmp_path, monkeypatch, columns, rows
):
    monkeypatch.setattr(gallery, "COLUMNS", columns)
    monkeypatch.setattr(gallery, "ROWS", rows)
    gallery.save_sheets(view, tmp_path)
    found = gallery.facts(view)
    test = view.held_out.splits == "test"
    assert [image["name"] for image in found["images"]] == view.held_out.names[test].tolist()
    assert (found["columns"], found["rows"]) == (columns, rows)
    for index, image in enumerate(found["images"]):
        number, here = divmod(index, columns * rows)
        masks = np.asarray(Image.open(tmp_path / f"nut-mask-{number}.webp").convert("L"))
        side = masks.shape[1] // columns
        tile = masks[here // columns * side :, here % columns * side :][:side, :side]
        assert (tile.max() > 128) == image["drawn"], "only drawn defects have a mask here"
    assert {path.name for path in tmp_path.glob("*.webp")} == {
        f"nut-{kind}-{n}.webp"
        for kind in ("image", "mask", *(f"{kind}-0" for kind in MAPS))
        for n in range(number + 1)
    }


def test_scores_and_threshold_decide_as_the_figures_do(view):
    found = gallery.facts(view)
    test = view.held_out.splits == "test"
    for kind in MAPS:
        scores = view.scores(0, kind)
        cut = view.cut(scores)
        assert found["threshold"][kind] == [cut]
        words = thresholds.outcomes(scores, view.held_out.labels, cut)[test]
        for word, image in zip(words, found["images"], strict=True):
            alarm = image["scores"][kind][0] >= found["threshold"][kind][0]
            assert word.endswith("positive" if alarm else "negative")
            assert word.startswith("true" if alarm == image["label"] else "false")


def test_maps_share_one_scale(view):
    maps = np.stack([np.full((4, 4), level, np.float32) for level in (0, 1, 2, 4)])
    found = gallery.grey(maps, 8, top=2.0)
    assert found.shape == (4, 8, 8) and found[:, 3, 3].tolist() == [0, 128, 255, 255]
    assert gallery.facts(view)["top"] == {kind: gallery.top(view, kind) for kind in MAPS}
    view.maps = lambda seed, kind: np.zeros((24, 4, 4), np.float32)
    assert gallery.top(view, "cosine") > 0, "a map of zeros is drawn, too"


def test_the_colours_are_cividis():
    found = gallery.colours(3)
    assert [round(found[key][0] * 255) for key in "RGB"] == [0, 34, 78]
    assert [round(found[key][2] * 255) for key in "RGB"] == [254, 232, 56]


def test_a_chart_leaves_out_what_has_no_place():
    series = {"a": ([1, 2, 3], [0.123456, np.nan, 0.0]), "b": ([1], [np.inf])}
    found = gallery.chart("t", "step", "loss", series, log=True)
    assert found["series"] == [{"name": "a", "points": [[1.0, 0.1235]]}]


def test_charts_of_a_category(view):
    found = list(gallery.charts(view, 0))
    assert [one["title"].split(",")[0] for one in found] == [
        *("ROC", "precision-recall"),  # of images
        *("ROC", "precision-recall", "PRO"),  # of pixels
        *("Training loss", "Training loss"),
    ]
    assert all(one["series"] for one in found)
