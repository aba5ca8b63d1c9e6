"""One category of a finished run, as figures and pages read it; nothing is scored again here."""

from itertools import product

import numpy as np
import pandas as pd

from study import results
from study.data.category import Category
from study.scoring import metrics, thresholds
from study.scoring.scores import MAPS, full_size, load_scores, test_subsets, without_pixels

OUTCOMES = ("false negative", "false positive", "true positive", "true negative")  # errors first
RANKED = (  # examples where no threshold names an outcome: what is shown, label, from the top?
    ("defective, lowest scores", 1, False),
    ("good, highest scores", 0, True),
    ("defective, highest scores", 1, True),
)


class View:
    """One category of a finished run, as figures and pages need it: the headline student."""

    def __init__(self, held_out, settings, images):
        """images: the category's table of scores by image.

        Raises ValueError if the table lists other images.
        """
        self.held_out, self.settings, self.images = held_out, settings, images
        if list(images.name) != list(held_out.names):
            raise ValueError(
                f"the scores by image of {held_out.category} are of other images than its data: "
                f"run `dvc repro evaluation@{held_out.category}`"
            )
        test = held_out.splits == "test"
        self.shown = test if test.any() else held_out.splits == "validation"  # nothing is measured
        self.real = self.shown & ~held_out.drawn
        self.size = held_out.images.shape[1]

    @classmethod
    def load(cls, category, settings):
        """The view of a category, from the files of the stages dataset and evaluation."""
        held_out = Category.load(results.held_out(category))
        images = load_scores(results.scores(settings.study, category))
        return cls(held_out, settings, images)

    def maps(self, seed, kind):
        """Stride-4 maps (N, h, w) of all held-out images."""
        item = results.item(self.settings.headline, seed)
        with np.load(results.maps(self.held_out.category, item)) as maps:
            return maps[kind]

    def scores(self, seed, kind):
        """Image scores (N,), float32, as `evaluation` left them."""
        name = thresholds.column(self.settings.headline, kind, seed)
        return self.images[name].to_numpy(np.float32)

    def cut(self, scores):
        """The threshold of image scores (N,) that is best on real validation images, or None."""
        splits = np.where(self.held_out.drawn, "", self.held_out.splits)
        return thresholds.cut(scores, self.held_out.labels, splits)

    def history(self):
        """Losses of all students and segmentation networks of this category, long form."""
        found = []
        for phase in ("student", "segmentation"):
            for student, seed in product(self.settings.students, self.settings.seeds):
                item = results.item(student, seed)
                losses = results.network(phase, self.held_out.category, item) / "history.csv"
                names = {"phase": phase, "item": item, "student": student, "seed": seed}
                found.append(pd.read_csv(losses).assign(**names))
        return pd.concat(found)

    def examples(self, seed, count):
        """For each outcome the `count` test images whose score lies nearest to the threshold.

        Without a threshold: the defective and good images at either end of the scores. The score of
        the cosine map orders images of equal score, so that a saturated map decides nothing.
        """
        scores = self.scores(seed, "segmentation")
        cosine, segmentation = self.maps(seed, "cosine"), self.maps(seed, "segmentation")
        return [
            {
                "outcome": outcome,
                "name": str(self.held_out.names[i]),
                "image": self.held_out.images[i],
                "mask": self.held_out.masks[i] if self.held_out.has_mask[i] else None,
                "cosine": full_size(cosine[i : i + 1], self.size)[0],
                "segmentation": full_size(segmentation[i : i + 1], self.size)[0],
                "score": float(scores[i]),
            }
            for outcome, index in self._groups(scores, self.scores(seed, "cosine"))
            for i in index[:count]
        ]

    def _groups(self, scores, ties):
        """(outcome, indices of its test images, the first to show first)."""
        labels, cut = self.held_out.labels, self.cut(scores)
        if cut is None:
            for name, label, top in RANKED:
                index = np.flatnonzero(self.real & (labels == label))
                order = thresholds.ranked(scores[index], ties[index])
                yield name, index[order if top else order[::-1]]
            return
        named = thresholds.outcomes(scores, labels, cut)
        for outcome in OUTCOMES:
            index = np.flatnonzero(self.real & (named == outcome))
            order = thresholds.ranked(scores[index], ties[index])
            above = outcome.endswith("positive")  # then the lowest score is the nearest
            yield outcome, index[order[::-1] if above else order]

    def histogram(self, seed, kind):
        """Arguments of plots.score_histograms for real test images."""
        scores = self.scores(seed, kind)
        return {
            "scores": scores[self.real],
            "labels": self.held_out.labels[self.real],
            "title": f"{self.held_out.category}, {kind} map, seed {seed}",
            "threshold": self.cut(scores),
        }

    def image_curves(self, seed):
        """ROC and precision-recall of the image scores, real test images, for both maps."""
        labels = self.held_out.labels[self.real]
        if len(np.unique(labels)) < 2:
            return {}
        return {
            kind: metrics.image_curves(self.scores(seed, kind)[self.real], labels) for kind in MAPS
        }

    def pixel_curves(self, seed):
        """ROC, precision-recall and PRO of pixels, on the test rows whose masks are all known."""
        found = {}
        for benchmark, chosen in test_subsets(self.held_out):
            if without_pixels(self.held_out, chosen):
                continue
            for kind in MAPS:
                maps = full_size(self.maps(seed, kind)[chosen], self.size)
                limit = self.settings.evaluation.fpr_limit
                masks = self.held_out.masks[chosen]
                found[f"{kind}, {benchmark}"] = metrics.curves(maps, masks, fpr_limit=limit)
        return found
