"""Captured steps are plain ones, to the bit."""

from dataclasses import replace

import pytest
import torch
from runs import PARAMS, network_of, student_of, tiny

from lib import devices
from lib.fast.graph import Captured


@pytest.mark.skipif(devices.device().type == "cpu", reason="needs a GPU")
def test_captured_steps_are_plain_ones_to_the_bit(teacher, plain_calls, monkeypatch):
    def weights(checkpoint_seconds=1e9):
        running = replace(PARAMS.running, checkpoint_seconds=checkpoint_seconds)
        chosen = replace(tiny(steps=9), running=running)
        student, losses = student_of(teacher, "full", chosen=chosen)
        network, more = network_of(teacher, student, chosen=chosen)
        return [*student.parameters(), *network.parameters()], losses + more

    plain, losses = weights()
    monkeypatch.setattr(Captured, "PLAIN", 3)
    captured, same = weights()
    assert same == losses
    assert all(map(torch.equal, plain, captured))
    step = torch.optim.SGD.step
    left = iter([True] * 5)  # killed after five steps: three of them plain, two captured
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: next(left) and step(self))
    with pytest.raises(StopIteration):
        weights(0.0)
    monkeypatch.setattr(torch.optim.SGD, "step", step)
    continued, same = weights(0.0)
    assert same == losses
    assert all(map(torch.equal, plain, continued))
