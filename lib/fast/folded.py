"""Batch-norms of frozen networks, folded into the convolutions before them."""

from copy import deepcopy
from functools import partial

import torch
from torch import nn


def folded(network, example):
    """A copy of a frozen network with its batch-norms folded (`fold_batch_norm`)."""
    copy = deepcopy(network).eval()
    fold_batch_norm(copy, example)
    return copy


@torch.no_grad()
def fold_batch_norm(network, example):
    """Fold every batch-norm that follows a convolution into it; for frozen networks in eval mode.

    One forward pass of `example` shows which layer follows which. Outputs stay equal up to
    rounding. Convolutions of `Upsampled` are not changed, because they take no bias.
    """
    made_by, pairs, hooks = {}, [], []  # made_by keeps outputs alive, so identities are unique
    names = {module: name for name, module in network.named_modules()}
    for module in names:
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(partial(remember, made_by)))
        elif isinstance(module, nn.BatchNorm2d):
            note = lambda norm, x: pairs.append((made_by.get(id(x[0])), norm))  # noqa: E731
            hooks.append(module.register_forward_pre_hook(note))
    network(example)
    for hook in hooks:
        hook.remove()
    for made, norm in pairs:
        if made:
            conv, scale = made[0], norm.weight / (norm.running_var + norm.eps).sqrt()
            bias = 0 if conv.bias is None else conv.bias
            conv.weight.mul_(scale.view(-1, 1, 1, 1))
            conv.bias = nn.Parameter(norm.bias + (bias - norm.running_mean) * scale, False)
            # timm's batch-norms may carry the activation
            network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


def remember(made_by, conv, inputs, output):
    """Forward hook: note in `made_by` which convolution made `output`."""
    if torch.is_tensor(inputs[0]):
        made_by[id(output)] = conv, output
