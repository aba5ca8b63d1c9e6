"""Fidelity to the paper and to the official procedure: what the other test files leave open.

Sizes and initialisation are in test_networks, losses by hand and the sum over the batch in
test_losses, the corruption alone in test_corruption, the metrics' official figures in
test_metrics, and equality with plain implementations of everything in test_reference.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from runs import IMAGES, PARAMS, SHIPPED, identical, network_of, state, student_of, tiny
from scipy import stats
from torch import nn
from toys import dataset, put

from lib import devices
from lib.batches import Batches
from lib.losses import downsample_mask
from lib.networks import SegmentationNetwork, Student
from study import schema
from study.data.mvtec import load_category

PAPER = Path(__file__).parents[2] / "profiles" / "paper.yaml"


# Corruption in the stream that trains; a mask at 256x256 costs about 5 ms.


MASKS, OFFICIAL = 2016, 3000
WHITE = np.full((32, 256, 256, 1), 255, np.uint8)
BLACK = np.zeros((1, 256, 256, 1), np.uint8)


@pytest.fixture(scope="module")
def trained_on():
    """Share of corrupted pixels and the texture's opacity in the stream that training draws."""
    still = replace(SHIPPED.augmentation, flips=False, rotation={"default": "none"})
    official = schema.Corruption(max_log2_frequency=5, rotation=90.0, threshold=0.5, max_beta=0.8)
    chosen = replace(SHIPPED, augmentation=still, corruption=official)
    stream, covered, opacity = Batches(WHITE, BLACK, 32, chosen, "any", 0), [], []
    for _ in range(MASKS // 32):
        _, corrupted, mask = next(stream)
        assert torch.equal(corrupted < 1, mask > 0)  # texture shows in the mask and only there
        covered += mask.mean(dim=(1, 2, 3)).tolist()
        opacity += (1 - corrupted.amin(dim=(1, 2, 3))).tolist()
    return np.array(covered), np.array(opacity)


def test_share_of_corrupted_pixels(trained_on):
    """The stream passes its settings on; quantiles are in test_corruption."""
    covered, _ = trained_on
    either = np.sqrt(1 / MASKS + 1 / OFFICIAL)  # both samples have an error; allow three of them
    assert covered.mean() == pytest.approx(0.049, abs=3 * covered.std() * either + 0.0005)


def test_opacity_has_nothing_to_do_with_the_mask(trained_on):
    covered, opacity = trained_on
    assert not opacity[covered == 0].any()  # every image is corrupted unless its mask is empty
    covered, opacity = covered[covered > 0], opacity[covered > 0]
    assert stats.kstest(opacity, stats.uniform(0.2, 0.8).cdf).pvalue > 0.001
    assert stats.spearmanr(covered, opacity).pvalue > 0.001


def test_rotated_first_then_corrupted():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 64, 64, 1), dtype=np.uint8)
    texture = rng.integers(0, 256, (1, 64, 64, 1), dtype=np.uint8)
    turned = replace(SHIPPED.augmentation, rotation={"default": "right_angles"}, degrees=5.0)
    cut = replace(SHIPPED.corruption, threshold=0.1)
    chosen = replace(SHIPPED, augmentation=turned, corruption=cut)
    stream = Batches(images, texture, 8, chosen, "any", 0)
    normal, corrupted, mask = next(stream)
    assert not torch.equal(normal, devices.to_device(images)[stream.index] / 255)
    texture = devices.to_device(texture)[0] / 255
    for a, b, where in zip(normal, corrupted, mask > 0, strict=True):
        assert torch.equal(a[~where], b[~where])
        x, y = (a - texture)[where], (b - texture)[where]  # y = beta x: the texture is not turned
        beta = (x * y).sum() / (x * x).sum()
        torch.testing.assert_close(y, beta * x, atol=1e-5, rtol=0)


# What learns in which phase


STILL = tiny(flips=False, rotation={"default": "none"})  # the teacher sees each image once
both = pytest.mark.parametrize("chosen", [PARAMS, STILL], ids=["augmented", "still"])


def assert_learned(network, batches=2):
    """Every parameter had a gradient, each batch-norm saw `batches` (it began with 0 and 1).

    From the second step on, no gradient is 0 because of the encoder's zero batch-norm weights.
    """
    assert not network.training
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    for name, norm in network.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean.all() and not norm.running_var.eq(1).any(), name
            assert norm.num_batches_tracked == batches, name


def assert_frozen(network, before):
    """No gradient reached it; weights and batch-norm statistics are the same bit for bit."""
    assert all(parameter.grad is None for parameter in network.parameters())
    assert identical(network, before)


@both
@pytest.mark.parametrize("name", ["plain", "denoising", "encoder_decoder", "full"])
def test_phase_1_trains_all_of_the_student_and_nothing_else(teacher, name, chosen):
    before = state(teacher)
    student, history = student_of(teacher, name, chosen=chosen)
    assert [step for step, _ in history] == [1, 2]
    denoising = chosen.students[name].denoising
    assert_learned(student, 2 if denoising else 4)  # without, corrupted and clean images pass
    assert_frozen(teacher, before)


