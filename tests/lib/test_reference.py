"""lib against the plain implementation of the same mathematics in bench/reference.py.

In double precision, so that another order of the sums stays far below any difference in the
mathematics: outputs and gradients agree to 1e-9 of the largest value.
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from runs import state
from scipy import ndimage, stats
from torch import nn

from bench import reference
from lib import corruption, devices, inference, losses, training
from lib.batches import Batches
from lib.networks import SegmentationNetwork, Student, Teacher, segmentation_input
from study import params, schema
from study.scoring import metrics

CHANNELS = [64, 128, 256]  # levels of ResNet-18
SHAPES = [(64, 64), (96, 160)]


def predict(network, teacher_levels, student_levels):
    """lib's segmentation network on both networks' levels: how it is called is known only here."""
    return network(segmentation_input(teacher_levels, student_levels))


def close(found, expected, relative=1e-9):
    """Equal to `relative` of the largest expected value."""
    error = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    assert error < relative, f"off by {error:.1e} of the largest value"


def plain(network, *arguments, **options):
    """The plain module of the same name with the same weights."""
    twin = getattr(reference, type(network).__name__)(*arguments, **options)
    twin.load_state_dict(network.state_dict())
    return twin.to(next(network.parameters())).train(network.training)


def unlike_new(network):
    """Random batch-norm weights and statistics, so that none is 0 or 1 and hides a mistake."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_var):
                tensor.uniform_(0.5, 1.5)
            norm.running_mean.normal_()
    return network


