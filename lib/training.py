"""The two phases of training (paper section 3.4) over one loop; the result is the last step.

All random numbers come from generators on the training device, seeded by the run's seed and the
phase. So a run depends only on its parameters, its data and the machine.
"""

import math

import torch

from lib.batches import Batches
from lib.devices import autocast, device
from lib.fast.ahead import Ahead
from lib.fast.folded import folded
from lib.fast.graph import Captured
from lib.inference import levels_memory, teacher_levels
from lib.losses import cosine_distance_loss, downsample_mask, focal_loss, l1_loss
from lib.networks import SegmentationNetwork, Student, input_channels, segmentation_input


class Keeper:
    """Hooks of a training, which do nothing; those of study/checkpoint.py resume and save."""

    def begin(self, settings, parts):
        """Called before the first step; returns (number of steps done, their history).

        parts: {name: object with state_dict and load_state_dict}, to be loaded in place.
        """
        return 0, []

    def after(self, step, history, parts):
        """Called after each step; history: about fifty (step, loss) of the whole training."""

    def expect(self, size, what):
        """Called before `size` bytes of memory are taken; `what` says what they are for."""


class Method:
    """The paper's losses, and a hook; study/variants/declared.py has those of a variant."""

    def begin(self, network, batches):
        """Called before a training, with a new network and its stream, to change either."""

    def distillation_loss(self, teacher_levels, student_levels):
        return cosine_distance_loss(teacher_levels, student_levels)

    def segmentation_loss(self, logits, mask, settings):
        prediction = torch.sigmoid(logits)
        focal = focal_loss(prediction, mask, settings.gamma)
        return focal + settings.l1_weight * l1_loss(prediction, mask)


NO_KEEPER, PAPER = Keeper(), Method()


def optimise(step_loss, network, groups, settings, params, batches, keeper):
    """Run `settings.steps` SGD steps on `step_loss()`; returns about fifty (step, loss).

    step_loss: gives the loss of the batch that `batches` has drawn; a CUDA graph on a GPU. groups:
    [(parameters, learning rate)]. The rate is constant or decays to 0 along half a cosine. Raises
    FloatingPointError if the loss is NaN or infinite.
    """
    groups = [{"params": list(p), "lr": rate} for p, rate in groups]
    sgd = torch.optim.SGD(groups, **vars(params.optimiser), fused=True)
    steps = settings.steps
    rate = {"constant": lambda _: 1.0, "cosine": lambda i: (1 + math.cos(math.pi * i / steps)) / 2}
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, rate[settings.schedule])
    parts = {"network": network, "sgd": sgd, "schedule": schedule, "batches": batches}
    step, history = keeper.begin(settings, parts)

    def differentiate():
        loss = step_loss()
        sgd.zero_grad()
        loss.backward()
        return loss.detach()

    if device().type == "cuda" and batches.resident:
        differentiate = Captured(differentiate, batches.generator)
    while step < steps:
        batches.draw()
        loss = differentiate()
        sgd.step()
        schedule.step()
        step += 1
        if step % max(1, steps // 50) == 0 or step == steps:  # the only host synchronisation
            history.append((step, check_finite(loss.item(), step)))
        keeper.after(step, history, parts)
    return history


def check_finite(loss, step):
    """Return the loss, or raise FloatingPointError that says what to change."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} at step {step}; lower the learning rate of this network in "
            "params.yaml, or look for images without content"
        )
    return loss


def train_student(
    teacher, images, textures, params, category, name, seed, keeper=NO_KEEPER, method=PAPER
):
    """Phase 1: the student learns the teacher's features of the clean image; (student, history)."""
    settings = params.students[name]
    torch.manual_seed(seed)
    student = Student(teacher.channels, settings.encoder_decoder, settings.width)
    student = student.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed)
    method.begin(student, batches)
    known = None
    if not batches.augmented:  # the levels of an image never change, so one pass is enough
        size = levels_memory(teacher, images)
        keeper.expect(size, f"the teacher's levels of {len(images)} images")
        with autocast(params.arithmetic.precision):
            known = teacher_levels(teacher, images)

    def step_loss():
        normal, corrupted, _ = batches.make()
        with autocast(params.arithmetic.precision):
            if not settings.denoising:  # the official batch-norm statistics include these
                with torch.no_grad():
                    student(teacher.normalise(corrupted))
            if known:
                target = [level[batches.index] for level in known]
            else:
                target = teacher(teacher.normalise(normal))  # frozen, so no gradient is kept
            seen = teacher.normalise(corrupted if settings.denoising else normal)
            answer = student(seen)
        return method.distillation_loss(target, [level.to(seen.dtype) for level in answer])

    groups = [(student.parameters(), settings.learning_rate)]
    history = optimise(step_loss, student, groups, settings, params, batches, keeper)
    return student.eval(), history


def train_segmentation(
    teacher, student, images, textures, params, category, seed,
    settings=None, keeper=NO_KEEPER, method=PAPER,
):  # fmt: skip
    """Phase 2: only the segmentation network learns, on corrupted images; (network, history).

    settings: the section `segmentation`, or `params.head` for a row of tables 5 and 6.
    """
    settings = settings or params.segmentation
    student.eval()  # keeps the batch-norm statistics of phase 1
    torch.manual_seed(seed)
    inputs = input_channels(teacher.channels, settings.input)
    network = SegmentationNetwork(inputs, settings.channels, settings.prior)
    network = network.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed, phase=2)
    method.begin(network, batches)
    frozen = folded(student, torch.zeros(1, 3, 64, 64, device=device()))

    def disagreement(corrupted):
        seen = teacher.normalise(corrupted)
        return segmentation_input(teacher(seen), frozen(seen), settings.input)

    shown = Ahead(batches, disagreement, params.arithmetic.precision)

    def step_loss():
        levels, mask = shown.make()
        with autocast(params.arithmetic.precision):
            logits = network.logits(levels)
        return method.segmentation_loss(logits, downsample_mask(mask, logits.shape[-2:]), settings)

    groups = [
        (network.residual.parameters(), settings.learning_rate_residual),
        (network.head.parameters(), settings.learning_rate_head),
    ]
    history = optimise(step_loss, network, groups, settings, params, shown, keeper)
    return network.eval(), history
