"""Averaged weights: what they are, and that an interrupted training resumes to the same bits."""

from dataclasses import replace

import pytest
import torch
from runs import IMAGES, PARAMS, TEXTURES, identical, state
from torch import nn

from lib.networks import Student
from lib.training import Keeper, train_segmentation
from study import checkpoint
from study.variants import averaging


def test_the_average_of_a_walk():
    network = nn.BatchNorm1d(1)
    average, expected = averaging.average(network, 0.5), 1.0
    for step in range(1, 6):
        network.weight.data.fill_(step)
        network.num_batches_tracked.fill_(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        average.update_parameters(network)
    assert float(average.module.weight) == pytest.approx(expected)
    assert int(average.module.num_batches_tracked) == 5


class Interrupted(Exception):
    pass


class Stopped(checkpoint.Keeper):
    def after(self, step, history, parts):
        super().after(step, history, parts)
        if step == self.stop:
            raise Interrupted


def train(teacher, student, keeper, decay=0.9):
    settings = replace(PARAMS.segmentation, steps=4, ema=decay)
    keeper, data = averaging.keep(keeper, settings), (teacher, student, IMAGES, TEXTURES)
    return train_segmentation(*data, PARAMS, "any", 0, settings, keeper)[0]


@pytest.mark.parametrize("stop", [2, 4])
def test_resumed_to_the_bit(teacher, stop):
    torch.manual_seed(0)
    student = Student(teacher.channels, True, 8).to(next(teacher.buffers()).device).eval()
    at_once = train(teacher, student, Keeper())
    assert not identical(at_once, state(train(teacher, student, Keeper(), 0.0)))
    chosen = replace(PARAMS, running=replace(PARAMS.running, checkpoint_seconds=0.0))
    item = chosen, "segmentation", f"stop{stop}", 0, teacher, IMAGES, TEXTURES, student
    stopped = Stopped(*item)
    stopped.stop = stop
    with pytest.raises(Interrupted):
        train(teacher, student, stopped)
    resumed = train(teacher, student, checkpoint.Keeper(*item))
    assert identical(resumed, state(at_once))
