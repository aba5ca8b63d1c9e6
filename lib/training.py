"""The two phases of training (paper section 3.4) over one engine; the last step counts.

Everything random comes from one torch.Generator of the run's seed on the training device, so a
run depends on its parameters, its data and the machine, and on nothing else.
"""

import math
import sys
import time

import torch

from lib.anomaly_map import cosine_map
from lib.corruption import corrupt, rotate, uniform
from lib.losses import cosine_distance_loss, downsample_mask, focal_loss, l1_loss
from lib.networks import (
    SegmentationNetwork,
    Student,
    Teacher,
    fold_batch_norm,
    segmentation_input,
)


def device():
    """The device to train on: the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_teacher(params):
    """The frozen teacher that params.yaml names, on the training device.

    Sets the number of CPU threads first: sums come out differently for another number, and small
    networks gain more from two items side by side than from two threads.
    """
    torch.set_num_threads(params.threads)
    teacher = params.teacher
    network = Teacher(teacher.backbone, teacher.weights, teacher.levels)
    fold_batch_norm(network.features, torch.zeros(1, 3, 64, 64))
    return network.to(device(), memory_format=torch.channels_last)


class Batches:
    """An endless stream of (normal, corrupted, mask) batches, made on the training device.

    images: uint8 (N, S, S, C) of the training split; textures: uint8 (M, S, S, C). Iterating gives
    normal and corrupted images (B, C, S, S) in [0, 1] and masks (B, 1, S, S). Images are drawn
    without replacement, epoch by epoch; augmented, then corrupted.
    """

    def __init__(self, images, textures, batch_size, params, category, seed):
        self.images, self.textures = to_device(images), to_device(textures)
        self.generator = torch.Generator(device()).manual_seed(seed)
        self.batch_size, self.params, self.order = batch_size, params, torch.empty(0)
        rules = params.augmentation.rotation
        self.rotation = rules.get(category, rules.get("default", "none"))

    @property
    def augmented(self):
        """Whether a normal image can look different from one epoch to the next."""
        return self.params.augmentation.flips or self.rotation != "none"

    def __iter__(self):
        return self

    def __next__(self):
        while len(self.order) < self.batch_size:  # fewer images than a batch: several epochs in one
            epoch = torch.randperm(
                len(self.images), generator=self.generator, device=self.images.device
            )
            self.order = torch.cat([self.order.to(epoch), epoch])
        self.index, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        normal = self.images[self.index] / 255
        normal = augment(normal, self.params.augmentation, self.rotation, self.generator)
        settings = vars(self.params.corruption)
        return normal, *corrupt(normal, self.textures, self.generator, **settings)


def to_device(images):
    """uint8 (N, S, S, C) array -> (N, C, S, S) tensor on the training device."""
    return torch.from_numpy(images).to(device()).permute(0, 3, 1, 2)


def to_arrays(images):
    """Tensor (N, C, S, S) in [0, 1] -> array (N, S, S, C), for figures."""
    return images.permute(0, 2, 3, 1).cpu().numpy()


def augment(images, augmentation, rotation, generator):
    """Mirror and rotate normal images (N, C, S, S) at random; uncovered corners become `fill`."""
    n = len(images)

    def coin():
        return uniform((n, 1, 1, 1), 0, 1, generator) < 0.5

    if augmentation.flips:
        images = torch.where(coin(), images.flip(3), images)
        images = torch.where(coin(), images.flip(2), images)
    if rotation == "none":
        return images
    degrees = uniform((n,), -augmentation.degrees, augmentation.degrees, generator)
    if rotation == "right_angles":
        turns = torch.randint(4, (n,), generator=generator, device=generator.device)
        degrees = degrees + 90 * turns
    fill = augmentation.fill / 255  # shifted to zero, which is what a rotation uncovers
    return rotate(images - fill, degrees.deg2rad()) + fill


def optimise(step_loss, groups, settings, optimiser, report):
    """Run `settings.steps` SGD steps on `step_loss()`; returns about fifty (step, loss).

    groups: [(parameters, learning rate)]. The rate is constant or decays to 0 as half a cosine.
    Raises FloatingPointError when the loss is NaN or infinite.
    """
    sgd = torch.optim.SGD(
        [{"params": list(p), "lr": rate} for p, rate in groups],
        momentum=optimiser.momentum,
        weight_decay=optimiser.weight_decay,
    )
    steps, history, every, start = (
        settings.steps,
        [],
        max(1, settings.steps // 50),
        time.monotonic(),
    )
    rate = {"constant": lambda _: 1.0, "cosine": lambda i: (1 + math.cos(math.pi * i / steps)) / 2}
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, rate[settings.schedule])
    for step in range(1, steps + 1):
        loss = step_loss()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        schedule.step()
        if step % every == 0 or step == steps:  # the only host synchronisation
            history.append((step, check_finite(loss.item(), step, report)))
            speed = step * settings.batch_size / (time.monotonic() - start)
            left = (steps - step) * settings.batch_size / speed
            print(
                f"{report} step {step}/{steps}, loss {history[-1][1]:.4f}, "
                f"{speed:.0f} images/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
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
    settings = getattr(params.students, name)
    torch.manual_seed(seed)
    student = Student(teacher.channels, settings.encoder_decoder, settings.width)
    student = student.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed)
    known = None if batches.augmented else teacher_levels(teacher, images)

    def step_loss():
        normal, corrupted, _ = next(batches)
        if known:  # the answer to an image never changes: one pass over the images is enough
            target = [level[batches.index] for level in known]
        else:
            with torch.no_grad():
                target = teacher(to_input(teacher, normal))
        seen = to_input(teacher, corrupted if settings.denoising else normal)
        return cosine_distance_loss(target, student(seen))

    groups = [(student.parameters(), settings.learning_rate)]
    history = optimise(step_loss, groups, settings, params.optimiser, f"student {name}")
    return student.eval(), history


def train_segmentation(teacher, student, images, textures, params, category, seed):
    """Phase 2: only the segmentation network learns, on corrupted images; (network, history)."""
    settings = params.segmentation
    torch.manual_seed(seed)
    network = SegmentationNetwork(sum(teacher.channels), settings.channels)
    network = network.to(device(), memory_format=torch.channels_last).train()
    batches = Batches(images, textures, settings.batch_size, params, category, seed)

    def step_loss():
        _, corrupted, mask = next(batches)
        with torch.no_grad():
            seen = to_input(teacher, corrupted)
            products = segmentation_input(teacher(seen), student(seen))
        prediction = network(products)
        target = downsample_mask(mask, prediction.shape[-2:])
        focal = focal_loss(prediction, target, settings.gamma)
        return focal + settings.l1_weight * l1_loss(prediction, target)

    groups = [
        (network.residual.parameters(), settings.learning_rate_residual),
        (network.head.parameters(), settings.learning_rate_head),
    ]
    history = optimise(step_loss, groups, settings, params.optimiser, "segmentation")
    return network.eval(), history


def to_input(teacher, images):
    """Images in [0, 1] with 1 or 3 channels -> what both networks see."""
    return teacher.normalise(images).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def teacher_levels(teacher, images, batch_size=32):
    """The teacher's levels of uint8 images (N, S, S, C): three tensors with N rows."""
    batches = to_device(images).split(batch_size)
    levels = zip(*(teacher(to_input(teacher, batch / 255)) for batch in batches), strict=True)
    return [torch.cat(level) for level in levels]


