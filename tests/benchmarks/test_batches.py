"""Many derivatives at once: how their times compare in one run, with PyTorch's, SciPy's and a loop's."""

from __future__ import annotations

import time

import pytest

from scripts.benchmarks.batches import batch_calls


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch
def test_many_derivatives_at_once_are_fast() -> None:
    """The least times of calls in turn, which other work on the machine disturbs least."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("scipy", reason="SciPy is not installed")
    calls = batch_calls()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(15):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - begun)

    def ratio(work: str, one: str, other: str) -> float:
        return least[f"{work}: {one}"] / least[f"{work}: {other}"]

    assert ratio("jacobian of 300 x 300", "xpnet", "PyTorch") < 1.2  # 0.95 when measured alone
    assert ratio("gradients of 64 rows", "xpnet, a loop", "xpnet, compiled") > 10
    assert ratio("gradients of 64 rows", "xpnet, a loop", "xpnet") > 8
    assert ratio("tridiagonal jacobian of 1000", "xpnet", "xpnet, sparse") > 8
    assert ratio("tridiagonal jacobian of 1000", "SciPy, differences", "xpnet, sparse and compiled") > 8
