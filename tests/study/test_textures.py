"""study.data.textures: scikit-image's photographs, folders of mixed images, and folders without
any.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from toys import grey, put

from study.data.textures import load_textures

DTD = Path(__file__).parents[3] / "shared" / "data" / "dtd" / "images"


def textures(**changed):
    base = {"source": "skimage", "root": None, "count": 12, "seed": 0}
    return SimpleNamespace(**{**base, "min_side": 16, "max_side": 999, **changed})


@pytest.mark.parametrize("channels", [1, 3])
def test_textures_of_skimage(channels):
    crops = load_textures(textures(), 32, channels)
    assert crops.shape == (12, 32, 32, channels) and crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, load_textures(textures(), 32, channels))
    assert (crops != load_textures(textures(seed=1), 32, channels)).any()
    assert len({crop.tobytes() for crop in crops}) == 12 and crops.std(axis=(1, 2)).min() > 1


def test_what_is_no_image_is_told_and_hidden_files_are_not_meant(tmp_path, capsys):
    settings = textures(source="folder", root=str(tmp_path), count=0)
    put(tmp_path / "a/1.png", grey(30, (20, 70)))
    (tmp_path / "a/._1.png").write_bytes(b"of a file manager")
    (tmp_path / "labels.txt").write_text("not an image")
    assert len(load_textures(settings, 32, 3)) == 1
    said = capsys.readouterr().out
    assert said == "1 files below textures.root are not images and are not used.\n"
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png: no plain file"):
        load_textures(settings, 32, 3)
    (tmp_path / "pipe.png").unlink()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ValueError, match=r"loop\.png: a link that leads nowhere"):
        load_textures(settings, 32, 3)


def test_textures_that_do_not_fit_are_told_before(monkeypatch):
    monkeypatch.setattr("study.limits.free", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"^12 textures: needs"):
        load_textures(textures(), 32, 3)


MIXED = {
    "grey.png": grey(50, (30, 90)),
    "b/bilevel.png": Image.new("1", (64, 8), 1),
    "a/rgba.png": Image.new("RGBA", (33, 21), (80, 80, 80, 9)),
    "palette.png": Image.new("RGB", (16, 16), (255, 255, 255)).convert("P"),
    "cmyk.jpg": Image.new("CMYK", (200, 40), (0, 0, 0, 155)),
    "sixteen.tif": Image.fromarray(np.full((70, 20), 120 * 257, np.uint16)),
    "tiny.bmp": grey(140, (1, 1)),
}
VALUES = (80, 255, 100, 50, 255, 120, 140)  # in the order of their paths


@pytest.mark.parametrize("channels", [1, 3])
def test_textures_of_mixed_modes_and_sizes(channels, tmp_path):
    for name, image in MIXED.items():
        put(tmp_path / name, image)
    settings = textures(source="folder", root=str(tmp_path), count=0)
    whole = load_textures(settings, 32, channels)
    assert whole.shape == (7, 32, 32, channels) and whole.dtype == np.uint8
    np.testing.assert_allclose(whole.mean(axis=(1, 2, 3)), VALUES, atol=1)
    settings.count = 20
    crops = load_textures(settings, 32, channels)
    assert crops.shape == (20, 32, 32, channels)
    assert crops.std(axis=(1, 2, 3)).max() < 2  # each from one of the flat images


@pytest.mark.skipif(not DTD.is_dir(), reason="needs a part of DTD beside the clone")
def test_textures_of_dtd():
    folders = sorted(path for path in DTD.iterdir() if path.is_dir())
    settings = textures(source="folder", root=str(folders[0]), count=0)
    assert load_textures(settings, 32, 3).shape == (120, 32, 32, 3)


def test_textures_errors(tmp_path):
    for root in (str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(FileNotFoundError, match=r"textures.root .*no images"):
            load_textures(textures(source="folder", root=root), 32, 1)
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"x.png: unreadable"):
        load_textures(textures(source="folder", root=str(tmp_path)), 32, 1)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/y.png").symlink_to("../x.png")
    with pytest.raises(ValueError, match=r"y.png: a link out of \S*root; copy"):
        load_textures(textures(source="folder", root=str(tmp_path / "root")), 32, 1)
