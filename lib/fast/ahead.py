"""Several batches in one pass of the frozen networks, which saves calls on CPU cores."""

import torch

from lib.batches import Stream
from lib.devices import autocast, device


class Ahead(Stream):
    """Outputs of frozen networks for the corrupted images of several batches, in one pass.

    On CPU cores, small batches of small images spend more time in calls than in arithmetic.
    function: corrupted images (B, C, S, S) -> list of (B, ...). Iterating gives (that list, mask)
    of one batch at a time; the values equal those of separate passes, up to rounding.
    """

    PIXELS, MOST = 2**18, 8  # largest pass, in pixels and batches; more gains nothing on CPU cores

    def __init__(self, batches, function, precision):
        self.batches, self.function, self.precision = batches, function, precision
        self.generator, self.resident = batches.generator, batches.resident
        pixels = batches.batch_size * batches.images.shape[-1] ** 2
        self.count = max(1, min(self.MOST, self.PIXELS // pixels))
        if device().type == "cuda":  # there, calls are captured
            self.count = 1
        self.made = []

    def draw(self):
        """Choose the images of the next batch, or compute a pass over several."""
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
        """The position of the stream before this pass, and the number of batches left."""
        state = self.state if self.made else self.batches.state_dict()
        return {"batches": state, "left": len(self.made)}

    def load_state_dict(self, state):
        """Repeat the pass if `state_dict` was taken during one."""
        self.batches.load_state_dict(state["batches"])
        self.made = []
        if state["left"]:
            next(self)
            self.made = self.made[-state["left"] :]
