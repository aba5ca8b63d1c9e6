"""The stage `calibration`: thresholds from good images alone, and how far they hold on test.

The calibration images are the real good images of the split `validation` (`Category.calibrates`).
study/scoring/conformal has the arithmetic and the layout of the file that this stage writes.
"""

import hashlib
import json

import numpy as np
import pandas as pd
import torch
from scipy.stats import betabinom, binom

from lib.anomaly_map import image_score
from lib.devices import device_name
from study import results
from study.files import whole
from study.scoring import conformal
from study.scoring.scores import full_size

SPLITS = 20  # random calibration splits, to see how far one split is luck


def real_test(held_out):
    """Which held-out images are real test images, bool (N,)."""
    return (held_out.splits == "test") & ~held_out.drawn


def load_maps(held_out, settings):
    """{map: [maps (N, h, w) for each seed]} of the headline student and of the Gaussian, if any."""
    found = {"cosine": [], "segmentation": []}
    for seed in settings.seeds:
        item = results.item(settings.headline, seed)
        with np.load(results.maps(held_out.category, item)) as file:
            for kind, maps in found.items():
                maps.append(file[kind])
    path = results.gaussian(held_out.category).with_name("maps.npy")
    return found | ({"gaussian": [np.load(path)]} if path.exists() else {})


def image_scores(maps, kind, size, settings):
    """Image scores (N,) and the largest pixels (N,) of maps (N, h, w) at full size.

    The networks' score is the mean of `evaluation.top_pixels` pixels, the Gaussian's the maximum.
    """
    full = torch.from_numpy(full_size(maps, size))
    pixels = 1 if kind == "gaussian" else settings.evaluation.top_pixels
    return image_score(full, pixels).numpy(), full.flatten(1).amax(dim=1).numpy()


class Calibrated:
    """All maps of a category with their scores, and the combination; arrays have N rows.

    With too few calibration images, `problem` says so, and there are no scores and no thresholds.
    """

    def __init__(self, held_out, maps, settings):
        """maps: the result of `load_maps`."""
        self.held_out, self.settings, self.known = held_out, settings, held_out.calibrates()
        self.problem = conformal.shortage(self.known.sum(), settings)
        self.alpha = settings.calibration.alpha[0]
        self.maps, self.scores, self.largest = {} if self.problem else maps, {}, {}
        for kind, by_seed in self.maps.items():
            size = held_out.images.shape[1]
            both = zip(*(image_scores(m, kind, size, settings) for m in by_seed), strict=True)
            self.scores[kind], self.largest[kind] = map(np.stack, both)  # (seeds, N)
        if self.maps:
            together = self.combined(range(len(settings.seeds)))
            largest = self.combined_map().max(axis=(1, 2))
            self.scores["combined"], self.largest["combined"] = together[None], largest[None]

    def combined(self, seeds):
        """Combined image scores (N,) of the networks of some seeds, by their place in `seeds`."""
        rows = {kind: self.scores[kind][[*seeds] if len(maps) > 1 else [0]]
                for kind, maps in self.maps.items()}  # fmt: skip
        known = {kind: scores[:, self.known] for kind, scores in rows.items()}
        calibration, scores = conformal.combine(known, rows)
        scores[self.known] = calibration
        return scores

    def combined_map(self):
        """Mean over maps of each map divided by its pixel threshold, float32 (N, S, S)."""
        size, parts = self.held_out.images.shape[1], []
        for kind, by_seed in self.maps.items():
            levels = self.thresholds(self.largest[kind])
            scaled = [full_size(m, size) / c for m, c in zip(by_seed, levels, strict=True)]
            parts.append(np.mean(scaled, axis=0))
        return np.mean(parts, axis=0)

    def thresholds(self, values):
        """The threshold of each row of scores or largest pixels (seeds, N)."""
        return [conformal.threshold(row[self.known], self.alpha) for row in values]

    def document(self):
        """What `results/calibration/<category>.json` holds."""
        return {
            "category": self.held_out.category, "alpha": self.alpha, "n": int(self.known.sum()),
            "files": self.held_out.names[self.known].tolist(),
            "model": model_hash(self.settings, self.held_out.category),
            "rates": self.rates().to_dict("records"),
            "maps": {
                kind: {
                    "scores": scores[:, self.known].astype(float).tolist(),
                    "threshold": self.thresholds(scores),
                    "pixel_threshold": self.thresholds(self.largest[kind]),
                }
                for kind, scores in self.scores.items()
            },
        }  # fmt: skip

    def items(self):
        """(item, maps) for `scores.score`: the combination of each seed's maps."""
        maps = self.combined_map() if self.maps else None
        for place, seed in enumerate(self.settings.seeds if self.maps else ()):
            row = {"student": "none", "map": "combined", "seed": seed, "device": device_name()}
            yield row | {"scores": self.combined([place]).astype(np.float32)}, maps

    def rates(self):
        """Realised rates on real test images, in percent: a row for each map, alpha and seed.

        `peeking`: at the threshold that maximises F1 on the test images themselves.
        """
        test = real_test(self.held_out)
        labels, rows = self.held_out.labels[test], []
        measured = self.scores if len(np.unique(labels)) == 2 else {}
        for kind, by_seed in measured.items():
            for place, row in enumerate(by_seed):
                for alpha in (*self.settings.calibration.alpha, None):
                    cut = conformal.threshold(row[self.known], alpha) if alpha else None
                    alarms = row[test] > cut if alpha else best_f1(row[test], labels)
                    how = f"alpha {alpha:g}" if alpha else "F1 on test (peeking)"
                    found = [100 * alarms[labels == label].mean() for label in (0, 1)]
                    rows.append((kind, how, place, *found))
        return pd.DataFrame(rows, columns=["map", "threshold", "seed", "false alarms", "hits"])

    def splits(self):
        """False alarms in percent over `SPLITS` random calibration splits, by map and alpha.

        Good calibration and test images are pooled and split again; no network trains again.
        """
        good = np.flatnonzero(self.known | (real_test(self.held_out) & (self.held_out.labels == 0)))
        count, rows = int(self.known.sum()), []
        parts = {kind: self.scores[kind][:, good] for kind in self.maps}
        for seed in range(SPLITS if self.maps and count < len(good) else 0):
            order = np.random.default_rng(seed).permutation(len(good))
            known, new = ({k: v[:, part] for k, v in parts.items()}
                          for part in (order[:count], order[count:]))  # fmt: skip
            pairs = {k: (known[k][0], new[k][0]) for k in parts}
            for kind, (a, b) in (pairs | {"combined": conformal.combine(known, new)}).items():
                for alpha in self.settings.calibration.alpha:
                    alarms = b > conformal.threshold(a, alpha)
                    rows.append((kind, alpha, 100 * alarms.mean(), len(b), count))
        return pd.DataFrame(rows, columns=["map", "alpha", "false alarms", "images", "calibration"])