@both
def test_phase_2_trains_all_of_the_segmentation_network_and_nothing_else(teacher, chosen):
    student = Student(teacher.channels, True, 8).to(devices.device()).eval()
    before = state(teacher), state(student)
    network, history = network_of(teacher, student, chosen=chosen)
    assert [step for step, _ in history] == [1, 2]
    assert isinstance(network, SegmentationNetwork) and not student.training
    assert_learned(network)
    assert_frozen(teacher, before[0])
    assert_frozen(student, before[1])


# Masks through resizing and cutting


@pytest.fixture
def bolt(tmp_path):
    """A category at 1024x1024: test/scratch/000 has a defect of 64x64 pixels, 001 a thin line."""
    base = tmp_path / "toys" / "bolt"
    block, line = np.zeros((2, 1024, 1024), np.uint8)
    block[512:576, 256:320] = 255
    line[:, 500] = 255
    plain = np.full((1024, 1024), 128, np.uint8)
    for path, pixels in {
        "train/good/000.png": plain,
        "test/good/000.png": plain,
        "test/scratch/000.png": plain,
        "test/scratch/001.png": plain,
        "ground_truth/scratch/000_mask.png": block,
        "ground_truth/scratch/001_mask.png": line,
    }.items():
        put(base / path, Image.fromarray(pixels))
    return base


def load(base, size):
    return load_category(dataset(root=str(base.parent), image_size=size), base.name)


def test_defect_keeps_its_size(bolt):
    for size in (1024, 256):
        mask = load(bolt, size).masks[2]
        scale = 1024 // size
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        assert mask.sum() == (64 // scale) ** 2
        assert (rows[0], columns[0]) == (512 // scale, 256 // scale)
    small = downsample_mask(torch.from_numpy(mask)[None, None], (64, 64))  # as in training
    assert small.sum() == 16 and small[0, 0, 32:36, 16:20].all()


def test_defect_that_vanishes_stays_a_defect(bolt):
    seen = [load(bolt, size) for size in (1024, 256)]
    assert [category.masks[3].sum() for category in seen] == [1024, 0]
    for category in seen:  # labelled by the folder
        assert category.labels.tolist() == [0, 0, 1, 1]
        assert category.has_mask.all()
    assert seen[1].notes == ("1 of 2 masks of test mark no pixel at 256x256.",)
    assert not seen[0].notes


# The paper's profile (paper.md 1.7)


ROTATIONS = {
    "none": "capsule metal_nut pill toothbrush transistor",
    "small": "wood zipper cable",
    "right_angles": "bottle grid hazelnut leather tile carpet screw",
}


@pytest.fixture(scope="module")
def paper():
    return yaml.safe_load(PAPER.read_text(encoding="utf-8"))


def test_paper_data(paper):
    expected = {name: rule for rule, names in ROTATIONS.items() for name in names.split()}
    assert set(paper["categories"]) == set(expected) and len(expected) == 15
    assert len(paper["seeds"]) == 5
    assert (paper["dataset"]["image_size"], paper["dataset"]["channels"]) == (256, 3)
    assert paper["teacher"]["backbone"] == "resnet18.tv_in1k"
    augmentation = schema.Augmentation(**paper["augmentation"])
    assert (augmentation.flips, augmentation.degrees, augmentation.fill) == (False, 5.0, 114)
    chosen = replace(SHIPPED, augmentation=augmentation)
    for category, rule in expected.items():
        assert Batches(IMAGES, IMAGES, 1, chosen, category, 0).rotation == rule, category
    corruption = {"max_log2_frequency": 5, "rotation": 90, "threshold": 0.5, "max_beta": 0.8}
    assert paper["corruption"].items() >= corruption.items()


def test_paper_training(paper):
    assert paper["optimiser"].items() >= {"momentum": 0.9, "weight_decay": 1e-4}.items()
    both = {"batch_size": 32, "schedule": "constant"}
    student = both | {"steps": 1000, "learning_rate": 0.4, "width": 64}
    assert {(s["denoising"], s["encoder_decoder"]) for s in paper["students"].values()} == {
        (a, b) for a in (False, True) for b in (False, True)
    }
    assert all(found.items() >= student.items() for found in paper["students"].values())
    rates = {"learning_rate_residual": 0.1, "learning_rate_head": 0.01}
    head = both | rates | {"steps": 4000, "channels": 256, "gamma": 4, "l1_weight": 1}
    assert paper["segmentation"].items() >= head.items()
    assert {"focal_only", "concatenated", "distance"} <= set(paper["heads"])
    scores = {"top_pixels": 100, "fpr_limit": 0.3, "recall": 0.9}
    assert paper["evaluation"].items() >= scores.items()
