"""Everything bad that a reader may be given, in one list, and what it makes of it.

    python tests/helpers/hostile.py [FILE]

writes the table of all cases (reports/hostile.md); tests/pipeline/test_hostile.py runs each as a
test. A case gets either a correct reading, told by the pixels or values that were read, or an error
of one line that names the file, key or value, and what to do.
"""

import contextlib
import functools
import io
import json
import os
import pickle
import re
import shutil
import signal
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import hostile_inspect
import nbformat
import numpy as np
import torch
from clones import git
from PIL import Image
from test_revisions import write_run
from toys import dataset, grey, put, shipped_with, write_nut

from lib.backbones import timm
from lib.networks import Teacher
from study import cluster, notebook, params
from study.data.mvtec import load_category
from study.tables import revisions

REPORT = params.ROOT / "reports" / "hostile.md"
PATIENCE = 30  # seconds without an answer: it hangs
TOLD = (ValueError, OSError, MemoryError, notebook.NotebookError)  # what commands print as one line
READ = "read correctly: "


class Hang(BaseException):
    """No answer in time."""


@dataclass(frozen=True)
class Case:
    """One input: `make(folder)` leaves it there, and the group's reader must give `gets`.

    gets: a regular expression of the whole message; or, beginning with READ, exactly what was read.
    during: gives a context in which it is read.
    """

    group: str
    input: str
    make: Callable[[Path], object]
    gets: str
    during: Callable = contextlib.nullcontext


def attempt(case, folder):
    """What the case gets, in one text with paths from `folder` on.

    AssertionError where code of the input ran; any error but the told ones goes on; Hang.
    """

    def late(*_):
        raise Hang(f"no answer to {case.input} after {PATIENCE} s")

    PREPARE.get(case.group, lambda folder: None)(folder)
    case.make(folder)
    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        with case.during(), contextlib.redirect_stderr(io.StringIO()):
            text = f"{READ}{READERS[case.group](folder)}"
    except TOLD as error:
        text = str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert not (folder / "ran").exists(), f"{case.input}: its code was run"
    return text.replace(f"{folder}{os.sep}", "").strip()


# Images, masks, names and folders: a category `nut` in which something is spoilt.

NUT = "toys/nut"
NEW = f"{NUT}/test/scratch"


def load(folder, **changed):
    return load_category(dataset(root=str(folder / "toys"), **changed), "nut")


def added(nut):
    """The one index of what is in test/scratch beside the two images of the toy."""
    usual = ("test/scratch/000.png", "test/scratch/001.png")
    inside = [i for i, name in enumerate(nut.names) if name.startswith("test/scratch/")]
    (index,) = [i for i in inside if nut.names[i] not in usual]
    return index


def read_image(folder):
    """The levels of the added image by quadrants, in grey and in colour."""
    nut, colour = load(folder), load(folder, channels=3)
    pixels = nut.images[added(nut), ..., 0]
    quadrants = [pixels[y, x] for y in (8, 24) for x in (8, 24)]
    if len(set(quadrants)) > 1:
        return "quadrants {} {} / {} {}".format(*quadrants)
    assert (pixels == pixels[0, 0]).all()
    return f"grey {pixels[0, 0]}, RGB {' '.join(map(str, colour.images[added(colour), 3, 4]))}"


def read_mask(folder):
    """Where the mask of 001 marks the 32x32 pixels, and what is noted."""
    nut = load(folder)
    mask = nut.masks[nut.names.tolist().index("test/scratch/001.png")]
    assert (nut.masks[4, :, :16].all(), nut.masks[4].sum()) == (True, 32 * 16)  # the other one's
    ys, xs = np.nonzero(mask)
    where = f"columns {xs.min()}-{xs.max()}, rows {ys.min()}-{ys.max()}, " if mask.any() else ""
    return "; noted: ".join([f"{where}{mask.sum()} of 1024 pixels", *nut.notes])


def read_names(folder):
    nut = load(folder)
    name = str(nut.names[added(nut)]).removeprefix("test/scratch/")
    assert nut.images[added(nut), 3, 4, 0] == 200
    return f"{name if len(name) < 40 else f'{name[:12]}... ({len(name)} signs)'}, grey 200"


def read_folder(folder):
    nut = load(folder)
    return f"{len(nut.names)} images, {nut.labels.sum()} of them defective"


def image(name, content, **options):
    """Puts an image, or what `content(path)` makes, into test/scratch."""

    def make(folder):
        path = folder / NEW / name
        if callable(content):
            content(path)
        else:
            content.save(path, **options)

    return make


def mask(content, name="001_mask.png"):
    def make(folder):
        path = folder / NUT / "ground_truth/scratch" / name
        content(path) if callable(content) else content.save(path)

    return make


def file(path, content=b"no image"):
    """Puts bytes at a path below the category."""

    def make(folder):
        target = folder / NUT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    return make


def picture(path, content=None):
    return lambda folder: put(folder / NUT / path, content)


def cut_off(path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-400])


def flat(mode, value):
    return Image.new(mode, (40, 40), value)


def levels(values):
    """An image of four quadrants."""
    return Image.fromarray(np.kron(np.reshape(values, (2, 2)), np.ones((20, 20))).astype(np.uint8))


def sixteen(value, dtype=np.uint16):
    return Image.fromarray(np.full((40, 40), value, dtype))


