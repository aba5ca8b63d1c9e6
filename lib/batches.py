"""The endless stream of batches that trains: drawn, augmented and corrupted (section 3.1).

All random numbers come from one torch.Generator. A stream can be saved and resumed.
"""

import numpy as np
import torch

from lib.corruption import augment, corrupt
from lib.devices import device, take, to_device


class Stream:
    """An endless stream: `draw` chooses the next batch, `make` computes it (in a CUDA graph)."""

    def __iter__(self):
        return self

    def __next__(self):
        self.draw()
        return self.make()


class Batches(Stream):
    """An endless stream of (normal, corrupted, mask) batches, made on the training device.

    images: uint8 (N, S, S, C) of the training split; textures: uint8 (M, S, S, C). Iterating gives
    normal and corrupted images (B, C, S, S) in [0, 1] and masks (B, 1, S, S). Images are drawn
    without replacement, epoch by epoch; augmented, then corrupted. Each phase (1 or 2) has its own
    stream, so phase 2 repeats no batch that the student was fitted to.
    """

    corrupt = staticmethod(corrupt)  # a variant has its own

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
            source = self.generator
            epoch = torch.randperm(len(self.images), generator=source, device=source.device)
            self.order = torch.cat([self.order, epoch])
        self.index.copy_(self.order[: self.batch_size])  # in place: a CUDA graph reads it
        self.order = self.order[self.batch_size :]

    def make(self):
        normal = take(self.images, self.index)
        normal = augment(normal, self.params.augmentation, self.rotation, self.generator)
        settings = {k: v for k, v in vars(self.params.corruption).items() if v is not None}
        return normal, *self.corrupt(normal, self.textures, self.generator, **settings)

    def state_dict(self):
        """The position of the stream: the random state and the rest of the epoch."""
        return {"generator": self.generator.get_state(), "order": self.order}

    def load_state_dict(self, state):
        """Continue where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self.order = state["order"].to(device())


def stream_seed(seed, phase):
    """The seed of a phase's stream; other seeds and phases give independent streams."""
    state = np.random.SeedSequence([seed, phase]).generate_state(1, np.uint64)[0]
    return int(state) >> 1  # torch takes 63 bits


def to_arrays(images):
    """Tensor (N, C, S, S) in [0, 1] -> array (N, S, S, C), for figures."""
    return images.permute(0, 2, 3, 1).cpu().numpy()
