"""The table of latencies, on contenders whose times are given."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest

from bench import latency

SECONDS = {"torch": [0.02, 0.022, 0.03], "onnxruntime": [0.005, 0.011, 0.006]}


def contender(settings, category, files):
    return lambda count: np.array([True] * len(files))


def test_ratio_and_percentiles():
    with (
        mock.patch.object(latency, "CONTENDERS", dict.fromkeys(latency.SIDES, contender)),
        mock.patch.object(latency, "chosen", lambda settings, category, count: ["a.png"] * count),
        mock.patch.object(latency, "interleave", lambda runs, repetitions: SECONDS),
    ):
        rows = list(latency.rows(None, "nut", 3, lambda side, batch: 2e8))
    found = pd.DataFrame(rows).set_index(["batch", "by"])
    assert list(found.index) == [(b, s) for b in (1, 32) for s in latency.SIDES]
    assert set(found.verdicts) == {"identical"} and set(found.memory_mb) == {200}
    one = found.loc[(1, "onnxruntime")]
    assert one.times_as_fast == pytest.approx(4)  # 4, 2 and 5, turn by turn
    assert one.p50_ms == pytest.approx(6) and 6 < one.p95_ms < one.p99_ms < 11
    assert found.loc[(32, "torch")].images_per_second == pytest.approx(32 / 0.022)
    text = latency.page(found.reset_index(), {"device": "Toy CPU"})
    assert "- device: Toy CPU" in text and "| onnxruntime |" in text
