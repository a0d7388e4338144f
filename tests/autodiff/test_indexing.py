"""Indexing and assignment inside transforms: indices made there, repeated ones, empty selections, aliases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices

from tests.support import draw, host, relative_error, widest
from xpnet.autodiff import grad, jacobian, jvp, vjp
from xpnet.backends import Backend
from xpnet.errors import RecordError

X = np.asarray([3.0, 1.0, 2.0, -1.0])

# --- Taking out ----------------------------------------------------------------------------------------


def _space(x: Any) -> Any:
    return x.__array_namespace__()


def _check(f: Callable[..., Any], want: Any, slopes: Any, backend: Backend) -> None:
    """Compare f(X) with ``want``, and its derivatives along ones, in both modes, with ``slopes``."""
    x = backend.asarray(X, dtype=widest(backend))
    y, pullback = vjp(f, x)
    np.testing.assert_allclose(host(y), want)
    pulled = pullback(y * 0 + 1)[0]
    assert pulled.dtype == x.dtype
    np.testing.assert_allclose(host(pulled), slopes)
    pushed = host(jvp(f, (x,), (x,))[1])
    assert pushed.shape == np.shape(want)
    assert np.sum(pushed) == pytest.approx(float(np.sum(X * slopes)), abs=1e-6)


def _needs_int64(backend: Backend) -> None:
    if backend.spec == "array_api_strict:no_x64":
        pytest.skip(f"{backend.spec}: indices are int64, which the device lacks")


# function of X, its value there, the sum of its values' derivatives
MADE_INSIDE: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "argmax": (lambda x: x[_space(x).argmax(x)] ** 2, 9, [6, 0, 0, 0]),
    "argsort": (lambda x: x[_space(x).argsort(x)] * 2, [-2, 2, 4, 6], [2, 2, 2, 2]),
    "slice-to-argmin": (lambda x: x[: _space(x).argmin(x)] ** 2, [9, 1, 4], [6, 2, 4, 0]),
    "nonzero": (lambda x: x[_space(x).nonzero(x > 1)[0]], [3, 2], [1, 0, 1, 0]),
    "take": (lambda x: _space(x).take(x, _space(x).argsort(x)[:2]), [-1, 1], [0, 1, 0, 1]),
    "take_along_axis": (
        lambda x: _space(x).take_along_axis(x, _space(x).argsort(x, descending=True), axis=0) ** 2,
        [9, 4, 1, 1],
        [6, 2, 4, -2],
    ),
    "int-of-argmax": (lambda x: x[int(_space(x).argmax(x)) + 1], 1, [0, 1, 0, 0]),
}


@pytest.mark.parametrize("name", MADE_INSIDE)
def test_indices_made_inside_the_function(name: str, backend: Backend) -> None:
    _needs_int64(backend)
    _check(*MADE_INSIDE[name], backend)


MASKS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "greater": (lambda x: x[x > 1] ** 2, [9, 4], [6, 0, 4, 0]),
    "none": (lambda x: x[x > 100] ** 2, [], [0, 0, 0, 0]),
    "all": (lambda x: x[x < 100] ** 2, [9, 1, 4, 1], [6, 2, 4, -2]),
    "0-d-true": (lambda x: x[_space(x).all(x < 100)] ** 2, [[9, 1, 4, 1]], [6, 2, 4, -2]),
    "0-d-false": (lambda x: x[_space(x).all(x > 100)] ** 2, np.zeros((0, 4)), [0, 0, 0, 0]),
    "matrix": (
        lambda x: _space(x).reshape(x, (2, 2))[_space(x).reshape(x, (2, 2)) > 1],
        [3, 2],
        [1, 0, 1, 0],
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_made_inside_the_function(name: str, backend: Backend) -> None:
    _check(*MASKS[name], backend)


EMPTY: dict[str, Callable[..., Any]] = {
    "slice": lambda xp, x: x[2:2, :],
    "all-of-nothing": lambda xp, x: x[:0, :][:, ::2],
    "take": lambda xp, x: xp.take(x, xp.nonzero(x[:, 0] > 100)[0], axis=0),
    "take_along_axis": lambda xp, x: xp.take_along_axis(x, xp.argsort(x, axis=1)[:, :0], axis=1),
    "mask": lambda xp, x: x[x > 100],
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_selections_have_gradient_zero(name: str, backend: Backend) -> None:
    if name.startswith("take"):
        _needs_int64(backend)
    x = backend.asarray(draw(1, (3, 2)), dtype=widest(backend))

    def f(x: Any) -> Any:
        return EMPTY[name](_space(x), x)

    y, pullback = vjp(f, x)
    assert 0 in y.shape
    np.testing.assert_array_equal(host(pullback(y)[0]), np.zeros((3, 2)))
    assert tuple(jvp(f, (x,), (x,))[1].shape) == tuple(y.shape)


@pytest.mark.parametrize(
    "index", [[0, 0, 2], ([1, 1], [0, 0]), (0, [1, 1, 1]), ([[0], [0]], [0, 0])], ids=str
)
def test_lists_as_indices_where_the_library_takes_them(index: Any) -> None:
    """Entries named several times add up: numpy.add.at is the reference."""
    x, want = draw(1, (3, 2)), np.zeros((3, 2))
    u = draw(2, x[index].shape)
    np.add.at(want, index, u)
    np.testing.assert_allclose(vjp(lambda x: x[index], x)[1](u)[0], want)


@st.composite
def _arrays_and_indices(draw_one: Any) -> Any:
    shape = draw_one(array_shapes(max_dims=3, max_side=4, min_side=0 if draw_one(st.booleans()) else 1))
    indices = [basic_indices(shape, allow_newaxis=True)]
    if 0 not in shape:
        indices.append(integer_array_indices(shape))
    return shape, draw_one(st.one_of(indices))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(_arrays_and_indices())
def test_any_index_of_numpy(case: Any) -> None:
    """The transpose of x[index] adds up at the index, the push is the index itself, also a second time."""
    shape, index = case
    x, v = draw(1, shape), draw(2, shape)
    u = draw(3, x[index].shape)
    want = np.zeros(shape)
    np.add.at(want, index, u)
    y, pullback = vjp(lambda x: x[index] ** 2, x)
    np.testing.assert_array_equal(y, x[index] ** 2)
    np.testing.assert_allclose(pullback(u)[0], 2 * x * want, atol=1e-15)
    np.testing.assert_allclose(jvp(lambda x: x[index] ** 2, (x,), (v,))[1], 2 * (x * v)[index])
    twice = vjp(lambda u: vjp(lambda x: x[index], x)[1](u)[0], u)[1](v)[0]
    np.testing.assert_allclose(twice, v[index])


# --- Assignment ----------------------------------------------------------------------------------------


def _filled_by_a_loop(x: Any) -> Any:
    out = _space(x).zeros_like(x)
    for i in range(4):
        out[i] = x[i] ** 2
    return out


def _running_product(x: Any) -> Any:
    """Each entry is read after it was written."""
    for i in range(1, 4):
        x[i] = x[i] * x[i - 1]
    return x


def _of_its_own_argument(x: Any) -> Any:
    square = x**2
    x[0] = square[1]
    return x * square


def _under_a_mask(x: Any) -> Any:
    x[x > 1] = 0.0
    return x * x


def _values_under_a_mask(x: Any) -> Any:
    chosen = x > 1
    x[chosen] = x[chosen] ** 2
    return x


def _nothing(x: Any) -> Any:
    y = x * 2
    y[x > 100] = 5.0
    y[1:1] = x[1:1]
    return y


def _broadcast(x: Any) -> Any:
    out = _space(x).zeros_like(_space(x).reshape(x, (2, 2)))
    out[:, 1] = x[0] ** 2
    out[...] += x[:2]
    return out


ASSIGNED: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "loop": (_filled_by_a_loop, [9, 1, 4, 1], [6, 2, 4, -2]),
    "running-product": (_running_product, [3, 3, 6, -6], [2, 3, 0, 6]),
    "its-own-argument": (_of_its_own_argument, [9, 1, 8, -1], [6, 18 + 3, 12, 3]),
    "mask": (_under_a_mask, [0, 1, 0, 1], [0, 2, 0, -2]),
    "mask-values": (_values_under_a_mask, [9, 1, 4, -1], [6, 1, 4, 1]),
    "nothing": (_nothing, [6, 2, 4, -2], [2, 2, 2, 2]),
    "broadcast": (_broadcast, [[3, 10], [3, 10]], [2 * 6 + 2, 2, 0, 0]),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_assignment_is_differentiated(name: str, backend: Backend) -> None:
    _check(*ASSIGNED[name], backend)


def test_assignment_leaves_the_arguments_as_they_were(backend: Backend) -> None:
    x = backend.asarray(X, dtype=widest(backend))
    grad(lambda x: _space(x).sum(_of_its_own_argument(x)))(x)
    np.testing.assert_array_equal(host(x), X)


def test_the_hessian_of_assigned_entries() -> None:
    def f(x: Any) -> Any:
        return _space(x).sum(_running_product(x * 1.0) ** 2)

    plain = lambda x: np.sum(np.cumprod(x) ** 2)  # noqa: E731
    step = 1e-4 * np.eye(4)
    want = [
        [(plain(X + a + b) - plain(X + a - b) - plain(X - a + b) + plain(X - a - b)) / 4e-8 for b in step]
        for a in step
    ]
    for mode in ("reverse", "forward"):
        assert relative_error(jacobian(grad(f), mode=mode)(X), np.asarray(want)) < 1e-6


def test_of_values_for_one_place_the_one_that_stays_has_the_derivative(backend: Backend) -> None:
    """The last one stays, on every library, and its derivative and no other reaches the result."""
    if backend.name == "array_api_strict":
        pytest.skip("array_api_strict: the standard assigns to no integer arrays")
    place = backend.asarray(np.asarray([1, 0, 1, 1]))

    def f(x: Any) -> Any:
        out = _space(x).zeros_like(x)
        out[place] = x**3
        return out

    x = backend.asarray(X, dtype=widest(backend))
    matrix = np.stack([host(vjp(f, x)[1](backend.asarray(e, dtype=widest(backend)))[0]) for e in np.eye(4)])
    stays = int(np.argmin(np.abs(host(vjp(f, x)[0])[1] - X**3)))
    want = np.zeros((4, 4))
    want[0, 1], want[1, stays] = 3 * X[1] ** 2, 3 * X[stays] ** 2
    np.testing.assert_allclose(matrix, want)
    assert stays == 3


@pytest.mark.parametrize("lists", [[0, 0, 1], ([0, 0, 1],), (slice(None), [0, 0, 1])], ids=str)
def test_repeated_entries_of_lists_are_found_too(lists: Any) -> None:
    x = draw(1, (3, 3))

    def f(v: Any) -> Any:
        out = _space(v).zeros((3, 3))
        out[lists] = v
        return out

    matrix = jacobian(f)(x).reshape(9, 9)
    np.testing.assert_array_equal(matrix, jacobian(f, mode="forward")(x).reshape(9, 9))
    assert matrix.sum() == 6  # three of the nine values were overwritten


def test_values_of_another_dtype_get_cotangents_of_their_own() -> None:
    x, v = draw(1, (3,)), draw(2, (2,)).astype("float32")

    def f(x: Any, v: Any) -> Any:
        x[1:] = v * v
        return x * x

    pulled = vjp(f, x, v)[1](np.ones(3))
    assert [g.dtype for g in pulled] == [x.dtype, v.dtype]
    np.testing.assert_allclose(pulled[1], 4 * v.astype("float64") ** 3, rtol=1e-6)


def test_real_values_in_a_complex_array() -> None:
    def f(v: Any) -> Any:
        out = _space(v).zeros(3, dtype=np.complex128)
        out[0], out[1:] = v[0] * 1j, v[1:] ** 2
        return out

    x = draw(1, (3,))
    pulled = vjp(f, x)[1](np.full(3, 1 - 1j))[0]
    np.testing.assert_allclose(pulled, [1, 2 * x[1], 2 * x[2]])


def test_whole_numbers_have_no_derivative(backend: Backend) -> None:
    def f(x: Any) -> Any:
        xp = _space(x)
        counts = xp.zeros_like(x, dtype=xp.int32)
        counts[0] = xp.astype(x[0], xp.int32) + 1
        return xp.astype(counts, x.dtype) + x

    _check(f, [7, 1, 2, -1], [1, 1, 1, 1], backend)


def test_truncated_values_have_no_derivative() -> None:
    """NumPy writes floating values into whole numbers."""

    def f(x: Any) -> Any:
        counts = _space(x).zeros(4, dtype=int)
        counts[0] = x[0] * 1.5
        return x + counts

    np.testing.assert_array_equal(vjp(f, X)[0], [7, 1, 2, -1])
    np.testing.assert_array_equal(vjp(f, X)[1](np.ones(4))[0], np.ones(4))


# --- Names, aliases and views --------------------------------------------------------------------------


def test_all_names_of_an_array_see_an_assignment(backend: Backend) -> None:
    def f(x: Any) -> Any:
        same = x
        same[0] = x[1] * 10
        same *= 2
        return x

    _check(f, [20, 2, 4, -2], [0, 22, 2, 2], backend)


def test_views_and_their_array_see_an_assignment(backend: Backend) -> None:
    """As in NumPy, on every library; more of it is in test_views.py."""

    def f(x: Any) -> Any:
        part = x[1:]
        x[1] = 0.0
        part[1] = 50.0
        return _space(x).concat([x, part])

    _check(f, [3, 0, 50, -1, 0, 50, -1], [1, 0, 0, 2], backend)


def test_lifted_arrays_take_traced_values_in_place(backend: Backend) -> None:
    def f(x: Any) -> Any:
        out = _space(x).ones_like(x)
        other = out
        out += x
        out *= x
        return other

    _check(f, [12, 2, 6, 0], [7, 3, 5, -1], backend)


def test_an_index_with_a_derivative_is_refused() -> None:
    with pytest.raises(RecordError, match="expected integers, slices"):
        grad(lambda x: x[x])(X)


def test_an_index_outside_raises_as_the_library_does(backend: Backend) -> None:
    x = backend.asarray(X, dtype=widest(backend))
    if backend.name == "jax":
        pytest.skip("jax: indices outside are moved to the edge")
    with pytest.raises(IndexError):
        vjp(lambda x: x[4], x)

    def f(x: Any) -> Any:
        x[4] = 1.0
        return x

    with pytest.raises(IndexError):
        vjp(f, x)