@torch.inference_mode()
def anomaly_maps(teacher, student, network, images, batch_size=32):
    """Both maps of uint8 images (N, S, S, C): float32 (N, S/4, S/4) twice, on the CPU."""
    cosine, segmentation = [], []
    for batch in to_device(images).split(batch_size):
        seen = to_input(teacher, batch / 255)
        teacher_levels, student_levels = teacher(seen), student(seen)
        cosine.append(cosine_map(teacher_levels, student_levels)[:, 0].cpu())
        products = segmentation_input(teacher_levels, student_levels)
        segmentation.append(network(products)[:, 0].cpu())
    return torch.cat(cosine).numpy(), torch.cat(segmentation).numpy()


def save(folder, network, settings, history):
    """Leave weights.pt (state dict and the settings that rebuild the network) and history.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"settings": settings, "state": network.state_dict()}, folder / "weights.pt")
    lines = ["step,loss", *(f"{step},{loss:.6g}" for step, loss in history)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def load(folder, build):
    """Rebuild what `save` left, as `build(**settings)`, on the training device in eval mode."""
    saved = torch.load(folder / "weights.pt", map_location=device(), weights_only=True)
    network = build(**saved["settings"])
    network.load_state_dict(saved["state"])
    return network.to(device(), memory_format=torch.channels_last).eval()
