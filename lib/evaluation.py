"""Score anomaly maps: rows of the tables, and thresholds that never see the test set."""

import numpy as np
import pandas as pd
import torch

from lib import metrics
from lib.anomaly_map import image_score, resize

MAPS = ["cosine", "segmentation"]
METRICS = ["image_auroc", "pixel_auroc", "pixel_ap", "pro", "iap", "iap90"]
COLUMNS = [
    *("benchmark", "category", "student", "denoising", "encoder_decoder", "map", "seed"),
    *METRICS,
    *("real_defects", "device"),
]
HEAD_COLUMNS = [
    *("benchmark", "category", "head", "input", "l1_weight", "seed"),
    *METRICS,
    *("real_defects", "device"),
]


def full_size(maps, size):
    """Maps at stride 4, float32 (N, h, w) -> (N, size, size), bilinear."""
    return resize(torch.from_numpy(maps).unsqueeze(1), (size, size))[:, 0].numpy()


def image_scores(maps, size, top_pixels):
    """Image scores (N,) of stride-4 maps (N, h, w): mean of the T largest pixels at full size."""
    return image_score(torch.from_numpy(full_size(maps, size)), top_pixels).numpy()


def subsets(held_out):
    """What a row is scored on: (split, benchmark, real defects?, which of the held-out images).

    Drawn defects are a benchmark of their own beside the same good images: `elpv_drawn`.
    """
    good = held_out.labels == 0
    for split in ("validation", "test"):
        for drawn in (False, True):
            chosen = (held_out.splits == split) & (good | (held_out.drawn == drawn))
            if chosen.any() and not good[chosen].all():
                yield split, held_out.benchmark + "_drawn" * drawn, not drawn, chosen


def score_maps(held_out, maps, settings):
    """Every metric of stride-4 maps (N, h, w) of the held-out images: a list of row dicts.

    Pixel metrics are missing (None) where an image of the subset has no mask.
    """
    maps, rows = full_size(maps, held_out.masks.shape[-1]), []
    scores = image_score(torch.from_numpy(maps), settings.top_pixels).numpy()
    for split, benchmark, real, chosen in subsets(held_out):
        labels = held_out.labels[chosen]
        row = {"split": split, "benchmark": benchmark, "category": held_out.category}
        if held_out.has_mask[chosen].all():
            row |= metrics.evaluate(
                *(maps[chosen], held_out.masks[chosen], scores[chosen], labels),
                fpr_limit=settings.fpr_limit,
                recall=settings.recall,
            )
        else:
            row |= dict.fromkeys(METRICS) | {
                "image_auroc": metrics.image_auroc(scores[chosen], labels)
            }
        rows.append(row | {"real_defects": real})
    return rows


def score_students(held_out, settings, folder):
    """Score both maps of every student and seed of the declared grid, as a `table`.

    folder: where results/maps/<category>/<student>-<seed>/maps.npz lie.
    """
    rows = []
    for student, parts in vars(settings.students).items():
        for seed in settings.seeds:
            item = {"student": student, "seed": seed}
            item |= {k: getattr(parts, k) for k in ("denoising", "encoder_decoder")}
            with np.load(folder / held_out.category / f"{student}-{seed}" / "maps.npz") as maps:
                item["device"] = str(maps["device"])
                for kind in MAPS:
                    scored = score_maps(held_out, maps[kind], settings.evaluation)
                    rows += [item | {"map": kind} | row for row in scored]
    return table(rows)


def score_heads(held_out, settings, folder):
    """Test rows of the declared heads on the full student (paper tables 5 and 6), in HEAD_COLUMNS.

    folder: where results/maps/<category>/full-<head>-<seed>/maps.npz lie.
    """
    rows = []
    for head, parts in settings.heads.items():
        for seed in settings.head_seeds:
            item = {"head": head, "seed": seed} | vars(parts)
            with np.load(folder / held_out.category / f"full-{head}-{seed}" / "maps.npz") as maps:
                item["device"] = str(maps["device"])
                scored = score_maps(held_out, maps["segmentation"], settings.evaluation)
            rows += [item | row for row in scored if row["split"] == "test"]
    return pd.DataFrame(rows, columns=HEAD_COLUMNS)


def table(rows):
    """Row dicts as a DataFrame in the contract's columns, `split` first."""
    return pd.DataFrame(rows, columns=["split", *COLUMNS])


def means(frame):
    """Test means over seeds as the nested dict that `dvc metrics show` prints."""
    nested = {}
    for keys, group in frame[frame.split == "test"].groupby(["benchmark", "student", "map"]):
        here = nested
        for key in keys:
            here = here.setdefault(key, {})
        here |= group[METRICS].mean().dropna().round(4).to_dict()
    return nested


def spread(frame):
    """Mean and deviation over seeds in percent, a row for each benchmark, student and map."""
    groups = frame.groupby(["benchmark", "student", "map"], sort=False)[METRICS]
    mean, deviation = groups.mean() * 100, groups.std(ddof=1) * 100
    return mean.combine(deviation, lambda a, b: a.combine(b, plus_minus)).dropna(axis=1, how="all")


