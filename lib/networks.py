"""The networks of DeSTSeg (paper figure 3), smallest module first.

Zhang et al., "DeSTSeg: Segmentation Guided Denoising Student-Teacher for Anomaly Detection",
CVPR 2023, arXiv 2211.11317, sections 3.1 to 3.3. All tensors are (N, C, H, W). "Levels" are lists
of feature maps at strides 4, 8 and 16, finest first. `Upsampled(levels, size)` stands for the
levels resized to `size` and concatenated; `Convolution` is an nn.Conv2d that takes it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.anomaly_map import cosine_map
from lib.backbones import build
from lib.fast.upsampled import Convolution, Upsampled
from lib.losses import cosine_distance


def conv3x3(inputs, outputs, stride=1, dilation=1, bias=False):
    """3x3 convolution that keeps the size at stride 1."""
    return Convolution(inputs, outputs, 3, stride, dilation, dilation, bias=bias)


def initialise_kaiming(module):
    """Kaiming-normal (fan-out, ReLU) convolutions, as in the official code."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class ResidualBlock(nn.Module):
    """ResNet's basic block (He et al. 2016), used by student and segmentation network."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.norm1 = conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut, self.stride = nn.Identity(), stride
        if stride != 1 or inputs != outputs:
            projection = Convolution(inputs, outputs, 1, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        # Every stride-th position, picked first: oneDNN's strided 1x1 convolution writes past its
        # memory when it differentiates narrow ones (uxlfoundation/oneDNN issue 6035).
        picked = x if self.stride == 1 else x[..., :: self.stride, :: self.stride]
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(picked), inplace=True)


def two_blocks(inputs, outputs, stride=1):
    """Two residual blocks; the first one changes channels and size."""
    return nn.Sequential(ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs))


class Teacher(nn.Module):
    """Frozen ImageNet backbone that gives three levels at strides 4, 8, 16 (section 3.1).

    backbone: any timm model with `features_only`; weights: "timm" (timm's own download), "random"
    (tests only), "package:<module>" (a state dict shipped in an installed package) or a path,
    relative to the repository root. Images are normalised with the backbone's own mean and standard
    deviation, so inputs are plain images in [0, 1].
    """

    def __init__(self, backbone, weights="timm", levels=(1, 2, 3)):
        super().__init__()
        self.features, mean, std = build(backbone, weights, levels)
        self.channels = self.features.feature_info.channels()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode=True):
        return super().train(False)  # always eval: batch-norm statistics stay ImageNet's

    def normalise(self, images):
        """Images (N, 1 or 3, H, W) in [0, 1] -> input of both networks, (N, 3, H, W)."""
        normalised = (images - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def forward(self, normalised):
        return self.features(normalised)


class Student(nn.Module):
    """Denoising student: ResNet-18 encoder and mirrored decoder, random weights (section 3.2).

    encoder_decoder: if False, the output is the encoder's first three levels (the paper's
    ablation). width: channels of the first stage, 64 in the paper. If the teacher's channels
    differ from width * (1, 2, 4), a 1x1 convolution maps each output.
    """

    def __init__(self, teacher_channels, encoder_decoder=True, width=64):
        super().__init__()
        self.shape = {  # builds the same network again
            "teacher_channels": teacher_channels,
            "encoder_decoder": encoder_decoder,
            "width": width,
        }
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        stages = [
            two_blocks(a, b, 1 + (a != b))
            for a, b in zip([width, *widths[:3]], widths, strict=True)
        ]
        self.encoder = nn.ModuleList(stages if encoder_decoder else stages[:3])
        initialise_kaiming(self)
        for block in self.modules():  # of the encoder, as timm: each block starts as its shortcut
            if isinstance(block, ResidualBlock):
                nn.init.zeros_(block.norm2.weight)
        self.decoder = nn.ModuleList()
        if encoder_decoder:
            pairs = zip([8 * width, *widths[:0:-1]], widths[::-1], strict=True)
            self.decoder = nn.ModuleList(two_blocks(a, b) for a, b in pairs)
        self.match = nn.ModuleList(
            nn.Identity() if a == b else nn.Conv2d(a, b, 1, bias=False)
            for a, b in zip(widths[:3], teacher_channels, strict=True)
        )
        initialise_kaiming(self.decoder)
        initialise_kaiming(self.match)

    def forward(self, normalised):
        x, encoded = self.stem(normalised), []
        for stage in self.encoder:
            encoded.append(x := stage(x))  # strides 4, 8, 16 (and 32)
        levels = encoded
        if self.decoder:
            x, levels = self.decoder[0](x), []
            for stage, e in zip(self.decoder[1:], encoded[2::-1], strict=True):
                levels.insert(0, x := stage(Upsampled([x], e.shape[-2:])))  # strides 16, 8, 4
        return [match(level) for match, level in zip(self.match, levels, strict=True)]


INPUTS = {  # of the segmentation network, each level at its own resolution (paper table 6)
    "product": lambda t, s: -F.normalize(t, dim=1) * F.normalize(s, dim=1),  # section 3.3
    "concatenated": lambda t, s: torch.cat([t, s], dim=1),
    "distance": lambda t, s: cosine_distance(t, s).unsqueeze(1),
}


def segmentation_input(teacher_levels, student_levels, kind="product"):
    """Input of the segmentation network, one map for each level: [(N, C_i, H_i, W_i)].

    kind: `product`, the negated product of L2-normalised features (the method); `concatenated`
    features of both networks; or `distance`, the cosine distance, one channel per level.
    """
    combine = INPUTS[kind]
    levels = zip(teacher_levels, student_levels, strict=True)
    return [combine(t, s).to(t.dtype) for t, s in levels]  # norms are fp32 also in bf16 training


def input_channels(teacher_channels, kind="product"):
    """Channels of `segmentation_input` over all levels: 448, 896 or 3 for ResNet-18."""
    return sum({"product": c, "concatenated": 2 * c, "distance": 1}[kind] for c in teacher_channels)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab v3): context and three dilated convolutions."""

    def __init__(self, channels, dilations=(6, 12, 18)):
        super().__init__()
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.views = nn.ModuleList(
            nn.Sequential(
                conv3x3(channels, channels, 1, d), nn.BatchNorm2d(channels), nn.ReLU(True)
            )
            for d in dilations
        )
        self.fuse = nn.Sequential(
            conv3x3((len(dilations) + 1) * channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(True),
        )

    def forward(self, x):
        pooled, size = self.pool(x), x.shape[-2:]  # (N, C, 1, 1): constant over the image
        views = torch.cat([view(x) for view in self.views], dim=1)
        return self.fuse(Upsampled([pooled, views], size))


class SegmentationNetwork(nn.Module):
    """Two residual blocks and ASPP: a probability per stride-4 position (section 3.3).

    prior: share of anomalous pixels in the first predictions, set by the last bias (Lin et al.
    2017, section 4.1); None: PyTorch's default, as in the official code. Narrow networks need it:
    from a first prediction near 1/2, training makes every weight of the last layer negative, and
    after a ReLU the map can never rise above the bias.
    """

    def __init__(self, inputs, channels=256, prior=None):
        super().__init__()
        self.shape = {"inputs": inputs, "channels": channels}  # builds the same network again
        self.residual = two_blocks(inputs, channels)
        self.head = nn.Sequential(
            ASPP(channels),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1),
        )
        initialise_kaiming(self.residual)
        if prior is not None:
            nn.init.constant_(self.head[-1].bias, math.log(prior / (1 - prior)))

    def logits(self, levels):
        """Levels (N, C, h, w), finest first, or one tensor of them -> (N, 1, H/4, W/4)."""
        levels = [levels] if torch.is_tensor(levels) else levels
        x = self.residual(Upsampled(levels, levels[0].shape[-2:]))
        return self.head(x).to(self.head[-1].weight.dtype)  # bf16 has few values near 1

    def forward(self, levels):
        return torch.sigmoid(self.logits(levels))


class DeSTSeg(nn.Module):
    """The assembled model (figure 3): images in, both anomaly maps out.

    kind: the input that the segmentation network was trained on (`segmentation_input`).
    """

    def __init__(self, teacher, student, segmentation, kind="product"):
        super().__init__()
        self.teacher, self.student, self.segmentation = teacher, student, segmentation
        self.kind = kind

    def levels(self, images):
        """Levels of teacher and student of images (N, 1 or 3, H, W) in [0, 1]."""
        seen = self.teacher.normalise(images)
        return self.teacher(seen), self.student(seen)

    def forward(self, images):
        """Images (N, 1 or 3, H, W) in [0, 1] -> (cosine, segmentation), each (N, 1, H/4, W/4)."""
        teacher, student = self.levels(images)
        shown = segmentation_input(teacher, student, self.kind)
        return cosine_map(teacher, student), self.segmentation(shown)
