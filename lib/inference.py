"""Images in; the teacher's levels, or both anomaly maps, out."""

import torch

from lib.devices import device, fix_arithmetic, take, to_device
from lib.fast.folded import fold_batch_norm
from lib.networks import Teacher


def make_teacher(params):
    """The frozen teacher that params.yaml names, on the training device.

    Fixes the arithmetic first (`fix_arithmetic`). One thread is enough for small networks: training
    two items side by side gains more than a second thread.
    """
    fix_arithmetic(params.arithmetic.threads, params.arithmetic.deterministic)
    teacher = params.teacher
    network = Teacher(teacher.backbone, teacher.weights, teacher.levels)
    fold_batch_norm(network.features, torch.zeros(1, 3, 64, 64))
    return network.to(device(), memory_format=torch.channels_last)


def in_batches(images, batch_size):
    """Batches (B, C, S, S) in [0, 1] of uint8 images (N, S, S, C), in order."""
    images, rows = to_device(images), torch.arange(len(images), device=device())
    return (take(images, batch) for batch in rows.split(batch_size))


@torch.no_grad()
def teacher_levels(teacher, images, batch_size=32):
    """The teacher's levels of uint8 images (N, S, S, C): three tensors with N rows."""
    batches = in_batches(images, batch_size)
    levels = zip(*(teacher(teacher.normalise(batch)) for batch in batches), strict=True)
    return [torch.cat(level) for level in levels]


def levels_memory(teacher, images):
    """Bytes that `teacher_levels` needs: all batches and their concatenation, 4 bytes a number."""
    strides = zip(teacher.channels, (4, 8, 16), strict=True)
    return 2 * 4 * len(images) * sum(c * (images.shape[1] // stride) ** 2 for c, stride in strides)


@torch.inference_mode()
def anomaly_maps(model, images, batch_size=32):
    """Both maps of a `DeSTSeg` for uint8 images (N, S, S, C): two float32 (N, S/4, S/4)."""
    pairs = (model(batch) for batch in in_batches(images, batch_size))
    maps = zip(*([kind[:, 0].cpu() for kind in pair] for pair in pairs), strict=True)
    return tuple(torch.cat(kind).numpy() for kind in maps)
