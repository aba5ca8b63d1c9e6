"""Batches, augmentation, the optimiser's loop and both phases on tiny networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import params, training
from lib.networks import SegmentationNetwork, Student, Teacher
from lib.training import Batches, anomaly_maps, augment, optimise, train_segmentation, train_student

SIZE = 32
SHIPPED = params.load()


def tiny(**augmentation):
    """The shipped parameters with two steps of small networks."""
    shipped = SHIPPED
    short = {"steps": 2, "batch_size": 3}
    students = {k: replace(v, width=8, **short) for k, v in vars(shipped.students).items()}
    return replace(
        shipped,
        students=replace(shipped.students, **students),
        segmentation=replace(shipped.segmentation, channels=8, **short),
        augmentation=replace(shipped.augmentation, **augmentation),
    )


PARAMS = tiny(flips=True)  # so that the teacher sees each batch, whatever is shipped


def numbered(count, size=SIZE, channels=1):
    """Images that are their number everywhere."""
    numbers = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(numbers, (count, size, size, channels)).copy()


RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, SIZE, SIZE, 1), dtype=np.uint8)
TEXTURES = RANDOM.integers(0, 256, (4, SIZE, SIZE, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return Teacher("resnet10t", "random").to(training.device())


def seeded(seed=0):
    return torch.Generator(training.device()).manual_seed(seed)


# Batches


def drawn(count, batch_size, batches, seed=0):
    """Which image each batch drew."""
    stream = Batches(numbered(count), TEXTURES, batch_size, PARAMS, "any", seed)
    return [(next(stream)[0][:, 0, 0, 0] * 255).round().int().tolist() for _ in range(batches)]


def test_every_image_once_an_epoch():
    found = [i for batch in drawn(6, 2, 9) for i in batch]
    epochs = [found[:6], found[6:12], found[12:]]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1  # in another order


def test_epochs_run_on_where_the_batch_does_not_divide_them():
    found = [i for batch in drawn(5, 3, 5) for i in batch]  # none is dropped at an epoch's end
    assert all(sorted(found[i : i + 5]) == list(range(5)) for i in (0, 5, 10))


def test_batch_larger_than_the_dataset():
    for batch in drawn(3, 7, 3):
        assert len(batch) == 7
        assert {batch.count(i) for i in range(3)} <= {2, 3}


def test_batches_depend_on_the_seed_only():
    torch.manual_seed(1)
    first = drawn(20, 4, 2, seed=5)
    torch.manual_seed(2)
    assert drawn(20, 4, 2, seed=5) == first
    assert drawn(20, 4, 2, seed=6) != first


@pytest.mark.parametrize("channels", [1, 3])
def test_batch(channels):
    images = RANDOM.integers(0, 256, (4, 64, 64, channels), dtype=np.uint8)
    normal, corrupted, mask = next(Batches(images, 255 - images, 4, PARAMS, "any", 0))
    assert normal.shape == corrupted.shape == (4, channels, 64, 64)
    assert mask.shape == (4, 1, 64, 64)
    assert normal.min() >= 0 and normal.max() <= 1
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    outside = (mask == 0).expand_as(normal)
    assert torch.equal(normal[outside], corrupted[outside])


def test_rotation_by_category():
    chosen = tiny(rotation={"default": "small", "pill": "none"})
    rotation = [Batches(IMAGES, TEXTURES, 1, chosen, c, 0).rotation for c in ("pill", "wood")]
    assert rotation == ["none", "small"]
    assert Batches(IMAGES, TEXTURES, 1, tiny(rotation={}), "wood", 0).rotation == "none"


# Augmentation


def settings(**values):
    return replace(SHIPPED.augmentation, **values)


def test_no_augmentation_changes_nothing():
    images = torch.rand(4, 1, 8, 8)
    found = augment(images, settings(flips=False), "none", seeded())
    assert torch.equal(found, images)


def test_flips():
    image = torch.arange(9.0).view(1, 3, 3) / 9
    found = augment(image.expand(400, 1, 3, 3), settings(flips=True), "none", seeded())
    allowed = [image.flip(dims) for dims in ([], [1], [2], [1, 2])]
    share = [np.mean([torch.equal(f, a) for f in found]) for a in allowed]
    assert sum(share) == 1
    assert share == pytest.approx([0.25] * 4, abs=4 * (0.25 * 0.75 / 400) ** 0.5)


def test_right_angles_without_more_are_exact():
    image = torch.rand(2, 8, 8)
    rule = settings(flips=False, degrees=0.0)
    found = augment(image.expand(80, 2, 8, 8), rule, "right_angles", seeded())
    turns = [
        [k for k in range(4) if (f - image.rot90(k, (1, 2))).abs().max() < 1e-4] for f in found
    ]
    assert all(len(k) == 1 for k in turns)
    assert {k[0] for k in turns} == {0, 1, 2, 3}


@pytest.mark.parametrize("rotation", ["small", "right_angles"])
def test_uncovered_corners_are_filled(rotation):
    white = torch.ones(20, 1, 64, 64)
    rule = settings(flips=False, degrees=5.0, fill=114)
    found = augment(white, rule, rotation, seeded())
    assert found.min().item() >= 114 / 255 - 1e-5
    torch.testing.assert_close(found[:, :, 16:48, 16:48], white[:, :, 16:48, 16:48])
    corners = found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].amin(dim=1)
    assert (corners < 0.6).float().mean() > 0.5  # about 114 / 255 = 0.447
    away = (found < 0.99).float().mean(dim=(1, 2, 3))
    assert away.max() < 0.1  # +-5 degrees uncover slivers only


def test_small_rotation_turns_by_its_angle():
    # A horizontal line: its ends move up or down by the tangent of the angle.
    line = torch.zeros(1, 1, 65, 65)
    line[..., 32, :] = 1
    rule = settings(flips=False, degrees=5.0, fill=0)
    found = augment(line.expand(200, 1, 65, 65), rule, "small", seeded())
    rows = torch.arange(65.0).view(1, 65)
    right, left = ((found[:, 0, :, c] * rows).sum(1) / found[:, 0, :, c].sum(1) for c in (52, 12))
    degrees = torch.atan((right - left) / 40).rad2deg()
    assert degrees.abs().max() < 5.3
    assert degrees.max() > 4 and degrees.min() < -4


# The loop


def rates_and_history(schedule):
    """The rate of each of 100 steps, read off a weight whose gradient is 1, and the history."""
    weight, path = torch.nn.Parameter(torch.tensor([2.0])), []
    chosen = replace(PARAMS.segmentation, steps=100, schedule=schedule)
    plain = replace(PARAMS.optimiser, momentum=0.0, weight_decay=0.0)

    def step_loss():
        path.append(weight.detach().clone())
        return weight.sum()

    history = optimise(step_loss, [([weight], 0.1)], chosen, plain, "test")
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
    optimise(lambda: weight.sum(), [([weight], 0.1)], chosen, rule, "test")
    first = 1 + 0.2 * 1.0
    second = 0.5 * first + 1 + 0.2 * (1 - 0.1 * first)
    assert weight.item() == pytest.approx(1 - 0.1 * first - 0.1 * second)


def test_groups_have_their_own_rate():
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    chosen = replace(PARAMS.segmentation, steps=1, schedule="constant")
    optimise(lambda: (a + b).sum(), [([a], 0.1), ([b], 0.01)], chosen, PARAMS.optimiser, "test")
    assert (a.item(), b.item()) == pytest.approx((-0.1, -0.01))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_no_number(value):
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    with pytest.raises(
        FloatingPointError, match=r"phase x: the loss is (nan|inf) at step 1; lower"
    ):
        optimise(
            lambda: weight.sum() * value,
            [([weight], 0.1)],
            PARAMS.segmentation,
            PARAMS.optimiser,
            "phase x",
        )


# The two phases


def state(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def identical(network, before):
    return all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def student_of(teacher, name="full", seed=0, chosen=PARAMS):
    return train_student(teacher, IMAGES, TEXTURES, chosen, "any", name, seed)


@pytest.fixture(scope="module")
def student(teacher):
    return student_of(teacher)[0]


def network_of(teacher, student, seed=0):
    return train_segmentation(teacher, student, IMAGES, TEXTURES, PARAMS, "any", seed)


def test_phase_1_changes_the_student_only(teacher):
    before = state(teacher)
    student, history = student_of(teacher)
    assert identical(teacher, before)
    assert not student.training
    assert [step for step, _ in history] == [1, 2]
    torch.manual_seed(0)
    untrained = Student(teacher.channels, True, 8)
    changed = [
        name
        for (name, a), b in zip(student.named_parameters(), untrained.parameters(), strict=True)
        if not torch.equal(a.cpu(), b)
    ]
    assert len(changed) == len(list(student.parameters()))
    assert student.stem[1].running_mean.any()  # batch-norm in training mode


def test_phase_2_changes_the_segmentation_network_only(teacher, student):
    before = state(teacher), state(student)
    network, history = network_of(teacher, student)
    assert identical(teacher, before[0])  # batch-norm statistics too
    assert identical(student, before[1])
    assert all(p.grad is None for p in teacher.parameters())
    assert not student.training and not network.training
    assert len(history) == 2
    torch.manual_seed(0)
    untrained = SegmentationNetwork(sum(teacher.channels), 8)
    for a, b in zip(network.parameters(), untrained.parameters(), strict=True):
        assert not torch.equal(a.cpu(), b)


def test_same_seed_gives_the_same_weights(teacher, student):
    torch.manual_seed(99)
    torch.rand(7)
    again, _ = student_of(teacher)
    assert identical(again, state(student))
    assert not identical(student_of(teacher, seed=1)[0], state(student))
    first = state(network_of(teacher, student)[0])
    torch.rand(7)
    assert identical(network_of(teacher, again)[0], first)


@pytest.mark.parametrize("name", ["plain", "denoising", "encoder_decoder", "full"])
def test_what_the_student_sees(teacher, monkeypatch, name):
    build, students, seen, targets = training.Student, [], [], []

    def recording(*arguments):
        students.append(build(*arguments))
        students[0].register_forward_pre_hook(lambda _, x: seen.append(x[0].clone()))
        return students[0]

    monkeypatch.setattr(training, "Student", recording)
    hook = teacher.register_forward_pre_hook(lambda _, x: targets.append(x[0].clone()))
    student_of(teacher, name)
    hook.remove()
    chosen = getattr(PARAMS.students, name)
    batches = Batches(IMAGES, TEXTURES, chosen.batch_size, PARAMS, "any", 0)
    differences = 0
    for by_student, by_teacher in zip(seen, targets, strict=True):
        normal, corrupted, _ = next(batches)
        torch.testing.assert_close(by_teacher, teacher.normalise(normal))
        expected = corrupted if chosen.denoising else normal
        torch.testing.assert_close(by_student, teacher.normalise(expected))
        differences += not torch.equal(normal, corrupted)
    assert differences  # or the test says nothing
    assert bool(len(students[0].decoder)) == chosen.encoder_decoder


def test_teacher_levels(teacher):
    found = training.teacher_levels(teacher, IMAGES, batch_size=2)
    with torch.no_grad():
        expected = teacher(training.to_input(teacher, training.to_device(IMAGES) / 255))
    for level, whole in zip(found, expected, strict=True):
        assert not level.requires_grad
        torch.testing.assert_close(level, whole, rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize(
    ("flips", "rotation", "augmented"),
    [(False, "none", False), (True, "none", True), (False, "small", True)],
)
def test_which_rules_augment(flips, rotation, augmented):
    chosen = tiny(flips=flips, rotation={"default": rotation})
    assert Batches(IMAGES, TEXTURES, 2, chosen, "any", 0).augmented == augmented


def test_training_lowers_the_loss(teacher):
    longer = replace(PARAMS.students.full, steps=20, learning_rate=0.05)
    chosen = replace(PARAMS, students=replace(PARAMS.students, full=longer))
    _, history = student_of(teacher, chosen=chosen)
    assert history[-1][1] < 0.8 * history[0][1]


# What is kept


def test_save_and_load(tmp_path, student, teacher):
    folder = tmp_path / "a" / "b"
    shape = {"teacher_channels": teacher.channels, "encoder_decoder": True, "width": 8}
    training.save(folder, student, shape, [(1, 2.5), (2, 0.123456789)])
    loaded = training.load(folder, Student)
    assert identical(loaded, state(student))
    assert not loaded.training
    assert (folder / "history.csv").read_text() == "step,loss\n1,2.5\n2,0.123457\n"


def test_anomaly_maps(teacher, student):
    network, _ = network_of(teacher, student)
    images = RANDOM.integers(0, 256, (5, SIZE, SIZE, 1), dtype=np.uint8)
    cosine, segmentation = anomaly_maps(teacher, student, network, images)
    for maps in (cosine, segmentation):
        assert maps.shape == (5, SIZE // 4, SIZE // 4)
        assert maps.dtype == np.float32 and np.isfinite(maps).all()
    assert cosine.min() >= 0 and cosine.max() <= 8
    assert segmentation.min() > 0 and segmentation.max() < 1
    one_by_one = anomaly_maps(teacher, student, network, images, batch_size=1)
    np.testing.assert_allclose(cosine, one_by_one[0], atol=1e-4)
    np.testing.assert_allclose(segmentation, one_by_one[1], atol=1e-4)


def test_make_teacher():
    chosen = replace(PARAMS.teacher, backbone="resnet10t", weights="random")
    before = torch.get_num_threads()
    try:
        teacher = training.make_teacher(replace(PARAMS, teacher=chosen, threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    assert teacher.channels == [64, 128, 256]


def test_images_to_tensors_and_back():
    images = IMAGES[:2]
    tensors = training.to_device(images)
    assert tensors.shape == (2, 1, SIZE, SIZE)
    assert np.array_equal(training.to_arrays(tensors), images)
