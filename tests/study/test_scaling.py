"""The law and its fit, on points whose law is known."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from study.beyond import scaling

N, D = (x.ravel() for x in np.meshgrid([3e4, 1e5, 4e5, 1e6], [100, 200, 400, 800, 1600, 3200]))
CELLS = [f"{n:g}-{d:g}" for n, d in zip(N, D, strict=True)]
TRUE = {"E": 0.1, "A": 0.08, "a": 0.4, "B": 0.1, "b": 0.6}
RAW = np.array([np.log(0.1), np.log(0.08), 0.4, np.log(0.1), 0.6])


def test_the_law():
    n, d = 2e5, 4e3
    expected = 0.1 + 0.08 / 2**0.4 + 0.1 / 4**0.6
    assert float(scaling.predict(RAW, n, d)) == pytest.approx(expected)


def test_the_gradient():
    log_r, weights = np.log(scaling.predict(RAW, N, D)) + 0.0005, np.arange(len(N)) % 3.0
    at = RAW + 0.0003
    known = *scaling.logs(N, D), log_r, weights
    found = scaling.loss(at, *known)[1]
    numeric = approx_fprime(at, lambda raw: scaling.loss(raw, *known)[0], 1e-8)
    assert found == pytest.approx(numeric, rel=1e-3, abs=1e-9)


def test_the_losses_are_summed():
    known = *scaling.logs(N, D), np.log(scaling.predict(RAW, N, D)) + 0.1
    one = scaling.loss(RAW, *(x[:1] for x in known), np.ones(1))[0]
    assert scaling.loss(RAW, *known, np.ones(len(N)))[0] == pytest.approx(len(N) * one)


def test_exact_points_give_the_law_back():
    found = scaling.fit(N, D, scaling.predict(RAW, N, D), CELLS, resamples=20)
    assert found.value.to_dict() == pytest.approx(TRUE, rel=0.02)
    assert found.determined[["a", "b"]].all()
    assert scaling.predict(found.raw, 3e6, 6400) == pytest.approx(
        scaling.predict(RAW, 3e6, 6400), rel=0.01
    )


def test_what_the_points_do_not_determine_is_said():
    """One width: nothing is known of the exponent of N."""
    rng = np.random.default_rng(0)
    r = scaling.predict(RAW, np.full(len(N), 1e5), D) * np.exp(0.05 * rng.standard_normal(len(N)))
    found = scaling.fit(np.full(len(N), 1e5), D, r, CELLS, 50, scaling.STARTS[::8])
    assert not found.determined["a"]


def test_rank_correlation():
    value, (low, high) = scaling.rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], range(5), 50)
    assert (value, low, high) == pytest.approx((-1, -1, -1))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 60))
    value, (low, high) = scaling.rank_correlation(x, y, np.arange(60), 300)
    assert low < value < high and low < 0 < high


def test_curvature():
    strength = np.repeat([0.1, 0.3, 0.5, 0.9], 3)
    x = (2 * strength - 1) / 0.8
    value, (low, high) = scaling.curvature(strength, 1 - 0.2 * x**2, 50)
    assert value == pytest.approx(-0.2) and low == pytest.approx(-0.2) == high
