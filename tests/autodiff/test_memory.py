"""Long chains, and what is left of a recording when it is no longer needed."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from xpnet.autodiff import (
    checkpoint,
    custom_rule,
    ggn_vp,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    linearize,
    sparse_hessian,
    sparse_jacobian,
    value_and_grad,
    vjp,
)
from xpnet.autodiff.tracer import plain_value
from xpnet.backends import array_namespace


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


@contextlib.contextmanager
def _tracing() -> Iterator[None]:
    """Have ``tracemalloc`` count what is allocated."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def _peak(run: Callable[[], Any]) -> int:
    """Return how many bytes more than before there are at most while ``run`` runs."""
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    run()
    return tracemalloc.get_traced_memory()[1] - held


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


def _cube(x: Any) -> Any:
    return array_namespace(x).sum(x * x * x)


_identity = custom_rule(lambda xp, g, out, x: g * 1)(lambda x: x * 1)
_of_list = custom_rule(lambda xp, g, out, xs: [g * 1, None])(lambda xs: xs[0] * 1)


def _twice(xp: Any, g: Any, out: Any, x: Any) -> Any:
    return g * 2


_RUNS: dict[str, Any] = {
    "grad": lambda x, watch: grad(lambda x: _cube(watch(x * 2)))(x),
    "unused argument": lambda x, watch: grad(lambda x, y: _cube(watch(x * 2)), argnums=1)(x, x + 1),
    "has_aux": lambda x, watch: value_and_grad(lambda x: (_cube(watch(x * 2)), x * 3), has_aux=True)(x),
    "vjp": lambda x, watch: vjp(lambda x: watch(x * 2), x)[1](x + 0),
    "jvp": lambda x, watch: jvp(lambda x: watch(x * 2) * x, (x,), (x,)),
    "jvp by transposed pulls": lambda x, watch: jvp(lambda x: _identity(watch(x * 2)), (x,), (x,)),
    "jacobian": lambda x, watch: jacobian(lambda x: watch(x * 2) * x)(x),
    "jacobian by columns": lambda x, watch: jacobian(lambda x: watch(x * 2) * x, mode="forward")(x),
    "hessian": lambda x, watch: hessian(lambda x: _cube(watch(x * 2)))(x),
    "sparse jacobian": lambda x, watch: sparse_jacobian(lambda x: watch(x * 2) * x)(x),
    "sparse rows": lambda x, watch: sparse_jacobian(lambda x: watch(x * 2) @ x, sparsity=np.ones((1, 3)))(x),
    "sparse hessian": lambda x, watch: sparse_hessian(lambda x: _cube(watch(x * 2)))(x),
    "container": lambda x, watch: grad(lambda x: _cube(_of_list([watch(x * 2), x])))(x),
    "closure": lambda x, watch: grad(lambda x: _cube(custom_rule(_twice)(lambda y: watch(y * x))(x)))(x),
    "hvp": lambda x, watch: hvp(lambda x: _cube(watch(x * 2)), x, x),
    "ggn_vp": lambda x, watch: ggn_vp(lambda x: watch(x * 2) * x, _cube, x, x),
    "grad of grad": lambda x, watch: grad(lambda x: _cube(grad(lambda y: _cube(watch(y * x)))(x)))(x),
    "grad of jvp": lambda x, watch: grad(lambda x: _cube(jvp(lambda y: watch(y * x), (x,), (x,))[1]))(x),
    "linearize": lambda x, watch: linearize(lambda x: watch(x * 2) * x, x)[1](x + 0),
    "checkpoint": lambda x, watch: grad(lambda x: _cube(checkpoint(lambda y: watch(y * y) * y)(x * 2)))(x),
    "hvp of a checkpoint": lambda x, watch: hvp(lambda x: _cube(checkpoint(lambda y: watch(y * 2))(x)), x, x),
    "an error": lambda x, watch: _failing(lambda x: 1 / watch(x * 2).nothing, x),
}


def _failing(f: Any, x: Any) -> None:
    with contextlib.suppress(AttributeError):
        grad(f)(x)


@pytest.mark.parametrize("name", _RUNS)
def test_nothing_is_kept_alive_by_a_finished_transform(name: str) -> None:
    """Neither the argument nor what was computed from it, though the garbage collector is off."""
    seen: list[weakref.ref[Any]] = []

    def watch(x: Any) -> Any:
        seen.append(weakref.ref(plain_value(x)))
        return x

    gc.disable()
    try:
        x = np.ones(3).view(_Array)
        seen.append(weakref.ref(x))
        result = _RUNS[name](x, watch)
        del x
        assert len(seen) > 1
        assert not any(reference() is not None for reference in seen)
        del result
    finally:
        gc.enable()


def test_training_steps_do_not_pile_up_memory() -> None:
    x, w = np.ones((100, 100)), np.ones((100, 100)) / 100

    def loss(w: Any) -> Any:
        xp = array_namespace(w)
        return xp.mean(xp.tanh(xp.matmul(x, w)) ** 2)

    step = grad(loss)
    step(w)
    with _tracing():
        step(w)
        settled = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step(w)
        grown = tracemalloc.get_traced_memory()[0] - settled
    assert grown < 80_000, f"20 steps left {grown} bytes, one array has 80,000"


@pytest.mark.parametrize("transform", [vjp, linearize])
def test_walks_free_cotangents_and_tangents_as_they_go(transform: Any) -> None:
    """A chain of 50 arrays keeps its 50 values for the walk, but not 50 cotangents beside them."""
    size = 100_000 * 8

    def chain(x: Any) -> Any:
        for _ in range(50):
            x = array_namespace(x).sin(x)
        return x

    x = np.ones(100_000)
    with _tracing():
        y, walk = transform(chain, x)
        assert _peak(lambda: walk(y)) < 6 * size


def _scaled(x: Any, c: np.ndarray) -> Any:
    """Of a constant alone: no derivative reads what it makes on the way."""
    for _ in range(25):
        x = x * c + c
    return x


def _added_up(x: Any, c: np.ndarray) -> Any:
    """One array of which 25 cotangents are added up."""
    total = x
    for _ in range(25):
        total = total - x * c
    return total


@pytest.mark.parametrize("f", [_scaled, _added_up])
def test_what_no_derivative_reads_is_not_kept(f: Any) -> None:
    size, x = 100_000 * 8, np.ones(100_000)
    c = x * 0.5
    step = grad(lambda x: _sum(f(x, c)))
    with _tracing():
        assert _peak(lambda: step(x)) < 6 * size
