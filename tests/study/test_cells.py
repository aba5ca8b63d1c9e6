"""Cells of the scaling study: what a row says, teachers at hand, and the best constant."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from runs import IMAGES, SHIPPED

from lib.losses import cosine_distance
from study.beyond import cells
from study.data.category import Category


def test_the_best_constant():
    torch.manual_seed(0)
    levels = [torch.randn(4, 3, 5, 5) + 1]
    (best,) = cells.best_constant(levels)
    for shift in (0.1, -0.1):  # a nearby constant is worse
        other = best + shift * torch.tensor([1.0, -1, 0]).view(1, -1, 1, 1)
        found, worse = (cosine_distance(levels[0], x.expand_as(levels[0])) for x in (best, other))
        assert worse.mean() > found.mean()


def test_damage_is_relative_and_repeats():
    def teacher():
        torch.manual_seed(0)
        return SimpleNamespace(features=torch.nn.Conv2d(16, 64, 3))

    plain, one, again = (teacher() for _ in range(3))
    cells.damage(one, 0.5), cells.damage(again, 0.5)
    added = one.features.weight.detach() - plain.features.weight
    assert float(added.std() / plain.features.weight.detach().std()) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(one.features.weight, again.features.weight)
    assert torch.equal(one.features.bias, plain.features.bias)


def test_only_teachers_called_so_have_noise():
    noisy = {name for name, (*_, noise) in cells.TEACHERS.items() if noise}
    assert noisy == {name for name in cells.TEACHERS if "noise" in name}


def test_what_is_declared():
    found = [*cells.wanted()]
    law, ladder = found[: 28 * 3], found[28 * 3 :]
    assert {name for name, *_ in law} == {"lite0"} and len(set(law)) == len(law)
    assert {name for name, *_ in ladder} == {*cells.TEACHERS} and len(set(ladder)) == len(ladder)
    for part in (law, ladder):
        seeds = [seed for *_, seed in part]
        assert seeds == sorted(seeds)


def test_a_cell_and_a_teacher_that_is_missing(tmp_path, monkeypatch, capsys):
    size, n = IMAGES.shape[1], len(IMAGES)
    held = {"images": np.concatenate([IMAGES] * 4), "labels": np.tile([0, 1], 2 * n)}
    held |= {"splits": np.repeat(["train", "test", "validation", "test"], n)}
    held["labels"][:n] = 0
    blank = {k: np.zeros(4 * n, bool) for k in ("has_mask", "drawn")}
    data = Category(
        "toys", "nut", **held, **blank, masks=np.zeros((4 * n, size, size), bool),
        defects=np.full(4 * n, "good"), names=np.arange(4 * n).astype(str), notes=(),
    )  # fmt: skip
    monkeypatch.setattr(cells, "SIZE", size)
    monkeypatch.setattr(cells, "load_category", lambda *_: data)
    toys = {"none": ("resnet18", "downloads/none.pth", 0.0), "toy": ("resnet10t", "random", 0.1)}
    monkeypatch.setattr(cells, "TEACHERS", toys)
    monkeypatch.setattr(cells, "wanted", lambda: [(name, 8, 16, 0) for name in toys])
    settings = replace(SHIPPED, textures=replace(SHIPPED.textures, count=4))
    monkeypatch.setattr(cells.params, "load", lambda path: settings)
    cells.main(out=tmp_path)
    said = capsys.readouterr().out
    assert "none is left out: " in said and "downloads/none.pth" in said
    (row,) = pd.read_csv(tmp_path / "scaling.csv").to_dict("records")
    assert row["R"] == pytest.approx(row["loss"] / row["constant"], rel=1e-4)
    assert 0 <= row["auroc_test"] <= 1 and 0 <= row["strength"] <= 1 and row["parameters"] > 3e5
    cells.main(out=tmp_path)
    assert len(pd.read_csv(tmp_path / "scaling.csv")) == 1
