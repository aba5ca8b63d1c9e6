"""Synthetic anomalies (paper section 3.1, after DRAEM): a texture shows through a Perlin mask.

Batched tensor code. It runs on the device of the images and draws from its own generator, so the
corruption of a run does not depend on other random numbers.
"""

import math

import torch
import torch.nn.functional as F

from lib.devices import take


def uniform(shape, low, high, generator):
    """Uniform numbers in [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def rotate(images, angle):
    """Rotate (N, C, S, S) about the centre by angles (N,) in radians, bilinearly; 0 outside."""
    cos, sin = (part.view(-1, 1, 1) for part in (angle.cos(), angle.sin()))
    size = images.shape[-1]
    line = (torch.arange(size, device=images.device) * 2 + 1) / size - 1  # -1 and 1: the edges
    x, y = line.view(1, 1, -1), line.view(1, -1, 1)
    grid = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)
    return F.grid_sample(images, grid, align_corners=False)


def augment(images, augmentation, rotation, generator):
    """Mirror and rotate normal images (N, C, S, S) at random; uncovered corners become `fill`."""
    n = len(images)

    def coin():
        return uniform((n, 1, 1, 1), 0, 1, generator) < 0.5

    if augmentation.flips:
        images = torch.where(coin(), images.flip(3), images)
        images = torch.where(coin(), images.flip(2), images)
    if rotation == "none":
        return images
    degrees = uniform((n,), -augmentation.degrees, augmentation.degrees, generator)
    if rotation == "right_angles":
        turns = torch.randint(4, (n,), generator=generator, device=generator.device)
        degrees = degrees + 90 * turns
    fill = augmentation.fill / 255  # shifted to zero, which is what a rotation uncovers
    return rotate(images - fill, degrees.deg2rad()) + fill


def perlin_noise(batch, size, generator, max_log2_frequency=5, rotation=90.0):
    """Gradient noise (Perlin 1985), one field per image, rotated about its centre: (batch, S, S).

    Each axis has its own frequency, 2^0 to 2^max_log2_frequency cells per image. rotation is the
    largest angle in degrees, in both directions. The noise is 0 outside the rotated field. As in
    the official code, the field is drawn upright and rotated bilinearly, which flattens its finest
    peaks a little. A pixel's value is a sum, over the corners of its cell, of products of a row
    factor and a column factor, so the whole upright field is four products of small matrices.
    """
    device = generator.device
    exponents = torch.randint(
        0, max_log2_frequency + 1, (2, batch, 1), generator=generator, device=device
    )
    angle = uniform((batch,), -math.radians(rotation), math.radians(rotation), generator)
    grid = 2**max_log2_frequency + 1
    gradient = uniform((batch, grid * grid), 0, 2 * math.pi, generator).view(batch, grid, grid)
    down, across = math.sqrt(2) * gradient.cos(), math.sqrt(2) * gradient.sin()  # noise in [-1, 1]

    position = torch.arange(size, device=device) / size * 2**exponents  # (2, batch, size), in cells
    offset = position.unsqueeze(-1) - torch.arange(grid, device=device)  # to each line of the grid
    near = (1 - offset.abs()).clamp(min=0)  # of the two lines around a pixel, else 0
    fade = near**3 * (near * (near * 6 - 15) + 10)  # Perlin's curve: the weight of a line
    (fade_y, fade_x), (slope_y, slope_x) = fade, fade * offset
    noise = torch.baddbmm(slope_y @ down @ fade_x.mT, fade_y @ across, slope_x.mT)
    return rotate(noise.unsqueeze(1), angle)[:, 0]


def perlin_mask(batch, size, generator, threshold=0.5, max_log2_frequency=5, rotation=90.0):
    """Where a Perlin field exceeds `threshold`: float (batch, 1, size, size) of 0 and 1."""
    noise = perlin_noise(batch, size, generator, max_log2_frequency, rotation)
    return (noise > threshold).float().unsqueeze(1)


def corrupt(images, textures, generator, max_beta=0.8, **mask_settings):
    """Blend a random texture into each image inside a Perlin mask: (corrupted, mask).

    images: (N, C, S, S) in [0, 1]; textures: uint8 (M, C, S, S), one drawn for each image.
    Inside the mask: (1 - beta) * texture + beta * image with beta uniform in [0, max_beta) for each
    image. As in the official code, beta weights the normal image, so the texture's opacity is in
    (0.2, 1] and not in the paper's [0.15, 1].
    """
    batch, _, size, _ = images.shape
    mask = perlin_mask(batch, size, generator, **mask_settings)
    choice = torch.randint(len(textures), (batch,), generator=generator, device=generator.device)
    beta = uniform((batch, 1, 1, 1), 0, max_beta, generator)
    blended = torch.lerp(take(textures, choice), images, beta)
    return torch.where(mask > 0, blended, images), mask