def deep_rgb(value):
    """An RGB PNG of 16 bits a channel, which Pillow reads and does not write."""
    rows = (b"\0" + struct.pack(">H", value) * 3 * 40) * 40
    return lambda path: path.write_bytes(raw_png(40, 16, 2, rows))


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def raw_png(side, bits, kind, rows):
    """A PNG of side x side pixels from its rows, each behind its filter's byte."""

    def chunk(kind, content):
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bomb(side=20_000):
    """A PNG of 20,000 x 20,000 pixels in some kilobytes."""
    return raw_png(side, 1, 0, bytes(side * (1 + side // 8)))


def exploding(side):
    return lambda path: path.write_bytes(bomb(side))


def animated(kind):
    def make(path):
        grey(10).save(path, kind, save_all=True, append_images=[grey(99), grey(200)])

    return make


def transparent_palette(path):
    flat("RGB", (255, 0, 0)).convert("P").save(path, transparency=bytes([0, 128, 255]))


RED, UNREADABLE = "grey 76, RGB 255 0 0", r"toys/nut/test/scratch/{}: unreadable image \({}\); .*"


def bad_image(words, name, content, reason):
    return Case("images", words, image(name, content), UNREADABLE.format(name, reason))


def good_image(words, name, content, gets, **options):
    return Case("images", words, image(name, content, **options), READ + gets)


def images():
    plain = "grey 200, RGB 200 200 200"
    turned = levels([10, 80, 160, 240])
    return [
        good_image("8-bit grey", "a.png", grey(200), plain),
        good_image("1 bit", "a.png", flat("1", 1), "grey 255, RGB 255 255 255"),
        good_image("RGB, ending in capitals", "a.PNG", flat("RGB", (255, 0, 0)), RED),
        good_image("alpha", "a.png", flat("RGBA", (255, 0, 0, 7)), RED),
        good_image("grey and alpha", "a.png", flat("LA", (200, 7)), plain),
        good_image("palette", "a.png", flat("RGB", (255, 0, 0)).convert("P"), RED),
        good_image("palette with transparency", "a.png", transparent_palette, RED),
        good_image("16-bit PNG", "a.png", sixteen(200 * 257), plain),
        good_image("16-bit TIFF", "a.tif", sixteen(65535), "grey 255, RGB 255 255 255"),
        good_image("16 bit in 32-bit TIFF", "a.tiff", sixteen(200 * 257, np.int32), plain),
        good_image("JPEG, ending in capitals", "a.JPG", grey(200), plain),
        good_image("CMYK JPEG", "a.jpeg", flat("CMYK", (0, 0, 0, 55)), plain),
        good_image("BMP", "a.bmp", grey(200), plain),
        good_image("PNG called .jpg", "a.jpg", lambda p: grey(200).save(p, "PNG"), plain),
        good_image("1x1 pixels", "a.png", grey(200, (1, 1)), plain),
        good_image("1x3000 pixels", "a.png", grey(200, (1, 3000)), plain),
        good_image(
            "EXIF: a quarter turn", "a.jpg", turned, "quadrants 160 10 / 240 80",
            exif=orientation(6), quality=100,
        ),
        good_image(
            "EXIF: upside down", "a.png", turned, "quadrants 240 160 / 80 10", exif=orientation(3)
        ),
        bad_image("16 bit with 8-bit values", "a.png", sixteen(200), "16 bit .*none above 200.*"),
        bad_image("floating point", "a.tif", flat("F", 0.5), "neither 8 nor 16 bit per pixel"),
        bad_image("16-bit RGB with 8-bit values", "a.png", deep_rgb(200), "16 .*none above 255.*"),
        good_image("16-bit RGB", "a.png", deep_rgb(200 * 257), plain),
        bad_image("LAB", "a.tif", flat("LAB", (200, 0, 0)), "colours as LAB; save RGB"),
        bad_image("animated PNG", "a.png", animated("PNG"), "3 pictures in one file"),
        bad_image("TIFF of several pages", "a.tif", animated("TIFF"), "3 pictures in one file"),
        bad_image(
            "TIFF turned by a tag", "a.tif", lambda p: turned.save(p, tiffinfo={0x0112: 6}),
            "turned by its tag Orientation.*",
        ),
        bad_image("animated GIF called .png", "a.png", animated("GIF"), "no PNG, JPEG, .*"),
        bad_image("truncated PNG", "a.png", cut_off, ".*truncated.*"),
        bad_image("truncated JPEG", "a.jpg", cut_off, ".*truncated.*"),
        bad_image("truncated BMP", "a.bmp", cut_off, ".*truncated.*"),
        bad_image("truncated TIFF", "a.tif", cut_off, ".+"),
        bad_image("0 bytes", "a.png", lambda p: p.write_bytes(b""), "no PNG, JPEG, .*"),
        bad_image("text", "a.png", lambda p: p.write_text("hello"), "no PNG, JPEG, .*"),
        bad_image("bomb of 20,000x20,000 pixels", "a.png", exploding(20_000), ".*bomb.*"),
        bad_image("bomb of 12,000x12,000 pixels", "a.png", exploding(12_000), ".*bomb.*"),
    ]  # fmt: skip


def boxed(outside, inside, mode="L"):
    """A mask of 40x40 pixels with a box in its middle."""
    image = flat(mode, outside)
    image.paste(inside, (10, 10, 30, 30))
    return image


def all_black(folder):
    for name in ("000", "001"):
        put(folder / NUT / f"ground_truth/scratch/{name}_mask.png", grey(0))


def soft():
    """A slope from left to right through the box that a mask marks: 128 at column 20."""
    return Image.fromarray(np.tile(np.clip(np.arange(40) * 6.4, 0, 255), (40, 1)).astype(np.uint8))


def bad_mask(words, content, reason, name="001_mask.png"):
    path = f"toys/nut/ground_truth/scratch/{name}"
    return Case("masks", words, mask(content, name), f"{path}: {reason}")


def masks():
    box = READ + "columns 8-23, rows 8-23, 256 of 1024 pixels"
    meaning = "a mask that is {}; save 0 for good, 255 for defect"
    alpha = boxed((0, 0, 0, 0), (255, 255, 255, 255), "RGBA")
    other = NUT + "/ground_truth/{}"
    return [
        Case("masks", "0 and 255", mask(boxed(0, 255)), box),
        Case("masks", "1 bit", mask(boxed(0, 1, "1")), box),
        Case("masks", "RGB, black and white", mask(boxed((0,) * 3, (255,) * 3, "RGB")), box),
        Case("masks", "palette, black and white", mask(boxed(0, 255).convert("P")), box),
        Case("masks", "all of the image", mask(grey(255)),
             READ + "columns 0-31, rows 0-31, 1024 of 1024 pixels"),
        Case("masks", "none", lambda folder: None,
             READ + "0 of 1024 pixels; noted: 1 of 2 defective test images have no mask, so the "
             "pixel metrics of its real defects are left out. Without a mask: "
             "test/scratch/001.png."),
        Case("masks", "soft edges", mask(soft()),
             READ + "columns 16-31, rows 0-31, 512 of 1024 pixels"),
        Case("masks", "black", mask(grey(0)), READ + "0 of 1024 pixels; noted: 1 of 2 masks of "
             "test mark no pixel at 32x32."),
        Case("masks", "all of them black", all_black, "toys/nut: all masks are black: ground_truth/"
             "scratch/000_mask.png, ground_truth/scratch/001_mask.png; save 255 on .*"),
        Case("masks", "inverted", mask(boxed(255, 0)),
             READ + "columns 0-31, rows 0-31, 768 of 1024 pixels; noted: 1 masks mark the whole "
             "border of their image but not all of it: are they inverted? The defect is white."),
        bad_mask("0 and 1", boxed(0, 1), meaning.format("never brighter than 1 of 255")),
        bad_mask("0 and 1 of 16 bit", Image.fromarray(np.eye(40, dtype=np.uint16)),
                 r"unreadable image \(16 bit .* none above 1: .*"),
        bad_mask("red", boxed((0,) * 3, (255, 0, 0), "RGB"), meaning.format("coloured")),
        bad_mask("in the alpha", alpha, meaning.format("transparent in places")),
        bad_mask("wrong size", grey(255, (20, 30)),
                 "20x30 pixels, but its image toys/nut/test/scratch/001.png has 40x40; export .*"),
        bad_mask("broken", lambda p: p.write_bytes(b"x"), r"unreadable image \(no PNG.*"),
        bad_mask("without an image", grey(255), "no image in validation/scratch or test/scratch "
                 "fits this mask; for an image 001.png call it 001.png .*", "007_mask.png"),
        bad_mask("of another name", grey(255), "no image .*; for an image 001.png call it 001.png "
                 "or 001_mask.png", "001_gt.png"),
        bad_mask("a second of one image", grey(255),
                 "a second mask of 000.png, beside 000_mask.png; merge them, .*", "000_mask.tif"),
        Case("masks", "of two images of one stem", image("000.bmp", grey(200)),
             other.format("scratch/000_mask.png: fits test/scratch/000.bmp and "
                          "test/scratch/000.png; rename one of them and its mask alike")),
        Case("masks", "of an unknown defect", picture("ground_truth/dent/000_mask.png"),
             other.format("dent/000_mask.png: no image in validation/dent or test/dent .*")),
        Case("masks", "of a good image", picture("ground_truth/good/000.png", grey(255)),
             other.format("good/000.png: marks a defect in a good image; empty or remove it")),
    ]  # fmt: skip


def named(words, name, gets):
    """An image under a name of text or bytes."""

    def make(folder):
        grey(200).save(content := io.BytesIO(), "PNG")
        path = os.path.join(os.fsencode(folder / NEW), os.fsencode(name))
        with open(path, "wb") as target:
            target.write(content.getvalue())

    return Case("names", words, make, gets)


def names():
    broken = r"'toys/nut/test/{}': its name has characters that would break tables; rename it"
    kept = ("  a b .png", "Schraube ß 螺丝 🔩.png", "-rf.png", "a'\",;$(touch ran)|.png")
    words = ("spaces", "Unicode", "leading dash", "signs of shells and tables")
    return [
        *(named(*pair, f"{READ}{pair[1]}, grey 200") for pair in zip(words, kept, strict=True)),
        named("250 signs", f"{'a' * 246}.png", f"{READ}{'a' * 12}... (250 signs), grey 200"),
        named("newline", "a\nb.png", broken.format(r"scratch/a\\nb.png")),
        named("bytes that are no UTF-8", b"\xff.png", broken.format(r"scratch/\\udcff.png")),
        Case("names", "newline in the name of a defect", picture("test/a\nb/0.png"),
             broken.format(r"a\\nb/0.png")),
    ]  # fmt: skip


def link(path, to):
    """A link at a path below the category, in place of what is there; `to` is relative to it."""

    def make(folder):
        put(folder / "private/0.png")
        target = folder / NUT / path
        if target.is_dir():
            shutil.rmtree(target)
        target.symlink_to(to)

    return make


def removed(*paths):
    return lambda folder: [shutil.rmtree(folder / NUT / path) for path in paths]


def emptied(folder):
    for path in (folder / NUT / "train/good").iterdir():
        path.unlink()


def unreadable():
    """As if a.png were a file of another user; root, whom tests may run as, can read all."""
    genuine = Image.open

    def opened(path, *rest, **options):
        if Path(path).name == "a.png":
            raise PermissionError(13, os.strerror(13))
        return genuine(path, *rest, **options)

    return mock.patch.object(Image, "open", opened)


def folders():
    outside = r"toys/nut/{}: a link out of toys; copy the file that it points to, or .*"
    stray = r"toys/nut: not usable as images: {} \({}\)(, .*)?; move them away, or .*"
    no_good = "toys/nut/test/good: no images; put some good images there that are not in train/good"
    no_images = "toys/nut/train/good: no images; put the normal images there"
    cases = {
        "a link inside": (
            link("test/scratch/a.png", "001.png"), f"{READ}7 images, 3 of them defective"
        ),
        "a file linked from outside": (
            link("test/scratch/a.png", "../../../../private/0.png"), outside.format("test/.*/a.png")
        ),
        "a mask linked from outside": (
            link("ground_truth/scratch/001_mask.png", "../../../../private/0.png"),
            outside.format("ground_truth/scratch/001_mask.png"),
        ),
        "a folder linked from outside": (
            link("train/good", "../../../private"), outside.format("train/good/0.png")
        ),
        "a link far upwards": (
            link("test/dent", "../../.."), stray.format("test/dent/private", "a folder")
        ),
        "a link to itself": (
            link("test/scratch/a.png", "a.png"),
            stray.format("test/scratch/a.png", "a link that leads nowhere"),
        ),
        "a link to nothing": (
            link("test/scratch/a.png", "b.png"),
            stray.format("test/scratch/a.png", "a link that leads nowhere"),
        ),
        "a loop of folders": (
            link("test/scratch/a.png", ".."), stray.format("test/scratch/a.png", "a folder")
        ),
        "a defect that is its own parent": (
            link("test/dent", ".."), stray.format("test/dent/.+", "a folder")
        ),
        "a pipe": (
            lambda folder: os.mkfifo(folder / NEW / "a.png"),
            stray.format("test/scratch/a.png", "no plain file"),
        ),
        "a folder called like an image": (
            lambda folder: (folder / NEW / "a.png").mkdir(),
            stray.format("test/scratch/a.png", "a folder"),
        ),
        "an unreadable file (simulated)": (
            picture("test/scratch/a.png"),
            r"toys/nut/test/scratch/a.png: unreadable image \(.*Permission denied\); .*", unreadable
        ),
        "a system file": (
            file("test/scratch/Thumbs.db"), f"{READ}6 images, 2 of them defective"
        ),
        "a format to convert": (
            file("test/scratch/a.webp"), stray.format("test/scratch/a.webp", "convert it to PNG")
        ),
        "text beside the images": (
            file("train/good/a.txt"), stray.format("train/good/a.txt", "not an image")
        ),
        "an image outside a defect": (
            picture("test/000.png"), stray.format("test/000.png", "in no folder of a defect")
        ),
        "a nested folder": (
            picture("test/scratch/a/0.png"), stray.format("test/scratch/a", "a folder")
        ),
        "no train/good": (removed("train"), no_images),
        "an empty train/good": (emptied, no_images),
        "no test": (removed("test"), "toys/nut/ground.*000_mask.png: no image in .*"),
        "no good test images": (removed("test/good"), no_good),
        "no defective test images": (
            removed("test/scratch", "ground_truth"), f"{READ}4 images, 0 of them defective"
        ),
        "another category": (
            lambda folder: (folder / NUT).rename(folder / "toys/bolt"),
            "toys: no category 'nut'; found: bolt",
        ),
        "no folder": (removed("."), "toys: no category 'nut'; found: none"),
    }  # fmt: skip
    return [Case("folders", words, *rest) for words, rest in cases.items()]


# Weights: a state dict of the teacher that is quick to build.

BACKBONE, CONV, NORM = "resnet10t", "layer1.0.conv1.weight", "layer2.0.bn1.weight"
VARIANCE = "bn1.running_var"


@functools.cache
def state():
    torch.manual_seed(0)
    whole = timm.create_model(BACKBONE, features_only=True, out_indices=(1, 2, 3))
    return whole.state_dict()


def read_weights(folder):
    """Load them, and compare them with what they were made from."""
    (path,) = folder.glob("mine.pth")
    found = Teacher(BACKBONE, str(path)).features.state_dict()
    torch.testing.assert_close(found[CONV], state()[CONV], atol=2e-3, rtol=1e-2)
    return f"{len(found)} tensors of {found[CONV].dtype}"


class Trap:
    """Unpickling this runs code: it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def trapped(save):
    return lambda folder: save({CONV: Trap(folder / "ran")}, folder / "mine.pth")


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


def saved(change, size=None):
    """The changed state dict, or the file's first `size` bytes."""

    def make(folder):
        path = folder / "mine.pth"
        torch.save(change(dict(state())), path)
        if size is not None:
            os.truncate(path, size)

    return make


def with_tensor(name, change):
    return saved(lambda state: state | {name: change(state[name])})


def weights():
    said = r"teacher\.weights: mine\.pth "
    harmful = said + r"is not a plain state dict of tensors \(it is damaged, or a pickle that .*"
    no_dict = said + r"is not a state dict \(names to tensors\); save model.state_dict\(\)"
    misfit = said + "does not fit teacher.backbone 'resnet10t': "
    endless = said + f"holds NaN, infinite values or negative variances in '{CONV}'; get it again"
    kind = said + rf"holds torch\.{{}} in '{CONV}', which needs real numbers; save .*"
    whole, numbers = (f"{READ}{len(state())} tensors of torch.float32"), "num_batches_tracked"
    more = {"fc.weight": torch.ones(9), "anything": torch.ones(1)}
    cases = {
        "pickle with code": (trapped(torch.save), harmful),
        "old pickle with code": (trapped(plain_pickle), harmful),
        "truncated": (saved(dict, 100_000), harmful),
        "cut short": (saved(dict, 4000), harmful),
        "0 bytes": (saved(dict, 0), harmful),
        "text": (lambda folder: (folder / "mine.pth").write_text("not weights\n"), harmful),
        "a folder": (
            lambda folder: (folder / "mine.pth").mkdir(), r"teacher\.weights: no file mine.pth; .*"
        ),
        "a list": (saved(lambda state: list(state.values())), no_dict),
        "a nested dict": (saved(lambda state: {"state_dict": state}), no_dict),
        "sparse tensors": (with_tensor(NORM, torch.Tensor.to_sparse), no_dict),
        "one number said to be 4 TB": (with_tensor(NORM, lambda w: w[:1].expand(1 << 40)), no_dict),
        "tensors without numbers": (with_tensor(NORM, lambda w: w.to("meta")), no_dict),
        "negative variances": (
            with_tensor(VARIANCE, torch.Tensor.neg), endless.replace(CONV, VARIANCE)
        ),
        "NaN inside": (with_tensor(CONV, lambda w: w * torch.nan), endless),
        "infinity inside": (with_tensor(CONV, lambda w: w / 0), endless),
        "64 bit, too large for 32": (with_tensor(CONV, lambda w: w.double() * 1e300), endless),
        "64 bit": (with_tensor(CONV, torch.Tensor.double), whole),
        "16 bit": (with_tensor(CONV, torch.Tensor.half), whole),
        "bfloat16": (with_tensor(CONV, torch.Tensor.bfloat16), whole),
        "whole numbers": (with_tensor(CONV, torch.Tensor.char), kind.format("int8")),
        "complex numbers": (with_tensor(CONV, lambda w: w + 0j), kind.format("complex64")),
        "extra keys": (saved(lambda state: state | more), whole),
        "no counters of batches": (
            saved(lambda state: {k: v for k, v in state.items() if numbers not in k}), whole
        ),
        "a missing key": (
            saved(lambda state: {k: v for k, v in state.items() if k != NORM}),
            misfit + f"1 tensors missing, 0 of another shape, first '{NORM}'",
        ),
        "another shape": (
            with_tensor(CONV, lambda w: w[:1]),
            misfit + f"0 tensors missing, 1 of another shape, first '{CONV}'",
        ),
        "numbers for names": (
            saved(lambda state: dict(enumerate(state.values()))),
            misfit + f"{sum(numbers not in k for k in state())} tensors missing, 0 of .*",
        ),
        "of another network": (
            saved(lambda _: {"a": torch.ones(2)}), misfit + r"\d+ tensors missing, 0 of another .*"
        ),
    }  # fmt: skip
    return [Case("weights", words, *rest) for words, rest in cases.items()]


# params.yaml: the shipped file with something else in one place.

TEXT = (params.ROOT / "params.yaml").read_text(encoding="utf-8")
MINE = "mine.yaml"


def read_params(folder):
    """What was changed, as it was read."""
    loaded, shipped = params.load(folder / MINE), params.load()
    same = [key for key in vars(shipped) if getattr(loaded, key) == getattr(shipped, key)]
    return f"{len(same)} of {len(vars(shipped))} keys as shipped"


def text(content):
    """A whole file; bytes as they are."""
    content = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / MINE).write_bytes(content)


def replaced(old, new):
    assert old in TEXT
    return text(TEXT.replace(old, new, 1))


def changed(key, value):
    return text(shipped_with(key, value))


RENAME = (
    "'{}': a name is a letter and up to 63 letters, digits or _, and no word such as NA or yes; "
    "rename it (for a category, the folder too), for example to {}"
)
# key, YAML text, what the message shows of it
WRONG = [
    ("study", "7", "7"),
    ("study", "../other", "'../other'"),
    ("study", "[quick]", "['quick']"),
    ("study", f"'{'a' * 5000}'", "'aaa"),
    ("study", '"a\\nb"', r"'a\nb'"),
    ("categories", "wood", "'wood'"),
    ("categories", "[]", "[]"),
    ("categories", "['2024']", "'2024': a name is a letter"),
    ("categories", "['NA']", "'NA': a name is a letter"),
    ("categories", "['null']", "'null': a name is a letter"),
    ("categories", "[wood, wood]", "twice"),
    ("categories", "[../wood]", "'../wood'"),
    ("seeds", "[0, 1.5]", "1.5"),
    ("seeds", "[0, -1]", "-1"),
    ("seeds", "[0, 1, 0]", "twice"),
    ("arithmetic.threads", "0", "0"),
    ("arithmetic.threads", "true", "True"),
    ("arithmetic.threads", "1000000", "1000000"),
    ("arithmetic.precision", "fp16", "'fp16'"),
    ("running.checkpoint_seconds", "-1.0", "-1.0"),
    ("categories", "['my parts']", RENAME.format("my parts", "my_parts")),
    ("categories", "['metal-nut']", RENAME.format("metal-nut", "metal_nut")),
    ("dataset", "[elpv]", "['elpv']"),
    ("dataset.root", "null", "None"),
    ("dataset.root", "no/such/folder", "'no/such/folder'"),
    ("dataset.ignore", "'*.txt'", "'*.txt'"),
    ("elpv.categories", "[]", "'monocrystalline'"),
    ("elpv.categories", "[amorphous]", "'amorphous'"),
    ("dataset.strict", "maybe", "'maybe'"),
    ("dataset.image_size", "100", "100"),
    ("dataset.image_size", "0", "0"),
    ("dataset.image_size", "65536", "65536"),
    ("dataset.image_size", "'128'", "'128'"),
    ("dataset.image_size", "128.5", "128.5"),
    ("dataset.image_size", "[128]", "[128]"),
    ("dataset.channels", "2", "2"),
    ("elpv.held_out", "1.0", "1.0"),
    ("dataset.drawn_defects", "1", "1"),
    ("dataset.calibration", "1.0", "1.0"),
    ("dataset.calibration", "-0.2", "-0.2"),
    ("textures.root", "no/such/folder", "'no/such/folder'"),
    ("teacher.levels", "[1, 2]", "[1, 2]"),
    ("teacher.weights", "no/such.pth", "'no/such.pth'"),
    ("augmentation.rotation", "{default: any}", "'any'"),
    ("augmentation.fill", "256", "256"),
    ("corruption.max_beta", ".nan", "nan"),
    ("corruption.threshold", "1.5", "1.5"),
    ("optimiser.momentum", "true", "True"),
    ("optimiser.weight_decay", "'1e-3'", "'1e-3'"),
    ("students.full.width", "0", "0"),
    ("students.full.width", "12", "12"),
    ("students.full.steps", "-400", "-400"),
    ("students.full.schedule", "linear", "'linear'"),
    ("students.full.learning_rate", "0", "0"),
    ("students.full.batch_size", "null", "None"),
    ("students.plain.learning_rate", ".inf", "inf"),
    ("segmentation", "fast", "'fast'"),
    ("segmentation.steps", "0", "0"),
    ("segmentation.batch_size", "1", "1"),
    ("segmentation.batch_size", "1000000", "1000000"),
    ("segmentation.input", "sum", "'sum'"),
    ("heads", "{a: {input: sum, l1_weight: 1.0}}", "'sum'"),
    ("heads", "{a: {input: product, l1_weight: -1.0}}", "-1.0"),
    ("heads", "{a/b: {input: product, l1_weight: 1.0}}", "'a/b'"),
    ("heads", "{method: {input: product, l1_weight: 1.0}}", "'method'"),
    ("heads", "{full: {input: product, l1_weight: 1.0}}", "'full'"),
    ("heads", "{a: {ema: 1.0}}", "1.0"),
    ("heads", "{a: {activation: relu}}", "'relu'"),
    ("heads", "{a: {corruption: []}}", "object"),
    ("heads", "{a: {corruption: {sources: {snow: 1.0}}}}", "snow"),
    ("heads", "{a: {corruption: {sources: {scar: 0.5}}}}", "add up to 0.5 and not to 1"),
    ("students.plain.noise", "0.02", "needs a decoder"),
    ("evaluation.fpr_limit", "0.0", "0.0"),
    ("headline", "none_of_them", "'none_of_them'"),
    ("students", "{}", "{}"),
    ("claims.smallest", "-0.5", "-0.5"),
    ("claims.resamples", "5", "5"),
    ("baseline.levels", "[[2, 4]]", "4"),
    ("baseline.levels", "[[3], [3]]", "twice"),
    ("calibration.alpha", "[0.0]", "0.0"),
    ("calibration.alpha", "[1.0]", "1.0"),
    ("calibration.alpha", "[0.1, 0.1]", "twice"),
    ("calibration.alpha", "[]", "[]"),
    ("figures.dpi", "5", "5"),
]
UNKNOWN = ("epochs", "dataset.size", "claims.best", "students.full.rate")


def wrong_value(key, value, shown):
    shown_value = value if len(value) < 60 else f"{value[:9]}... ({len(value)} signs)"
    says = rf"mine\.yaml: {re.escape(key)}.*{re.escape(shown)}.*"
    return Case("params.yaml", f"`{key}: {shown_value}`", changed(key, value), says)


def params_files():
    no_file = r"mine\.yaml: not a valid params file: "
    aliases = "\n".join(["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)
    ])  # fmt: skip
    files = {
        "a bomb of anchors": (text(f"{TEXT}\n{aliases}"), no_file + r"aliases \(\*a0\) are not .*"),
        "100,000 open brackets": (text("a: " + "[" * 100_000), no_file + "nested too deeply"),
        "a number of 5,000 digits": (replaced("[0, 1", f"[{'9' * 5000}, 1"), no_file
                                     + ".*4300 digits.*"),
        "an octal number": (replaced("[0, 1", "[0o10, 1"), READ + "{1} of {0} keys as shipped"),
        "a number with a leading 0": (replaced("[0, 1", "[00, 1"),
                                      READ + "{0} of {0} keys as shipped"),
        "a number to the base of 60": (replaced("[0, 1", "[1:30, 1"),
                                       r"mine\.yaml: seeds.0: '1:30': Input should be .*integer"),
        "a real number to the base of 60": (replaced("0.25 ", "1:30.5 "),
                                            r"mine\.yaml: elpv.held_out: '1:30.5': Input .*"),
        "1e-4": (replaced("weight_decay: 0.0001", "weight_decay: 1e-4"),
                 READ + "{0} of {0} keys as shipped"),
        "a key twice": (text(TEXT + "\nstudy: again\n"),
                        no_file + 'found duplicate key "study" .* in line 1.*'),
        "a nested key twice": (replaced("  dpi:", "  dpi: 90\n  dpi:"),
                               no_file + 'found duplicate key "dpi" .* in line 1.*'),
        "code": (text("!!python/object/apply:os.mkdir [ran]"), no_file + ".*python/object/.*"),
        "malformed": (text(TEXT + "\n  : ["), f"{no_file}.*line {TEXT.count(chr(10)) + 2}"),
        "a tab": (replaced("  dpi", "\tdpi"), no_file + r".*cannot start any token .*line 1.*"),
        "a date": (text(TEXT + "\nwhen: 2020-01-01\n"), no_file + "2020.* is a date to YAML; .*"),
        "a list for a key": (text(TEXT + "\n? [a]\n: b\n"), no_file + "keys must be str.*"),
        "no UTF-8": (text(b"study: \xff\xfe\n"), no_file + ".*codec can't decode byte 0xff.*"),
        "UTF-16": (text(TEXT.encode("utf-16")), no_file + ".*codec can't decode byte 0xff.*"),
        "a NUL": (text(TEXT + "\0"), no_file + ".*special characters are not allowed.*"),
        "a mark of byte order": (text(b"\xef\xbb\xbf" + TEXT.encode()), READ + "{0} of {0} keys "
                                 "as shipped"),
        "half a sign": (replaced("study: quick", 'study: "\\uD800"'),
                        r"mine\.yaml: the file: '.{0,99}: Invalid JSON: .*"),
        "0 bytes": (text(""), r"mine\.yaml: the file: .*"),
        "a list": (text("- a list\n"), r"mine\.yaml: the file: .*"),
        "no file": (lambda folder: None, r".*No such file or directory: 'mine.yaml'"),
    }  # fmt: skip
    count = len(vars(params.load()))
    return [
        *(Case("params.yaml", words, make,
               gets.format(count, count - 1) if gets.startswith(READ) else gets)
          for words, (make, gets) in files.items()),
        *(wrong_value(*row) for row in WRONG),
        *(Case("params.yaml", f"unknown key `{key}`", changed(key, "1"),
               rf"mine\.yaml: unknown key {re.escape(key)}; the files in profiles/ show .*")
          for key in UNKNOWN),
        *(Case("params.yaml", f"`{old}` left out", replaced(old, new),
               rf"mine\.yaml: missing key {re.escape(key)}; the files in profiles/ are complete")
          for key, old, new in MISSING),
    ]  # fmt: skip


# key, its line in the shipped file, what stands there instead
MISSING = [
    ("study", "study: quick", ""),
    ("dataset.image_size", "  image_size: 128", ""),
    ("segmentation.gamma", "  gamma: ", "  #"),
]

# Notebooks, and the parameters that the command line gives them. None of these runs.


def read_notebook(folder):
    """Run it; an error is what its command prints."""
    pairs = folder / "pairs"
    arguments = json.loads(pairs.read_text()) if pairs.exists() else ["seed: 3"]
    files = [str(folder / "a.ipynb"), str(folder / "out.ipynb")]
    said = contextlib.redirect_stderr(io.StringIO())
    with mock.patch.object(notebook, "ROOT", folder), said as text:
        status = notebook.main([*files, *arguments])
    assert status == 1 and not (folder / "out.ipynb").exists()
    raise ValueError(text.getvalue().strip())


def written(content, *pairs):
    """The bytes or cells of a notebook, and the parameters to give it."""

    def make(folder):
        if isinstance(content, bytes):
            (folder / "a.ipynb").write_bytes(content)
        elif content is not None:
            nbformat.write(nbformat.v4.new_notebook(cells=content), folder / "a.ipynb")
        if pairs:
            (folder / "pairs").write_text(json.dumps(pairs))

    return make


def cells(parameters, tag="parameters"):
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": [tag]})
    return [tagged, nbformat.v4.new_code_cell("import os; os.mkdir('ran')")]


def notebooks():
    none, usual = r"a\.ipynb is not a notebook \(.*\); get it again from git", cells("seed = 0")
    text_ = nbformat.writes(nbformat.v4.new_notebook(cells=usual))
    untagged = r"a\.ipynb has no parameter seed; its cell tagged 'parameters' sets nothing"
    no_pair = "'{}' is not a parameter; write 'name: value'"
    cases = {
        "no cell tagged parameters": (written(cells("seed = 0", "other")), untagged),
        "no cells": (written([]), untagged),
        "a parameters cell without the parameter": (
            written(cells("sead = 0")),
            r"a\.ipynb has no parameter seed; its cell tagged 'parameters' sets sead",
        ),
        "broken JSON": (written(text_[:-20].encode()), none),
        "0 bytes": (written(b""), none),
        "no UTF-8": (written(b"\xff\xfe{}"), none),
        "JSON, but no notebook": (written(b"{}"), none),
        "a list": (written(b"[]"), none),
        "cells that are a number": (written(text_.encode().replace(b'"cells": [', b'"cells": 7, '
                                    b'"other": [')), none),
        "a version of the future": (
            written(text_.encode().replace(b'"nbformat": 4', b'"nbformat": 99')), none
        ),
        "no file": (written(None), r".*No such file or directory: 'a\.ipynb'"),
        "the parameter `seed 3`": (written(usual, "seed 3"), no_pair.format("seed 3")),
        "the parameter `seed: [`": (written(usual, "seed: ["), no_pair.format(r"seed: \[")),
        "the parameter `sead: 3`": (
            written(usual, "sead: 3"),
            r"a\.ipynb has no parameter sead; its cell tagged 'parameters' sets seed",
        ),
        "a parameter with code": (
            written(usual, "seed: !!python/object/apply:os.mkdir [ran]"), "'seed: !!.* is not a .*"
        ),
    }  # fmt: skip
    return [Case("notebooks", words, *rest) for words, rest in cases.items()]


# A finished run whose files `make compare` reads.


def read_run(folder):
    run = revisions.load("", folder)
    return f"{len(run.rows)} rows"


def runs():
    """A file of the run, what it holds (None: the usual lines between marks of a conflict)."""
    cases = {
        "a conflict in dvc.lock": ("dvc.lock", None, r"dvc\.lock: unresolved conflicts of a .*"),
        "a conflict in params.yaml": ("params.yaml", None, r"params\.yaml: unresolved .*"),
        "a conflict in a table": (
            "reports/toy/ablations.csv", None, r"reports/toy/ablations\.csv: unresolved .*"
        ),
        "half a dvc.lock": ("dvc.lock", "stages: {a: [", r"dvc\.lock: while parsing .*; fix it.*"),
        "half a params.yaml": ("params.yaml", "study: [", r"working tree: params\.yaml: while .*"),
        "a list for params.yaml": ("params.yaml", "- a", r".*params\.yaml: no mapping of keys .*"),
        "a misspelt key": (
            "params.yaml", "studdy: toy", r"working tree: params\.yaml: study: missing or .*"
        ),
        "text for a list": (
            "params.yaml", "{study: toy, categories: nut}", r".*params\.yaml: categories: missing.*"
        ),
    }  # fmt: skip

    def spoilt(name, content):
        def make(folder):
            usual = (folder / name).read_text()
            (folder / name).write_text(content or f"<<<<<<< HEAD\n{usual}=======\n>>>>>>> b\n")

        return make

    return [
        Case("finished runs", words, spoilt(*file), gets) for words, (*file, gets) in cases.items()
    ]


# A repository whose grid is submitted to a cluster.


def write_repository(folder):
    for name in ("study/module.py", ".dvc/config"):
        put_text(folder / name, "")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "study")):
        git(*command, cwd=folder)


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read_job(folder):
    """The remote as a reader would name it on the command line."""
    with mock.patch.object(cluster, "ROOT", folder):
        return cluster.new_job((folder / "remote").read_text(), str(folder), ())["remote"]


