"""Baselines on the teacher's features alone: they need no training.

Nearest neighbour is the core of SPADE and PatchCore (Cohen & Hoshen 2020; Roth et al. 2022), with
a memory bank drawn at random instead of a coreset. It has two rows: with the image score of the
networks, the mean of T pixels, and with the maximum, as in PatchCore.

The Gaussian at each position is PaDiM's (Defard et al. 2021), and a part of `inspect`: mean and
covariance of the training images' features at each position, and the Mahalanobis distance of a new
image's feature from them. All channels are kept; instead of a fixed ridge, the covariance is shrunk
as Ledoit & Wolf (2004) derive, so no number is chosen. It fits parts that are photographed in one
pose; at a position where anything may lie, it is wide.
"""

import numpy as np
import torch
from torch import nn

from lib.anomaly_map import resize
from lib.devices import device_name
from lib.inference import levels_memory, teacher_levels
from study import results
from study.files import whole
from study.limits import check_memory

POSITIONS = 64  # fitted at a time
IMAGES = 32  # scored at a time


def features(teacher, images):
    """`teacher_levels` of uint8 images (N, S, S, C); MemoryError beforehand if they do not fit."""
    check_memory(levels_memory(teacher, images), f"the teacher's levels of {len(images)} images")
    return teacher_levels(teacher, images)


def patches(features, levels):
    """Chosen teacher levels, brought to the finest of them and concatenated: (N, h, w, D).

    features: all three levels (N, C, h, w); levels: 1 to 3, the paper's numbers, 1 the finest.
    """
    chosen = [features[level - 1] for level in levels]
    size = max(level.shape[-1] for level in chosen)
    return torch.cat([resize(level, (size, size)) for level in chosen], 1).permute(0, 2, 3, 1)


class Gaussian(nn.Module):
    """One Gaussian of D features for each of P = h x w positions: teacher levels in, maps out.

    levels: of the teacher, 1 the finest; mean: (P, D); whitening: (P, D, D), the inverse of the
    lower Cholesky factor of the shrunk covariance, because ONNX solves no triangular systems.
    """

    def __init__(self, levels, mean, whitening):
        super().__init__()
        self.levels = tuple(levels)
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)

    @classmethod
    @torch.inference_mode()
    def fit(cls, levels, normal):
        """Fit the patches of training features: all three levels, each (N, C, h, w), N > 1.

        Raises MemoryError beforehand if it does not fit.
        """
        x = by_position(patches(normal, levels))
        places, _, depth = x.shape
        check_memory(8 * places * depth**2, f"a Gaussian of {depth} features at {places} positions")
        mean = x.mean(dim=1)
        whitening = torch.empty(places, depth, depth, device=x.device)
        for part in torch.arange(places).split(POSITIONS):
            factor = torch.linalg.cholesky(shrunk(x[part] - mean[part, None]))
            unit = torch.eye(depth, device=x.device)
            whitening[part] = torch.linalg.solve_triangular(factor, unit, upper=False)
        return cls(levels, mean, whitening)

    @property
    def size(self):
        """Bytes of its numbers."""
        return 4 * (self.mean.numel() + self.whitening.numel())

    def forward(self, features):
        """Mahalanobis distances (N, h, w) of all three levels, each (N, C, h, w)."""
        found = patches(features, self.levels)
        deviations = by_position(found) - self.mean[:, None]
        distances = torch.bmm(deviations, self.whitening.mT).square().sum(dim=2).sqrt()
        return distances.T.reshape(found.shape[:3])

    @torch.inference_mode()
    def maps(self, features):
        """The same as a float32 array, a few images at a time."""
        batches = zip(*(level.split(IMAGES) for level in features), strict=True)
        return torch.cat([self(batch) for batch in batches]).cpu().numpy()

    def save(self, path):
        """Write an .npz for `load`."""
        with whole(path) as partial:
            arrays = {name: value.cpu().numpy() for name, value in self.named_buffers()}
            np.savez(partial, levels=self.levels, **arrays)

    @classmethod
    def load(cls, path, device="cpu"):
        """Read the file that `save` wrote. Raises ValueError for one of earlier code."""
        with np.load(path) as file:
            if "whitening" not in file:
                raise ValueError(f"{path} was written by earlier code: run `dvc repro`")
            arrays = (torch.from_numpy(file[key]).to(device) for key in ("mean", "whitening"))
            return cls(file["levels"].tolist(), *arrays)


def by_position(patches):
    """(N, h, w, D) -> (h * w, N, D)."""
    return patches.flatten(1, 2).transpose(0, 1)


def shrunk(x):
    """Ledoit & Wolf's covariance of centred samples (P, N, D): (P, D, D), positive definite.

    A mixture of the covariance and of its mean variance on the diagonal. The share of the latter,
    at least 0.001, comes from how far single samples' products lie from the covariance.
    """
    count, depth = x.shape[1:]
    covariance = x.mT @ x / count
    variance = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)
    square = covariance.square().sum(dim=(1, 2))
    error = (x.square().sum(dim=2).square().mean(dim=1) - square) / count
    far = square - depth * variance**2
    share = (error / far.clamp(min=torch.finfo(far.dtype).tiny)).clamp(1e-3, 1)[:, None, None]
    variance = variance.clamp(min=1e-12)[:, None, None]  # a feature that never changes
    return (1 - share) * covariance + share * variance * torch.eye(depth, device=x.device)


def gaussians(normal, params):
    """A fitted `Gaussian` for each declared set of levels; normal: the training features."""
    return [Gaussian.fit(levels, normal) for levels in params.baseline.levels]


def save(fitted, queries, category):
    """Save the first Gaussian, if there is one, and its maps of the held-out images."""
    path = results.gaussian(category)
    path.parent.mkdir(parents=True, exist_ok=True)  # DVC expects the folder
    for gaussian in fitted[:1]:
        gaussian.save(path)
        with whole(path.with_name("maps.npy")) as partial:
            np.save(partial, gaussian.maps(queries))


def items(normal, queries, fitted, params):
    """(item, maps) of each declared set of levels and seed, for `scores.score`.

    normal, queries: the teacher's features of the training and the held-out images; fitted: the
    result of `gaussians`. A Gaussian involves no randomness, so its rows are the same for each
    seed.
    """
    for levels, gaussian in zip(params.baseline.levels, fitted, strict=True):
        known, unknown = patches(normal, levels), patches(queries, levels)
        distances = gaussian.maps(queries)
        for seed in params.seeds:
            nearest = distance_maps(unknown, memory_bank(known, params.baseline.bank_size, seed))
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
