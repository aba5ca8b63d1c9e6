"""The two phases of training (paper section 3.4) over one engine; the last step counts.

Everything random comes from one torch.Generator of the run's seed on the training device, so a
run depends on its parameters, its data and the machine, and on nothing else.
"""

import math

import torch

from lib.batches import Batches
from lib.devices import autocast, device, fix_arithmetic
from lib.fast.ahead import Ahead
from lib.fast.folded import fold_batch_norm, folded
from lib.fast.graph import Captured
from lib.inference import teacher_levels, to_input
from lib.losses import cosine_distance_loss, downsample_mask, focal_loss, l1_loss
from lib.networks import SegmentationNetwork, Student, Teacher, input_channels, segmentation_input
from study.checkpoint import Checkpoint, training_key
from study.progress import Steps


def make_teacher(params):
    """The frozen teacher that params.yaml names, on the training device.

    Settles the arithmetic first (`fix_arithmetic`). One thread is enough for small networks, which
    gain more from two items side by side than from two threads.
    """
    fix_arithmetic(params.arithmetic.threads, params.arithmetic.deterministic)
    teacher = params.teacher
    network = Teacher(teacher.backbone, teacher.weights, teacher.levels)
    fold_batch_norm(network.features, torch.zeros(1, 3, 64, 64))
    return network.to(device(), memory_format=torch.channels_last)


def optimise(step_loss, network, groups, settings, params, batches, key, name):
    """Run `settings.steps` SGD steps on `step_loss()`; returns about fifty (step, loss).

    step_loss: the loss of the batch that `batches` has drawn; captured on a GPU. groups:
    [(parameters, learning rate)]. The rate is constant or decays to 0 as half a cosine. Goes on
    where an interrupted run of the same `key` was (study/checkpoint.py). Raises
    FloatingPointError when the loss is NaN or infinite.
    """
    sgd = torch.optim.SGD(
        [{"params": list(p), "lr": rate} for p, rate in groups],
        **vars(params.optimiser),
        fused=True,
    )
    steps, history = settings.steps, []
    rate = {"constant": lambda _: 1.0, "cosine": lambda i: (1 + math.cos(math.pi * i / steps)) / 2}
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, rate[settings.schedule])
    parts = {"network": network, "sgd": sgd, "schedule": schedule, "batches": batches}
    checkpoint, step = Checkpoint(key, params.running.checkpoint_seconds), 0
    if saved := checkpoint.load(name):
        step, history = saved["step"], saved["history"]
        for part, state in saved["parts"].items():
            parts[part].load_state_dict(state)

    def differentiate():
        loss = step_loss()
        sgd.zero_grad()
        loss.backward()
        return loss.detach()

    if device().type == "cuda" and batches.resident:
        differentiate = Captured(differentiate, batches.generator)
    progress = Steps(name, steps, settings.batch_size, params.running.live_log, first=step)
    every = max(1, steps // 50)
    while step < steps:
        batches.draw()
        loss = differentiate()
        sgd.step()
        schedule.step()
        step += 1
        if step % every == 0 or step == steps:  # the only host synchronisation
            history.append((step, check_finite(loss.item(), step, name)))
            progress.say(*history[-1])
        if checkpoint.due():
            states = {part: value.state_dict() for part, value in parts.items()}
            checkpoint.save({"step": step, "history": history, "parts": states})
    return history


def check_finite(loss, step, report):
    """Return the loss, or raise FloatingPointError that says what to change."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{report}: the loss is {loss} at step {step}; lower the learning rate of this section "
            "of params.yaml, or look for images without content"
        )
    return loss


def train_student(teacher, images, textures, params, category, name, seed):
    """Phase 1: the student learns the teacher's features of the clean image; (student, history)."""
    settings = params.students[name]
    torch.manual_seed(seed)
    student = Student(teacher.channels, settings.encoder_decoder, settings.width)
    student = student.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed)
    known = None
    if not batches.augmented:  # the answer to an image never changes: one pass over them is enough
        with autocast(params.arithmetic.precision):
            known = teacher_levels(teacher, images)

    def step_loss():
        normal, corrupted, _ = batches.make()
        with autocast(params.arithmetic.precision):
            if not settings.denoising:  # officially these pass, too, and count in its statistics
                with torch.no_grad():
                    student(to_input(teacher, corrupted))
            if known:
                target = [level[batches.index] for level in known]
            else:
                with torch.no_grad():
                    target = teacher(to_input(teacher, normal))
            seen = to_input(teacher, corrupted if settings.denoising else normal)
            answer = student(seen)
        return cosine_distance_loss(target, [level.to(seen.dtype) for level in answer])

    key = training_key(params, settings, category, seed, teacher, images, textures)
    groups = [(student.parameters(), settings.learning_rate)]
    history = optimise(
        step_loss, student, groups, settings, params, batches, key, f"student {name}"
    )
    return student.eval(), history


def train_segmentation(teacher, student, images, textures, params, category, seed, settings=None):
    """Phase 2: only the segmentation network learns, on corrupted images; (network, history).

    settings: the `segmentation` section, or what `params.head` gives for a row of tables 5 and 6.
    """
    settings = settings or params.segmentation
    student.eval()  # its batch-norm statistics stay as phase 1 left them
    torch.manual_seed(seed)
    inputs = input_channels(teacher.channels, settings.input)
    network = SegmentationNetwork(inputs, settings.channels, settings.prior)
    network = network.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed, phase=2)
    frozen = folded(student, torch.zeros(1, 3, 64, 64, device=device()))

    def disagreement(corrupted):
        seen = to_input(teacher, corrupted)
        return segmentation_input(teacher(seen), frozen(seen), settings.input)

    shown = Ahead(batches, disagreement, params.arithmetic.precision)

    def step_loss():
        levels, mask = shown.make()
        with autocast(params.arithmetic.precision):
            prediction = network(levels)
        target = downsample_mask(mask, prediction.shape[-2:])
        focal = focal_loss(prediction, target, settings.gamma)
        return focal + settings.l1_weight * l1_loss(prediction, target)

    key = training_key(
        params, settings, category, seed, teacher, images, textures, student.state_dict()
    )
    groups = [
        (network.residual.parameters(), settings.learning_rate_residual),
        (network.head.parameters(), settings.learning_rate_head),
    ]
    history = optimise(step_loss, network, groups, settings, params, shown, key, "segmentation")
    return network.eval(), history
