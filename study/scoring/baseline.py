"""Baselines on the teacher's features alone: they need no training.

Nearest neighbour is the core of SPADE and PatchCore (Cohen & Hoshen 2020; Roth et al. 2022), with
a memory bank drawn at random instead of a coreset. It has two rows: with the image score of the
networks, the mean of T pixels, and with the maximum, as in PatchCore. The Gaussian is PaDiM's.
"""

import numpy as np
import torch

from lib.devices import device_name
from study import results
from study.files import whole
from study.scoring.features import patches
from study.scoring.gaussian import Gaussian


def gaussians(normal, params):
    """A fitted `Gaussian` for each declared set of levels; normal: the training features."""
    return [Gaussian.fit(levels, normal) for levels in params.baseline.levels]


def save(fitted, queries, category):
    """Leave the first Gaussian and its maps of the held-out images, if there is one."""
    path = results.gaussian(category)
    path.parent.mkdir(parents=True, exist_ok=True)  # DVC expects the folder
    for gaussian in fitted[:1]:
        gaussian.save(path)
        with whole(path.with_name("maps.npy")) as partial:
            np.save(partial, gaussian.maps(queries))


def items(normal, queries, fitted, params):
    """(item, maps) of each declared set of levels and seed, for `scores.score`.

    normal, queries: the teacher's features of the training and the held-out images; fitted: of
    `gaussians`. A Gaussian has no chance in it, so its rows are the same for each seed.
    """
    for levels, gaussian in zip(params.baseline.levels, fitted, strict=True):
        known, asked = patches(normal, levels), patches(queries, levels)
        distances = gaussian.maps(queries)
        for seed in params.seeds:
            nearest = distance_maps(asked, memory_bank(known, params.baseline.bank_size, seed))
            for name, maps, pixels in (
                ("nearest_neighbour", nearest, params.evaluation.top_pixels),
                ("nearest_neighbour_maximum", nearest, 1),
                ("gaussian", distances, 1),
            ):
                row = {"student": "none", "map": "_".join([name, *map(str, levels)])}
                yield row | {"seed": seed, "device": device_name(), "top_pixels": pixels}, maps


def memory_bank(features, size, seed):
    """`size` patches (size, D) of the training features, drawn at random without replacement."""
    flat = features.flatten(0, 2)
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    return flat[order[:size].to(flat.device)]


@torch.inference_mode()
def distance_maps(features, bank, rows=4096):
    """Euclidean distance of each patch to the nearest in the bank: float32 array (N, h, w).

    Memory: the bank and `rows` x len(bank) distances at a time (131 MB for a bank of 8,000).
    """
    queries, lengths = features.flatten(0, 2), bank.square().sum(dim=1)
    nearest = [  # of squared distances, less |query|^2, which changes no order
        torch.addmm(lengths, part, bank.T, alpha=-2).amin(dim=1) for part in queries.split(rows)
    ]
    squared = torch.cat(nearest) + queries.square().sum(dim=1)
    return squared.clamp(min=0).sqrt().view(features.shape[:3]).cpu().numpy()
