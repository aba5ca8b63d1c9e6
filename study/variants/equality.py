"""Equality separation (Lau et al., TMLR 2024, arXiv 2312.01541) for the segmentation network.

A half-space separator calls a point anomalous if z = w x + b is above 0. An equality separator
calls it normal if z is near 0 and anomalous on either side. Its smooth form is the bump,
P(normal) = exp(-z^2 / (2 sigma^2)), in place of the sigmoid. One such unit solves XOR.

Losses are computed from logarithms, so nothing is clamped: a normal pixel pays z^2 / (2 sigma^2),
whose gradient never vanishes, and an anomalous one -log(1 - exp(-z^2 / (2 sigma^2))). Maps show
-log P(normal), which ranks as z^2 does and has no ties at the ceiling.
"""

import math

import torch
from torch import nn

TINY = 1e-12  # added to z^2: at z = 0 the gradient would be 0 times infinity


def surprise(z, sigma):
    """-log P(normal) of a bump: z^2 / (2 sigma^2), any shape."""
    return (z.square() + TINY) / (2 * sigma**2)


def bump(z, sigma):
    """P(normal), any shape."""
    return torch.exp(-surprise(z, sigma))


def focal_loss(z, mask, gamma, sigma):
    """The focal loss of a bump, from logarithms; z and mask (N, 1, H, W), returns a scalar."""
    log_normal = -surprise(z, sigma)
    log_anomalous = torch.log(-torch.expm1(log_normal))
    true, other = (
        torch.where(mask > 0.5, one, two)
        for one, two in ((log_anomalous, log_normal), (log_normal, log_anomalous))
    )
    return -(torch.exp(gamma * other) * true).mean()


def start_at_normal(network, prior, sigma):
    """Set the last bias so that the first P(anomalous) is near `prior`; None keeps PyTorch's."""
    if prior is not None:
        nn.init.constant_(network.head[-1].bias, sigma * math.sqrt(-2 * math.log1p(-prior)))


class Surprise(nn.Module):
    """A segmentation network whose map is -log P(normal) of a bump, (N, 1, H/4, W/4), 0 or more."""

    def __init__(self, network, sigma):
        super().__init__()
        self.network, self.sigma = network, sigma
        self.trained_on = getattr(network, "trained_on", "")

    def forward(self, levels):
        return surprise(self.network.logits(levels), self.sigma)


def reader(network, settings):
    """The module that gives the anomaly map of a segmentation network with these settings."""
    return network if settings.activation == "sigmoid" else Surprise(network, settings.sigma)
