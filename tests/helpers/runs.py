"""Trainings of a few steps on small networks and images, for the tests of what trains."""

from dataclasses import replace

import numpy as np

from lib.training import NO_KEEPER, train_segmentation, train_student
from study import params
from study.checkpoint import Keeper

SIZE = 32
SHIPPED = params.load()
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, SIZE, SIZE, 1), dtype=np.uint8)
TEXTURES = RANDOM.integers(0, 256, (4, SIZE, SIZE, 1), dtype=np.uint8)


def tiny(steps=2, **augmentation):
    """The shipped parameters with `steps` steps of three images and small networks, in fp32."""
    short = {"steps": steps, "batch_size": 3}
    students = {k: replace(v, width=8, **short) for k, v in SHIPPED.students.items()}
    return replace(
        SHIPPED,
        arithmetic=replace(SHIPPED.arithmetic, precision="fp32"),
        students=students,
        segmentation=replace(SHIPPED.segmentation, channels=8, **short),
        augmentation=replace(SHIPPED.augmentation, **augmentation),
    )


PARAMS = tiny(flips=True)  # so that the teacher sees each batch, whatever is shipped


def student_of(teacher, name="full", seed=0, chosen=PARAMS, category="any", kept=False):
    """Train a student; kept: resumed and saved as in the pipeline."""
    keeper = NO_KEEPER
    if kept:
        keeper = Keeper(chosen, f"student {name}", category, seed, teacher, IMAGES, TEXTURES)
    return train_student(teacher, IMAGES, TEXTURES, chosen, category, name, seed, keeper)


def network_of(teacher, student, seed=0, chosen=PARAMS, category="any", settings=None, kept=False):
    """Train a segmentation network; kept: resumed and saved as in the pipeline."""
    data, keeper = (IMAGES, TEXTURES), NO_KEEPER
    if kept:
        keeper = Keeper(chosen, "segmentation", category, seed, teacher, *data, student)
    return train_segmentation(teacher, student, *data, chosen, category, seed, settings, keeper)


def state(network):
    """A copy of its weights and statistics."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def identical(network, before):
    """Whether the network's state is `before`, bit for bit."""
    return all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
