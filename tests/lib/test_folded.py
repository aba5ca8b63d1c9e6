"""lib.fast.folded: the same outputs without batch-norms, in a copy."""

import torch
from torch import nn

from lib.fast.folded import folded


def test_a_folded_copy_gives_the_same_and_leaves_the_network_alone():
    torch.manual_seed(0)
    norms = nn.BatchNorm2d(8), nn.BatchNorm2d(4)
    for norm in norms:  # as trained: not 0 and 1
        for tensor in (norm.running_var, norm.weight.data, norm.bias.data):
            tensor.uniform_(0.5, 1.5)
        norm.running_mean.normal_()
    first, second = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 4, 1)
    network = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1]).eval()
    x = torch.rand(2, 3, 9, 9)
    expected = network.requires_grad_(False)(x)
    copy = folded(network, x)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    torch.testing.assert_close(copy(x), expected)
    assert network[1] is norms[0] and torch.equal(network(x), expected)
