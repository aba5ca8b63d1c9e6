"""One image through the method, stage by stage: features, distances, fusion, score; with figures.

Features have too many channels to look at: three principal components, found on the teacher's
features of a level and used for every row of that level, become red, green and blue. Equal colours
are equal features.
"""

from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
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
show = partial(plots.show, interpolation="nearest")  # features keep their pixels


class Stages(NamedTuple):
    """What the networks make of images (N, S, S, C): levels are lists of three tensors."""

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


def typical(view, seed):
    """Index into `view.held_out` of the median test image by score, of the defective if any."""
    defective = view.real & (view.held_out.labels == 1)
    index = np.flatnonzero(defective if defective.any() else view.real)
    scores = view.scores(seed, "segmentation")[index]
    return int(index[np.argsort(scores, kind="stable")[len(scores) // 2]])


def pick(view, seed, name=""):
    """Index of the held-out image called `name`; of the typical one if it is empty.

    Raises ValueError with a few names to choose from if there is none of this name.
    """
    if not name:
        return typical(view, seed)
    found = np.flatnonzero(view.held_out.names == name)
    if not len(found):
        known = ", ".join(view.held_out.names[view.real][:5])
        raise ValueError(f"no held-out image {name!r}; there are {known}, ...")
    return int(found[0])


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


@plt.rc_context(plots.STYLE)
def distances(image, found: Stages) -> Figure:
    """Image, cosine distance of each level, each to its own scale, and their product."""
    figure, (axes,) = plt.subplots(1, 5, figsize=(8.6, 2.1), squeeze=False)
    show(axes[0], image)
    axes[0].set_title("image")
    maps = [*(level[0].numpy() for level in found.distances), found.cosine[0]]
    names = [*(f"level {i + 1}" for i in range(3)), "product: cosine map"]
    for axis, picture, name in zip(axes[1:], maps, names, strict=True):
        drawn = show(axis, picture, cmap="cividis", vmin=0, vmax=picture.max())
        axis.set_title(f"{name}\n{picture.shape[0]}x{picture.shape[1]}")
        figure.colorbar(drawn, ax=axis, orientation="horizontal", shrink=0.9, pad=0.03,
                        ticks=plt.MaxNLocator(2))  # fmt: skip
    return figure


@plt.rc_context(plots.STYLE)
def scored(image, mask, found: Stages, top_pixels: int) -> Figure:
    """Image and both maps at full size; the outlines hold the pixels that make the image score."""
    figure, (axes,) = plt.subplots(1, 3, figsize=(6.6, 2.5), squeeze=False)
    size = image.shape[0]
    show(axes[0], image)
    if mask is not None and mask.any():
        axes[0].contour(mask, [0.5], colors=[plots.COLOURS[1]], linewidths=0.8)
    axes[0].set_title("image" + ", mask outlined" * (mask is not None))
    for axis, kind in zip(axes[1:], plots.MAPS, strict=True):
        full = full_size(getattr(found, kind), size)
        top = full[0] >= np.sort(full[0], axis=None)[-min(top_pixels, full[0].size)]
        show(axis, full[0], cmap="cividis", vmin=0, vmax=full.max())
        axis.contour(top, [0.5], colors=[plots.COLOURS[3]], linewidths=1)
        score = image_score(torch.from_numpy(full), top_pixels).item()
        axis.set_title(f"{kind} map\nmean of the top {top_pixels}: {score:.3f}")
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
