"""Assignment to views inside transforms does what it does to NumPy's arrays, and is differentiated."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.autodiff import random_functions
from tests.support import draw, host, widest
from xpnet.autodiff import functions, grad, jacobian, jvp, vjp
from xpnet.backends import Backend, array_namespace
from xpnet.errors import RecordError
from xpnet.parameters import Layout

X = np.asarray([[3.0, 1.0, 2.0], [-1.0, 0.5, 4.0]])


def _in_place(part: Any, factor: float = 3.0) -> None:
    part *= factor
    part[..., 0] += 10.0


# function of (xp, y): changes a view of y; the matrix y itself is the result
WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "slice": lambda xp, y: _in_place(y[:, 1:]),
    "row": lambda xp, y: _in_place(y[1, ...]),
    "backwards": lambda xp, y: _in_place(y[::-1, ::-2]),
    "new-axis": lambda xp, y: _in_place(y[None, 1:, ...]),
    "slice of a slice": lambda xp, y: _in_place(y[:, 1:][:, 1:]),
    "reshape": lambda xp, y: _in_place(xp.reshape(y, (-1,))),
    "reshape of a transpose, a copy": lambda xp, y: _in_place(xp.reshape(xp.permute_dims(y, (1, 0)), (-1,))),
    "reshape of a part, a copy": lambda xp, y: _in_place(xp.reshape(y[:, 1:], (-1,))),
    "permute_dims": lambda xp, y: _in_place(xp.permute_dims(y, (1, 0))),
    "matrix_transpose": lambda xp, y: _in_place(xp.matrix_transpose(y)),
    "T": lambda xp, y: _in_place(y.T),
    "moveaxis": lambda xp, y: _in_place(xp.moveaxis(y, 0, 1)),
    "flip": lambda xp, y: _in_place(xp.flip(y, axis=1)),
    "expand_dims": lambda xp, y: _in_place(xp.expand_dims(y, axis=0)),
    "squeeze": lambda xp, y: _in_place(xp.squeeze(y[:1, :], axis=0)),
    "unstack": lambda xp, y: _in_place(xp.unstack(y, axis=1)[1]),
    "loop over rows": lambda xp, y: [_in_place(row) for row in y],
    "asarray": lambda xp, y: _in_place(xp.asarray(y)),
    "astype without a copy": lambda xp, y: _in_place(xp.astype(y, y.dtype, copy=False)),
    "astype, a copy": lambda xp, y: _in_place(xp.astype(y, y.dtype)),
    "asarray, a copy": lambda xp, y: _in_place(xp.asarray(y, copy=True)),
    "indices, a copy": lambda xp, y: _in_place(xp.take(y, xp.asarray([1, 0]), axis=0)),
    "mask, a copy": lambda xp, y: _in_place(y[y > 1]),
    "0-d": lambda xp, y: operator.imul(y[0, 1, ...], 5.0),
    "0-d from indices, NumPy's scalar": lambda xp, y: operator.imul(y[0, 1], 5.0),
    "scalar": lambda xp, y: operator.iadd(xp.sum(y), 5.0),
}  # fmt: skip


def _written(name: str) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        y = x * x
        again, beside = y[:, :2], xp.matrix_transpose(y)  # what else lies in that memory
        WRITES[name](xp, y)
        y[0, ...] += beside[:, 1]
        again[1, ...] *= 2.0
        return xp.concat([y, xp.matrix_transpose(beside), again], axis=1)

    return f


def _close(f: Callable[[Any], Any], x: Any = X) -> None:
    """Compare value and both Jacobians with what NumPy computes."""
    with np.errstate(all="ignore"):
        want = f(x)
        step = 1e-6
        columns = [
            (f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(x.size).reshape(-1, *x.shape)
        ]
    np.testing.assert_allclose(vjp(f, x)[0], want, rtol=1e-14)
    np.testing.assert_allclose(jvp(f, (x,), (x,))[0], want, rtol=1e-14)
    slopes = np.reshape(np.stack(columns, axis=-1), (*want.shape, *x.shape))
    for mode in ("reverse", "forward"):
        np.testing.assert_allclose(jacobian(f, mode=mode)(x), slopes, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", WRITES)
def test_writes_through_views_are_those_of_numpy(name: str) -> None:
    _close(_written(name))
    inner = lambda x: np.sum(host(_written(name)(x)))  # noqa: E731
    bent = jvp(grad(lambda x: array_namespace(x).sum(_written(name)(x))), (X,), (np.ones_like(X),))[1]
    step = 1e-4 * np.ones_like(X)
    curvature = (inner(X + step) - 2 * inner(X) + inner(X - step)) / 1e-8
    assert float(np.sum(bent)) == pytest.approx(curvature, rel=1e-4, abs=1e-4)


def _chain(x: Any) -> Any:
    """Views written to one after the other, and read in between."""
    y = x * 1.0
    top, flat = y[:1, :], array_namespace(x).reshape(y, (-1,))
    flat[2:5] = top[0, :]  # its source lies in the same memory
    top += flat[3:]
    y[:, 0] = 7.0
    flat *= array_namespace(x).flip(flat) * 1.0
    return y * top


def _parts(x: Any) -> Any:
    """Real and imaginary parts of a complex array are views, too."""
    xp = array_namespace(x)
    z = xp.astype(x, xp.complex128) * (1 + 2j)
    real, imaginary = xp.real(z), xp.imag(z[:, 1:])
    imaginary *= 3.0
    real[0, ...] = x[1, ...] ** 2
    imaginary[..., 0] += real[:, 0]
    return xp.real(z) * xp.imag(z)


def _overlapping(x: Any) -> Any:
    y = x * 1.0
    y[:, 1:] += y[:, :-1]
    y[:, :-1] = y[:, 1:] * 2
    return y


def _buffer(x: Any) -> Any:
    """A constant, until traced values come in through a view of it."""
    xp = array_namespace(x)
    out = xp.zeros((3, 4))
    for i, column in enumerate(xp.unstack(out, axis=1)[:3]):
        column += x[0, i] * x[:, :1][0, 0]
    out.T[3, ...] = x[1, ...] ** 2 if hasattr(out, "T") else 0
    return out


def _scalars(x: Any) -> Any:
    """NumPy's scalars never change: an operator in place gives a new one."""
    xp = array_namespace(x)
    total = xp.sum(x)
    before = total
    total += x[0, 0]
    count = xp.count_nonzero(x > 1)
    seen = count
    count += 1
    return before * total * (count - seen) * xp.ones((1, 1))


