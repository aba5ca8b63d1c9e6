"""Nearest neighbours against brute force, the positional Gaussian against scikit-learn and scipy,
position by position, and the rows of all baselines.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from toys import category_of

from study import params, results
from study.data.category import entry
from study.scoring import baseline
from study.scoring.baseline import (
    Gaussian,
    distance_maps,
    gaussians,
    items,
    memory_bank,
    patches,
    save,
    shrunk,
)
from study.scoring.scores import score


def features(images=3, size=4, channels=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, size, size, channels, generator=generator)


def test_a_patch_in_the_bank_is_at_distance_zero():
    known = features()
    bank = memory_bank(known, 10_000, seed=0)  # more than there are: all 48
    assert bank.shape == (48, 5)
    maps = distance_maps(known, bank)
    assert maps.shape == (3, 4, 4) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, 0, atol=2e-3)


@pytest.mark.parametrize("rows", [7, 4096])
def test_distances_equal_brute_force(rows):
    queries, bank = features(seed=1), features(seed=2).flatten(0, 2)
    difference = queries.numpy()[..., None, :].astype(float) - bank.numpy().astype(float)
    expected = np.sqrt((difference**2).sum(-1)).min(-1)
    np.testing.assert_allclose(distance_maps(queries, bank, rows), expected, rtol=1e-4)


def test_memory_bank_is_drawn_by_the_seed_without_replacement():
    known = features()
    bank = memory_bank(known, 20, seed=3)
    assert bank.shape == (20, 5)
    torch.manual_seed(9)
    assert torch.equal(memory_bank(known, 20, seed=3), bank)
    assert not torch.equal(memory_bank(known, 20, seed=4), bank)
    assert len(bank.unique(dim=0)) == 20
    everything = {tuple(row) for row in known.flatten(0, 2).tolist()}
    assert {tuple(row) for row in bank.tolist()} <= everything


def test_a_foreign_patch_gives_its_image_the_highest_score():
    """Rows for each seed, on a category whose only defective image holds a patch never seen."""
    normal = [torch.zeros(4, 2, size, size) for size in (16, 8, 4)]
    queries = [torch.zeros(3, 2, size, size) for size in (16, 8, 4)]
    queries[2][2, :, 1, 1] = 1.0
    image, kinds = np.zeros((64, 64, 1), np.uint8), {"a": "good", "b": "good", "c": "bent"}
    held_out = category_of([entry(image, None, kind, name, "test") for name, kind in kinds.items()])
    shipped = params.load()
    for levels in (((3,),), ()):
        settings = replace(shipped, baseline=replace(shipped.baseline, levels=levels))
        fitted = gaussians(normal, settings)
        rows = score(held_out, items(normal, queries, fitted, settings), settings).rows
        names = {"nearest_neighbour_3", "nearest_neighbour_maximum_3", "gaussian_3"}
        assert set(rows["map"]) == names if levels else rows.empty
        assert rows.groupby("map").seed.apply(list).tolist() == [[*shipped.seeds]] * len(
            {*rows["map"]}
        )
        assert (rows.image_auroc == 1).all() and rows.pro.isna().all()


def test_the_first_gaussian_is_left_for_later_stages(elsewhere):
    normal = [torch.randn(9, 2, size, size) for size in (8, 4, 2)]
    fitted = [Gaussian.fit(levels, normal) for levels in ((3,), (2,))]
    save(fitted, normal, "nut")
    left = Gaussian.load(results.gaussian("nut"))
    assert left.levels == (3,)
    maps = np.load(results.gaussian("nut").with_name("maps.npy"))
    np.testing.assert_allclose(maps, left.maps(normal), rtol=1e-5)
    save([], normal, "bolt")  # no levels: an empty folder, which DVC expects
    assert not any((elsewhere / "results/baseline/bolt").iterdir())


def test_patches_join_levels_at_the_finest():
    sizes = ((64, 16), (128, 8), (256, 4))
    levels = [torch.randn(3, channels, size, size) for channels, size in sizes]
    coarse = patches(levels, (2, 3))
    assert coarse.shape == (3, 8, 8, 128 + 256)
    torch.testing.assert_close(coarse[..., :128], levels[1].permute(0, 2, 3, 1))
    torch.testing.assert_close(patches(levels, (3,)), levels[2].permute(0, 2, 3, 1))
    assert patches(levels, (1, 2, 3)).shape == (3, 16, 16, 448)


def test_levels_that_do_not_fit_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr("study.limits.free", lambda: 1000)
    teacher = SimpleNamespace(channels=[64, 128, 256])  # not even called
    with pytest.raises(MemoryError, match="the teacher's levels of 3 images: needs"):
        baseline.features(teacher, np.zeros((3, 64, 64, 1), np.uint8))


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
    fitted = Gaussian.fit((2, 3), levels())
    assert fitted.mean.shape == (16, 10) and fitted.whitening.shape == (16, 10, 10)
    fitted.save(tmp_path / "gaussian.npz")
    again = Gaussian.load(tmp_path / "gaussian.npz")
    assert again.levels == (2, 3) and again.size == fitted.size
    np.testing.assert_array_equal(again.maps(levels(2)), fitted.maps(levels(2)))


def test_a_file_of_earlier_code_is_refused(tmp_path):
    np.savez(tmp_path / "gaussian.npz", levels=(3,), mean=np.zeros(1), factor=np.zeros(1))
    with pytest.raises(ValueError, match=r"gaussian\.npz was written by earlier code: run `dvc "):
        Gaussian.load(tmp_path / "gaussian.npz")


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("study.limits.free", lambda: 100)
    with pytest.raises(MemoryError, match="a Gaussian of 5 features at 4 positions: needs"):
        Gaussian.fit((3,), levels())
