"""Sources of corruption: their shares, what the mask holds, and what each does."""

from dataclasses import replace

import pytest
import torch
from runs import IMAGES, PARAMS, TEXTURES
from scipy import stats

from lib.batches import Batches
from lib.corruption import corrupt as texture
from study.variants import corruptions, declared
from study.variants.corruptions import SOURCES

N, SIZE = 400, 64
TORCH_TEXTURES = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.uint8)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def images():
    return torch.rand(N, 1, SIZE, SIZE, generator=seeded(5)) * 0.5 + 0.4


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_changes_outside_the_mask(images, name):
    changed, mask = SOURCES[name](images, seeded())
    assert changed.shape == images.shape and mask.shape == (N, 1, SIZE, SIZE)
    assert mask.dtype == torch.float32 and set(mask.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(changed[mask == 0], images[mask == 0])
    differs = (changed != images).float()
    assert (differs[mask == 1].mean() > 0.99) and changed.min() >= 0 and changed.max() <= 1
    assert (mask.flatten(1).any(dim=1)).float().mean() > 0.85  # few images stay normal
    again, same = SOURCES[name](images, seeded())
    assert torch.equal(again, changed) and torch.equal(same, mask)


def test_darkening_is_global_for_half_of_the_images(images):
    changed, mask = corruptions.darken(images, seeded())
    everywhere = mask.flatten(1).all(dim=1)
    assert everywhere.float().mean() == pytest.approx(0.5, abs=3 * 0.5 / N**0.5)
    means = changed.mean(dim=(1, 2, 3)) / images.mean(dim=(1, 2, 3))
    gain = means[everywhere]
    assert gain.min() >= 0.05 and gain.max() <= 0.8  # a nearly black cell is among them
    assert stats.kstest(gain, stats.uniform(0.05, 0.75).cdf).pvalue > 0.001
    assert (changed <= images + 0.4).all() and means.max() <= 1.001


def test_a_patch_is_of_the_declared_size_and_of_a_normal_image():
    ramp = torch.arange(N).view(N, 1, 1, 1).expand(N, 1, SIZE, SIZE) / N
    changed, mask = corruptions.cutpaste(ramp, seeded())
    share = mask.mean(dim=(1, 2, 3))
    assert share.max() < 0.16 and 0.05 < share.mean() < 0.085  # cut off at the borders
    own = torch.isclose(changed, ramp, atol=1e-6)
    other = torch.isclose(changed, ramp.roll(1, 0), atol=1e-6)
    assert (own | other).all()
    from_other = ((~own).flatten(1).any(dim=1)).float().mean()
    assert from_other == pytest.approx(0.5, abs=3 * 0.5 / N**0.5)


def test_a_scar_is_thin(images):
    changed, mask = corruptions.scar(images, seeded())
    assert mask.mean(dim=(1, 2, 3)).max() < 0.6 * 0.05
    for one, where in zip(changed[:20], mask[:20], strict=True):
        assert len(one[where == 1].unique()) <= 1  # one grey level


def test_shares(images):
    generator, shares = seeded(), {"texture": 0.2, "darken": 0.5, "scar": 0.3}
    dark = torch.full_like(images, 0.5)
    changed, mask = corruptions.corrupt(dark, TORCH_TEXTURES, generator, shares, threshold=-2.0)
    whole = mask.flatten(1).all(dim=1)
    textures = whole & (changed.flatten(1).std(dim=1) == 0) & (changed.amax((1, 2, 3)) <= 0.4)
    thin = (mask.mean(dim=(1, 2, 3)) < 0.03) & mask.flatten(1).any(dim=1)
    assert thin.float().mean() == pytest.approx(0.3, abs=0.1)
    assert textures.float().mean() > 0.2  # flat images that are darkened as a whole look like it


def test_texture_alone_is_the_paper(images):
    paper = texture(images, TORCH_TEXTURES, seeded())
    mixed = corruptions.corrupt(images, TORCH_TEXTURES, seeded(), {"texture": 1.0, "scar": 0.0})
    assert all(torch.equal(a, b) for a, b in zip(paper, mixed, strict=True))


def test_the_stream_draws_from_the_declared_sources():
    mixed = replace(PARAMS.corruption, sources={"scar": 1.0})
    full = replace(PARAMS.students["full"], corruption=mixed)
    params = replace(PARAMS, students=PARAMS.students | {"full": full})
    normal, corrupted, mask = next(declared.stream(IMAGES, TEXTURES, 4, params, "full", "any", 0))
    assert torch.equal(normal[mask == 0], corrupted[mask == 0])
    for one, where in zip(corrupted, mask, strict=True):
        assert len(one[where == 1].unique()) <= 1
    with pytest.raises(TypeError, match="sources"):  # the paper's corruption has one source
        next(Batches(IMAGES, TEXTURES, 4, params.variant("full"), "any", 0))
    shipped = params.variant("full").with_paper_corruption()
    assert next(Batches(IMAGES, TEXTURES, 4, shipped, "any", 0))[0].equal(normal)
