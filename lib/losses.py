"""Losses of DeSTSeg (paper sections 3.1 and 3.3): pure functions of tensors."""

import torch
import torch.nn.functional as F


def cosine_distance(teacher, student):
    """Distance 1 - <t, s> of L2-normalised features, (N, C, H, W) twice -> (N, H, W) in [0, 2]."""
    return 1 - F.cosine_similarity(teacher, student, dim=1)


def cosine_distance_loss(teacher_levels, student_levels):
    """Student loss: mean over positions, summed over levels and over the batch (paper eq. 2-3).

    The sum over the batch follows the official code. Its learning rate of 0.4 at batch 32 would be
    12.8 with a mean. Levels are lists of (N, C, H, W); returns a scalar.
    """
    levels = zip(teacher_levels, student_levels, strict=True)
    return sum(cosine_distance(t, s).mean(dim=(1, 2)).sum() for t, s in levels)


def focal_loss(prediction, mask, gamma=4.0):
    """Focal loss without alpha, mean over all pixels (paper eq. 6; Lin et al. 2017).

    prediction: probabilities in [0, 1]; mask: 0 or 1; both (N, 1, H, W); returns a scalar.
    """
    # torch's cross-entropy stays finite, and keeps a gradient, where the sigmoid saturates.
    cross_entropy = F.binary_cross_entropy(prediction, mask.to(prediction), reduction="none")
    true_class = torch.where(mask > 0.5, prediction, 1 - prediction)
    return ((1 - true_class) ** gamma * cross_entropy).mean()


def l1_loss(prediction, mask):
    """Mean absolute error, which sharpens the focal loss's soft maps (paper eq. 7)."""
    return (prediction - mask).abs().mean()


def downsample_mask(mask, size):
    """Resize a mask (N, 1, H, W) of 0 and 1 to `size` bilinearly, then cut at 0.5 (section 3.3)."""
    small = F.interpolate(mask.float(), size=size, mode="bilinear", align_corners=False)
    return (small >= 0.5).float()
