"""The moving average of a network's weights while it trains, for a less noisy last step."""

from torch.optim.swa_utils import AveragedModel

from lib.training import Keeper


def average(network, decay):
    """The exponential moving average of a network's weights and batch-norm statistics.

    It weighs the past by `decay`, and by less in the first steps: (1 + n) / (10 + n) after n.
    """

    def mix(past, now, count):
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for old, new in zip(past, now, strict=True):
            old.lerp_(new, weight) if old.is_floating_point() else old.copy_(new)

    found = AveragedModel(network, multi_avg_fn=mix, use_buffers=True).eval()
    found.n_averaged += 1  # the initial weights count: at 0, the first step would replace them
    return found


class Averaged(Keeper):
    """A keeper around another one: the result of the training is the average of its weights."""

    def __init__(self, keeper, decay):
        self.keeper, self.decay = keeper, decay

    def expect(self, size, what):
        self.keeper.expect(size, what)

    def begin(self, settings, parts):
        parts["average"] = average(parts["network"], self.decay)
        self.last = settings.steps
        return self.keeper.begin(settings, parts)

    def after(self, step, history, parts):
        parts["average"].update_parameters(parts["network"])
        if step == self.last:  # before the checkpoint, which a resumed training ends with
            parts["network"].load_state_dict(parts["average"].module.state_dict())
        self.keeper.after(step, history, parts)


def keep(keeper, settings):
    """The keeper that the settings ask for: `ema` is the decay of the average, 0 for none."""
    return Averaged(keeper, settings.ema) if settings.ema else keeper
