"""Perlin masks with the official generator's distribution, and textures that show through them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import SHIPPED
from scipy import ndimage, stats

from lib import corruption
from lib.corruption import augment, corrupt, perlin_mask, perlin_noise

MASKS, DRAWS = 3008, 10_000
ROUNDED = 0.05  # of official percentages given to one decimal


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def drawn():
    """Share of corrupted pixels (percent) and 4-connected components of 3,008 masks."""
    generator, covered, components = seeded(), [], []
    for _ in range(MASKS // 32):
        masks = perlin_mask(32, 256, generator)[:, 0].numpy()
        covered += (100 * masks.mean((1, 2))).tolist()
        components += [ndimage.label(mask)[1] for mask in masks]
    return np.array(covered), np.array(components)


def three_sigma(share):
    """Three standard errors of the difference of the shares in our sample and the official one."""
    return 3 * np.sqrt(share * (1 - share) * (1 / MASKS + 1 / 3000))


def test_mean_coverage_and_empty_masks_are_the_official(drawn):
    covered, _ = drawn
    error = 3 * covered.std() * np.sqrt(1 / MASKS + 1 / 3000)  # about 0.24 points
    assert covered.mean() == pytest.approx(4.9, abs=error + ROUNDED)
    assert (covered == 0).mean() == pytest.approx(0.044, abs=three_sigma(0.044) + 0.0005)


@pytest.mark.parametrize(
    ("share", "quantile", "rounded"),
    [
        (0.05, 0.15, 0.005),
        (0.25, 3.7, ROUNDED),
        (0.5, 4.6, ROUNDED),
        (0.75, 5.6, ROUNDED),
        (0.95, 9.3, ROUNDED),
    ],
)
def test_coverage_quantiles_are_the_official(drawn, share, quantile, rounded):
    covered, _ = drawn
    below = (covered <= quantile - rounded).mean(), (covered <= quantile + rounded).mean()
    assert below[0] - three_sigma(share) <= share <= below[1] + three_sigma(share)


@pytest.mark.parametrize(
    ("share", "quantile"), [(0.05, 1), (0.25, 3), (0.5, 11), (0.75, 36), (0.95, 113)]
)
def test_component_quantiles_are_the_official(drawn, share, quantile):
    _, components = drawn
    below = (components < quantile).mean(), (components <= quantile).mean()
    assert below[0] - three_sigma(share) <= share <= below[1] + three_sigma(share)


@pytest.mark.parametrize("count", [4, 6])  # 1 to 8 cells on an axis, and the paper's 1 to 32
def test_frequencies(count):
    found, zeros, options = [], 0, {"max_log2_frequency": count - 1, "rotation": 0.0}
    for seed in range(DRAWS // 500):
        zero = perlin_noise(500, 64, seeded(seed), **options).abs() < 3e-5
        for edge in (zero[:, 0], zero[:, :, 0]):  # the noise is 0 at the corners of its cells
            corners = torch.stack([edge[:, :: 64 >> k].all(dim=1) for k in range(6)])
            found.append(corners.int().mul(torch.arange(1, 7).view(6, 1)).amax(dim=0) - 1)
        cells = zip(zero, *found[-2:], strict=True)
        zeros += sum(one[:: 64 >> y, :: 64 >> x].all().item() for one, x, y in cells)
    assert zeros > 0.999 * DRAWS  # rarely, an edge is 0 between two corners as well
    across, down = torch.cat(found[::2]), torch.cat(found[1::2])
    assert len(across) == len(down) == DRAWS and max(across.max(), down.max()) < count
    table = np.histogram2d(across, down, bins=range(count + 1))[0]
    assert stats.chisquare(table.ravel()).pvalue > 0.001  # all pairs, equally frequent
    share = 1 / count
    for axis in (0, 1):
        shares = table.sum(axis=axis) / DRAWS
        error = 4 * np.sqrt(share * (1 - share) / DRAWS)  # 0.015 of the paper's
        assert shares == pytest.approx([share] * count, abs=error)


def test_field_is_turned_bilinearly_and_filled_with_zero(monkeypatch):
    # As the official code turns it: interpolation lowers the finest peaks, and so the coverage.
    genuine, angles = corruption.uniform, []

    def recording(shape, low, high, generator):
        drawn = genuine(shape, low, high, generator)
        angles.append(drawn)
        return drawn

    upright = perlin_noise(6, 96, seeded(3), rotation=0.0)
    monkeypatch.setattr(corruption, "uniform", recording)
    turned = perlin_noise(6, 96, seeded(3), rotation=90.0)
    degrees = angles[0].flatten().rad2deg().tolist()
    assert max(map(abs, degrees)) > 20
    for field, found, angle in zip(upright.numpy(), turned.numpy(), degrees, strict=True):
        found_by_scipy = [
            ndimage.rotate(field, sign * angle, reshape=False, order=1) for sign in (1, -1)
        ]
        inner = np.s_[2:-2, 2:-2]
        away = [np.abs(found - other)[inner] for other in found_by_scipy]
        assert min(np.quantile(error, 0.98) for error in away) < 0.01


def test_mask_settings():
    noise = perlin_noise(4, 64, seeded(5))
    for cut in (0.3, 0.5):
        mask = perlin_mask(4, 64, seeded(5), threshold=cut)
        assert mask.shape == (4, 1, 64, 64) and mask.dtype == torch.float32
        assert torch.equal(mask[:, 0], (noise > cut).float())
    assert not perlin_mask(4, 64, seeded(5), threshold=1.0).any()
    assert noise.abs().max() <= 1


def test_corruption_blends_inside_the_mask_only():
    generator = seeded(1)
    images = torch.rand(8, 3, 64, 64, generator=generator)
    textures = torch.randint(0, 256, (5, 3, 64, 64), generator=generator, dtype=torch.uint8)
    corrupted, mask = corrupt(images, textures, seeded(2), threshold=0.1)
    inside = (mask > 0).expand_as(images)
    assert 0 < inside.float().mean() < 1
    assert torch.equal(corrupted[~inside], images[~inside])
    for image, found, where in zip(images, corrupted, inside, strict=True):
        errors = []
        for texture in textures / 255:
            x, y = (image - texture)[where], (found - texture)[where]
            beta = (x * y).sum() / (x * x).sum()  # found = beta * image + (1 - beta) * texture
            errors.append((y - beta * x).abs().max().item() if 0 <= beta < 0.8 else 9)
        assert min(errors) < 1e-5
    assert corrupted.min() >= 0 and corrupted.max() <= 1


def betas(max_beta):
    """The image's weight in 2,000 corruptions of white images by black textures."""
    images, textures = torch.ones(2000, 1, 16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    corrupted, mask = corrupt(images, textures, seeded(), max_beta, threshold=0.1)
    seen = [image[where > 0].unique() for image, where in zip(corrupted, mask, strict=True)]
    assert all(len(values) <= 1 for values in seen)  # one opacity an image
    return torch.cat(seen).numpy()


def test_opacity_is_uniform():
    images, texture = torch.ones(DRAWS, 1, 8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    corrupted, mask = corrupt(images, texture, seeded(), threshold=-2.0)
    assert mask.all()
    opacity = 1 - corrupted[:, 0, 0, 0].numpy()
    assert opacity.min() > 0.2 and opacity.max() <= 1
    assert stats.kstest(opacity, stats.uniform(0.2, 0.8).cdf).pvalue > 0.001
    error = 0.8 / np.sqrt(12)  # of one draw; the official mean of 0.59 is one of 3,000, rounded
    assert opacity.mean() == pytest.approx(0.6, abs=3 * error / np.sqrt(DRAWS))
    assert opacity.mean() == pytest.approx(0.59, abs=3 * error / np.sqrt(3000) + 0.005)


def test_opacity_is_limited():
    found = betas(0.3)
    assert len(found) > 1000 and found.max() < 0.3
    assert set(betas(0.0)) == {0.0}


def test_every_texture_is_drawn_and_scaled_from_uint8():
    textures = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    corrupted, mask = corrupt(
        torch.zeros(64, 1, 16, 16), textures.expand(-1, 1, 16, 16), seeded(), 0.0, threshold=-2.0
    )
    values = torch.where(mask > 0, corrupted, torch.nan)[:, 0, 8, 8]
    assert values.unique().tolist() == pytest.approx([0, 0.2, 0.4, 1])


def test_draws_depend_on_the_generator_only():
    images, textures = torch.rand(4, 1, 32, 32), torch.zeros(3, 1, 32, 32, dtype=torch.uint8)
    torch.manual_seed(1)
    first = corrupt(images, textures, seeded(7))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = corrupt(images, textures, seeded(7))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = corrupt(images, textures, seeded(8))
    assert not torch.equal(first[1], other[1])


def test_images_are_left_alone():
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    corrupt(images, torch.zeros(1, 3, 32, 32, dtype=torch.uint8), seeded(), threshold=0.0)
    assert torch.equal(images, before)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 4),
    size=st.sampled_from((32, 64)),
    channels=st.sampled_from((1, 3)),
    number=st.integers(1, 3),
    max_beta=st.floats(0, 1),
    threshold=st.floats(0, 1),
)
def test_invariants(seed, count, size, channels, number, max_beta, threshold):
    """Of any corruption; the images are 8-bit levels, as a category's are."""
    generator, shape = seeded(seed), (channels, size, size)
    images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8) / 255
    textures = torch.randint(0, 256, (number, *shape), generator=generator, dtype=torch.uint8)
    corrupted, mask = corrupt(images, textures, seeded(seed), max_beta, threshold=threshold)
    assert corrupted.shape == images.shape and mask.shape == (count, 1, size, size)
    assert ((mask == 0) | (mask == 1)).all()
    outside = (mask == 0).expand_as(images)
    assert torch.equal(corrupted[outside], images[outside])
    assert corrupted.min() >= 0 and corrupted.max() <= 1
    again = corrupt(images, textures, seeded(seed), max_beta, threshold=threshold)
    assert torch.equal(again[0], corrupted) and torch.equal(again[1], mask)
    nothing, mask = corrupt(images, textures, seeded(seed), max_beta, threshold=1.0)
    assert torch.equal(nothing, images) and not mask.any()
    same = (255 * images[:1]).round().to(torch.uint8)  # the image itself as its texture
    unseen, _ = corrupt(images[:1], same, seeded(seed), max_beta, threshold=threshold)
    torch.testing.assert_close(unseen, images[:1], rtol=0, atol=1e-6)


