"""The bump, its losses from logarithms, and what it separates."""

import math
from dataclasses import replace

import pytest
import torch
from runs import IMAGES, PARAMS, TEXTURES, network_of
from scipy import stats

from lib.networks import SegmentationNetwork, Student
from lib.training import train_segmentation
from study.variants import declared, equality

BUMP = replace(PARAMS.segmentation, activation="bump", sigma=2.0, prior=0.05)


def test_bump():
    z = torch.tensor([0.0, 2.0, -2.0, 4.0])
    expected = [1, math.exp(-0.5), math.exp(-0.5), math.exp(-2)]
    assert equality.bump(z, 2.0).tolist() == pytest.approx(expected)
    assert equality.surprise(z, 2.0).tolist() == pytest.approx([0, 0.5, 0.5, 2], abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 4.0])
def test_the_loss_is_the_focal_loss_of_the_probability(gamma):
    z = torch.linspace(-3, 3, 61, dtype=torch.float64).view(1, 1, 1, -1)
    mask = (torch.arange(61) % 2).double().view(1, 1, 1, -1)
    normal = torch.exp(-z.square() / 2)
    true = torch.where(mask > 0, 1 - normal, normal).clamp(min=1e-13)
    expected = (-((1 - true) ** gamma) * true.log()).mean()
    assert float(equality.focal_loss(z, mask, gamma, 1.0)) == pytest.approx(float(expected), 1e-3)


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_gradients_are_finite_everywhere_and_vanish_for_no_normal_pixel(mask):
    z = torch.tensor([0.0, 1e-20, 1e-4, 1.0, 30.0, -1e4], requires_grad=True)
    loss = equality.focal_loss(z, torch.full_like(z, mask), 4.0, 1.0)
    loss.backward()
    assert math.isfinite(loss.detach()) and z.grad.isfinite().all()
    if not mask:  # z^2 / 2 far away: the gradient is z
        assert (z.grad[-2:] * 6).tolist() == pytest.approx([30.0, -1e4])


def test_training_starts_at_normal():
    torch.manual_seed(0)
    network = SegmentationNetwork(12, 8)
    equality.start_at_normal(network, 0.05, 2.0)
    bias = network.head[-1].bias.detach()
    assert float(1 - equality.bump(bias, 2.0)) == pytest.approx(0.05, rel=1e-5)
    before = float(bias)
    equality.start_at_normal(network, None, 2.0)
    assert float(network.head[-1].bias.detach()) == before


def test_it_trains_and_its_map_ranks_as_the_square(teacher):
    torch.manual_seed(0)
    student = Student(teacher.channels, True, 8).to(next(teacher.buffers()).device).eval()
    params = replace(PARAMS, heads={"bump": BUMP})
    method, chosen = declared.segmentation(params, "full", "bump")
    network, history = train_segmentation(
        teacher, student, IMAGES, TEXTURES, chosen, "any", 0, method.settings, method=method
    )
    plain, other = network_of(teacher, student, chosen=PARAMS)
    assert all(math.isfinite(loss) for _, loss in history) and history != other
    levels = [torch.randn(2, c, s, s) for c, s in zip(teacher.channels, (8, 4, 2), strict=True)]
    with torch.no_grad():
        found, z = equality.reader(network, BUMP)(levels), network.logits(levels)
    assert found.shape == z.shape == (2, 1, 8, 8) and (found >= 0).all()
    rank = stats.spearmanr(found.flatten(), z.abs().flatten())
    assert rank.statistic == pytest.approx(1)
    assert equality.reader(plain, PARAMS.segmentation) is plain
