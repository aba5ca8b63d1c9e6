"""The calibrated model of a category: images in; a map, a score and a p-value out.

`Judge` is one torch module, so export.py writes the same arithmetic as ONNX. It reads the
calibration from results/calibration/<category>.json, which study/scoring/conformal.py describes.
"""

import numpy as np
import torch
from torch import nn

from lib.anomaly_map import cosine_map, image_score, resize
from lib.devices import device
from lib.inference import make_teacher
from lib.networks import SegmentationNetwork, Student, segmentation_input
from study import results, trained
from study.scoring import calibration, conformal
from study.scoring.baseline import Gaussian

COMBINED = "combined"


class Ranked(nn.Module):
    """Scores of a map by a seed as standard normal scores, as conformal.normal_scores has them."""

    def __init__(self, calibration):
        super().__init__()
        parts = ("known", "levels", "spread")
        for name, values in zip(parts, conformal.scale(calibration), strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, scores):
        """(N,) -> (N,)."""
        return conformal.quantiles(scores, self.known, self.levels, self.spread, torch.where)


class Judge(nn.Module):
    """uint8 images (N, S, S, C) -> map (N, S, S), score (N,) and p-value (N,).

    The map is in units of the calibrated pixel threshold, so a pixel above 1 is anomalous. kind:
    `combined`, or a single map by one `seed`. networks: {seed: (student, segmentation)}.
    document: the calibration. An image is an alarm where its score is above `threshold`.
    """

    def __init__(self, teacher, networks, gaussian, document, settings, kind=COMBINED, seed=0):
        super().__init__()
        self.teacher, self.input = teacher, settings.segmentation.input
        self.top_pixels = settings.evaluation.top_pixels
        self.size = settings.dataset.image_size
        calibrated = [name for name in document["maps"] if name != COMBINED]
        self.kinds = calibrated if kind == COMBINED else [kind]
        place = {one: number for number, one in enumerate(settings.seeds)}
        chosen = settings.seeds if kind == COMBINED else (seed,) * (kind != "gaussian")
        self.students = nn.ModuleList(networks[one][0] for one in chosen)
        self.segmentations = nn.ModuleList(networks[one][1] for one in chosen)
        self.gaussian = gaussian if "gaussian" in self.kinds else None
        self.ranked, known, pixels = nn.ModuleDict(), {}, []
        for name in self.kinds:
            of_seeds = [0] if name == "gaussian" else [place[one] for one in chosen]
            maps = document["maps"][name]
            known[name] = np.array([maps["scores"][one] for one in of_seeds])
            self.ranked[name] = nn.ModuleList(map(Ranked, known[name]))
            pixels += [maps["pixel_threshold"][one] for one in of_seeds]
        self.combines = kind == COMBINED
        together = conformal.combine(known, known)[0] if self.combines else known[kind][0]
        whole = document["maps"][COMBINED]["pixel_threshold"][0] if self.combines else 1
        self.register_buffer("known", torch.tensor(together, dtype=torch.float32))
        self.register_buffer("pixels", torch.tensor(pixels, dtype=torch.float32) * whole)
        self.to(device())

    def maps(self, images):
        """{kind: [full-size maps (N, S, S) by each seed]} of uint8 images (N, S, S, C)."""
        seen = self.teacher.normalise(images.permute(0, 3, 1, 2) / 255)
        levels, found = self.teacher(seen), {name: [] for name in self.kinds}
        for student, segmentation in zip(self.students, self.segmentations, strict=True):
            own = student(seen)
            if "cosine" in found:
                found["cosine"].append(cosine_map(levels, own)[:, 0])
            if "segmentation" in found:
                shown = segmentation_input(levels, own, self.input)
                found["segmentation"].append(segmentation(shown)[:, 0])
        if self.gaussian is not None:
            found["gaussian"].append(self.gaussian(levels))
        size = (self.size, self.size)
        return {k: [resize(m[:, None], size)[:, 0] for m in maps] for k, maps in found.items()}

    def forward(self, images):
        maps = self.maps(images)
        scores = {
            kind: [image_score(one, 1 if kind == "gaussian" else self.top_pixels) for one in found]
            for kind, found in maps.items()
        }
        if self.combines:
            ranked = [
                torch.stack([rank(x) for rank, x in zip(self.ranked[k], s, strict=True)]).mean(0)
                for k, s in scores.items()
            ]
            score = conformal.combined_score(dict(zip(scores, ranked, strict=True)))
        else:
            score = scores[self.kinds[0]][0]
        pixels = iter(self.pixels)
        scaled = [torch.stack([m / next(pixels) for m in found]).mean(0) for found in maps.values()]
        return torch.stack(scaled).mean(0), score, conformal.p_values(self.known, score)

    def threshold(self, alpha):
        """The score above which a good image lies with probability alpha at most."""
        return conformal.threshold(self.known.cpu().numpy(), alpha)

    @torch.inference_mode()
    def judge(self, images):
        """The same for an array, as arrays: float32 (N, S, S), (N,) and (N,)."""
        found = self(torch.from_numpy(images).to(device()))
        return tuple(one.cpu().numpy() for one in found)


def read_calibration(settings, category, alpha=None):
    """The calibration of a category, as in its JSON, and alpha: params.yaml's first by default.

    Raises FileNotFoundError where there is none, and ValueError for a category that params.yaml
    does not declare, for an alpha outside (0, 1) and for one that needs more calibration images.
    """
    if category not in settings.categories:
        known = ", ".join(settings.categories)
        raise ValueError(f"category {category!r}: not one of params.yaml's categories ({known})")
    document = calibration.load(category)
    alpha = settings.calibration.alpha[0] if alpha is None else alpha
    try:
        conformal.rank(document["n"], alpha)
    except ValueError as error:
        more = "add good images to validation/good, or raise dataset.calibration, and rerun"
        raise ValueError(f"{category}: {error}{f'; {more}' * (0 < alpha < 1)}") from None
    return document, alpha


def load(settings, category, document, kind=COMBINED, seed=None):
    """The `Judge` of a category, in eval mode, from what the pipeline left in results/.

    Raises ValueError for an unknown map or seed, and if the calibration was made for another model.
    """
    if kind not in document["maps"]:
        raise ValueError(f"map {kind!r}: not one of {', '.join(document['maps'])}")
    if seed is not None and kind in (COMBINED, "gaussian"):
        raise ValueError(f"seed {seed}: the map {kind!r} needs none; choose cosine or segmentation")
    seed = settings.seeds[0] if seed is None else seed
    if seed not in settings.seeds:
        raise ValueError(f"seed {seed}: not one of params.yaml's seeds {list(settings.seeds)}")
    if calibration.model_hash(settings, category) != document["model"]:
        raise ValueError(
            f"the calibration of {category} was made for another model or other parameters: run "
            f"`dvc repro calibration@{category}`"
        )
    networks = {}
    for one in settings.seeds:
        item = results.item(settings.headline, one)
        networks[one] = (
            trained.load(results.network("student", category, item), Student),
            trained.load(results.network("segmentation", category, item), SegmentationNetwork),
        )
    path = results.gaussian(category)
    gaussian = Gaussian.load(path, device()) if "gaussian" in document["maps"] else None
    return Judge(make_teacher(settings), networks, gaussian, document, settings, kind, seed).eval()
