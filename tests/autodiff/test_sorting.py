"""Sorting, searching and sets inside transforms: ties, options, results without derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import Tracer, grad, jvp, vjp
from xpnet.backends import Backend

TIES = np.asarray([2.0, 1.0, 2.0, 1.0, 2.0])


@pytest.fixture(autouse=True)
def _has_int64(backend: Backend) -> None:
    if backend.spec == "array_api_strict:no_x64":
        pytest.skip(f"{backend.spec}: indices are int64, which the device lacks")


def _space(x: Any) -> Any:
    return x.__array_namespace__()


def _matrix(f: Any, x: Any, backend: Backend) -> np.ndarray:
    """Return the Jacobian of f: (n,) -> (m,), by pullbacks, equal to that by tangents."""
    y, pullback = vjp(f, x)
    m, n = y.shape[0], x.shape[0]
    unit = lambda k, i: backend.asarray(np.eye(k)[i], dtype=widest(backend))  # noqa: E731
    pulled = np.stack([host(pullback(unit(m, i))[0]) for i in range(m)])
    pushed = np.stack([host(jvp(f, (x,), (unit(n, i),))[1]) for i in range(n)], axis=1)
    np.testing.assert_array_equal(pulled, pushed)
    return pulled


@pytest.mark.parametrize(
    ("options", "order"),
    [({}, [1, 3, 0, 2, 4]), ({"descending": True}, [0, 2, 4, 1, 3]), ({"axis": 0}, [1, 3, 0, 2, 4])],
    ids=str,
)
def test_equal_values_keep_their_order(options: Any, order: list[int], backend: Backend) -> None:
    x = backend.asarray(TIES, dtype=widest(backend))
    matrix = _matrix(lambda x: _space(x).sort(x, **options), x, backend)
    np.testing.assert_array_equal(matrix, np.eye(5)[order])


def test_sort_and_argsort_agree(backend: Backend) -> None:
    """Taking along the order has the values and the derivatives of sorting, also the second ones."""
    x = backend.asarray(draw(1, (3, 4)), dtype=widest(backend))

    def ranked(x: Any, through_order: bool) -> Any:
        xp = _space(x)
        values = xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0) if through_order else xp.sort(x, axis=0)
        return xp.sum(
            values**3 * xp.asarray(xp.reshape(xp.arange(3, device=x.device), (3, 1)), dtype=x.dtype)
        )

    along = lambda t: jvp(grad(lambda x: ranked(x, t)), (x,), (x,))  # noqa: E731
    for one, other in zip(along(True), along(False), strict=True):
        np.testing.assert_allclose(host(one), host(other), rtol=1e-5)


def test_of_equal_values_the_first_is_the_unique_one(backend: Backend) -> None:
    x = backend.asarray(TIES, dtype=widest(backend))
    functions = {
        "unique_values": lambda x: _space(x).unique_values(x),
        "unique_counts": lambda x: _space(x).unique_counts(x).values,
        "unique_inverse": lambda x: _space(x).unique_inverse(x)[0],
    }
    if backend.name != "torch":  # which has no unique_all
        functions["unique_all"] = lambda x: _space(x).unique_all(x).values
    for f in functions.values():
        values = host(vjp(f, x)[0])
        np.testing.assert_array_equal(np.sort(values), [1, 2])
        np.testing.assert_array_equal(_matrix(f, x, backend), np.eye(5)[[1 if v == 1 else 0 for v in values]])


def test_unique_takes_any_shape_and_nothing(backend: Backend) -> None:
    for shape in ((), (0,), (2, 3), (2, 0)):
        x = backend.asarray(draw(1, shape), dtype=widest(backend))
        y, pullback = vjp(lambda x: _space(x).unique_values(x) * 2, x)
        np.testing.assert_array_equal(host(pullback(y * 0 + 1)[0]), np.full(shape, 2.0))


def test_results_of_sets_have_the_kind_and_values_of_the_library(backend: Backend) -> None:
    x = backend.asarray(TIES, dtype=widest(backend))
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        if (backend.name, name) == ("torch", "unique_all"):
            continue
        want, seen = getattr(backend.xp, name)(x), []

        def f(x: Any, name: str = name, seen: list[Any] = seen) -> Any:
            seen.append(getattr(_space(x), name)(x))
            return _space(x).sum(seen[0].values)

        grad(f)(x)
        assert type(seen[0]) is type(want)
        for part, other in zip(seen[0], want, strict=True):
            np.testing.assert_array_equal(host(part.value), host(other))


def test_what_was_not_a_number_leaves_the_others_alone(backend: Backend) -> None:
    x = backend.asarray(np.asarray([2.0, np.nan, 1.0]), dtype=widest(backend))

    def f(x: Any) -> Any:
        xp = _space(x)
        values = xp.sort(x)
        return xp.sum(xp.where(xp.isnan(values), 0.0, values) ** 2)

    np.testing.assert_array_equal(host(grad(f)(x)), [4, 0, 2])


CONSTANT = {
    "argmax": lambda xp, x: xp.argmax(x, axis=0, keepdims=True),
    "argmin": lambda xp, x: xp.argmin(x),
    "argsort": lambda xp, x: xp.argsort(x, axis=0, descending=True, stable=True),
    "count_nonzero": lambda xp, x: xp.count_nonzero(x, axis=0),
    "isin": lambda xp, x: xp.isin(xp.astype(x, xp.int64), xp.astype(x[1:3], xp.int64), invert=True),
    "isin-number": lambda xp, x: xp.isin(xp.astype(x, xp.int64), 2),
    "nonzero": lambda xp, x: xp.nonzero(x)[0],
    "searchsorted": lambda xp, x: xp.searchsorted(xp.sort(x), x, side="right"),
    "searchsorted-sorter": lambda xp, x: xp.searchsorted(x, x * 2, sorter=xp.argsort(x)),
    "searchsorted-number": lambda xp, x: xp.searchsorted(xp.sort(x), 2.5),
    "searchsorted-constant": lambda xp, x: xp.searchsorted(xp.zeros_like(x), x),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANT)
def test_places_are_lifted_constants(name: str, backend: Backend) -> None:
    """They are what the library gives, and are multiplied into traced arrays without a derivative."""
    x = backend.asarray(TIES + np.arange(5.0), dtype=widest(backend))
    want, seen = CONSTANT[name](backend.xp, x), []

    def f(x: Any) -> Any:
        xp = _space(x)
        seen.append(CONSTANT[name](xp, x))
        return xp.sum(x) * xp.sum(xp.astype(seen[0], x.dtype))

    gradient = grad(f)(x)
    assert type(seen[0]) is Tracer
    assert seen[0].trace.level == 0
    assert seen[0].dtype == want.dtype
    np.testing.assert_array_equal(host(seen[0].value), host(want))
    np.testing.assert_allclose(host(gradient), np.full(5, host(want).sum()))
