"""Regions above the pixel threshold, in pixels of the image as it was given."""

import numpy as np
from PIL import Image

from study.inspector.regions import HEAT, LINE, overlay, regions


def heat():
    """A map of 10x10 with two regions, and touching corners in one of them."""
    found = np.full((10, 10), 0.2, np.float32)
    found[1:3, 2:5] = 1.5
    found[7, 7] = found[8, 8] = 3
    found[5, 0] = 1.0  # at the threshold, not above
    return found


def test_boxes_and_areas_in_pixels_of_the_image():
    large, small = regions(heat(), (200, 100))
    assert large == (40, 10, 60, 20, 1200)  # 2x3 of pixels of 20x10
    assert small == (140, 70, 40, 20, 400)
    assert regions(np.zeros((10, 10)), (200, 100)) == []


def test_the_overlay_keeps_what_is_good_and_marks_what_is_not():
    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    found = regions(heat(), picture.size)
    shown = np.asarray(overlay(picture, heat(), found))
    assert shown.shape == (100, 200, 3)
    assert (shown[35, 190] == 90).all() and (shown[10, 40] == LINE).all()
    assert shown[15, 70].tolist() != [90, 90, 90]
    large = Image.new("RGB", (4000, 1000))
    assert overlay(large, np.zeros((10, 10)), []).size == (640, 160)
    assert HEAT.name == "inferno"