def answer(frame):
    """Two sentences on the full student's test rows of `table`: images, then pixels."""
    test = frame[(frame.split == "test") & (frame.student == "full")]
    real, masks = test[test.real_defects], test[test.pixel_ap.notna()]
    both = spread(real).droplevel(["benchmark", "student"])["image_auroc"]
    said = (
        "**Answer.** On real test images the full method gives an image AUROC of "
        f"{both['segmentation']} % by its segmentation map and {both['cosine']} % by its cosine "
        "map: so often a defective image scores above a good one. "
    )
    if masks.empty:
        return said + "Where the defect is inside an image cannot be scored: there are no masks."
    kind = "real" if masks.real_defects.any() else "drawn"
    found = spread(masks).xs("segmentation", level="map").iloc[0]
    return said + (
        f"On {kind} defects, whose pixels are known, the segmentation map has a pixel AP of "
        f"{found['pixel_ap']} % and PRO {found['pro']} %."
    )


def plus_minus(mean, deviation):
    """`93.1 ± 0.4`; without spread for one seed; None where nothing was measured."""
    if np.isnan(mean):
        return None
    return f"{mean:.1f}" if np.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def threshold(scores, labels):
    """The image score that maximises true minus false positive rate, for the validation split."""
    cuts = np.unique(scores)
    gain = [(scores[labels == 1] >= c).mean() - (scores[labels == 0] >= c).mean() for c in cuts]
    return float(cuts[int(np.argmax(gain))])


def outcomes(scores, labels, cut):
    """`true positive`, `false positive`, `false negative` or `true negative` for each image."""
    right = np.where((scores >= cut) == (labels == 1), "true", "false")
    return np.char.add(right, np.where(scores >= cut, " positive", " negative"))


class View:
    """One category of a finished run, as the figures want to see it: the full student by seed."""

    def __init__(self, held_out, folder, settings):
        self.held_out, self.folder, self.settings = held_out, folder, settings
        self.real = (held_out.splits == "test") & ~held_out.drawn
        # A threshold needs good and defective images: MVTec LOCO's validation has good ones only.
        tuning = (held_out.splits == "validation") & ~held_out.drawn
        self.tuning = tuning & (len(set(held_out.labels[tuning])) == 2)
        self.size = held_out.images.shape[1]

    def maps(self, seed, kind):
        """Stride-4 maps (N, h, w) of all held-out images."""
        with np.load(self.folder / f"full-{seed}" / "maps.npz") as maps:
            return maps[kind]

    def scores(self, seed, kind):
        return image_scores(self.maps(seed, kind), self.size, self.settings.evaluation.top_pixels)

    def cut(self, scores):
        """Threshold from validation, or where 5 % of good test images alarm if there is none."""
        if self.tuning.any():
            return threshold(scores[self.tuning], self.held_out.labels[self.tuning])
        return float(np.quantile(scores[self.real & (self.held_out.labels == 0)], 0.95))

    def history(self, results):
        """Losses of all students and segmentation networks of this category, long form."""
        category, found = self.held_out.category, []
        for phase in ("student", "segmentation"):
            for student in vars(self.settings.students):
                for seed in self.settings.seeds:
                    path = results / phase / category / f"{student}-{seed}" / "history.csv"
                    item = {"item": f"{student}-{seed}", "student": student, "seed": seed}
                    found.append(pd.read_csv(path).assign(phase=phase, **item))
        return pd.concat(found)

    def examples(self, seed, count):
        """For each outcome the `count` test images whose score lies farthest from the threshold."""
        scores = self.scores(seed, "segmentation")
        cut = self.cut(scores)
        named = outcomes(scores, self.held_out.labels, cut)
        cosine, segmentation = self.maps(seed, "cosine"), self.maps(seed, "segmentation")
        found = []
        for outcome in np.unique(named):
            index = np.flatnonzero(self.real & (named == outcome))
            for i in index[np.argsort(-np.abs(scores[index] - cut), kind="stable")][:count]:
                one, mask = self.held_out, None
                if one.has_mask[i]:
                    mask = one.masks[i]
                found.append(
                    {
                        "outcome": str(outcome),
                        "name": str(one.names[i]),
                        "image": one.images[i],
                        "mask": mask,
                        "cosine": full_size(cosine[i : i + 1], self.size)[0],
                        "segmentation": full_size(segmentation[i : i + 1], self.size)[0],
                        "score": float(scores[i]),
                    }
                )
        return found

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
        return {
            kind: metrics.image_curves(self.scores(seed, kind)[self.real], labels) for kind in MAPS
        }

    def pixel_curves(self, seed):
        """ROC, precision-recall and PRO of pixels, on the test rows whose masks are all known."""
        found = {}
        for split, benchmark, _, chosen in subsets(self.held_out):
            if split == "test" and self.held_out.has_mask[chosen].all():
                masks = self.held_out.masks[chosen]
                for kind in MAPS:
                    maps = full_size(self.maps(seed, kind)[chosen], self.size)
                    limit = self.settings.evaluation.fpr_limit
                    found[f"{kind}, {benchmark}"] = metrics.curves(maps, masks, fpr_limit=limit)
        return found
