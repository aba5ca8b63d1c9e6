"""Sources of synthetic anomalies other than the paper's texture, batched on the device.

A source is a function of normal images (N, C, S, S) in [0, 1] and a generator. It returns
(corrupted, mask); the mask (N, 1, S, S) of 0 and 1 holds every pixel that may differ.

- texture: the paper's, `lib.corruption.corrupt`.
- darken: a smooth or global loss of brightness and contrast. No texture darkens a whole image.
- cutpaste: a rotated patch of the same or another normal image (Li et al. 2021, arXiv 2104.04015).
- scar: a thin line of one grey level, after the same paper.

ASBench (arXiv 2510.07927) compares twelve sources on four methods, DeSTSeg among them. It finds
that the look of a source does not predict its gain.
"""

import math

import torch
import torch.nn.functional as F

from lib.anomaly_map import resize
from lib.corruption import corrupt as texture
from lib.corruption import uniform

VISIBLE = 0.95  # a smoothly darkened pixel is in the mask if it keeps less than this share


def corrupt(images, textures, generator, sources, **settings):
    """Like `lib.corruption.corrupt`, but each image's source is drawn by the shares in `sources`.

    sources: {name: share}, with shares that add up to 1. Every source is computed for the whole
    batch, so that a GPU can capture it.
    """
    corrupted, mask = texture(images, textures, generator, **settings)
    draw, low = uniform((len(images), 1, 1, 1), 0, 1, generator), 0
    for name, share in sources.items():
        if name != "texture" and share:
            chosen = (low <= draw) & (draw < low + share)
            changed, where = SOURCES[name](images, generator)
            corrupted = torch.where(chosen, changed, corrupted)
            mask = torch.where(chosen, where, mask)
        low = low + share
    return corrupted, mask


def darken(images, generator):
    """Less brightness and contrast, of the whole image or along a smooth field: half of each."""
    n, size = len(images), images.shape[-1]
    gain = uniform((n, 1, 1, 1), 0.05, 0.8, generator)
    contrast = uniform((n, 1, 1, 1), 0.2, 1, generator)
    everywhere = uniform((n, 1, 1, 1), 0, 1, generator) < 0.5
    field = resize(uniform((n, 1, 4, 4), -1, 1, generator), (size, size))
    strength = torch.where(everywhere, 1, (2 * field).clamp(0, 1))
    flat = images.mean(dim=(1, 2, 3), keepdim=True)
    dark = gain * (flat + contrast * (images - flat))
    mask = strength * (1 - gain) > 1 - VISIBLE
    return torch.where(mask, torch.lerp(images, dark, strength), images), mask.float()


def cutpaste(images, generator):
    """A patch of 2 to 15 % of the image, rotated by up to 45 degrees, at another place.

    The patch comes from the same image or from its neighbour in the batch, each with probability
    1/2.
    """
    n, size = len(images), images.shape[-1]
    area = uniform((n,), 0.02, 0.15, generator)
    aspect = (uniform((n,), -1, 1, generator) * math.log(3.3)).exp()
    half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1)  # of [-1, 1]
    x, y, mask = rectangles(half, 45, size, generator)
    room = (1 - half).clamp(min=0)  # the source lies within its image
    source = (uniform((n, 2), -1, 1, generator) * room).view(n, 1, 1, 2)
    grid = torch.stack([x, y], dim=-1) + source
    same = uniform((n, 1, 1, 1), 0, 1, generator) < 0.5
    patch = F.grid_sample(
        torch.where(same, images, images.roll(1, 0)), grid, "bilinear", "border", False
    )
    return torch.where(mask, patch, images), mask.float()


def scar(images, generator):
    """A line 10 to 60 % of the side long and 1 to 4 % wide, of one random grey level."""
    n, size = len(images), images.shape[-1]
    half = torch.stack(
        [uniform((n,), 0.1, 0.6, generator), uniform((n,), 0.01, 0.04, generator)], dim=1
    )
    half = half.clamp(min=1 / size)  # never thinner than a pixel
    *_, mask = rectangles(half, 90, size, generator)
    level = uniform((n, 1, 1, 1), 0, 1, generator)
    return torch.where(mask, level, images), mask.float()


SOURCES = {"darken": darken, "cutpaste": cutpaste, "scar": scar}


def rectangles(half, degrees, size, generator):
    """Rectangles with half sides (N, 2) at random places, turned by up to `degrees`.

    Returns coordinates (N, S, S) of each pixel along both axes from the centre, and whether it lies
    inside, (N, 1, S, S). The image spans [-1, 1] in both directions.
    """
    n, most = len(half), math.radians(degrees)
    centre = uniform((n, 2), -0.8, 0.8, generator)
    angle = uniform((n,), -most, most, generator).view(-1, 1, 1)
    line = (torch.arange(size, device=centre.device) * 2 + 1) / size - 1
    x = line.view(1, 1, -1) - centre[:, 0].view(-1, 1, 1)
    y = line.view(1, -1, 1) - centre[:, 1].view(-1, 1, 1)
    x, y = angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x
    inside = (x.abs() <= half[:, :1, None]) & (y.abs() <= half[:, 1:, None])
    return x, y, inside.unsqueeze(1)
