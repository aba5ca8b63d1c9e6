"""What `make inspect` may be given that is bad: the group `inspect` of tests/helpers/hostile.py.

The files of a finished run are there, and its networks are a stub: each case is about what is read
and refused before they see anything.
"""

import contextlib
import csv
import json
from dataclasses import replace
from unittest import mock

import judged
import numpy as np
import torch
from PIL import Image
from toys import category_of, grey, put

from study import results
from study.data.category import entry
from study.inspector import inspect, judge
from study.scoring import calibration

CATEGORY, COUNT, SIZE = "monocrystalline", 40, 32
SETTINGS = replace(judged.SHIPPED, dataset=replace(judged.SHIPPED.dataset, image_size=SIZE))
ASKED = "asked.json"


class Stub:
    """In the networks' place: the score is the mean grey level, and no pixel is anomalous."""

    def __init__(self, *_):
        self.known = torch.linspace(100, 140, COUNT)

    def eval(self):
        return self

    def threshold(self, alpha):
        return float(torch.quantile(self.known, 1 - alpha))

    def judge(self, images):
        score = images.mean(axis=(1, 2, 3)).astype(np.float32)
        return np.zeros(images.shape[:3], np.float32), score, np.full(len(images), 0.5, np.float32)


def prepare(folder):
    """Calibration, held-out images and a folder `new` with one good image."""
    with mock.patch.object(results, "ROOT", folder):
        files = [f"validation/good/{index:03}.png" for index in range(COUNT)]
        image = np.full((SIZE, SIZE, 1), 120, np.uint8)
        rows = [entry(image, None, "good", name, "validation") for name in files]
        category_of(rows, "elpv", CATEGORY).save(results.dataset(CATEGORY))
        maps = {"scores": [list(range(COUNT))], "threshold": [38], "pixel_threshold": [1]}
        kinds = ("cosine", "segmentation", "gaussian", "combined")
        document = {"category": CATEGORY, "alpha": 0.05, "n": COUNT, "files": files}
        document["model"] = calibration.model_hash(SETTINGS, CATEGORY)
        calibration.save(document | {"maps": dict.fromkeys(kinds, maps)}, CATEGORY)
    put(folder / "new/000.png", grey(120, (SIZE, SIZE)))


