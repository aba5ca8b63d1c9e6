"""New images: which files are found, what is read of them, and what is not as in calibration."""

import numpy as np
import pytest
from PIL import Image
from toys import grey, put

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


def test_nothing_to_inspect(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file or folder .*gone"):
        incoming.find(tmp_path / "gone")
    with pytest.raises(ValueError, match="no images; PNG, JPG, BMP and TIFF are read"):
        incoming.find(tmp_path)
    with pytest.raises(ValueError, match="IMAGES is not given"):
        incoming.find("")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    put(tmp_path / "private/0.png")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/a.png").symlink_to(tmp_path / "private/0.png")
    with pytest.raises(ValueError, match="a link out of"):
        incoming.find(tmp_path / "new")


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_and_other_sizes_are_read_as_in_training(tmp_path, channels):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((30, 50), 200 * 257, np.uint16)).save(path)
    found = incoming.read(path, 32, channels)
    assert found.pixels.shape == (32, 32, channels) and (found.pixels == 200).all()
    assert found.size == (50, 30) and not found.coloured and found.brightness == 200


def test_colour_is_noticed(tmp_path):
    put(tmp_path / "a.png", Image.new("RGB", (40, 40), (200, 30, 30)))
    assert incoming.read(tmp_path / "a.png", 32, 1).coloured


def test_what_cannot_be_read_says_what_to_do(tmp_path):
    grey().save(tmp_path / "a.webp")
    with pytest.raises(ValueError, match=r"a.webp: convert it to PNG"):
        incoming.read(tmp_path / "a.webp", 32, 1)
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"b.png: unreadable image"):
        incoming.read(tmp_path / "b.png", 32, 1)


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


def test_sizes():
    assert about_sizes([(300, 300)], [(300, 300)] * 3) == []
    assert about_sizes([], [(300, 300)]) == []
    (found,) = about_sizes([(300, 300)], [(300, 300), (600, 600)])
    assert "1 of 2 images" in found and "600x600 instead of 300x300" in found
    assert "resized" in found
    (found,) = about_sizes([(300, 300)], [(640, 480)])
    assert "another shape" in found


def test_colours():
    assert about_colours(1, [False, False]) == about_colours(3, [True, False]) == []
    assert "1 of 2 images are coloured" in about_colours(1, [True, False])[0]
    assert "All images are grey" in about_colours(3, [False, False])[0]
