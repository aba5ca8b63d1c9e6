"""One image through the method, stage by stage: features, distances, fusion, score; with figures.

Features have too many channels to look at: three principal components, found on the teacher's
features of a level and used for every row of that level, become red, green and blue. Equal colours
are equal features.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from lib.anomaly_map import image_score
from lib.devices import device
from lib.losses import cosine_distance
from study.figures import plots
from study.scoring.scores import full_size

STRIDES = (4, 8, 16)
SINGLE = {"true positive": "hit", "false positive": "false alarm", "false negative": "miss"}


class Stages(NamedTuple):
    """The networks' outputs for images (N, S, S, C); levels are lists of three tensors."""

    teacher: list  # L2-normalised features (N, C, h, w), finest first
    student: list
    distances: list  # cosine distances (N, h, w)
    cosine: np.ndarray  # their product at stride 4, (N, S/4, S/4)
    segmentation: np.ndarray  # the segmentation network's map, likewise


@torch.inference_mode()
def stages(model, images):
    """Run a `DeSTSeg` on float images (N, S, S, C) in [0, 1]."""
    batch = torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(device())
    batch = batch.permute(0, 3, 1, 2)
    (known, answer), (fused, found) = model.levels(batch), model(batch)
    unit = [[F.normalize(level, dim=1).cpu() for level in levels] for levels in (known, answer)]
    distances = [cosine_distance(*pair) for pair in zip(*unit, strict=True)]
    return Stages(*unit, distances, fused[:, 0].cpu().numpy(), found[:, 0].cpu().numpy())


def pick(view, seed, name=""):
    """Index into `view.held_out` of the image called `name`.

    Without a name: the test image with the median score, among the defective ones if there are any.
    Raises ValueError with a few names to choose from if there is none of this name.
    """
    names = view.held_out.names
    if not name:
        defective = view.real & (view.held_out.labels == 1)
        index = np.flatnonzero(defective if defective.any() else view.real)
        scores = view.scores(seed, "segmentation")[index]
        return int(index[np.argsort(scores, kind="stable")[len(scores) // 2]])
    if name not in names:
        known = ", ".join(names[view.real][:5])
        raise ValueError(f"no held-out image {name!r}; there are {known}, ...")
    return int(np.flatnonzero(names == name)[0])


def denoising(clean, corrupted, masks):
    """How far features of corrupted images are from the teacher's of the clean ones, by level.

    clean, corrupted: `Stages` of the same images; masks (N, S, S) of the corruption. Mean cosine
    distance inside and outside the mask: the teacher's (what the corruption does) and the
    student's (what is left after denoising).
    """
    rows, masks = {}, torch.as_tensor(masks, dtype=torch.float32).unsqueeze(1)
    for number, stride in enumerate(STRIDES):
        inside = F.adaptive_avg_pool2d(masks, clean.teacher[number].shape[-2:])[:, 0] > 0.5
        for who in ("teacher", "student"):
            levels = getattr(corrupted, who)[number]
            distance = cosine_distance(clean.teacher[number], levels)
            row = {"inside the mask": distance[inside].mean().item()}
            row |= {"outside": distance[~inside].mean().item()}
            rows[f"level {number + 1} (stride {stride})", f"{who} of the corrupted image"] = row
    return pd.DataFrame(rows).T.round(3)


def colours(rows):
    """Features of one level, [(C, h, w)], the teacher's first, as pictures (h, w, 3) in 0..1."""
    flat = [row.flatten(1).T.double() for row in rows]  # (h * w, C)
    centre = flat[0].mean(dim=0)
    axes = torch.linalg.svd(flat[0] - centre, full_matrices=False).Vh[:3]
    signs = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()  # else up to the solver
    seen = [(row - centre) @ (axes * signs).T for row in flat]
    low, high = (torch.quantile(seen[0], q, dim=0) for q in (0.02, 0.98))
    pictures = [((p - low) / (high - low).clamp_min(1e-9)).clamp(0, 1) for p in seen]
    return [
        picture.view(*row.shape[1:], 3).numpy() for picture, row in zip(pictures, rows, strict=True)
    ]


def features(rows: dict) -> Figure:
    """A row for each {label: (image (S, S, C), its three feature levels (C, h, w))}, teacher first.

    Colours are shared by the rows of a level, not by the levels.
    """
    images, levels = zip(*rows.values(), strict=True)
    titles = (f"level {i} (stride {stride})" for i, stride in enumerate(STRIDES, start=1))
    pictures = map(colours, zip(*levels, strict=True))
    return plots.side_by_side({"image": images} | dict(zip(titles, pictures, strict=True)), rows)


def distances(image, found: Stages) -> Figure:
    """Image, cosine distance of each level, each to its own scale, and their product."""
    maps = {f"level {i + 1}": level.numpy() for i, level in enumerate(found.distances)}
    maps["product: cosine map"] = found.cosine
    maps = {f"{name}\n{level.shape[1]}x{level.shape[2]}": level for name, level in maps.items()}
    return plots.side_by_side({"image": [image], **maps}, maps=maps, size=1.7)


def scored(image, mask, found: Stages, top_pixels: int) -> Figure:
    """Image and both maps at full size; the outlines hold the pixels that make the image score."""
    maps, outlines = {}, []
    for kind in plots.MAPS:
        full = full_size(getattr(found, kind), image.shape[0])
        score = image_score(torch.from_numpy(full), top_pixels).item()
        maps[f"{kind} map\nmean of the top {top_pixels}: {score:.3f}"] = full
        outlines.append(full[0] >= np.sort(full[0], axis=None)[-min(top_pixels, full[0].size)])
    title = "image" + ", mask outlined" * (mask is not None)
    figure = plots.side_by_side({title: [image], **maps}, masks=[mask], maps=maps, size=2.2)
    for axis, outline in zip(figure.axes[1:3], outlines, strict=True):
        axis.contour(outline, [0.5], colors=[plots.COLOURS[3]], linewidths=1)
    return figure


def overview(model, view, seed) -> Figure:
    """A hit, a false alarm and a miss as rows, the stages of the method as columns.

    Each is the test image of its outcome whose score lies nearest to the threshold; without a
    threshold, they are those of `View.examples`.
    """
    found = {one["outcome"]: one for one in view.examples(seed, 1)}
    examples = [found[one] for one in SINGLE if one in found] or [*found.values()]
    images = np.stack([one["image"] for one in examples]) / 255
    seen, cut = stages(model, images), view.cut(view.scores(seed, "segmentation"))
    features = [colours(pair) for pair in zip(seen.teacher[1], seen.student[1], strict=True)]
    teacher, student = zip(*features, strict=True)
    distances = zip(STRIDES, seen.distances, strict=True)
    maps = {
        **{f"distance,\nstride {stride}": level.numpy() for stride, level in distances},
        "product:\ncosine map": seen.cosine,
        "segmentation\nnetwork: map": seen.segmentation,
    }
    columns = {"image": images, "frozen teacher:\nfeatures": teacher}
    columns |= {"trained student:\nfeatures": student} | maps
    against = "" if cut is None else f"\nthreshold {cut:.3f}"
    labels = [f"{SINGLE.get(one['outcome'], one['outcome'])}\nscore {one['score']:.3f}{against}"
              for one in examples]  # fmt: skip
    return plots.side_by_side(columns, labels, [one["mask"] for one in examples], maps)
