"""``linearize``: the derivatives of ``jvp`` in many directions, from one evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import checkpoint, custom_rule, grad, jacobian, jvp, linearize, vmap
from xpnet.backends import Backend, array_namespace
from xpnet.containers import leaves
from xpnet.errors import RecordError
from xpnet.program import compile

X, V = draw(1, (4,)), draw(2, (4,))


def _sum(x: Any) -> Any:
    return array_namespace(x).sum(x)


def _assigned(x: Any) -> Any:
    y = array_namespace(x).zeros_like(x)
    y[1:] = x[:-1] * x[1:]
    y[0] = y[2]
    return y * x


def _inverse(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.linalg.inv(xp.reshape(x, (2, 2)) + 4 * xp.eye(2, dtype=x.dtype, device=x.device))


_third = custom_rule(lambda xp, g, out, x: 3 * g)(lambda x: 3 * x)

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "elementwise": lambda x: array_namespace(x).tanh(x * x) + 1,
    "the argument itself": lambda x: x,
    "a constant": lambda x: array_namespace(x).ones_like(x),
    "several results of one function": lambda x: array_namespace(x).unstack(x)[1] * x,
    "a container": lambda x: {"y": x * x, "positive": x > 0, "n": [_sum(x), 2.0, None]},
    "assignment": _assigned,
    "a rule without push": _third,
    "checkpoint": checkpoint(lambda x: array_namespace(x).sin(x) * x),
    "a derivative": grad(lambda x: _sum(x**3)),
    "examples": vmap(lambda x: x * x),
    "an inverse": _inverse,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pushes_are_those_of_jvp(name: str, backend: Backend) -> None:
    f, dtype = FUNCTIONS[name], widest(backend)
    x, v = (backend.asarray(a, dtype=dtype) for a in (X, V))
    y, push = linearize(f, x)
    for direction in (v, 2 * v):
        want = jvp(f, (x,), (direction,))
        got = (y, push(direction))
        for a, b in zip(leaves(got), leaves(want), strict=True):
            assert relative_error(a, b) < tolerance(dtype)
            assert a.dtype == b.dtype
    if isinstance(y, dict):
        assert push(v)["positive"] is None


def test_the_function_runs_once() -> None:
    calls: list[int] = []
    y, push = linearize(lambda x, p: calls.append(1) or x * p["w"] * p["n"], X, {"w": V, "n": 2})
    for _ in range(3):
        np.testing.assert_allclose(push(V, {"w": X, "n": None}), 2 * (V * V + X * X))
    assert len(calls) == 1
    np.testing.assert_allclose(y, 2 * X * V)


NESTED: dict[str, Callable[[Any], Any]] = {
    "reverse over it": lambda x: grad(lambda x: _sum(linearize(lambda x: x**3, x)[1](x)))(x) / 9,
    "forward over it": lambda x: jvp(lambda x: linearize(lambda x: x**3, x)[1](x), (x,), (x / x,))[1] / 9,
    "of the tangent": lambda x: jacobian(linearize(lambda x: x**3, x)[1])(x).diagonal() / 3,
    "tangents of examples": lambda x: vmap(linearize(lambda x: x**3, x)[1])(np.eye(4)).diagonal() / 3,
    "points of examples": lambda x: vmap(lambda x: linearize(lambda x: x**3, x)[1](x / x))(x) / 3,
    "compiled": lambda x: compile(lambda x: linearize(lambda x: x**3, x)[1](x))(x) / 3 / x,
}


@pytest.mark.parametrize("name", NESTED)
def test_it_nests(name: str) -> None:
    np.testing.assert_allclose(host(NESTED[name](X)), X * X, rtol=1e-12)


def test_what_was_given_and_what_comes_back_are_apart() -> None:
    _, push = linearize(lambda x: (x, x), X)
    v = V.copy()
    first, second = push(v)
    first[:] = 0.0
    np.testing.assert_array_equal(v, V)
    np.testing.assert_array_equal(second, V)


@pytest.mark.parametrize(
    ("tangents", "message"),
    [
        ((), "tangents: expected a tuple of 1, found a tuple of 0"),
        ((V, V), "tangents: expected a tuple of 1, found a tuple of 2"),
        ((V[:2],), r"tangents\[0\]: expected the shape \(4,\)"),
        ((None,), r"tangents\[0\]: expected an array of shape \(4,\), found NoneType"),
        ((V.astype("float32"),), r"tangents\[0\]: expected the dtype float64"),
    ],
)
def test_tangents_unlike_the_arguments_are_refused(tangents: tuple[Any, ...], message: str) -> None:
    with pytest.raises(RecordError, match="linearize of <lambda>: " + message):
        linearize(lambda x: x * x, X)[1](*tangents)


def test_jax_agrees() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        f = lambda x, w: array_namespace(x).tanh(x * w) * w  # noqa: E731
        y, push = jax.linearize(f, jax.numpy.asarray(X), jax.numpy.asarray(V))
        want = y, push(jax.numpy.asarray(V), jax.numpy.asarray(X))
        y, push = linearize(f, X, V)
        np.testing.assert_allclose(y, want[0])
        np.testing.assert_allclose(push(V, X), want[1])
