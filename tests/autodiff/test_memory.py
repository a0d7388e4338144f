"""Long chains, and what is left of a recording when it is no longer needed."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest

from xpnet.autodiff import grad, jvp, vjp
from xpnet.backends import array_namespace


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


@pytest.mark.parametrize("length", [10_000])
def test_chains_far_longer_than_pythons_stack(length: int) -> None:
    def chain(x: Any) -> Any:
        for _ in range(length):
            x = x * 1.0001
        return x

    want = 1.0001**length
    np.testing.assert_allclose(grad(lambda x: _sum(chain(x)))(np.ones(2)), want)
    np.testing.assert_allclose(jvp(chain, (np.ones(2),), (np.ones(2),))[1], want)


def test_one_value_used_ten_thousand_times() -> None:
    def f(x: Any) -> Any:
        total = x * 0
        for _ in range(10_000):
            total = total + x
        return _sum(total)

    np.testing.assert_allclose(grad(f)(np.ones(2)), 10_000)


class _Array(np.ndarray):
    """An array that can be referred to weakly, as any subclass can."""


def test_recordings_are_freed_at_once_without_the_garbage_collector() -> None:
    inside: list[weakref.ref[Any]] = []

    def f(x: Any) -> Any:
        y = array_namespace(x).exp(x)
        inside.append(weakref.ref(y.value))
        return _sum(y * y)

    gc.collect()
    gc.disable()
    try:
        x = np.ones(3).view(_Array)
        grad(f)(x)
        assert inside[0]() is None
        y, pullback = vjp(f, x)
        assert inside[1]() is not None  # the pullback still needs it
        del y, pullback
        assert inside[1]() is None
    finally:
        gc.enable()


def test_training_steps_do_not_pile_up_memory() -> None:
    x, w = np.ones((100, 100)), np.ones((100, 100)) / 100

    def loss(w: Any) -> Any:
        xp = array_namespace(w)
        return xp.mean(xp.tanh(xp.matmul(x, w)) ** 2)

    step = grad(loss)
    step(w)
    tracemalloc.start()
    try:
        step(w)
        settled = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step(w)
        grown = tracemalloc.get_traced_memory()[0] - settled
    finally:
        tracemalloc.stop()
    assert grown < 80_000, f"20 steps left {grown} bytes, one array has 80,000"


def test_the_backward_walk_frees_cotangents_as_it_goes() -> None:
    """A chain of 50 arrays keeps its 50 values for the walk back, but not 50 cotangents beside them."""
    size = 100_000 * 8

    def chain(x: Any) -> Any:
        for _ in range(50):
            x = array_namespace(x).sin(x)
        return x

    x = np.ones(100_000)
    tracemalloc.start()
    try:
        y, pullback = vjp(chain, x)
        tracemalloc.reset_peak()
        held = tracemalloc.get_traced_memory()[0]
        pullback(y)
        peak = tracemalloc.get_traced_memory()[1] - held
    finally:
        tracemalloc.stop()
    assert peak < 6 * size
