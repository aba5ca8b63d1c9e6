"""The table of latencies, on contenders that only wait."""

import time
from unittest import mock

import numpy as np
import pandas as pd

from bench import latency


def waiting(seconds):
    def make(settings, category, files):
        def run(count):
            time.sleep(count * seconds)
            return np.array([True] * len(files))

        return run

    return make


def test_ratio_and_percentiles():
    sides = {"torch": waiting(0.02), "onnxruntime": waiting(0.005)}
    with (
        mock.patch.object(latency, "CONTENDERS", sides),
        mock.patch.object(latency, "chosen", lambda settings, category, count: ["a.png"] * count),
    ):
        rows = list(latency.rows(None, "nut", 5, lambda side, batch: 2e8))
    found = pd.DataFrame(rows).set_index(["batch", "by"])
    assert list(found.index) == [(b, s) for b in (1, 32) for s in latency.SIDES]
    assert set(found.verdicts) == {"identical"} and set(found.memory_mb) == {200}
    one = found.loc[(1, "onnxruntime")]
    assert 1.5 < one.times_as_fast < 5 and 5 <= one.p50_ms <= one.p95_ms <= one.p99_ms
    text = latency.page(found.reset_index(), {"device": "Toy CPU"})
    assert "- device: Toy CPU" in text and "| onnxruntime |" in text
