"""The positional Gaussian against scikit-learn and scipy, position by position."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from study.scoring.gaussian import Gaussian, shrunk


def levels(images=12, channels=5, seed=0):
    """Three levels of correlated features."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=generator)
    return [
        torch.einsum("dc,nchw->ndhw", mix, torch.randn(images, channels, s, s, generator=generator))
        for s in (8, 4, 2)
    ]


def test_distances_are_those_of_scikit_learn_at_every_position():
    normal, new = levels(), levels(3, seed=1)
    maps = Gaussian.fit((2,), normal).maps(new)
    assert maps.shape == (3, 4, 4) and maps.dtype == np.float32
    for row, column in ((0, 0), (1, 3), (3, 2)):
        known = LedoitWolf().fit(normal[1][:, :, row, column].double().numpy())
        for image in range(3):
            asked = new[1][image, :, row, column].double().numpy()
            expected = mahalanobis(asked, known.location_, known.precision_)
            np.testing.assert_allclose(maps[image, row, column], expected, rtol=1e-3)


def test_levels_are_joined_at_the_finest():
    fitted = Gaussian.fit((2, 3), levels())
    assert fitted.mean.shape == (16, 10) and fitted.factor.shape == (16, 10, 10)
    assert fitted.maps(levels(2)).shape == (2, 4, 4)


def test_features_that_never_change_and_fewer_images_than_features():
    normal = [torch.zeros(3, 6, size, size) for size in (8, 4, 2)]
    normal[2][:, 0] = torch.randn(3, 2, 2)
    fitted = Gaussian.fit((3,), normal)
    assert np.isfinite(fitted.maps(normal)).all()
    moved = [level + 1 for level in normal]
    assert (fitted.maps(moved) > fitted.maps(normal).max()).all()


def test_shrinking_keeps_the_mean_variance_and_gives_positive_definite_matrices():
    x = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    x = x - x.mean(dim=1, keepdim=True)
    plain, found = x.mT @ x / 4, shrunk(x)
    traces = [m.diagonal(dim1=1, dim2=2).sum(dim=1) for m in (plain, found)]
    torch.testing.assert_close(*traces)
    assert (torch.linalg.eigvalsh(found) > 0).all()


def test_it_survives_saving(tmp_path):
    fitted = Gaussian.fit((3,), levels())
    fitted.save(tmp_path / "gaussian.npz")
    again = Gaussian.load(tmp_path / "gaussian.npz")
    assert again.levels == (3,) and again.size == fitted.size
    np.testing.assert_array_equal(again.maps(levels(2)), fitted.maps(levels(2)))


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("study.limits.free", lambda: 100)
    with pytest.raises(MemoryError, match="a Gaussian of 5 features at 4 positions: needs"):
        Gaussian.fit((3,), levels())
