"""lib.archive: the same arrays as from the unpacked folder (bad ones: tests/hostile.py)."""

import errno
import hashlib
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from toys import dataset, put

from lib import archive, folder
from lib.benchmarks import load_category

ARRAYS = ("images", "masks", "has_mask", "labels", "defects", "names", "splits", "drawn")
OFFICIAL = ""  # the official archive holds the categories at its top
LEADING = "mvtec_anomaly_detection/"


def noise(rng, shape, mode="RGB"):
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).convert(mode)


@pytest.fixture
def unpacked(tmp_path):
    """Two categories of different sizes, modes and formats, with what else the official one has."""
    rng, base = np.random.default_rng(0), tmp_path / "mvtec"
    for category, shape, mode in (("bolt", (90, 70), "RGB"), ("nut", (50, 50), "L")):
        for index in range(3):
            put(base / f"{category}/train/good/{index:03}.png", noise(rng, shape, mode))
        put(base / f"{category}/test/good/000.png", noise(rng, shape, mode))
        for index in range(2):
            put(base / f"{category}/test/scratch/{index:03}.png", noise(rng, shape, mode))
            blob = np.zeros(shape, np.uint8)
            blob[10 : 20 + 9 * index, 5:33] = 255
            mask = f"{category}/ground_truth/scratch/{index:03}_mask.png"
            put(base / mask, Image.fromarray(blob))
        for name in ("license.txt", "readme.txt"):
            (base / category / name).write_text("CC BY-NC-SA 4.0")
    put(base / "nut/test/bent/a.b.jpg", noise(rng, (33, 61, 3)))
    put(base / "nut/test/bent/c.TIF", noise(rng, (33, 61, 4), "RGBA"))
    put(base / "nut/train/good/._000.png")
    put(base / "nut/train/bad/000.png")
    (base / "nut/test/Thumbs.db").write_bytes(b"x")
    (base / "license.txt").write_text("CC BY-NC-SA 4.0")
    return base


def pack(source, path, leading="", kind="xz"):
    """Archive `source` below the name `leading`; returns settings with the right pins."""
    with tarfile.open(path, f"w:{kind}") as tar:
        tar.add(source, leading or ".")
    return pinned(path)


def pinned(path, **changed):
    content = path.read_bytes()
    pins = {"archive_size": len(content), "archive_sha256": hashlib.sha256(content).hexdigest()}
    return dataset(**{"source": "archive", "archive": str(path), "channels": 3, **pins, **changed})


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "leading", "kind"),
    [("a.tar.xz", OFFICIAL, "xz"), ("a.tgz", LEADING, "gz"), ("a.tar", "./mvtec/", "")],
)
def test_arrays_are_those_of_the_unpacked_folder(
    name, leading, kind, channels, unpacked, tmp_path, monkeypatch
):
    monkeypatch.setattr(folder, "UNPACKED", tmp_path / "results" / "archive")
    settings = pack(unpacked, tmp_path / name, leading, kind)
    settings.channels = channels
    archive.unpack(settings, ("nut", "bolt"), folder.UNPACKED)
    for category in ("nut", "bolt"):
        expected = load_category(dataset(root=str(unpacked), channels=channels), category)
        found = load_category(settings, category)
        for key in ARRAYS:
            np.testing.assert_array_equal(getattr(found, key), getattr(expected, key))
        assert (found.benchmark, found.notes) == (expected.benchmark, expected.notes)
    assert len(found.names) == 6 and 0 < found.masks.mean() < 0.5
    with Image.open(folder.UNPACKED / "nut/test/bent/a.b.jpg") as image:
        assert image.size == (32, 32) and image.format == "PNG"
    assert sorted(os.listdir(tmp_path / "results")) == ["archive"]


def test_only_the_wanted_categories_and_only_images_are_kept(unpacked, tmp_path):
    put(tmp_path / "out/bolt/train/good/000.png")  # of an earlier run
    archive.unpack(pack(unpacked, tmp_path / "a.tar.xz"), ("nut",), tmp_path / "out")
    kept = {name.removeprefix("nut/") for name in files_below(tmp_path / "out")}
    assert kept == {
        *(f"train/good/00{i}.png" for i in range(3)),
        *("test/good/000.png", "test/scratch/000.png", "test/scratch/001.png"),
        *("test/bent/a.b.jpg", "test/bent/c.TIF"),
        *("ground_truth/scratch/000_mask.png", "ground_truth/scratch/001_mask.png"),
    }


def test_progress_is_told_in_lines(unpacked, tmp_path, capsys):
    archive.unpack(pack(unpacked, tmp_path / "a.tar.xz"), ("nut",), tmp_path / "out")
    output = capsys.readouterr()
    assert output.out == "" and "\r" not in output.err
    assert "checking a.tar.xz: 0 % of " in output.err and "reading a.tar.xz: 100 %" in output.err
    assert " left" in output.err