def clusters():
    """The file that is spoilt, what it holds, the remote."""
    cases = {
        "an edited module": (
            "study/module.py", "x = 1", "s3://a", r"commit study/module\.py first.*"
        ),
        "a module that git does not have": (
            "study/new.py", "x = 1", "s3://a", r"commit study/new\.py first: workers run a commit.*"
        ),
        "a remote of http": (
            "notes.txt", "", "https://a.org/b", r"https://a\.org/b: http remotes .*"
        ),
        "no remote": ("notes.txt", "", "", r"no DVC remote: name a shared folder or a URL .*"),
    }  # fmt: skip

    def spoilt(name, content, remote):
        def make(folder):
            put_text(folder / name, content)
            put_text(folder / "remote", remote)

        return make

    return [Case("clusters", words, spoilt(*file), gets) for words, (*file, gets) in cases.items()]


PREPARE = dict.fromkeys(("images", "masks", "names", "folders"), lambda f: write_nut(f / "toys"))
PREPARE |= {"finished runs": write_run, "clusters": write_repository}
PREPARE["inspect"] = hostile_inspect.prepare
READERS = {
    "images": read_image,
    "masks": read_mask,
    "names": read_names,
    "folders": read_folder,
    "weights": read_weights,
    "params.yaml": read_params,
    "notebooks": read_notebook,
    "finished runs": read_run,
    "clusters": read_job,
    "inspect": hostile_inspect.read,
}
CASES = [
    *(*images(), *masks(), *names(), *folders()),
    *(*weights(), *params_files(), *notebooks(), *runs(), *clusters()),
    *(Case("inspect", *one) for one in hostile_inspect.cases(READ)),
]


def row(case, text):
    """The case's line of the table."""
    short = re.sub(r"(\w)\1{39,}", r"\1...\1", re.sub(r"\b[0-9a-f]{64}\b", "(hash)", text))
    kept = (cell.replace("|", "\\|").replace("\n", "\\n") for cell in (case.input, short))
    return f"| {case.group} | {' | '.join(kept)} |"


def report(rows):
    read = sum(f"| {READ}" in line for line in rows)
    return (
        "Made by `make hostile` (`python tests/helpers/hostile.py`), which gives each of these "
        "inputs to its reader.\n\n# How bad inputs are handled\n\n"
        f"{len(rows)} inputs: {read} are read correctly, which the tests compare with the known "
        f"pixels or values, and {len(rows) - read} are refused before anything trains, each in one "
        "line. None hangs, and none of the code in them runs. Paths begin at the folder of the "
        "input.\n\n| group | input | result |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def main(target=REPORT):
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            rows.append(row(case, attempt(case, Path(folder).resolve())))
    Path(target).write_text(report(rows), encoding="utf-8")
    print(f"{len(rows)} inputs; {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
