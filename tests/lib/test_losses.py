"""Losses against values worked out by hand."""

import math

import pytest
import torch

from lib.losses import cosine_distance, cosine_distance_loss, downsample_mask, focal_loss, l1_loss


def level(*vectors):
    """One level (1, 2, 1, W): a 2-channel feature vector at each of W positions."""
    return torch.tensor(vectors, dtype=torch.float32).T[None, :, None, :]


def test_cosine_distance():
    teacher = level((1, 0), (0, 2), (3, 4), (1, 0))
    student = level((5, 0), (0, -1), (4, 3), (0, 7))
    torch.testing.assert_close(
        cosine_distance(teacher, student), torch.tensor([[[0, 2, 1 - 24 / 25, 1]]])
    )


def test_cosine_distance_of_nothing_is_a_number():
    assert cosine_distance(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)).isfinite().all()


def test_cosine_distance_loss_is_a_mean_over_positions_and_a_sum_over_levels():
    fine = level((1, 0), (1, 0)), level((1, 0), (0, 1))  # distances 0 and 1
    coarse = level((0, 1)), level((0, -1))  # distance 2
    assert cosine_distance_loss([fine[0]], [fine[1]]).item() == pytest.approx(0.5)
    loss = cosine_distance_loss([fine[0], coarse[0]], [fine[1], coarse[1]])
    assert loss.item() == pytest.approx(0.5 + 2)


def test_cosine_distance_loss_is_summed_over_the_batch():
    teacher, student = level((1, 0), (1, 0)), level((1, 0), (0, 1))
    batch = [teacher.expand(32, -1, -1, -1)], [student.expand(32, -1, -1, -1)]
    assert cosine_distance_loss(*batch).item() == pytest.approx(32 * 0.5)


def test_cosine_distance_loss_wants_as_many_levels_of_both():
    with pytest.raises(ValueError, match="zip"):
        cosine_distance_loss([level((1, 0))] * 3, [level((1, 0))] * 2)


def pixels(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 4.0])
def test_focal_loss(gamma):
    prediction, mask = pixels(0.9, 0.25), pixels(1, 0)
    by_hand = -(0.1**gamma * math.log(0.9) + 0.25**gamma * math.log(0.75)) / 2
    assert focal_loss(prediction, mask, gamma).item() == pytest.approx(by_hand, rel=1e-5)


def test_focal_loss_has_gamma_4():
    prediction, mask = torch.rand(2, 1, 4, 4), (torch.rand(2, 1, 4, 4) > 0.5).float()
    torch.testing.assert_close(focal_loss(prediction, mask), focal_loss(prediction, mask, 4))


def test_focal_loss_stays_finite_where_the_sigmoid_saturates():
    prediction = pixels(0, 1, 0, 1).requires_grad_()
    loss = focal_loss(prediction, pixels(0, 0, 1, 1))
    loss.backward()
    # Two of four pixels are right (no loss), two are wrong by everything: torch cuts log at -100.
    assert loss.item() == 50
    assert prediction.grad.isfinite().all()


def test_focal_loss_still_pulls_where_a_pixel_is_wrong_with_certainty():
    logits = pixels(15, -15).requires_grad_()
    focal_loss(logits.sigmoid(), pixels(0, 1)).backward()
    torch.testing.assert_close(logits.grad, pixels(0.5, -0.5), rtol=0.05, atol=0)


def test_l1_loss():
    assert l1_loss(pixels(0.9, 0.25, 0.5), pixels(1, 0, 0)).item() == pytest.approx(0.85 / 3)


def test_downsample_mask_is_cut_at_half():
    mask = torch.zeros(1, 1, 4, 12)
    mask[..., :2] = 1  # at stride 4, bilinearly: the mean of columns 1 and 2, exactly a half
    mask[..., 4:7] = 1  # both columns inside
    mask[..., 8] = 1  # neither
    found = downsample_mask(mask, (1, 3))
    assert found.tolist() == [[[[1.0, 1.0, 0.0]]]]
    assert found.dtype == torch.float32
    thin = torch.zeros(1, 1, 8, 8)
    thin[..., 1, 1] = 1  # a quarter of the four pixels around the centre
    assert downsample_mask(thin, (2, 2)).sum() == 0
