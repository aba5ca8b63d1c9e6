"""A Gaussian at each position of the teacher's features: a baseline, and a part of `inspect`.

PaDiM (Defard et al. 2021): mean and covariance of the training images' features at each position,
and the Mahalanobis distance of a new image's feature from them. All channels are kept; instead of
a fixed ridge, the covariance is shrunk as Ledoit & Wolf (2004) derive, so no number is chosen. It
fits parts that are photographed in one pose; at a position where anything may lie, it is wide.
"""

from typing import NamedTuple

import numpy as np
import torch

from study.files import whole
from study.limits import check_memory
from study.scoring.features import patches

POSITIONS = 64  # handled at a time


class Gaussian(NamedTuple):
    """One Gaussian for each of P = size x size positions of D features."""

    levels: tuple[int, ...]  # of the teacher, 1 the finest
    mean: torch.Tensor  # (P, D)
    factor: torch.Tensor  # (P, D, D), lower Cholesky factor of the shrunk covariance

    @classmethod
    @torch.inference_mode()
    def fit(cls, levels, normal):
        """Fit the patches of training features: all three levels, each (N, C, h, w), N > 1.

        Raises MemoryError before it would not fit.
        """
        x = by_position(patches(normal, levels))
        places, _, depth = x.shape
        check_memory(8 * places * depth**2, f"a Gaussian of {depth} features at {places} positions")
        mean = x.mean(dim=1)
        factor = torch.empty(places, depth, depth, device=x.device)
        for part in torch.arange(places).split(POSITIONS):
            covariance = shrunk(x[part] - mean[part, None])
            factor[part] = torch.linalg.cholesky(covariance)
        return cls(tuple(levels), mean, factor)

    @property
    def size(self):
        """Bytes of its numbers."""
        return 4 * (self.mean.numel() + self.factor.numel())

    @torch.inference_mode()
    def maps(self, features):
        """Mahalanobis distance at each position: float32 array (N, h, w) of all three levels."""
        asked = patches(features, self.levels)
        x = by_position(asked)
        found = [
            torch.linalg.solve_triangular(
                self.factor[part], (x[part] - self.mean[part, None]).mT, upper=False
            ).norm(dim=1)
            for part in torch.arange(len(x)).split(POSITIONS)
        ]
        return torch.cat(found).T.reshape(asked.shape[:3]).cpu().numpy()

    def save(self, path):
        """Write an .npz for `load`."""
        with whole(path) as partial:
            arrays = {"mean": self.mean.cpu().numpy(), "factor": self.factor.cpu().numpy()}
            np.savez(partial, levels=self.levels, **arrays)

    @classmethod
    def load(cls, path, device="cpu"):
        """What `save` left."""
        with np.load(path) as file:
            mean, factor = (torch.from_numpy(file[key]).to(device) for key in ("mean", "factor"))
            return cls(tuple(file["levels"].tolist()), mean, factor)


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
