"""Images in; the teacher's levels, or both anomaly maps, out."""

import torch

from lib.anomaly_map import cosine_map
from lib.devices import device, take, to_device
from lib.networks import segmentation_input
from study.limits import check_memory


def to_input(teacher, images):
    """Images in [0, 1] with 1 or 3 channels -> what both networks see."""
    return teacher.normalise(images).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def teacher_levels(teacher, images, batch_size=32):
    """The teacher's levels of uint8 images (N, S, S, C): three tensors with N rows."""
    strides = zip(teacher.channels, (4, 8, 16), strict=True)
    numbers = len(images) * sum(c * (images.shape[1] // stride) ** 2 for c, stride in strides)
    if device().type == "cpu":  # twice: batch by batch, then as a whole; 4 bytes each
        check_memory(2 * 4 * numbers, f"the teacher's levels of {len(images)} images")
    images, rows = to_device(images), torch.arange(len(images), device=device())
    batches = (take(images, batch) / 255 for batch in rows.split(batch_size))
    levels = zip(*(teacher(to_input(teacher, batch)) for batch in batches), strict=True)
    return [torch.cat(level) for level in levels]


@torch.inference_mode()
def anomaly_maps(teacher, student, network, images, kind="product", known=None, batch_size=32):
    """Both maps of uint8 images (N, S, S, C): float32 (N, S/4, S/4) twice, on the CPU.

    kind: the input that `network` was trained on. known: `teacher_levels` of the images, which
    several students can share.
    """
    images, cosine, segmentation = to_device(images), [], []
    for batch in torch.arange(len(images), device=device()).split(batch_size):
        seen = to_input(teacher, take(images, batch) / 255)
        rows = slice(len(cosine) * batch_size, len(cosine) * batch_size + len(batch))
        target = [level[rows] for level in known] if known else teacher(seen)
        answer = student(seen)
        cosine.append(cosine_map(target, answer)[:, 0].cpu())
        segmentation.append(network(segmentation_input(target, answer, kind))[:, 0].cpu())
    return torch.cat(cosine).numpy(), torch.cat(segmentation).numpy()
