"""Score new images with the calibrated models: `make inspect IMAGES=<folder or file>`.

    python -m study.inspector.inspect IMAGES [--category NAME] [--alpha 0.01] [--map combined]
                                      [--seed 0] [--out FOLDER]

Writes a folder, inspected/<name>/ if none is given: scores.csv with a row for each file, overlays/
with the heat map over each image, and index.html. Images are read, scored and written one batch at
a time, so an interruption loses nothing that was scored. The exit status is 1 if a file could not
be read.
"""

import argparse
import csv
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from study import params, results
from study.data.category import Category
from study.inspector import incoming, judge, pages
from study.progress import duration

BATCH = 16  # images at a time
COLUMNS = ("file", "score", "p_value", "verdict", "regions", "boxes", "note")


class Request(NamedTuple):
    """What to inspect, and with which model; None is the default of params.yaml."""

    images: str
    category: str | None = None
    alpha: float | None = None
    map: str = judge.COMBINED
    seed: int | None = None
    out: str | None = None


class Inspection:
    """One run: the model, the files, and what was found so far."""

    def __init__(self, request, settings):
        """Checks everything before work is done: ValueError and OSError in one line."""
        self.request, self.settings = request, settings
        self.category = request.category or settings.categories[0]
        self.calibration, self.alpha = judge.read_calibration(
            settings, self.category, request.alpha
        )
        self.folder, self.files, others = incoming.find(request.images)
        for path in others:
            print(f"skipped, no image: {path}", file=sys.stderr)
        self.out = self._new_folder()
        parts = (settings, self.category, self.calibration, request.map, request.seed)
        self.judge = judge.load(*parts)
        self.threshold = self.judge.threshold(self.alpha)
        self.rows, self.facts, self.scores = [], [], []
        self.pictures = pages.Pictures()

    def _new_folder(self):
        name = Path(self.request.images).resolve()
        usual = results.ROOT / "inspected" / (name.stem if name.is_file() else name.name)
        out = Path(self.request.out or usual)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileExistsError(f"{out} is not empty; remove it, or name another with OUT=...")
        return out

    def run(self):
        """Score every file; returns the exit status."""
        started = time.monotonic()
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            table = self.out / "scores.csv"
            with table.open("w", encoding="utf-8", newline="", buffering=1) as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                for start in range(0, len(self.files), BATCH):
                    writer.writerows(self.batch(self.files[start : start + BATCH]))
                    self._say(start + BATCH, started)
        finally:  # also of an interrupted run
            if self.rows:
                self.page()
        unreadable = [row for row in self.rows if row["verdict"] == "unreadable"]
        for row in unreadable:
            print(f"not scored: {row['note']}", file=sys.stderr)
        return int(bool(unreadable))

    def batch(self, paths):
        """The rows of some files, in their order; overlays are written on the way."""
        size, channels = self.settings.dataset.image_size, self.settings.dataset.channels
        read, rows = {}, {}
        for path in paths:
            try:
                read[path] = incoming.read(path, size, channels)
            except ValueError as error:
                rows[path] = {"verdict": "unreadable", "note": str(error)}
        if read:
            found = self.judge.judge(np.stack([one.pixels for one in read.values()]))
            for (path, one), *parts in zip(read.items(), *found, strict=True):
                rows[path] = self.row(path, one, *parts)
        for path in paths:
            row = dict.fromkeys(COLUMNS, "") | {"file": self.name(path)} | rows[path]
            self.rows.append(row)
            yield row

    def row(self, path, image, heat, score, p_value):
        """Verdict and regions of one image; writes its overlay."""
        found = pages.regions(heat, image.size)
        picture = pages.overlay(image.picture, heat, found)
        target = self.out / "overlays" / f"{self.name(path)}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, quality=85)
        self.pictures.add(float(score), self.name(path), picture)
        self.scores.append(float(score))
        self.facts.append((image.size, image.coloured, image.brightness))
        return {
            "score": f"{score:.6g}",
            "p_value": f"{p_value:.4g}",
            "verdict": "alarm" if score > self.threshold else "pass",
            "regions": len(found),
            "boxes": json.dumps(found),
        }

    def name(self, path):
        """A file's name below the folder that is inspected."""
        return path.relative_to(self.folder).as_posix()

    def _say(self, done, started):
        done, many = min(done, len(self.files)), len(self.files)
        taken = max(time.monotonic() - started, 1e-9)
        left = duration((many - done) * taken / done)
        end = "\r" if done < many and sys.stderr.isatty() else "\n"
        line = f"{done}/{many} images, {done / taken:.0f} images/s, {left} left"
        print(f"{line:<60}", end=end, file=sys.stderr, flush=True)

    def warnings(self):
        """What does not look like the calibration images; [] before anything was scored."""
        if not self.facts:
            return []
        sizes, coloured, brightness = zip(*self.facts, strict=True)
        calibrated = calibration_images(self.category, self.calibration)
        originals = original_sizes(self.settings, self.category, self.calibration)
        known, alarms = self.judge.known.cpu().numpy(), self.count("alarm")
        return [
            *incoming.about_scores(known, np.float32(self.scores), self.alpha, alarms),
            *incoming.about_brightness(calibrated.mean(axis=(1, 2, 3)), np.array(brightness)),
            *incoming.about_sizes(originals, sizes),
            *incoming.about_colours(self.settings.dataset.channels, coloured),
        ]

    def count(self, verdict):
        """How many files got this verdict."""
        return sum(row["verdict"] == verdict for row in self.rows)

    def summary(self):
        """One paragraph: counts, and what the alarm rate means."""
        alarms, unreadable = self.count("alarm"), self.count("unreadable")
        more = f" {unreadable} files could not be read." if unreadable else ""
        return (
            f"{alarms} of {len(self.scores)} images raise an alarm.{more} A good image that is "
            "like the calibration images raises one with a probability of at most "
            f"{self.alpha:.1%}. The calibration used {self.calibration['n']} good images of "
            f"{self.category}."
        )

    def page(self):
        """Write index.html, and say on stdout what was found."""
        found = self.warnings()
        for text in found:
            print(f"warning: {text}", file=sys.stderr)
        kind = self.request.map
        kind += "" if self.request.seed is None else f", seed {self.request.seed}"
        about = (
            f"Category {self.category}, student {self.settings.headline}, map {kind}; model "
            f"{self.calibration['model'][:16]}. Boxes hold pixels above the pixel threshold for "
            f"alpha {self.calibration['alpha']:g}."
        )
        words = {"name": self.folder.name or str(self.folder), "summary": self.summary()}
        words |= {"warnings": found, "provenance": about}
        pages.write(self.out / "index.html", self.rows, self.pictures, **words)
        print(f"{self.summary()}\n{self.out}/index.html  {self.out}/scores.csv")


def example(settings, category):
    """The folder of the category's test images, whose labels are known."""
    return str(results.ROOT / settings.dataset.root / category / "test")


def calibration_images(category, calibration):
    """The images that calibrate, uint8 (n, S, S, C)."""
    held_out = Category.load(results.held_out(category))
    return held_out.images[np.isin(held_out.names, calibration["files"])]


def original_sizes(settings, category, calibration):
    """Sizes (width, height) of the calibration files; [] where they are no longer there."""
    base, found = results.ROOT / settings.dataset.root / category, []
    for name in calibration["files"]:
        try:
            with Image.open(base / name) as image:
                found.append(image.size)
        except OSError:
            return []
    return found


def parsed(arguments):
    """`Request` of the command line; empty options, as make passes them, are not given."""
    parser = argparse.ArgumentParser(prog="python -m study.inspector.inspect", description=__doc__)
    parser.add_argument("images")
    parser.add_argument("--category")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--map", default=judge.COMBINED)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out")
    return Request(**vars(parser.parse_args(arguments)))


def main(arguments):
    """The command line; returns the exit status."""
    try:
        return Inspection(parsed(arguments), params.load()).run()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what was scored is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
