"""3x3 convolutions over bilinearly up-sampled maps, computed mostly at the maps' own resolution.

Up-sampling is linear and acts on each channel alone, so it commutes with the mixing of channels.
The nine taps of the kernel mix channels at low resolution, where there are few positions. The full
resolution only needs the nine results interpolated and shifted, as products with two small
matrices. The result equals the convolution's up to rounding, zero padding included.
"""

from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from lib.anomaly_map import resize


class Upsampled:
    """Levels of features as one tensor (N, C, *size): resized to `size` and concatenated.

    levels: list of (N, C_i, h_i, w_i). The tensor is made once, when something needs it.
    """

    def __init__(self, levels, size):
        self.levels, self.size = levels, size

    @cached_property
    def tensor(self):
        """(N, C, *size)."""
        resized = [resize(level, self.size) for level in self.levels]
        return torch.cat(resized, dim=1) if len(resized) > 1 else resized[0]

    def __radd__(self, other):
        return other + self.tensor


class Convolution(nn.Conv2d):
    """nn.Conv2d that also takes `Upsampled`, without making its tensor if that saves work.

    A convolution is a sum over its input channels, so each level can use the cheaper way.
    """

    def forward(self, x):
        if not isinstance(x, Upsampled):
            return super().forward(x)
        if self.stride != (1, 1) or self.dilation != (1, 1) or self.bias is not None:
            raise ValueError(f"{self} must have stride and dilation 1 and no bias")
        weights = self.weight.split([level.shape[1] for level in x.levels], dim=1)
        pairs = list(zip(x.levels, weights, strict=True))
        small = [pair for pair in pairs if saves_work(*pair, x.size)]
        large = [pair for pair in pairs if not saves_work(*pair, x.size)]
        if not small:
            return super().forward(x.tensor)
        cheaper = {1: conv1x1_at_low_resolution, 3: conv3x3_at_low_resolution}[self.kernel_size[0]]
        results = [cheaper(level, weight, x.size) for level, weight in small]
        if large:
            maps, weights = zip(*large, strict=True)
            rest = Upsampled(maps, x.size).tensor
            results.append(F.conv2d(rest, torch.cat(weights, dim=1), padding=self.padding))
        return sum(results)


def saves_work(level, weight, size):
    """Whether low resolution needs less than half of the multiplications for an output."""
    (_, channels, h, w), (height, width) = level.shape, size
    if (h, w) == (1, 1):  # the same everywhere: GPUs up-sample it as slowly as anything else
        return True
    if (h, w) == tuple(size) or level.device.type != "cpu":  # measured on CPUs only
        return False
    if weight.shape[-1] == 1:
        return True
    interpolation = 9 * w * h / height + 3 * h
    return 9 * channels > 2 * (9 * channels * h * w / (height * width) + interpolation)


def conv1x1_at_low_resolution(level, weight, size):
    """A 1x1 convolution, then the resizing."""
    return resize(F.conv2d(level, weight), size)


def conv3x3_at_low_resolution(level, weight, size):
    """A 3x3 convolution over the resized level, its channels mixed at (h, w)."""
    n, channels, h, w = level.shape
    height, width = size
    rows = shifted_interpolation(h, height, level.dtype, level.device)
    columns = shifted_interpolation(w, width, level.dtype, level.device)
    columns = columns.permute(1, 2, 0).reshape(1, width, 3 * w).expand(n * h, -1, -1)
    positions = level.permute(0, 2, 3, 1)
    result = None
    for kernel_row, row in zip(weight.unbind(2), rows, strict=True):
        mixed = F.linear(positions, kernel_row.permute(2, 0, 1).reshape(-1, channels))
        across = torch.bmm(columns, mixed.reshape(n * h, 3 * w, -1)).view(n, h, -1)
        row = row.expand(n, -1, -1)
        result = torch.bmm(row, across) if result is None else torch.baddbmm(result, row, across)
    return result.view(n, height, width, -1).permute(0, 3, 1, 2)


@lru_cache
@torch.inference_mode(False)  # what is kept serves training too
def shifted_interpolation(source, target, dtype=torch.float32, device=None):
    """Matrices (3, target, source): the input of tap -1, 0 or 1 of a kernel on an up-sampled line.

    Row i of matrix d holds the weights of the source positions in up-sampled position i + d - 1;
    positions outside are the zeros that the convolution pads with.
    """
    lines = torch.eye(source, dtype=torch.float64).unsqueeze(0)
    lines = F.interpolate(lines, size=target, mode="linear", align_corners=False)[0].T
    padded = F.pad(lines, (0, 0, 1, 1))
    return torch.stack([padded[d : d + target] for d in range(3)]).to(device, dtype)
