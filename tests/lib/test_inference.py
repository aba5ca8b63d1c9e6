"""Levels and maps of images, whatever the batch."""

import numpy as np
import torch
from runs import IMAGES, RANDOM, SIZE, network_of

from lib import devices, inference
from lib.inference import anomaly_maps
from lib.networks import DeSTSeg


def test_teacher_levels(teacher):
    found = inference.teacher_levels(teacher, IMAGES, batch_size=2)
    with torch.no_grad():
        expected = teacher(teacher.normalise(devices.to_device(IMAGES) / 255))
    for level, whole in zip(found, expected, strict=True):
        assert not level.requires_grad
        torch.testing.assert_close(level, whole, rtol=1e-3, atol=1e-4)


def test_anomaly_maps(teacher, student):
    model = DeSTSeg(teacher, student, network_of(teacher, student)[0])
    images = RANDOM.integers(0, 256, (5, SIZE, SIZE, 1), dtype=np.uint8)
    cosine, segmentation = anomaly_maps(model, images)
    for maps in (cosine, segmentation):
        assert maps.shape == (5, SIZE // 4, SIZE // 4)
        assert maps.dtype == np.float32 and np.isfinite(maps).all()
    assert cosine.min() >= 0 and cosine.max() <= 8
    assert segmentation.min() > 0 and segmentation.max() < 1
    one_by_one = anomaly_maps(model, images, batch_size=1)
    np.testing.assert_allclose(cosine, one_by_one[0], atol=1e-4)
    np.testing.assert_allclose(segmentation, one_by_one[1], atol=1e-4)
