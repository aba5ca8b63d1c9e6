"""Averages that calm the last step: of a network's weights while it trains, and of seeds' maps."""

from copy import deepcopy

import torch

from lib.training import Keeper


class Average:
    """The exponential moving average of a network's weights and batch-norm statistics.

    It weighs the past by `decay`, and by less in the first steps: (1 + n) / (10 + n) after n.
    """

    def __init__(self, network, decay):
        self.source, self.network = network, deepcopy(network).eval().requires_grad_(False)
        self.decay, self.count = decay, 0

    @torch.no_grad()
    def update(self):
        """Called after each step."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        now = self.source.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - decay)
            else:
                value.copy_(now[name])

    def apply(self):
        """Give the averaged weights to the network."""
        self.source.load_state_dict(self.network.state_dict())

    def state_dict(self):
        return {"network": self.network.state_dict(), "count": self.count}

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.count = state["count"]


class Averaged(Keeper):
    """A keeper around another one: the result of the training is the average of its weights."""

    def __init__(self, keeper, decay):
        self.keeper, self.decay = keeper, decay

    def expect(self, size, what):
        self.keeper.expect(size, what)

    def begin(self, settings, parts):
        parts["average"] = Average(parts["network"], self.decay)
        self.last = settings.steps
        step, history = self.keeper.begin(settings, parts)
        self._finish(step, parts)  # a checkpoint of the last step
        return step, history

    def after(self, step, history, parts):
        parts["average"].update()
        self.keeper.after(step, history, parts)
        self._finish(step, parts)

    def _finish(self, step, parts):
        if step == self.last:
            parts["average"].apply()


def keep(keeper, settings):
    """The keeper that the settings ask for: `ema` is the decay of the average, 0 for none."""
    return Averaged(keeper, settings.ema) if settings.ema else keeper