def best_f1(scores, labels):
    """The alarms, bool (N,), of the threshold that maximises F1 on these very images."""
    cuts = np.unique(scores)
    hits = [(labels[scores >= cut] == 1).sum() for cut in cuts]
    alarms = [(scores >= cut).sum() for cut in cuts]
    f1 = 2 * np.array(hits) / (np.array(alarms) + (labels == 1).sum())
    return scores >= cuts[int(np.argmax(f1))]


def binomial_interval(alpha, images, calibration=None):
    """The interval (percent) that holds 95 % of the false-alarm rates on so many images.

    Each image raises an alarm with probability alpha. With a number of calibration images, these
    are a random draw, too. The rate of a threshold is then itself random, and the number of alarms
    beta-binomial.
    """
    count = binom(images, alpha)
    if calibration:
        k = conformal.rank(calibration, alpha)
        count = betabinom(images, calibration + 1 - k, k)
    return tuple(100 * np.array(count.interval(0.95)) / images)


def model_hash(settings, category):
    """sha256 of the settings that decide the scores, and of the weights of student and Gaussian."""
    sizes = settings.dataset.image_size, settings.dataset.channels, settings.evaluation.top_pixels
    read = settings.teacher, settings.headline, settings.seeds, settings.segmentation.input, sizes
    found = hashlib.sha256(repr(read).encode())
    items = [results.item(settings.headline, seed) for seed in settings.seeds]
    files = [results.network(phase, category, item) / "weights.pt"
             for item in items for phase in ("student", "segmentation")]  # fmt: skip
    for path in (*files, results.gaussian(category)):
        if path.exists():
            found.update(path.read_bytes())
    return found.hexdigest()


def save(document, category):
    """Write the category's JSON, for `load`."""
    with whole(results.calibration(category)) as path:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def load(category):
    """Read the category's JSON. Raises FileNotFoundError before the stage ran."""
    path = results.calibration(category)
    if not path.exists():
        raise FileNotFoundError(
            f"{category} is not calibrated: run `dvc repro calibration@{category}`"
        )
    return json.loads(path.read_text("utf-8"))
