"""Synthetic anomalies (paper section 3.1, after DRAEM): a texture shows through a Perlin mask.

Batched tensor code that runs where the images are and draws from its own generator, so that the
corruption of a run does not depend on anything else that draws random numbers.
"""

import math

import torch


def uniform(shape, low, high, generator):
    """Uniform numbers in [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def perlin_noise(batch, size, generator, max_log2_frequency=5, rotation=90.0):
    """Gradient noise (Perlin 1985) rotated about its centre, a field an image: (batch, size, size).

    Each axis has its own frequency, 2^0 to 2^max_log2_frequency cells an image; rotation is the
    largest angle in degrees either way; outside the rotated field the noise is 0.
    """
    device = generator.device
    exponents = torch.randint(
        0, max_log2_frequency + 1, (2, batch, 1, 1), generator=generator, device=device
    )
    frequency = 2**exponents
    angle = uniform((batch, 1, 1), -math.radians(rotation), math.radians(rotation), generator)
    grid = 2**max_log2_frequency + 1
    gradient_angle = uniform((batch, grid * grid), 0, 2 * math.pi, generator)

    # Pixel centres in [-1/2, 1/2), turned back by the angle: nothing is interpolated.
    axis = torch.arange(size, device=device) / size - (size - 1) / (2 * size)
    y, x = axis[:, None], axis[None, :]
    turned = torch.stack([y * angle.cos() - x * angle.sin(), y * angle.sin() + x * angle.cos()])
    position = turned + (size - 1) / (
        2 * size
    )  # (2, batch, size, size), inside the field in [0, 1)
    inside = ((position >= 0) & (position < 1)).all(dim=0)

    position = position.clamp(0, 1 - 1e-6) * frequency
    cell = position.long()
    fraction = position - cell
    weight = fraction**3 * (fraction * (fraction * 6 - 15) + 10)  # Perlin's fade curve

    def corner(dy, dx):
        index = ((cell[0] + dy) * grid + cell[1] + dx).flatten(1)
        a = gradient_angle.gather(1, index).view_as(inside)
        return (fraction[0] - dy) * a.cos() + (fraction[1] - dx) * a.sin()

    top = torch.lerp(corner(0, 0), corner(0, 1), weight[1])
    bottom = torch.lerp(corner(1, 0), corner(1, 1), weight[1])
    return torch.lerp(top, bottom, weight[0]) * math.sqrt(2) * inside


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
    blended = beta * images + (1 - beta) * textures[choice] / 255
    return torch.where(mask > 0, blended, images), mask
