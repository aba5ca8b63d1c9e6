"""The optimiser's loop, both phases on tiny networks, and what is kept of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from runs import (
    IMAGES,
    PARAMS,
    SIZE,
    TEXTURES,
    identical,
    network_of,
    state,
    student_of,
    tiny,
)

from lib import devices, inference, networks, training
from lib.batches import Batches
from lib.inference import anomaly_maps
from lib.networks import INPUTS, DeSTSeg, SegmentationNetwork, input_channels
from lib.training import NO_KEEPER, optimise

pytestmark = pytest.mark.usefixtures("plain_calls")

# The loop


def loop(step_loss, groups, chosen, rule=PARAMS.optimiser):
    """`optimise` on plain weights: [(weight, learning rate)]."""
    weights = torch.nn.ParameterList([weight for weight, _ in groups])
    groups = [([weight], rate) for weight, rate in groups]
    batches = Batches(IMAGES, TEXTURES, 1, PARAMS, "any", 0)
    settings = replace(PARAMS, optimiser=rule)
    return optimise(step_loss, weights, groups, chosen, settings, batches, NO_KEEPER)


def rates_and_history(schedule):
    """The rate of each of 100 steps, read off a weight whose gradient is 1, and the history."""
    weight, path = torch.nn.Parameter(torch.tensor([2.0])), []
    chosen = replace(PARAMS.segmentation, steps=100, schedule=schedule)
    plain = replace(PARAMS.optimiser, momentum=0.0, weight_decay=0.0)

    def step_loss():
        path.append(weight.detach().clone())
        return weight.sum()

    history = loop(step_loss, [(weight, 0.1)], chosen, plain)
    return -torch.cat([*path, weight.detach()]).diff(), history


def test_constant_rate():
    rates, history = rates_and_history("constant")
    torch.testing.assert_close(rates, torch.full((100,), 0.1), atol=1e-5, rtol=0)
    assert [step for step, _ in history] == list(range(2, 101, 2))
    assert history[0][1] == pytest.approx(1.9)  # the loss before the second step


def test_cosine_rate_ends_near_zero():
    rates, _ = rates_and_history("cosine")
    assert rates[0].item() == pytest.approx(0.1, abs=1e-4)
    assert rates[50].item() == pytest.approx(0.05, abs=1e-4)
    assert rates[-1].item() < 1e-4
    assert (rates.diff() < 1e-5).all()


def test_momentum_and_weight_decay():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    chosen = replace(PARAMS.segmentation, steps=2, schedule="constant")
    rule = replace(PARAMS.optimiser, momentum=0.5, weight_decay=0.2)
    loop(lambda: weight.sum(), [(weight, 0.1)], chosen, rule)
    first = 1 + 0.2 * 1.0
    second = 0.5 * first + 1 + 0.2 * (1 - 0.1 * first)
    assert weight.item() == pytest.approx(1 - 0.1 * first - 0.1 * second)


def test_groups_have_their_own_rate():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    chosen = replace(PARAMS.segmentation, steps=1, schedule="constant")
    loop(lambda: (a + b).sum(), [(a, 0.1), (b, 0.01)], chosen)
    assert (a.item(), b.item()) == pytest.approx((-0.1, -0.01))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number(value):
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at step 1; lower"):
        loop(lambda: weight.sum() * value, [(weight, 0.1)], PARAMS.segmentation)


# The two phases


def test_same_seed_gives_the_same_weights(teacher, student):
    torch.manual_seed(99)
    torch.rand(7)
    again, _ = student_of(teacher)
    assert identical(again, state(student))
    assert not identical(student_of(teacher, seed=1)[0], state(student))
    first = state(network_of(teacher, student)[0])
    torch.rand(7)
    assert identical(network_of(teacher, again)[0], first)


@pytest.mark.parametrize("kind", INPUTS)
def test_every_input_of_the_segmentation_network_trains(teacher, student, kind):
    chosen = replace(PARAMS.segmentation, input=kind, l1_weight=0.5)
    network, history = network_of(teacher, student, settings=chosen)
    assert [step for step, _ in history] == [1, 2]
    channels = input_channels(teacher.channels, kind)
    assert network.shape == {"inputs": channels, "channels": 8}
    assert network.residual[0].conv1.in_channels == channels
    torch.manual_seed(0)
    untrained = state(SegmentationNetwork(channels, 8).to(devices.device()))
    assert not any(torch.equal(p, untrained[name]) for name, p in network.named_parameters())
    maps = anomaly_maps(DeSTSeg(teacher, student, network, kind), IMAGES)
    assert np.isfinite(maps).all() and maps[1].shape == (5, SIZE // 4, SIZE // 4)


def test_the_head_alone_tells_the_losses_apart(teacher, student):
    method = PARAMS.segmentation
    (_, with_l1), (_, without), (_, again) = (
        network_of(teacher, student, settings=settings)
        for settings in (method, replace(method, l1_weight=0.0), None)
    )
    assert with_l1 == again and without[0][1] < with_l1[0][1]


def recorded(monkeypatch, name, argument, seen):
    """Note in `seen` the types of what the loss `name` is given."""
    loss = getattr(training, name)

    def recording(*arguments):
        answer = arguments[argument]
        seen.extend(x.dtype for x in (answer if isinstance(answer, list) else [answer]))
        return loss(*arguments)

    monkeypatch.setattr(training, name, recording)


def test_bf16_is_for_the_forward_passes_only(teacher, student, monkeypatch):
    seen = []
    recorded(monkeypatch, "cosine_distance_loss", 1, seen)
    for name in ("focal_loss", "l1_loss"):
        recorded(monkeypatch, name, 0, seen)
    halved = replace(PARAMS, arithmetic=replace(PARAMS.arithmetic, precision="bf16"))
    trained, history = student_of(teacher, chosen=halved)
    network, more = network_of(teacher, student, chosen=halved)
    assert len(seen) == 2 * (3 + 1 + 1) and set(seen) == {torch.float32}
    assert all(p.dtype == torch.float32 for n in (trained, network) for p in n.parameters())
    whole = [*student_of(teacher)[1], *network_of(teacher, student)[1]]
    for (step, loss), (_, expected) in zip([*history, *more], whole, strict=True):
        assert loss != expected and loss == pytest.approx(expected, rel=0.05), step


@pytest.mark.parametrize("name", ["plain", "denoising", "encoder_decoder", "full"])
def test_what_the_student_sees(teacher, monkeypatch, name):
    build, students, seen, targets = networks.Student, [], [], []

    def recording(*arguments):
        students.append(build(*arguments))
        students[0].register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
        return students[0]

    monkeypatch.setattr(training, "Student", recording)
    hook = teacher.register_forward_pre_hook(lambda _, x: targets.append(x[0].clone()))
    student_of(teacher, name)
    hook.remove()
    chosen = PARAMS.students[name]
    batches = Batches(IMAGES, TEXTURES, chosen.batch_size, PARAMS, "any", 0)
    differences = 0
    for by_teacher in targets:
        normal, corrupted, _ = next(batches)
        torch.testing.assert_close(by_teacher, teacher.normalise(normal))
        expected = [corrupted] if chosen.denoising else [corrupted, normal]  # the last one trains
        for image in expected:
            torch.testing.assert_close(seen.pop(0), teacher.normalise(image))
        differences += not torch.equal(normal, corrupted)
    assert not seen and differences  # or the test says nothing
    assert bool(len(students[0].decoder)) == chosen.encoder_decoder


@pytest.mark.parametrize("name", ["plain", "full"])
def test_images_that_never_change_are_shown_to_the_teacher_once(teacher, monkeypatch, name):
    still, batches = tiny(flips=False, rotation={"default": "none"}), []
    hook = teacher.register_forward_pre_hook(lambda _, x: batches.append(len(x[0])))
    once, history = student_of(teacher, name, chosen=still)
    assert batches == [len(IMAGES)]
    monkeypatch.setattr(Batches, "augmented", True)
    every_step, expected = student_of(teacher, name, chosen=still)
    assert batches == [len(IMAGES), 3, 3]
    hook.remove()
    assert [loss for _, loss in history] == pytest.approx([x for _, x in expected], rel=1e-3)
    pairs = zip(once.parameters(), every_step.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in pairs)


def test_training_lowers_the_loss(teacher):
    longer = replace(PARAMS.students["full"], steps=20, learning_rate=0.05)
    chosen = replace(PARAMS, students=PARAMS.students | {"full": longer})
    _, history = student_of(teacher, chosen=chosen)
    assert history[-1][1] < 0.8 * history[0][1]


# What is kept


def test_make_teacher():
    chosen = replace(PARAMS.teacher, backbone="resnet10t", weights="random")
    before = torch.get_num_threads()
    try:
        one = replace(PARAMS.arithmetic, threads=1)
        teacher = inference.make_teacher(replace(PARAMS, teacher=chosen, arithmetic=one))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert teacher.channels == [64, 128, 256]


def test_a_narrow_network_still_tells_strong_from_weak(teacher):
    """From a prior of 1/2 all last weights of narrow networks turn negative: ties at the top."""
    rng = np.random.default_rng(0)
    waves = rng.uniform(0, 6, (12, 1, 1, 1)) + np.linspace(0, 6, SIZE)[:, None, None]
    smooth = (128 + 60 * np.sin(waves + np.zeros((1, 1, SIZE, 1)))).astype(np.uint8)
    noise = rng.integers(0, 256, (8, SIZE, SIZE, 1), dtype=np.uint8)
    chosen = tiny(steps=150, flips=False, rotation={"default": "none"})
    head = replace(chosen.segmentation, channels=16, prior=0.05, batch_size=4)
    data = smooth, noise, chosen, "any"
    student, _ = training.train_student(teacher, *data, "full", 0)
    network, _ = training.train_segmentation(teacher, student, *data, 0, head)
    shown = {}
    for strength in (0.0, 0.25, 1.0):
        part = smooth.astype(float)
        part[:, 8:24, 8:24] += strength * (noise[:1, 8:24, 8:24] - part[:, 8:24, 8:24])
        model = DeSTSeg(teacher, student, network)
        shown[strength] = anomaly_maps(model, part.round().astype(np.uint8))[1].max(axis=(1, 2))
    assert (shown[1.0] > shown[0.25]).mean() > 0.9 and (shown[1.0] > shown[0.0]).all()
    scores = np.concatenate(list(shown.values()))
    assert (scores == scores.max()).sum() == 1
