"""bench.protocol: the order of the items, what each leaves, and a stop in time."""

from dataclasses import replace

import pandas as pd
import pytest
import timm
import torch
from runs import SHIPPED
from toys import grey, put, write_nut

from bench import protocol
from study.scoring.scores import COLUMNS

TINY = ("image_size=64", "channels=1", "strict=false")
PHASE = ("steps=2", "batch_size=2")


def test_the_full_student_comes_first_then_the_others_then_more_seeds():
    settings = replace(SHIPPED, categories=("screw", "bottle"), seeds=(0, 1, 2, 3), heads={})
    found = ["-".join(map(str, item)) for item in protocol.order(settings)]
    assert found[:6] == [f"{c}-full-{n}" for n in (0, 1, 2) for c in ("screw", "bottle")]
    assert {name.split("-")[1] for name in found[6:12]} == {"plain", "denoising", "encoder_decoder"}
    assert found[12:14] == ["screw-full-3", "bottle-full-3"]
    assert len(set(found)) == len(found) == 2 * 4 * 4


@pytest.fixture
def arguments(tmp_path):
    """A command line for one item of few steps on toys."""
    root = write_nut(tmp_path / "toys")
    put(root / "nut/ground_truth/scratch/001_mask.png", grey(255))
    for index in range(3):
        put(tmp_path / f"dtd/{index}.png", grey(60 * index))
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pth")
    changed = [f"dataset.{pair}" for pair in TINY] + ["seeds=[0]", "teacher.backbone=resnet10t"]
    changed += [f"students.full.{pair}" for pair in (*PHASE, "width=8")]
    changed += [f"segmentation.{pair}" for pair in (*PHASE, "channels=8")]
    folders = {"root": root, "textures": tmp_path / "dtd", "weights": tmp_path / "weights.pth"}
    pairs = [text for key, path in folders.items() for text in (f"--{key}", str(path))]
    return [*pairs, "--out", str(tmp_path / "out"), "--categories", "nut", "--set", *changed]


def test_an_item_leaves_rows_a_curve_losses_and_a_figure(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "order", lambda _: [("nut", "full", 0)])
    protocol.main([*arguments, "--points", "2"])
    rows, out = pd.read_csv(tmp_path / "out/ablations.csv"), tmp_path / "out"
    assert list(rows) == [*COLUMNS, "seconds"] and list(rows["map"]) == ["cosine", "segmentation"]
    assert rows.notna().all(axis=None) and set(rows.category) == {"nut"}
    curve = pd.read_csv(out / "curve.csv")
    assert curve.step.tolist() == [1, 2, 1, 2]
    last = curve.iloc[-1]  # the last point is the result
    assert last.pixel_ap == rows.pixel_ap[1] and last.iap == rows.iap[1]
    assert (out / "maps-nut-full-0.png").stat().st_size and (out / "losses-nut-full-0.csv").exists()
    assert (out / "curve.png").stat().st_size
    assert "student: 2 steps of 2 images" in (out / "README.md").read_text("utf-8")


def test_it_stops_by_itself(arguments, tmp_path, capsys):
    protocol.main([*arguments, "--seconds", "0"])
    assert "out of time in nut-full-0" in capsys.readouterr().out
    assert not (tmp_path / "out/ablations.csv").exists()


def test_an_unknown_key_is_named(arguments):
    with pytest.raises(SystemExit, match=r"no key segmentation\.stepz"):
        protocol.main([*arguments, "segmentation.stepz=3"])
