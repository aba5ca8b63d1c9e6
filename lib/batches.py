"""The endless stream of batches that trains: drawn, augmented and corrupted (section 3.1).

Everything random comes from one torch.Generator, and a stream can be taken up where it was.
"""

import numpy as np
import torch

from lib.corruption import corrupt, rotate, uniform
from lib.devices import autocast, device, take, to_device


class Stream:
    """Batches without end: `draw` chooses the next one, `make` computes it and may be captured."""

    def __iter__(self):
        return self

    def __next__(self):
        self.draw()
        return self.make()


class Batches(Stream):
    """An endless stream of (normal, corrupted, mask) batches, made on the training device.

    images: uint8 (N, S, S, C) of the training split; textures: uint8 (M, S, S, C). Iterating gives
    normal and corrupted images (B, C, S, S) in [0, 1] and masks (B, 1, S, S). Images are drawn
    without replacement, epoch by epoch; augmented, then corrupted. Each phase (1 or 2) has a stream
    of its own, so that phase 2 shows no batch that the student was fitted to.
    """

    def __init__(self, images, textures, batch_size, params, category, seed, phase=1):
        self.images, self.textures = to_device(images), to_device(textures)
        self.generator = torch.Generator(device()).manual_seed(stream_seed(seed, phase))
        self.batch_size, self.params = batch_size, params
        self.order = torch.empty(0, dtype=torch.long, device=device())
        self.index = torch.empty(batch_size, dtype=torch.long, device=device())
        rules = params.augmentation.rotation
        self.rotation = rules.get(category, rules.get("default", "none"))

    @property
    def resident(self):
        """Whether all images are on the training device."""
        return self.images.device == self.textures.device == self.index.device

    @property
    def augmented(self):
        """Whether a normal image can look different from one epoch to the next."""
        return self.params.augmentation.flips or self.rotation != "none"

    def draw(self):
        """Choose the images of the next batch."""
        while len(self.order) < self.batch_size:  # fewer images than a batch: several epochs in one
            epoch = torch.randperm(
                len(self.images), generator=self.generator, device=self.generator.device
            )
            self.order = torch.cat([self.order, epoch])
        self.index.copy_(self.order[: self.batch_size])
        self.order = self.order[self.batch_size :]

    def make(self):
        normal = take(self.images, self.index) / 255
        normal = augment(normal, self.params.augmentation, self.rotation, self.generator)
        settings = vars(self.params.corruption)
        return normal, *corrupt(normal, self.textures, self.generator, **settings)

    def state_dict(self):
        """Where the stream stands: what is random and what is left of the epoch."""
        return {"generator": self.generator.get_state(), "order": self.order}

    def load_state_dict(self, state):
        """Go on where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self.order = state["order"].to(device())


def stream_seed(seed, phase):
    """The seed of a phase's stream: streams of other seeds and phases have nothing in common."""
    state = np.random.SeedSequence([seed, phase]).generate_state(1, np.uint64)[0]
    return int(state) >> 1  # torch takes 63 bits


class Ahead(Stream):
    """What frozen networks make of the corrupted images of several batches, in one pass.

    On CPU cores small batches of small images cost more in calls than in arithmetic. function:
    corrupted images (B, C, S, S) -> list of (B, ...). Iterating gives (that list, mask) of one
    batch after the other; values are those of batch by batch, to rounding.
    """

    PIXELS, MOST = 2**18, 8  # of a pass, batches of it: more gained nothing on CPU cores

    def __init__(self, batches, function, precision):
        self.batches, self.function, self.precision = batches, function, precision
        self.generator, self.resident = batches.generator, batches.resident
        pixels = batches.batch_size * batches.images.shape[-1] ** 2
        self.count = max(1, min(self.MOST, self.PIXELS // pixels))
        if device().type == "cuda":  # there, calls are captured
            self.count = 1
        self.made = []

    def draw(self):
        """Choose the images of the next batch, or make a pass of several."""
        if self.count == 1:
            self.batches.draw()
        elif not self.made:
            self.state = self.batches.state_dict()
            _, corrupted, masks = zip(*(next(self.batches) for _ in range(self.count)), strict=True)
            found = self.look(torch.cat(corrupted))
            parts = zip(*(x.split(self.batches.batch_size) for x in found), strict=True)
            self.made = list(zip(map(list, parts), masks, strict=True))

    def make(self):
        if self.count > 1:
            return self.made.pop(0)
        _, corrupted, mask = self.batches.make()
        return self.look(corrupted), mask

    @torch.no_grad()
    def look(self, corrupted):
        with autocast(self.precision):
            return self.function(corrupted)

    def state_dict(self):
        """Where the stream stood before this pass, and how much of the pass is left."""
        state = self.state if self.made else self.batches.state_dict()
        return {"batches": state, "left": len(self.made)}

    def load_state_dict(self, state):
        """Make the pass again, if `state_dict` was taken amid one."""
        self.batches.load_state_dict(state["batches"])
        self.made = []
        if state["left"]:
            next(self)
            self.made = self.made[-state["left"] :]


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
