"""Synthetic anomalies (paper section 3.1, after DRAEM): a texture shows through a Perlin mask.

Batched tensor code that runs where the images are and draws from its own generator, so that the
corruption of a run does not depend on anything else that draws random numbers.
"""

import math

import torch
import torch.nn.functional as F

from lib.devices import take


def uniform(shape, low, high, generator):
    """Uniform numbers in [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def rotate(images, angle):
    """Turn (N, C, S, S) about the centre by angles (N,) in radians, bilinearly; 0 outside."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, images.shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def perlin_noise(batch, size, generator, max_log2_frequency=5, rotation=90.0):
    """Gradient noise (Perlin 1985), one field an image, rotated about its centre: (batch, S, S).

    Each axis has its own frequency, 2^0 to 2^max_log2_frequency cells an image; rotation is the
    largest angle in degrees either way; outside the rotated field it is 0. As officially done,
    the field is drawn upright and turned bilinearly, which flattens its finest peaks a little.
    """
    device = generator.device
    exponents = torch.randint(
        0, max_log2_frequency + 1, (2, batch, 1), generator=generator, device=device
    )
    angle = uniform((batch,), -math.radians(rotation), math.radians(rotation), generator)
    grid = 2**max_log2_frequency + 1
    gradient = uniform((batch, grid * grid), 0, 2 * math.pi, generator)
    gradient = gradient.cos(), gradient.sin()

    position = torch.arange(size, device=device) / size * 2**exponents  # (2, batch, size), in cells
    cell = position.long()
    fraction = position - cell
    fade = fraction**3 * (fraction * (fraction * 6 - 15) + 10)  # Perlin's curve
    y, x = fraction[0, :, :, None], fraction[1, :, None]

    def corner(dy, dx):
        index = (cell[0, :, :, None] + dy) * grid + cell[1, :, None] + dx
        down, across = (g.gather(1, index.flatten(1)).view_as(index) for g in gradient)
        return (y - dy) * down + (x - dx) * across

    top = torch.lerp(corner(0, 0), corner(0, 1), fade[1, :, None])
    bottom = torch.lerp(corner(1, 0), corner(1, 1), fade[1, :, None])
    noise = torch.lerp(top, bottom, fade[0, :, :, None]).unsqueeze(1) * math.sqrt(2)
    return rotate(noise, angle)[:, 0]


def perlin_mask(batch, size, generator, threshold=0.5, max_log2_frequency=5, rotation=90.0):
    """Where a Perlin field exceeds `threshold`: float (batch, 1, size, size) of 0 and 1."""
    noise = perlin_noise(batch, size, generator, max_log2_frequency, rotation)
    return (noise > threshold).float().unsqueeze(1)


def corrupt(images, textures, generator, max_beta=0.8, **mask_settings):
    """Blend a random texture into each image inside a Perlin mask: (corrupted, mask).

    images: (N, C, S, S) in [0, 1]; textures: uint8 (M, C, S, S), one drawn for each image.
    Inside the mask: (1 - beta) * texture + beta * image with beta uniform in [0, max_beta) for each
    image. As in the official code beta weights the normal image: the texture's opacity is in
    (0.2, 1], not the paper's [0.15, 1].
    """
    batch, _, size, _ = images.shape
    mask = perlin_mask(batch, size, generator, **mask_settings)
    choice = torch.randint(len(textures), (batch,), generator=generator, device=generator.device)
    beta = uniform((batch, 1, 1, 1), 0, max_beta, generator)
    blended = beta * images + (1 - beta) * take(textures, choice) / 255
    return torch.where(mask > 0, blended, images), mask
