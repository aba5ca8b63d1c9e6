"""A nearest-neighbour baseline: distance of a patch to the training set in the teacher's features.

The core of SPADE and PatchCore (Cohen & Hoshen 2020; Roth et al. 2022), with a memory bank
drawn at random instead of a coreset. It needs no training and tells what the teacher alone gives.
"""

import torch

from lib.anomaly_map import resize
from lib.devices import device_name
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


def items(normal, queries, params):
    """(item, maps) of each declared set of levels and seed, for `scores.score`.

    normal, queries: the teacher's features of the training and the held-out images.
    """
    for levels in params.baseline.levels:
        known, asked = patches(normal, levels), patches(queries, levels)
        name = "_".join(["nearest_neighbour", *map(str, levels)])
        for seed in params.seeds:
            maps = distance_maps(asked, memory_bank(known, params.baseline.bank_size, seed))
            yield {"student": "none", "map": name, "seed": seed, "device": device_name()}, maps


def memory_bank(features, size, seed):
    """`size` patches (size, D) of the training features, drawn at random without replacement."""
    flat = features.flatten(0, 2)
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    return flat[order[:size].to(flat.device)]


@torch.inference_mode()
def distance_maps(features, bank, rows=4096):
    """Euclidean distance of each patch to the nearest in the bank: float32 array (N, h, w).

    Memory: the bank and `rows` x len(bank) distances at a time (131 MB for a bank of 8,000).
    """
    queries, lengths = features.flatten(0, 2), bank.square().sum(dim=1)
    nearest = [  # of squared distances, less |query|^2, which changes no order
        torch.addmm(lengths, part, bank.T, alpha=-2).amin(dim=1) for part in queries.split(rows)
    ]
    squared = torch.cat(nearest) + queries.square().sum(dim=1)
    return squared.clamp(min=0).sqrt().view(features.shape[:3]).cpu().numpy()
