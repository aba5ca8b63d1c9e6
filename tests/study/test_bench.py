from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from bench import cases, run, tables, timing
from lib import batches, corruption
from lib.fast import ahead

TINY = cases.choose(tiny=True)
ROWS = {
    "step": [
        "student step, rotated images, 64x64",
        "student step, images as they are, 64x64",
        "segmentation step, 64x64",
        "student step, quick profile, 128x128",
        "segmentation step, quick profile, 128x128",
    ],
    "corruption": ["corruption of 2 images, 64x64"],
    "evaluation": [f"evaluation of {n} maps, 64x64" for n in TINY.maps],
    "inference": [
        f"inference, batch {n}, {what}"
        for n in TINY.batches
        for what in ("networks", "from file to score")
    ],
    "precision": ["student step", "segmentation step"],
    "determinism": ["student step", "segmentation step"],
    "capture": ["student step", "segmentation step"],
    "checkpoint": ["student phase, one checkpoint", "segmentation phase, one checkpoint"],
    "start": ["imports of a training", "a notebook of one cell"],
    "protocol": ["student, segmentation and evaluation"],
}


def test_runner_leaves_every_row_with_finite_figures(tmp_path):
    *_, (records, facts) = run.measure(replace(TINY, protocol=(1, 1, 4)))  # as where a GPU is
    path = tables.write(tmp_path / "benchmark", records, facts)
    table = pd.read_csv(path.with_suffix(".csv"))
    assert table.groupby("section", sort=False)["row"].agg(list).to_dict() == ROWS
    for _, row in table.iterrows():
        sides = {
            "precision": ["fp32", "bf16", "ratio", "fp32_ratio"],
            "start": ["ours"],
            "determinism": ["any", "deterministic", "ratio"],
            "capture": ["calls", "graph", "ratio"],
            "checkpoint": ["ours"],
            "protocol": ["ours"],
        }.get(row["section"])
        if sides is None:
            known = row["section"] != "evaluation" or str(TINY.maps[1]) in row["row"].split()
            sides = ["ours", "plain", "ratio"] if known else ["ours"]
        figures = row[[f"{side}{end}" for side in sides for end in ("", "_low", "_high")]]
        assert (figures.astype(float) > 0).all() and np.isfinite(figures.astype(float)).all()
    steps = table[table["section"] == "step"].set_index("row").filter(regex="^(ours|plain)_")
    assert (steps.dropna(axis=1, how="all") > 0).all(axis=None)
    page = path.read_text("utf-8")
    assert all(name in page for names in ROWS.values() for name in names)
    assert "nan" not in page and "None" not in page
    assert path.with_suffix(".png").stat().st_size > 5000


def test_without_a_gpu_protocol_and_determinism_are_not_measured():
    task = SimpleNamespace(sizes=TINY, settings=None)
    for row in (run.protocol(task), *run.determinism(task), *run.captures(task)):
        assert "not measured" in row["note"] and not {"ours", "any", "calls"} & set(row)
        assert "not measured" in tables.page([row], {"device": "none"})


def test_a_case_tells_its_memory():
    assert run.measure_memory("paper segmentation", TINY) > 0
    assert run.measure_memory("evaluation 2", TINY) > 0


@pytest.mark.parametrize("case", ["student", "segmentation"])
def test_ours_is_the_real_loop(case):
    go = cases.Task.paper(TINY).contenders()[case]()
    with mock.patch.object(batches.Batches, "corrupt", wraps=corruption.corrupt) as corrupted:
        go(3)
    # the second phase draws a whole pass of the frozen networks ahead
    assert corrupted.call_count == {"student": 3, "segmentation": ahead.Ahead.MOST}[case]
    assert len(corrupted.call_args.args[0]) == TINY.batch


def test_contenders_take_turns():
    calls = []
    contenders = {name: lambda count, name=name: calls.append((name, count)) for name in "ab"}
    samples = timing.interleave(contenders, 2)
    assert calls == [("a", 1), ("b", 1)] * 2
    assert [len(x) for x in samples.values()] == [2, 2]


def test_multiply_adds_count_two():
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert timing.flop(timing.multiplications(a, b)) == 2 * 3 * 4 * 5


def test_summaries():
    assert timing.spread([3, 1, 2]) == (2, 1, 3)
    assert timing.ratios([4, 6, 8], [2, 2, 2]) == (3, 2, 4)
    assert timing.exponent([1, 10, 100], [2, 200, 20000]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.00123"), (1.5, "1.50"), (123.4, "123"), (2, "2"), (0.0, "0")],
)
def test_number(value, text):
    assert tables.number(value) == text


def test_slug():
    assert tables.slug("AMD EPYC, 2 CPU cores, no GPU") == "amd-epyc-2-cpu-cores-no-gpu"
