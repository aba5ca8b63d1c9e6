"""Convolutions over up-sampled maps: the plain way's result, by the way that needs less work."""

import pytest
import torch
import torch.nn.functional as F

from lib.fast import upsampled
from lib.fast.upsampled import Convolution, Upsampled, saves_work, shifted_interpolation
from lib.networks import SegmentationNetwork, Student

CASES = {  # sizes of the levels -> the size they are brought to
    "strides of the method": ([(8, 8), (4, 4), (2, 2)], (8, 8)),
    "one position": ([(1, 1)], (6, 6)),
    "one position beside its map": ([(1, 1), (7, 7)], (7, 7)),
    "not square": ([(3, 5)], (6, 10)),
    "no whole factor": ([(3, 4), (2, 7)], (7, 11)),
    "another factor each way": ([(5, 2)], (5, 9)),
    "factor 1": ([(5, 6)], (5, 6)),
}


def conv(kernel, channels, outputs=3):
    return Convolution(channels, outputs, kernel, padding=kernel // 2, bias=False).double()


def results(convolve, weight, levels):
    """Output and gradients of the weight and of each level, for one random gradient above."""
    leaves = [weight, *levels]
    output = convolve()
    above = torch.randn(output.shape, dtype=output.dtype, generator=torch.manual_seed(9))
    return [output, *torch.autograd.grad(output, leaves, above)]


def assert_same(found, expected, tolerance=1e-10):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("way", ["chosen", "low resolution", "plain"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_convolution_of_the_resized_levels(case, kernel, way, monkeypatch):
    sizes, size = CASES[case]
    torch.manual_seed(0)
    channels = [4 + index for index in range(len(sizes))]
    levels = [
        torch.randn(2, c, *s, dtype=torch.float64, requires_grad=True)
        for c, s in zip(channels, sizes, strict=True)
    ]
    layer = conv(kernel, sum(channels))
    if way != "chosen":
        monkeypatch.setattr(upsampled, "saves_work", lambda *_: way == "low resolution")
    found = results(lambda: layer(Upsampled(levels, size)), layer.weight, levels)
    joined = [F.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in levels]
    plain = results(lambda: layer(torch.cat(joined, dim=1)), layer.weight, levels)
    assert_same(found, plain)


def test_matrices_that_were_first_made_for_maps_serve_training():
    shifted_interpolation.cache_clear()
    level, layer = torch.randn(1, 64, 3, 3), conv(3, 64).float()
    with torch.inference_mode():
        expected = layer(Upsampled([level], (12, 12)))
    output = layer(Upsampled([level], (12, 12)))
    output.sum().backward()
    assert layer.weight.grad.any() and torch.equal(output, expected)


# What a tap sees of a line


def test_interpolation_by_two():
    middle = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    before, after = [[0, 0], *middle[:-1]], [*middle[1:], [0, 0]]
    assert shifted_interpolation(2, 4).tolist() == [before, middle, after]


def test_interpolation_of_one_position_and_of_the_same_size():
    assert shifted_interpolation(1, 3)[..., 0].tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 0]]
    shifted = [torch.diag(torch.ones(4 - abs(d)), d) for d in (-1, 0, 1)]
    assert torch.equal(shifted_interpolation(4, 4), torch.stack(shifted))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interpolation_by_no_whole_factor(dtype):
    found = shifted_interpolation(3, 5, dtype)
    assert found.dtype == dtype and found.shape == (3, 5, 3)
    # Position i looks at (i + 0.5) * 3 / 5 - 0.5: -0.2 (the border), 0.4, 1, 1.6, 2.2 (the border).
    expected = [[1, 0, 0], [0.6, 0.4, 0], [0, 1, 0], [0, 0.4, 0.6], [0, 0, 1]]
    tolerance = torch.finfo(dtype).eps
    torch.testing.assert_close(
        found[1], torch.tensor(expected, dtype=dtype), rtol=0, atol=tolerance
    )


# Which way


def saves(channels, level, size, kernel=3, device="cpu"):
    weight = torch.empty(8, channels, kernel, kernel, device=device)
    return saves_work(torch.empty(1, channels, *level, device=device), weight, size)


def test_low_resolution_where_it_needs_less_than_half_of_the_work():
    assert saves(256, (16, 16), (64, 64)) and saves(128, (32, 32), (64, 64))
    assert saves(512, (1, 1), (64, 64))
    assert not saves(256, (60, 60), (64, 64))  # hardly fewer positions to mix at
    assert not saves(8, (32, 32), (64, 64))  # few channels: interpolating costs more than mixing
    # 2 * (9 C / 4 + 9 * 16 * 16 / 32 + 3 * 16) is 9 C where C = 53.3
    assert [saves(channels, (16, 16), (32, 32)) for channels in (53, 54)] == [False, True]


def test_a_1x1_convolution_always_goes_first():
    assert saves(1, (32, 32), (64, 64), kernel=1) and saves(256, (60, 60), (64, 64), kernel=1)


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_plain_way_at_equal_size_and_on_other_devices(kernel):
    assert not saves(512, (64, 64), (64, 64), kernel)
    assert saves(512, (16, 16), (64, 64), kernel)
    assert not saves(512, (16, 16), (64, 64), kernel, device="meta")


def networks():
    """Each network with what it is shown, in the sizes of a quick run."""
    torch.manual_seed(0)
    options = {"dtype": torch.float64}
    student = Student([64, 128, 256], True, 16).double().train()
    yield student, torch.randn(2, 3, 64, 64, **options), 3  # a decoder stage for each level
    shapes = ((64, 16), (128, 8), (256, 4))
    levels = [torch.randn(2, channels, size, size, **options) for channels, size in shapes]
    # Of the two coarse levels the first block, and of ASPP the pooled view.
    yield SegmentationNetwork(448, 32).double().train(), levels, 3


@pytest.mark.parametrize("index", [0, 1], ids=["student", "segmentation"])
def test_networks_take_the_cheap_way_and_agree_with_the_plain_one(index, monkeypatch):
    network, seen, expected_calls = list(networks())[index]
    cheap, calls = upsampled.conv3x3_at_low_resolution, []

    def counted(*arguments):
        calls.append(arguments)
        return cheap(*arguments)

    def both():
        network.zero_grad()
        outputs = network(seen)
        sum(x.square().sum() for x in outputs).backward()
        return [*outputs, *(p.grad.clone() for p in network.parameters())]

    monkeypatch.setattr(upsampled, "conv3x3_at_low_resolution", counted)
    found = both()
    assert len(calls) == expected_calls
    monkeypatch.setattr(upsampled, "saves_work", lambda *_: False)
    plain = both()
    assert len(calls) == expected_calls  # none was added
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * other.abs().max().item())
