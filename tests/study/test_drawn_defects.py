import numpy as np
import pytest

from study.data.drawn_defects import KINDS, VISIBLE, draw_defect


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [32, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_mask_is_exactly_what_was_darkened(kind, size, channels):
    rng = np.random.default_rng(0)
    image = rng.integers(60, 256, (size, size, channels), dtype=np.uint8)
    for _ in range(20):
        drawn, mask = draw_defect(image, kind, rng)
        assert drawn.dtype == np.uint8 and drawn.shape == image.shape
        assert mask.dtype == bool and mask.shape == (size, size) and mask.any()
        np.testing.assert_array_equal(drawn[~mask], image[~mask])
        assert (drawn[mask] < VISIBLE * image[mask]).all()
        assert mask.mean() < 0.3


def test_is_repeatable_and_leaves_its_input_alone():
    image = np.full((64, 64, 1), 200, np.uint8)
    for kind in KINDS:
        first, second = (draw_defect(image, kind, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
        assert not np.array_equal(first[0], draw_defect(image, kind, np.random.default_rng(4))[0])
    assert (image == 200).all()


def test_kinds_differ_in_size_and_inactive_areas_touch_the_border():
    image = np.full((128, 128, 1), 200, np.uint8)
    rng = np.random.default_rng(0)
    masks = {kind: [draw_defect(image, kind, rng)[1] for _ in range(30)] for kind in KINDS}
    share = {kind: np.mean(masks[kind]) for kind in KINDS}
    assert 0.003 < share["crack"] < share["inactive"] / 3
    for mask in masks["inactive"]:
        assert np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()


def test_images_need_not_be_square():
    for kind in KINDS:
        _, mask = draw_defect(np.full((40, 90, 3), 200, np.uint8), kind, np.random.default_rng(0))
        assert mask.shape == (40, 90)