def read(folder):
    """Verdict, score and note of the new images, and the exit status where it is not 0."""
    options = {"images": str(folder / "new")}
    if (folder / ASKED).exists():
        options |= json.loads((folder / ASKED).read_text())
    with contextlib.ExitStack() as stack:
        patch = lambda *a, **b: stack.enter_context(mock.patch.object(*a, **b))  # noqa: E731
        patch(results, "ROOT", folder)
        patch(judge, "Judge", Stub)
        patch(judge, "make_teacher")
        patch(judge.trained, "load")
        patch(judge.Gaussian, "load")
        stack.enter_context(contextlib.redirect_stdout(None))
        inspection = inspect.Inspection(inspect.Request(**options), SETTINGS)
        status, warnings = inspection.run(), inspection.warnings()
    with (inspection.out / "scores.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["file"] != "000.png"]
    said = [f"{row['verdict']}, score {row['score'] or '-'} {row['note']}".strip() for row in rows]
    found = [*said, *warnings, *[f"exit status {status}"] * bool(status)]
    return "; ".join(found) or "the image alone"


def asked(**options):
    return lambda folder: (folder / ASKED).write_text(json.dumps(options))


def document(**changed):
    """Other content of the calibration."""

    def make(folder):
        with mock.patch.object(results, "ROOT", folder):
            calibration.save(calibration.load(CATEGORY) | changed, CATEGORY)

    return make


def new(name, image=None):
    """One more image; or bytes."""

    def make(folder):
        if isinstance(image, bytes):
            (folder / "new" / name).write_bytes(image)
        else:
            put(folder / "new" / name, image)

    return make


def emptied(folder):
    (folder / "new/000.png").unlink()


def cases(read_as):
    """(input, make, gets); read_as: what a correct reading begins with."""
    fewest = "; add good images to validation/good, or raise dataset.calibration, and rerun"
    broken = r"broken.png: unreadable image (no PNG, JPEG, BMP or TIFF); replace or remove it"
    none = f"results/calibration/{CATEGORY}.json"
    known = "cosine, segmentation, gaussian, combined"
    size = ("64x64 instead of 32x32 pixels", "64x32 instead of 32x32 pixels")
    return [
        ("alpha 0", asked(alpha=0), f"{CATEGORY}: alpha is 0; it must be above 0 and below 1"),
        ("alpha 1", asked(alpha=1), f"{CATEGORY}: alpha is 1; it must be above 0 and below 1"),
        ("an alpha that needs more images", asked(alpha=0.01), f"{CATEGORY}: 40 calibration images "
         f"are too few for alpha 0.01; the smallest alpha that they allow is .*{fewest}"),
        ("no calibration", lambda folder: (folder / none).unlink(),
         f"{CATEGORY} is not calibrated: run `dvc repro calibration@{CATEGORY}`"),
        ("no calibration images", document(n=0, maps={}),
         f"{CATEGORY}: 0 calibration images; at least 10 are needed{fewest}"),
        ("9 calibration images", document(n=9),
         f"{CATEGORY}: 9 calibration images; at least 10 are needed{fewest}"),
        ("the calibration of another model", document(model="0" * 64),
         "the calibration of .* was made for another model or other parameters: run `dvc repro .*"),
        ("a category that was not declared", asked(category="nut"),
         r"category 'nut': not one of params.yaml's categories \(monocrystalline\)"),
        ("a map that there is not", asked(map="heat"), f"map 'heat': not one of {known}"),
        ("a seed of the combination", asked(seed=0), "seed 0: the map 'combined' needs none; .*"),
        ("a seed that was not trained", asked(map="cosine", seed=7),
         r"seed 7: not one of params.yaml's seeds \[0, 1, 2\]"),
        ("no folder", asked(images="gone"), "IMAGES: there is no file or folder gone"),
        ("nothing asked for", asked(images=""), "IMAGES is not given: make inspect IMAGES=.*"),
        ("an empty folder", emptied, "new: no images; PNG, JPG, BMP and TIFF are read"),
        ("a link out of the folder",
         lambda folder: (folder / "new/a.png").symlink_to(put(folder / "private/0.png")),
         "new/a.png: a link out of new; copy the file that it points to, or name .*"),
        ("an output folder that is not empty", lambda folder: put(folder / "inspected/new/0.png"),
         "inspected/new is not empty; remove it, or name another with OUT=..."),
        ("16 bit", new("a.png", Image.fromarray(np.full((32, 32), 120 * 257, np.uint16))),
         f"{read_as}pass, score 120"),
        ("colour, for a grey model", new("a.png", Image.new("RGB", (32, 32), (200, 90, 64))),
         f"{read_as}pass, score 120; 1 of 2 images are coloured, but the model sees grey only "
         "(dataset.channels: 1): a defect of colour alone may be missed."),
        ("a larger image", with_originals(new("a.png", grey(120, (64, 64)))),
         f"{read_as}pass, score 120; 1 of 2 images have another size than the calibration images, "
         f"such as {size[0]}. They are resized, so finer or coarser detail is left of them."),
        ("an image of another shape", with_originals(new("a.png", grey(120, (64, 32)))),
         f"{read_as}pass, score 120; 1 of 2 images have another size than the calibration images, "
         f"such as {size[1]}, and another shape: resizing distorts them differently. Crop them "
         "alike."),
        ("a brighter image", new("a.png", grey(220)), f"{read_as}alarm, score 220; The brightness "
         "differs: new images have a mean grey level of 120 to 220 (median 170), the calibration "
         "images of 120 to 120 (median 120). Then the false-alarm rate is not guaranteed."),
        ("a broken file", new("broken.png", b"x"),
         f"{read_as}unreadable, score - new/{broken}; exit status 1"),
        ("WebP", new("a.webp", grey()),
         f"{read_as}unreadable, score - new/a.webp: convert it to PNG; exit status 1"),
        ("a text file", new("notes.txt", b"x"), f"{read_as}the image alone"),
    ]  # fmt: skip


def with_originals(make):
    """The calibration files themselves are still in the data set's folder, 32x32 pixels."""

    def both(folder):
        make(folder)
        for index in range(COUNT):
            where = folder / SETTINGS.dataset.root / CATEGORY / "validation/good"
            put(where / f"{index:03}.png", grey(120, (SIZE, SIZE)))

    return both
