"""Intervals of scores: beside scipy's, and how often they hold the score of very many rows."""

from __future__ import annotations

import numpy as np
import pytest

from xpnet.train.intervals import interval_of_error, interval_of_r2, student_t, wilson


@pytest.mark.parametrize(("right", "n"), [(1, 1), (0, 1), (24, 30), (5, 10), (970, 1000), (1000, 1000)])
def test_wilson(right, n):
    stats = pytest.importorskip("scipy.stats", reason="the reference is scipy's")
    known = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((known.low, known.high), abs=1e-12)


def test_quantiles_of_student():
    stats = pytest.importorskip("scipy.stats", reason="the reference is scipy's")
    for freedom in (1, 2, 3, 4, 9, 30, 500):
        assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_no_interval_where_rows_allow_none():
    one, two = np.asarray([1.0]), np.asarray([1.0, 2.0])
    assert interval_of_error(one, 2) is None
    assert interval_of_r2(two, np.asarray([1.5, 1.8])) is None
    assert interval_of_r2(np.arange(9.0), np.arange(9.0)) is None  # predicted exactly
    assert interval_of_r2(np.ones(9), np.arange(9.0)) is None
    assert interval_of_error(np.zeros(9), 1) is None


@pytest.mark.parametrize("n", [10, 30, 200])
@pytest.mark.parametrize("noise", ["normal", "skewed"])
def test_intervals_hold_the_score_of_very_many_rows(n, noise):
    random = np.random.default_rng(n)

    def drawn(rows):
        truth = random.normal(size=rows)
        error = random.normal(size=rows) if noise == "normal" else random.exponential(size=rows) - 1
        return truth, truth + 0.6 * error

    truth, predicted = drawn(400_000)
    r2 = 1 - np.mean((truth - predicted) ** 2) / truth.var()
    rmse, mae = np.sqrt(np.mean((truth - predicted) ** 2)), np.mean(abs(truth - predicted))
    held = np.zeros(3)
    for _ in range(500):
        truth, predicted = drawn(n)
        error = predicted - truth
        ends = interval_of_r2(truth, predicted), interval_of_error(error, 2), interval_of_error(error, 1)
        held += [low <= value <= high for (low, high), value in zip(ends, (r2, rmse, mae), strict=True)]
    least = 0.9 if noise == "normal" else {10: 0.6, 30: 0.75, 200: 0.85}[n]
    assert (held / 500 > least).all(), held / 500
    assert (held / 500 < 0.995).all()
