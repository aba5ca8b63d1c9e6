"""From features to anomaly maps, and from a map to the score of its image (section 3.3)."""

import torch
import torch.nn.functional as F

from lib.losses import cosine_distance


def resize(features, size):
    """Bilinear resizing of (N, C, H, W) to `size`, the only interpolation the method uses."""
    if features.shape[-2:] == torch.Size(size):
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def cosine_map(teacher_levels, student_levels):
    """Fused cosine map: product over levels of the cosine distances at stride 4, (N, 1, H, W)."""
    size = teacher_levels[0].shape[-2:]
    product = 1
    for t, s in zip(teacher_levels, student_levels, strict=True):
        product = product * resize(cosine_distance(t, s).unsqueeze(1), size)
    return product


def image_score(maps, top_pixels):
    """Mean of the `top_pixels` largest pixels of each map, (N, H, W) -> (N,) (T in the paper)."""
    return maps.flatten(1).topk(min(top_pixels, maps[0].numel()), dim=1).values.mean(dim=1)