def test_the_file_is_compared_with_its_pins_first(unpacked, tmp_path, monkeypatch):
    path, out = tmp_path / "a.tar.xz", tmp_path / "out"
    good = pack(unpacked, path)
    monkeypatch.setattr(tarfile, "open", lambda **_: pytest.fail("read before it was checked"))
    size, digest = good.archive_size, good.archive_sha256
    faults = {
        f"a.tar.xz: {size} bytes, expected 5; .*make mvtec.*archive_size": {"archive_size": 5},
        f"a.tar.xz: SHA-256 {digest}, expected aa11.*make mvtec": {"archive_sha256": "AA11"},
        "dataset.archive_sha256 are .* and '': .*sha256sum": {"archive_sha256": ""},
        "dataset.archive_size and .* are 0 and": {"archive_size": 0},
    }
    for message, changed in faults.items():
        with pytest.raises(ValueError, match=message):
            archive.unpack(pinned(path, **changed), ("nut",), out)
    for name, message in (("no.tar", "no.tar: no such file; `make mvtec`"), ("", "a folder, not")):
        with pytest.raises(FileNotFoundError, match=message):
            archive.unpack(pinned(path, archive=str(tmp_path / name)), ("nut",), out)
    assert not out.exists()


def test_a_missing_category_lists_the_found_ones(unpacked, tmp_path):
    settings = pack(unpacked, tmp_path / "a.tar.xz", LEADING)
    with pytest.raises(ValueError, match=r"a.tar.xz: no category screw, pill; found: bolt, nut$"):
        archive.unpack(settings, ("nut", "screw", "pill"), tmp_path / "out")
    (tmp_path / "text").mkdir()
    with pytest.raises(ValueError, match=r"no category nut; found: none$"):
        archive.unpack(pack(tmp_path / "text", tmp_path / "b.tar"), ("nut",), tmp_path / "out")


def test_a_full_disk_is_told_and_keeps_what_was_there(unpacked, tmp_path, monkeypatch):
    out = put(tmp_path / "out/nut/train/good/old.png").parents[3]
    settings, opened = pack(unpacked, tmp_path / "a.tar.xz"), Path.open

    def full(self, mode="r", *rest, **options):
        if "x" in mode and self.name == "001.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=r"no space left to unpack \S*a.tar.xz into \S*out; free"):
        archive.unpack(settings, ("nut",), out)
    assert files_below(out) == {"nut/train/good/old.png"}
    assert not out.with_name("out.partial").exists()


def test_what_an_interrupted_run_left_is_not_used(unpacked, tmp_path):
    put(tmp_path / "out.partial/nut/train/good/999.png")
    archive.unpack(pack(unpacked, tmp_path / "a.tar.xz"), ("nut",), tmp_path / "out")
    assert "nut/train/good/999.png" not in files_below(tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


def test_the_stage(unpacked, tmp_path, monkeypatch, capsys):
    settings = SimpleNamespace(dataset=dataset(source="elpv"), categories=("nut",))
    monkeypatch.setattr(archive.params, "load", lambda: settings)
    out, markers = tmp_path / "results" / "archive", set()
    put(out / "nut/train/good/000.png")
    for settings.dataset.source in ("elpv", "folder"):
        assert archive.main([str(out)]) == 0 and files_below(out) == {"unused"}
        markers.add((out / "unused").read_bytes())
    assert markers == {b"dataset.source is not archive\n"}
    settings.dataset = pack(unpacked, tmp_path / "a.tar.xz")
    assert archive.main([str(out)]) == 0
    assert len(files_below(out)) == 10 and "unused" not in files_below(out)
    settings.categories = ("screw",)
    assert archive.main([str(out)]) == 1
    assert "error: " in (message := capsys.readouterr().err) and "no category screw" in message


def test_the_stage_reports_bad_parameters(monkeypatch, tmp_path, capsys):
    def load():
        raise ValueError("params.yaml: unknown key colour")

    monkeypatch.setattr(archive.params, "load", load)
    assert archive.main([str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "error: params.yaml: unknown key colour\n"


def test_a_defect_that_resizing_makes_grey_is_no_fault(unpacked, tmp_path, monkeypatch):
    """A mask is checked as it came: resized, it may never be brighter than half."""
    monkeypatch.setattr(folder, "UNPACKED", tmp_path / "results" / "archive")
    speck = np.zeros((50, 50), np.uint8)
    speck[20, 20] = 255
    put(unpacked / "nut/ground_truth/scratch/000_mask.png", Image.fromarray(speck))
    settings = pack(unpacked, tmp_path / "a.tar.xz")
    settings.image_size = 20
    archive.unpack(settings, ("nut",), folder.UNPACKED)
    expected = load_category(dataset(root=str(unpacked), channels=3, image_size=20), "nut")
    found = load_category(settings, "nut")
    np.testing.assert_array_equal(found.masks, expected.masks)
    assert found.notes == expected.notes and "empty at this size" in " ".join(found.notes)