def levels(shape, batch=3, channels=CHANNELS):
    """Random features at strides 4, 8 and 16 of images of `shape`."""
    sizes = [(shape[0] // stride, shape[1] // stride) for stride in (4, 8, 16)]
    return [
        torch.randn(batch, c, *size, dtype=torch.float64)
        for c, size in zip(channels, sizes, strict=True)
    ]


def same_gradients(network, twin):
    names = dict(network.named_parameters())
    assert list(names) == [name for name, _ in twin.named_parameters()]
    largest = max(p.grad.abs().max() for p in twin.parameters())
    for name, parameter in twin.named_parameters():
        error = (names[name].grad - parameter.grad).abs().max() / largest
        assert error < 1e-9, f"{name}: off by {error:.1e} of the largest gradient"


def same_statistics(network, twin):
    for (name, found), expected in zip(network.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, msg=name)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return unlike_new(Teacher("resnet18", "random"))


# Networks


@pytest.mark.parametrize("shape", SHAPES)
def test_teacher(teacher, shape):
    twin = plain(teacher)
    assert {"conv1.weight", "bn1.bias", "layer3.1.conv2.weight"} <= set(twin.features.state_dict())
    images = torch.rand(2, 3, *shape)
    with torch.no_grad():
        seen = teacher.normalise(images)
        assert torch.equal(seen, twin.normalise(images))
        found, expected = teacher(seen), twin(seen)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_teacher_as_training_makes_it(teacher, tmp_path):
    torch.save(teacher.features.state_dict(), tmp_path / "weights.pth")
    chosen = schema.Teacher("resnet18", str(tmp_path / "weights.pth"), (1, 2, 3))
    made = inference.make_teacher(replace(params.load(), teacher=chosen)).cpu()
    twin, images = plain(teacher), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = (t(t.normalise(images)) for t in (made, twin))
    for a, b in zip(found, expected, strict=True):  # single precision, batch-norms folded in
        close(a, b, 1e-5)


@pytest.mark.parametrize(
    ("encoder_decoder", "width", "shape", "training"),
    [
        *((True, 8, shape, training) for shape in SHAPES for training in (True, False)),
        *((False, 8, SHAPES[1], training) for training in (True, False)),
        (True, 64, SHAPES[0], True),  # the paper's: no 1x1 convolutions at the end
    ],
)
def test_student(encoder_decoder, width, shape, training):
    torch.manual_seed(0)
    network = unlike_new(Student(CHANNELS, encoder_decoder, width)).double().train(training)
    twin = plain(network, CHANNELS, encoder_decoder, width)
    images = torch.randn(3, 3, *shape, dtype=torch.float64)
    found, expected = network(images), twin(images)
    for a, b in zip(found, expected, strict=True):
        close(a, b)
    target = levels(shape)
    losses.cosine_distance_loss(target, found).backward()
    reference.cosine_distance_loss(target, expected).backward()
    same_gradients(network, twin)
    same_statistics(network, twin)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_segmentation_network(shape, training):
    torch.manual_seed(0)
    network = unlike_new(SegmentationNetwork(sum(CHANNELS), 16)).double().train(training)
    twin = plain(network, sum(CHANNELS), 16)
    seen = levels(shape), levels(shape)
    found, expected = predict(network, *seen), twin(reference.level_products(*seen))
    assert found.shape == (3, 1, shape[0] // 4, shape[1] // 4)
    close(found, expected)
    mask = (torch.rand(3, 1, *shape, dtype=torch.float64) > 0.7).double()
    segmentation_loss(found, mask).backward()
    reference.segmentation_loss(expected, mask).backward()
    same_gradients(network, twin)
    same_statistics(network, twin)


def test_single_precision():
    torch.manual_seed(0)
    student = unlike_new(Student(CHANNELS, True, 16)).eval()
    network = unlike_new(SegmentationNetwork(sum(CHANNELS), 32)).eval()
    teacher_levels = [level.float() for level in levels(SHAPES[0])]
    images = torch.randn(3, 3, *SHAPES[0])
    with torch.no_grad():
        found, expected = student(images), plain(student, CHANNELS, True, 16)(images)
        for a, b in zip(found, expected, strict=True):
            close(a, b, 1e-5)
        maps = plain(network, sum(CHANNELS), 32)(reference.level_products(teacher_levels, expected))
        close(predict(network, teacher_levels, expected), maps, 1e-5)


# Losses


def segmentation_loss(prediction, mask):
    target = losses.downsample_mask(mask, prediction.shape[-2:]).to(prediction)
    return losses.focal_loss(prediction, target) + losses.l1_loss(prediction, target)


def test_losses():
    torch.manual_seed(0)
    teacher, student = levels((64, 64)), levels((64, 64))
    found = losses.cosine_distance_loss(teacher, student)
    close(found, reference.cosine_distance_loss(teacher, student))
    prediction = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    mask = corruption.perlin_mask(4, 64, torch.Generator().manual_seed(0), threshold=0.1).double()
    close(segmentation_loss(prediction, mask), reference.segmentation_loss(prediction, mask))


# Steps: lib's own training functions


SIZE, STEPS, BATCH = 64, 2, 4  # the second step has momentum
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
TEXTURES = RANDOM.integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)


def tiny():
    """The paper's rates and losses with few steps of small networks, masks easily covered."""
    shipped = params.load()
    short = {"steps": STEPS, "batch_size": BATCH, "schedule": "constant"}
    students = {
        name: replace(student, width=8, learning_rate=0.4, **short)
        for name, student in shipped.students.items()
    }
    rates = {"learning_rate_residual": 0.1, "learning_rate_head": 0.01}
    return replace(
        shipped,
        arithmetic=replace(shipped.arithmetic, precision="fp32"),
        students=students,
        segmentation=replace(
            shipped.segmentation,
            channels=16,
            prior=None,
            gamma=4.0,
            l1_weight=1.0,
            **short,
            **rates,
        ),
        corruption=replace(shipped.corruption, threshold=0.1),
        optimiser=schema.Optimiser(0.9, 1e-4),
    )


def batches(phase):
    """The batches that lib's training draws with seed 0."""
    stream = Batches(IMAGES, TEXTURES, BATCH, tiny(), "any", 0, phase)
    return [next(stream) for _ in range(STEPS)]


def same_after_training(trained, twin, start, history, loss):
    """Everything has changed, and changed alike: to 1e-7 of each tensor's own change."""
    assert [value for _, value in history] == pytest.approx(loss, rel=1e-9)
    for name, expected in state(twin).items():
        change = (expected - start[name]).double().norm()
        error = (trained.state_dict()[name] - expected).double().norm() / change
        assert change > 0 and error < 1e-7, f"{name}: off by {error:.1e} of its change"


@pytest.fixture
def double(teacher):
    """lib trains in double precision, or its steps would amplify rounding; the teacher for that."""
    torch.set_default_dtype(torch.float64)
    yield deepcopy(teacher).double().to(devices.device())
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["plain", "denoising", "encoder_decoder", "full"])
def test_student_step(double, name):
    chosen = tiny().students[name]
    torch.manual_seed(0)  # as train_student seeds it
    shape = CHANNELS, chosen.encoder_decoder, 8
    student = plain(Student(*shape).to(devices.device()), *shape)
    network = plain(SegmentationNetwork(448, 16).to(devices.device()), 448, 16)
    start, idle = state(student), state(network)
    step = reference.student_step(plain(double), student, network, 0.4, chosen.denoising)
    loss = [step(*batch) for batch in batches(phase=1)]
    found, history = training.train_student(double, IMAGES, TEXTURES, tiny(), "any", name, 0)
    same_after_training(found, student, start, history, loss)
    assert all(torch.equal(tensor, idle[k]) for k, tensor in state(network).items())


def test_segmentation_step(double):
    torch.manual_seed(1)
    student = unlike_new(Student(CHANNELS, True, 8)).to(devices.device()).eval()
    torch.manual_seed(0)  # as train_segmentation seeds it
    network = plain(SegmentationNetwork(448, 16).to(devices.device()), 448, 16)
    twin = plain(student, CHANNELS, True, 8)
    start, idle = state(network), state(twin)
    step = reference.segmentation_step(plain(double), twin, network)
    loss = [step(*batch) for batch in batches(phase=2)]
    assert all(p.grad.any() for p in twin.parameters())  # work that lib does not do
    assert all(torch.equal(tensor, idle[k]) for k, tensor in state(twin).items())
    arguments = double, student, IMAGES, TEXTURES, tiny(), "any", 0
    found, history = training.train_segmentation(*arguments)
    same_after_training(found, network, start, history, loss)


# Corruption


def draw(count, size=64):
    """Masks (count, size, size) of lib and of the plain generator."""
    found = corruption.perlin_mask(count, size, torch.Generator().manual_seed(0))
    rng = np.random.default_rng(1)
    return found[:, 0].numpy(), np.stack([reference.perlin_mask(size, rng) for _ in range(count)])


def test_corruption_has_the_same_distribution():
    # At 64x64, where the bilinear rotation flattens the finest cells most.
    masks = draw(3000)
    covered = [m.mean(axis=(1, 2)) for m in masks]
    parts = [[ndimage.label(mask)[1] for mask in m] for m in masks]
    for figure in (covered, parts):  # Kolmogorov-Smirnov, fixed seeds
        assert stats.ks_2samp(*figure).pvalue > 0.01
    # Where in the image: rows and columns are corrupted equally often.
    for axes in ((0, 1), (0, 2)):
        found, expected = (m.mean(axis=axes) for m in masks)
        assert np.abs(found - expected).max() < 0.02


def test_plain_corruption_blends():
    images = np.full((64, SIZE, SIZE, 3), 255, np.uint8)
    textures = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    normal, corrupted, mask = reference.corrupted_batch(images, textures, np.random.default_rng(0))
    assert normal.shape == corrupted.shape == (64, 3, SIZE, SIZE) and mask.shape[1] == 1
    assert normal.dtype == corrupted.dtype == mask.dtype == torch.float32
    inside = (mask > 0).expand_as(normal)
    assert torch.equal(corrupted[~inside], normal[~inside])
    assert 0.01 < inside.float().mean() < 0.1
    assert corrupted[inside].min() >= 0 and corrupted[inside].max() < 0.8


# Metrics


@pytest.mark.parametrize("values", [None, 2, 12, 60], ids=["continuous", "2", "12", "60"])
def test_metrics(values):
    """Continuous maps, and maps of few distinct values."""
    rng = np.random.default_rng(values)
    masks = ndimage.gaussian_filter(rng.normal(size=(4, 24, 24)), (0, 2, 2)) > 0.25
    maps = ndimage.gaussian_filter(masks + rng.normal(size=masks.shape), (0, 1, 1))
    if values:
        maps = np.round((maps - maps.min()) / np.ptp(maps) * (values - 1)) / values
    maps = maps.astype(np.float32)
    scores, labels = rng.integers(0, 6, 20) / 6, np.arange(20) % 2
    assert len(reference.regions_of(masks)) > 5
    for limit, recall in ((0.3, 0.9), (0.05, 0.5)):
        found = metrics.evaluate(maps, masks, scores, labels, limit, recall)
        expected = reference.evaluate(maps, masks, scores, labels, limit, recall)
        assert found == pytest.approx(expected, abs=1e-9)
    approximate = reference.pro(maps, masks, thresholds=200)
    assert approximate == pytest.approx(metrics.pro(maps, masks), abs=0.01)
