"""Sizes, initialisation and outputs of student and segmentation network."""

import math

import pytest
import torch
from torch import nn

from lib.anomaly_map import resize
from lib.fast.upsampled import Upsampled
from lib.networks import (
    ASPP,
    INPUTS,
    ResidualBlock,
    SegmentationNetwork,
    Student,
    Teacher,
    input_channels,
    segmentation_input,
    two_blocks,
)

CHANNELS = [64, 128, 256]


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


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
    assert count(Student(CHANNELS, encoder_decoder=False)) == count(teacher)  # up to its level 3
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
    found = [[tuple(x.shape) for x in maps] for maps in (*levels, products)]
    assert found == [shapes] * 3  # each level stays at its own resolution
    assert maps.shape == (1, 1, 64, 64)
    assert maps.min() > 0 and maps.max() < 1
    joined = torch.cat([resize(level, (64, 64)) for level in products], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(network(joined), maps, rtol=1e-4, atol=1e-5)


# Student


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


@pytest.mark.parametrize("width", [4, 8])
def test_no_narrow_convolution_that_onednn_gets_wrong(width):
    """oneDNN issue 6035: strided, 1x1, fewer channels than a vector has lanes."""
    layers = [m for m in Student(CHANNELS, width=width).modules() if isinstance(m, nn.Conv2d)]
    assert not [m for m in layers if m.kernel_size == (1, 1) and m.stride != (1, 1)]


@pytest.mark.parametrize("outputs", [5, 8])  # a shortcut with its own convolution, or none
@pytest.mark.parametrize("kind", [ResidualBlock, two_blocks])
def test_a_block_over_levels_is_the_block_over_their_concatenation(kind, outputs):
    torch.manual_seed(0)
    block = kind(8, outputs).double().train()
    levels = [torch.randn(2, c, s, s, dtype=torch.float64) for c, s in ((3, 12), (4, 5), (1, 1))]
    joined = torch.cat([resize(level, (12, 12)) for level in levels], dim=1)
    found = block(Upsampled(levels, (12, 12)))
    torch.testing.assert_close(found, block(joined), rtol=0, atol=1e-10)


@pytest.mark.parametrize("encoder_decoder", [True, False])
def test_shape_builds_the_same_network_again(encoder_decoder):
    for network in (Student([8, 40, 32], encoder_decoder, 8), SegmentationNetwork(24, 8)):
        again = type(network)(**network.shape)
        again.load_state_dict(network.state_dict())  # names and sizes are the same
        assert str(again) == str(network) and again.shape == network.shape


# Segmentation network


def column(*values, size=2):
    """Features with these channels at each of size x size positions."""
    return torch.tensor(values).view(1, -1, 1, 1).expand(1, -1, size, size)


TEACHER, STUDENT = [column(3.0, 4.0), column(-5.0, size=1)], [column(0.0, 2.0), column(0.1, size=1)]


@pytest.mark.parametrize(
    ("kind", "fine", "coarse"),
    [
        ("product", [0.0, -0.8], [1.0]),
        ("concatenated", [3.0, 4.0, 0.0, 2.0], [-5.0, 0.1]),
        ("distance", [1 - 0.8], [2.0]),
    ],
)
def test_segmentation_input_by_hand(kind, fine, coarse):
    found = segmentation_input(TEACHER, STUDENT, kind)
    assert len(found) == 2
    torch.testing.assert_close(found[0], column(*fine))
    torch.testing.assert_close(found[1], column(*coarse, size=1))
    assert input_channels([2, 1], kind) == len(fine) + len(coarse)


def test_input_channels_of_resnet18():
    assert [input_channels(CHANNELS, kind) for kind in INPUTS] == [448, 896, 3]
    assert input_channels(CHANNELS) == 448  # the method's is the product
    by_default, product = segmentation_input(TEACHER, STUDENT), INPUTS["product"]
    assert all(map(torch.equal, by_default, map(product, TEACHER, STUDENT)))


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
