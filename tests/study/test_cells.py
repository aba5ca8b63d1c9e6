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
    found = cells.constant_loss(levels, levels)
    for shift in (-0.1, 0.1):  # a nearby constant is worse
        mean = torch.nn.functional.normalize(levels[0], dim=1).mean(dim=(0, 2, 3))
        other = (mean + shift * torch.tensor([1.0, -1, 0])).view(1, -1, 1, 1)
        assert cosine_distance(levels[0], other.expand_as(levels[0])).mean() > found


def test_damage_is_relative_and_repeats():
    def teacher():
        torch.manual_seed(0)
        return SimpleNamespace(features=torch.nn.Conv2d(16, 64, 3))

    plain, one, again = teacher(), *(cells.damaged(teacher(), 0.5) for _ in range(2))
    added = one.features.weight.detach() - plain.features.weight
    assert float(added.std() / plain.features.weight.detach().std()) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(one.features.weight, again.features.weight)
    assert torch.equal(one.features.bias, plain.features.bias)


def test_what_is_declared():
    law = [*cells.wanted("law")]
    assert len(law) == len(set(law)) == 28 * 3 and [seed for *_, seed in law] == sorted(
        seed for *_, seed in law
    )
    ladder = {name for name, *_ in cells.wanted("teachers")}
    assert ladder == {*cells.TEACHERS} and len(ladder) >= 5
    assert cells.at_hand(cells.TEACHERS["random"]) and cells.at_hand(cells.TEACHERS["lite0"])
    missing = cells.Rung("resnet18", "downloads/none.pth")
    assert not cells.at_hand(missing)


def test_a_cell(tmp_path, monkeypatch):
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
    monkeypatch.setitem(cells.TEACHERS, "toy", cells.Rung("resnet10t", "random", None, 0.1))
    settings = replace(SHIPPED, textures=replace(SHIPPED.textures, count=4))
    run = cells.Cells(settings, tmp_path / "scaling.csv", 1e18)
    run.open("toy")
    run.cell("toy", 8, 16, 0)
    (row,) = pd.read_csv(tmp_path / "scaling.csv").to_dict("records")
    assert row["R"] == pytest.approx(row["loss"] / row["constant"], rel=1e-4)
    assert 0 <= row["auroc_test"] <= 1 and 0 <= row["strength"] <= 1 and row["parameters"] > 3e5
    assert cells.Cells(settings, tmp_path / "scaling.csv", 1e18).table.has("toy", 8, 16, 0)