def augmentation(**values):
    return replace(SHIPPED.augmentation, **values)


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 8, 8)
    found = augment(images, augmentation(flips=False), "none", seeded())
    assert torch.equal(found, images)


def test_flips():
    image = torch.arange(9.0).view(1, 3, 3) / 9
    found = augment(image.expand(400, 1, 3, 3), augmentation(flips=True), "none", seeded())
    allowed = [image.flip(dims) for dims in ([], [1], [2], [1, 2])]
    share = [np.mean([torch.equal(f, a) for f in found]) for a in allowed]
    assert sum(share) == 1
    assert share == pytest.approx([0.25] * 4, abs=4 * (0.25 * 0.75 / 400) ** 0.5)


def test_right_angles_without_more_are_exact():
    image = torch.rand(2, 8, 8)
    rule = augmentation(flips=False, degrees=0.0)
    found = augment(image.expand(80, 2, 8, 8), rule, "right_angles", seeded())
    turns = [
        [k for k in range(4) if (f - image.rot90(k, (1, 2))).abs().max() < 1e-4] for f in found
    ]
    assert all(len(k) == 1 for k in turns)
    assert {k[0] for k in turns} == {0, 1, 2, 3}


@pytest.mark.parametrize("rotation", ["small", "right_angles"])
def test_uncovered_corners_are_filled(rotation):
    white = torch.ones(20, 1, 64, 64)
    rule = augmentation(flips=False, degrees=5.0, fill=114)
    found = augment(white, rule, rotation, seeded())
    assert found.min().item() >= 114 / 255 - 1e-5
    torch.testing.assert_close(found[:, :, 16:48, 16:48], white[:, :, 16:48, 16:48])
    corners = found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].amin(dim=1)
    assert (corners < 0.6).float().mean() > 0.5  # about 114 / 255 = 0.447
    away = (found < 0.99).float().mean(dim=(1, 2, 3))
    assert away.max() < 0.1  # +-5 degrees uncover slivers only


def test_small_rotation_turns_by_its_angle():
    # A horizontal line: its ends move up or down by the tangent of the angle.
    line = torch.zeros(1, 1, 65, 65)
    line[..., 32, :] = 1
    rule = augmentation(flips=False, degrees=5.0, fill=0)
    found = augment(line.expand(200, 1, 65, 65), rule, "small", seeded())
    rows = torch.arange(65.0).view(1, 65)
    right, left = ((found[:, 0, :, c] * rows).sum(1) / found[:, 0, :, c].sum(1) for c in (52, 12))
    degrees = torch.atan((right - left) / 40).rad2deg()
    assert degrees.abs().max() < 5.3
    assert degrees.max() > 4 and degrees.min() < -4
