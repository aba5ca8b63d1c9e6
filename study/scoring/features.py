"""The teacher's features of a set of images, as the baselines read them."""

import torch

from lib.anomaly_map import resize
from lib.inference import levels_memory, teacher_levels
from study.limits import check_memory


def levels(teacher, images):
    """`teacher_levels` of uint8 images (N, S, S, C); MemoryError before they would not fit."""
    check_memory(levels_memory(teacher, images), f"the teacher's levels of {len(images)} images")
    return teacher_levels(teacher, images)


def patches(features, levels):
    """Chosen teacher levels, brought to the finest of them and concatenated: (N, h, w, D).

    features: all three levels (N, C, h, w); levels: 1 to 3, the paper's numbers, 1 the finest.
    """
    chosen = [features[level - 1] for level in levels]
    size = max(level.shape[-1] for level in chosen)
    return torch.cat([resize(level, (size, size)) for level in chosen], 1).permute(0, 2, 3, 1)