def _views_of_views(x: Any) -> Any:
    y = x * 2.0
    part = y[:, 1:]
    corner = part[:1, :1]
    turned = array_namespace(x).matrix_transpose(part)
    corner *= x[0, 0]
    turned[0, ...] -= 1.0
    part[1, ...] = corner[0, 0] * 2
    return array_namespace(x).concat([y, part, turned[:, :2]], axis=1)


@pytest.mark.parametrize("f", [_chain, _parts, _overlapping, _buffer, _scalars, _views_of_views])
def test_views_read_and_written_by_turns(f: Callable[[Any], Any]) -> None:
    _close(f)


def test_writes_through_views_on_every_library(backend: Backend) -> None:
    x = backend.asarray(X, dtype=widest(backend))
    np.testing.assert_allclose(host(vjp(_chain, x)[0]), _chain(X), rtol=1e-6)
    want = vjp(_chain, X)[1](np.ones_like(X))[0]
    np.testing.assert_allclose(host(vjp(_chain, x)[1](x * 0 + 1)[0]), want, rtol=1e-6)


def test_named_views_of_a_flat_vector_are_written_through() -> None:
    layout = Layout((("w", (2, 2)), ("b", (2,))))

    def f(flat: Any) -> Any:
        y = flat * 1.0
        w, b = functions.unpack(y, layout)
        w[0, ...] *= b
        b += 1.0
        return y

    x = draw(1, (6,))
    want = np.concatenate([x[:2] * x[4:], x[2:4], x[4:] + 1])
    np.testing.assert_allclose(vjp(f, x)[0], want)
    np.testing.assert_allclose(jvp(f, (x,), (np.ones(6),))[1], [*(x[:2] + x[4:]), 1, 1, 1, 1])


READ_ONLY: dict[str, Callable[[Any, Any], Any]] = {
    "broadcast_to": lambda xp, y: xp.broadcast_to(y, (2, 2, 3)),
    "broadcast_arrays": lambda xp, y: xp.broadcast_arrays(y, xp.ones((2, 1, 3)))[0],
    "diagonal": lambda xp, y: xp.linalg.diagonal(y),
    "part of one": lambda xp, y: xp.broadcast_to(y, (2, 2, 3))[0, ...],
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_views_are_refused_as_numpy_does_and_show_what_is_written(name: str) -> None:
    def f(x: Any, write: bool = False) -> Any:
        y = x * 1.0
        view = READ_ONLY[name](array_namespace(x), y)
        if write:
            view += 1.0
        y[0, 0] = 50.0
        return view

    np.testing.assert_array_equal(vjp(f, X)[0], f(X))
    with pytest.raises(RecordError, match=r"in-place add: .*read-only view.*copy=True"):
        vjp(lambda x: f(x, True), X)


def test_traced_values_in_views_of_plain_arrays_are_refused() -> None:
    def f(x: Any) -> Any:
        total = np.zeros((2, 3))
        part = total[:1, :]
        part += x[:1, :]
        return total * x

    with pytest.raises(RecordError, match=r"in-place add: .*a view of a NumPy array.*__array_namespace__"):
        vjp(f, X)


def test_views_that_are_gone_cost_nothing() -> None:
    def f(x: Any) -> Any:
        y = x * 1.0
        for i in range(200):
            y[:, i % 3] += y[:, (i + 1) % 3]
        return y

    recorded: list[int] = []

    def traced(x: Any) -> Any:
        made = f(x)
        recorded.append(len(made.trace.tape))
        assert len(made.kin.views) < 130
        return made

    np.testing.assert_allclose(vjp(traced, X)[0], f(X))
    assert recorded[0] < 200 * 6 + 10


def test_overlap_and_add_of_scipy() -> None:
    if os.environ.get("SCIPY_ARRAY_API") != "1":
        pytest.skip("SciPy: SCIPY_ARRAY_API is not set")
    signal = pytest.importorskip("scipy.signal", reason="SciPy is not installed")
    a, b = draw(1, (40,)), np.asarray([1.0, -0.5, 2.0])
    y, pullback = vjp(signal.oaconvolve, a, b)
    np.testing.assert_allclose(y, np.convolve(a, b), atol=1e-13)
    u = draw(2, y.shape)
    to_a, to_b = pullback(u)
    np.testing.assert_allclose(to_a, np.correlate(u, b, "valid"), atol=1e-12)
    np.testing.assert_allclose(to_b, np.correlate(u, a, "valid"), atol=1e-12)


# --- Random functions -------------------------------------------------------------------------------------


def test_random_functions_are_those_of_numpy() -> None:
    found = [random_functions.check(seed) for seed in range(60)]
    assert found.count("derivatives") > 45


@pytest.mark.full
@pytest.mark.parametrize("first", range(1000, 1600, 300))
def test_many_random_functions_are_those_of_numpy(first: int) -> None:
    for seed in range(first, first + 300):
        random_functions.check(seed)
