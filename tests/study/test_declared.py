"""Declared variants of a training, and that none of them is the paper's method."""

from dataclasses import replace

import pytest
import torch
from runs import IMAGES, PARAMS, TEXTURES, identical, network_of, state, student_of

from lib import losses
from lib.networks import Student
from lib.training import train_segmentation, train_student
from study.variants import declared


def train(teacher, **keys):
    """A student with these keys set, trained as the notebook `student` does."""
    students = PARAMS.students | {"full": replace(PARAMS.students["full"], **keys)}
    method, chosen = declared.student(replace(PARAMS, students=students), "full")
    data = teacher, IMAGES, TEXTURES, chosen, "any", "full", 0
    return train_student(*data, method=method)


def test_no_key_set_gives_the_bits_of_the_paper(teacher):
    found, history = train(teacher)
    paper, expected = student_of(teacher)
    assert identical(found, state(paper)) and history == expected
    method, chosen = declared.segmentation(PARAMS, "full")
    data = teacher, paper, IMAGES, TEXTURES, chosen, "any", 0
    network, more = train_segmentation(*data, method.settings, method=method)
    again, usual = network_of(teacher, paper)
    assert identical(network, state(again)) and more == usual


@pytest.mark.parametrize("keys", [{"noise": 0.05}, {"hard_mining": 0.5}])
def test_a_key_changes_the_student_and_repeats(teacher, keys):
    found, history = train(teacher, **keys)
    again, same = train(teacher, **keys)
    assert identical(again, state(found)) and same == history
    assert not identical(found, state(student_of(teacher)[0]))


def test_noise_is_relative_to_the_latent_and_only_in_training():
    torch.manual_seed(0)
    student, images = Student([8, 16, 32], True, 8), torch.rand(4, 3, 64, 64)
    latents = []
    declared.add_noise(student, 0.1, torch.Generator().manual_seed(0))
    student.decoder[0].register_forward_pre_hook(lambda block, inputs: latents.append(inputs[0]))
    with torch.no_grad():
        student.eval()(images)
        student.eval()(images)
        assert torch.equal(*latents)
        student.encoder.train()
        for module in student.encoder.modules():  # the same statistics, so that noise remains
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        student(images)
    clean, noisy = latents[1:]
    added = (noisy - clean) / clean.norm(dim=1, keepdim=True)
    assert float(added.std()) == pytest.approx(0.1, rel=0.1)


def test_hard_mining_counts_easy_positions_a_tenth():
    torch.manual_seed(0)
    levels = [[torch.randn(3, 4, 6, 6) for _ in range(3)] for _ in range(2)]
    plain = losses.cosine_distance_loss(*levels)
    assert torch.isclose(declared.hard_mining_loss(*levels, 0.0), plain)
    expected = 0
    for t, s in zip(*levels, strict=True):
        distance = losses.cosine_distance(t, s)
        order = distance.flatten().sort().values
        easy, hard = order[:54].sum(), order[54:].sum()
        expected += (0.1 * easy + hard) / 36
    assert torch.isclose(declared.hard_mining_loss(*levels, 0.5), expected)


def test_dice():
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, 0, :2] = 1
    assert float(declared.dice_loss(mask, mask)) == 0
    assert float(declared.dice_loss(1 - mask, mask)) == pytest.approx(1 - 1 / 33)
    method, _ = declared.segmentation(PARAMS, "full")
    logits, settings = torch.randn(2, 1, 4, 4), PARAMS.segmentation
    plain = method.segmentation_loss(logits, mask, settings)
    both = method.segmentation_loss(logits, mask, replace(settings, dice_weight=2.0))
    assert torch.isclose(both, plain + 2 * declared.dice_loss(torch.sigmoid(logits), mask))
