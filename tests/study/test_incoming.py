"""New images: which files are found, what is read of them, and what is not as in calibration
(faults: tests/helpers/hostile_inspect.py).
"""

import numpy as np
import pytest
from PIL import Image
from toys import put

from study.inspector import incoming
from study.inspector.incoming import about_brightness, about_colours, about_scores, about_sizes

RANDOM = np.random.default_rng(0)
KNOWN = RANDOM.standard_normal(100)


def test_images_at_any_depth_and_nothing_hidden(tmp_path):
    names = ("b.png", "a/c.JPG", "a/d.tif", "e.webp")
    for name in (*names, ".hidden/f.png", "a/.g.png"):
        put(tmp_path / name)
    (tmp_path / "Thumbs.db").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    folder, images, others = incoming.find(tmp_path)
    assert folder == tmp_path and [p.name for p in others] == ["notes.txt"]
    assert [p.relative_to(tmp_path).as_posix() for p in images] == sorted(names)
    assert incoming.find(tmp_path / "b.png")[:2] == (tmp_path, [tmp_path / "b.png"])


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_and_other_sizes_are_read_as_in_training(tmp_path, channels):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((30, 50), 200 * 257, np.uint16)).save(path)
    found = incoming.read(path, 32, channels)
    assert found.pixels.shape == (32, 32, channels) and (found.pixels == 200).all()
    assert found.size == (50, 30) and not found.coloured and found.brightness == 200


def test_scores():
    assert about_scores(KNOWN, RANDOM.standard_normal(60), 0.05, 3) == []
    (found,) = about_scores(KNOWN, RANDOM.standard_normal(60) + 2, 0.05, 40)
    assert "higher than those of the 100 calibration images" in found
    assert "40 of 60 images raise an alarm; of good images, at most 5.0% would" in found
    (found,) = about_scores(KNOWN, RANDOM.standard_normal(60) - 2, 0.05, 0)
    assert "lower" in found and "trained on?" in found
    assert about_scores(KNOWN, KNOWN[:2] + 9, 0.05, 2) == [], "two images are no distribution"


def test_false_warnings_are_rare():
    draws = RANDOM.standard_normal((1000, 50))
    warned = sum(bool(about_scores(KNOWN, draw, 0.05, 0)) for draw in draws)
    assert warned <= 10  # 0.001 of 1,000, and the calibration images are one draw, too


def test_brightness():
    known = 100 + 5 * KNOWN
    assert about_brightness(known, 100 + 5 * RANDOM.standard_normal(30)) == []
    (found,) = about_brightness(known, np.array([180.0]))
    assert "180 to 180 (median 180)" in found and "(median 10" in found


def test_nothing_unusual():
    assert about_sizes([(300, 300)], [(300, 300)] * 3) == []
    assert about_colours(1, [False, False]) == about_colours(3, [True, False]) == []


def test_grey_images_for_a_model_of_colours():
    assert "All images are grey" in about_colours(3, [False, False])[0]
