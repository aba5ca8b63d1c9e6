"""One image through the stages: shapes, shared colours, the choice of the image, the figures."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from test_scores import SETTINGS, category, images_of, leave, maps_of

from lib.anomaly_map import cosine_map
from lib.devices import device
from lib.networks import DeSTSeg, SegmentationNetwork, Student, input_channels
from study.figures import explore
from study.scoring.scores import MAPS
from study.scoring.view import View

SIZE = 64


@pytest.fixture(scope="module")
def networks(teacher):
    torch.manual_seed(0)
    student = Student(teacher.channels, width=8).to(device()).eval()
    network = SegmentationNetwork(input_channels(teacher.channels), 8).to(device()).eval()
    return teacher, student, network


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((3, SIZE, SIZE, 1), dtype=np.float32)


@pytest.fixture(scope="module")
def found(networks, images):
    return explore.stages(DeSTSeg(*networks), images)


@pytest.fixture
def view():
    held_out = category()
    images = images_of(held_out, dict.fromkeys(MAPS, maps_of(held_out)))
    return View(held_out, SETTINGS, images)


def test_every_stage_has_its_stride_and_the_product_is_the_cosine_map(found):
    assert [level.shape[-1] for level in found.distances] == [SIZE // s for s in explore.STRIDES]
    for levels in (found.teacher, found.student):
        assert all(torch.allclose(x.norm(dim=1), torch.ones(1), atol=1e-5) for x in levels)
    fused = cosine_map(found.teacher, found.student)[:, 0].numpy()
    assert np.allclose(found.cosine, fused, atol=1e-5)
    assert found.segmentation.shape == found.cosine.shape == (3, SIZE // 4, SIZE // 4)


def test_equal_features_have_equal_colours_and_do_not_depend_on_the_other_rows():
    one, other = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    first, second, third = explore.colours([one, other, one])
    assert np.array_equal(first, third) and not np.allclose(first, second)
    assert np.array_equal(first, explore.colours([one])[0])
    assert first.shape == (4, 4, 3) and first.min() >= 0 and first.max() <= 1


def test_denoising_is_zero_for_equal_features_and_counts_the_mask_alone(found):
    masks = np.zeros((3, SIZE, SIZE))
    masks[:, :32] = 1
    table = explore.denoising(found, found, masks)
    teacher = table.xs("teacher of the corrupted image", level=1)
    assert (teacher.abs() < 1e-5).all(axis=None) and len(table) == 6
    moved = found._replace(student=[x.clone() for x in found.teacher])
    moved.student[0][:, :, :8] *= -1
    row = explore.denoising(found, moved, masks).loc["level 1 (stride 4)"].iloc[1]
    assert row["inside the mask"] == 2 and row["outside"] == 0


def test_the_image_is_chosen_by_name_or_is_the_median_one(view):
    index = explore.pick(view, 0)
    scores = view.scores(0, "segmentation")[view.real & (view.held_out.labels == 1)]
    assert view.scores(0, "segmentation")[index] == np.median(scores)
    assert explore.pick(view, 0, "7.png") == 7
    with pytest.raises(ValueError, match="no held-out image 'x'"):
        explore.pick(view, 0, "x")


def test_figures(found, images):
    rows = {who: (images[0], [x[0] for x in getattr(found, who)]) for who in ("teacher", "student")}
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8:16, 8:16] = True
    one = explore.Stages(
        *([x[:1] for x in part] for part in found[:3]), *(m[:1] for m in found[3:])
    )
    made = [
        (explore.features(rows), 8, "level 3 (stride 16)"),
        (explore.distances(images[0], one), 10, "product: cosine map\n16x16"),
        (explore.scored(images[0], mask, one, 50), 6, "image, mask outlined"),
        (explore.scored(images[0], None, one, 50), 6, "image"),
    ]
    for figure, panels, text in made:
        figure.canvas.draw()
        assert len(figure.axes) == panels
        assert text in [axis.get_title() for axis in figure.axes]
    plt.close("all")


def test_the_overview_shows_each_outcome_nearest_to_the_threshold(networks, view, elsewhere):
    """On data whose maps are noise around the masks; `leave` puts them where the stages do."""
    leave(SETTINGS, view.held_out)
    figure = explore.overview(DeSTSeg(*networks), view, 0)
    rows = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    found = {one["outcome"]: one for one in view.examples(0, 1)}
    shown = [found[outcome] for outcome in explore.SINGLE if outcome in found]
    assert len(figure.axes) == 8 * len(shown) + 8  # room for scales
    for row, one in zip(rows, shown, strict=True):
        assert row.startswith(explore.SINGLE[one["outcome"]]) and f"{one['score']:.3f}" in row
        assert "threshold" in row
    plt.close("all")
