"""What people write beside the textbook form: several arguments, other spellings, arrays changed in place."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace

from tests.support import host, widest
from xpnet.autodiff import check_grads, grad, jvp, namespace, value_and_grad, vjp
from xpnet.backends import Backend
from xpnet.errors import RecordError

X = np.asarray([1.0, 2.0, 30.0])


# --- Several arguments -----------------------------------------------------------------------------------


def test_arguments_that_are_not_differentiated_share_the_namespace(backend: Backend) -> None:
    """``array_namespace(w, rows)`` finds one namespace, though only w is traced; keyword arguments too."""

    def loss(w: Any, rows: Any, *, targets: Any, more: dict[str, Any]) -> Any:
        xp = array_namespace(w, rows, targets, more["scale"])
        return xp.sum((rows @ w - targets) ** 2) * more["scale"]

    dtype = widest(backend)
    w, rows, targets, scale = (
        backend.asarray(x, dtype=dtype) for x in (np.ones(2), np.eye(3, 2), np.zeros(3), np.asarray(3.0))
    )
    gradient = grad(loss)(w, rows, targets=targets, more={"scale": scale})
    assert type(gradient) is type(w)
    np.testing.assert_allclose(host(gradient), [6.0, 6.0])


def test_integers_beside_traced_arrays_share_the_namespace() -> None:
    def pick(p: dict[str, Any]) -> Any:
        xp = array_namespace(*p.values())
        return xp.sum(xp.take(p["x"], p["rows"], axis=0))

    gradient = grad(pick)({"x": X, "rows": np.asarray([2, 2])})
    np.testing.assert_array_equal(gradient["x"], [0.0, 0.0, 2.0])
    assert gradient["rows"] is None


def test_numpy_scalars_keep_their_dtype() -> None:
    value, gradient = value_and_grad(lambda a, s: s * 1.0, 1)(X.astype("float32"), np.float64(1 / 3))
    assert value.dtype == gradient.dtype == np.float64
    assert float(value) == 1 / 3
    assert grad(lambda a, b: array_namespace(a).sum(a * b), np.int64(1))(X, X).shape == (3,)


def test_dicts_of_other_classes_come_back_as_such() -> None:
    class Named(dict[str, Any]):
        __getattr__ = dict.__getitem__

    gradient = grad(lambda p: array_namespace(p.a).sum(p.a * p.a))(Named(a=X))
    assert type(gradient) is Named
    np.testing.assert_array_equal(gradient.a, 2 * X)
    counted = defaultdict(list, a=X)
    assert grad(lambda p: array_namespace(p["a"]).sum(p["a"]))(counted).default_factory is list


# --- Results that may be changed in place ----------------------------------------------------------------


def test_derivatives_lie_in_memory_of_their_own(backend: Backend) -> None:
    if backend.name == "jax":
        pytest.skip("jax: arrays never change")
    x, y = (backend.asarray(X, dtype="float32") for _ in range(2))
    first, second = grad(lambda a, b: array_namespace(a).sum(a + b), (0, 1))(x, y)
    first *= 0
    np.testing.assert_array_equal(host(second), 1.0)
    g = array_namespace(x).ones_like(x)
    (pulled,) = vjp(lambda a: a + 1, x)[1](g)
    pulled *= 5
    np.testing.assert_array_equal(host(g), 1.0)
    pushed = jvp(lambda a: a + 1, (x,), (g,))[1]
    pushed *= 5
    np.testing.assert_array_equal(host(g), 1.0)
    spread = jvp(lambda a: array_namespace(a).broadcast_to(a, (2, 3)), (x,), (g,))[1]
    if backend.name == "numpy":  # the others write to all entries that share memory at once
        spread *= 5
        np.testing.assert_array_equal(host(spread), 5.0)


# --- Spellings -------------------------------------------------------------------------------------------

ODD: dict[str, Callable[[Any, Any], Any]] = {
    "roll by NumPy's integer": lambda xp, x: xp.roll(x, np.int64(1)),
    "roll by a found place": lambda xp, x: xp.roll(x, xp.argmax(x)),
    "tile by NumPy's integer": lambda xp, x: xp.tile(x, np.int64(2)),
    "repeat by NumPy's integer": lambda xp, x: xp.repeat(x, np.int64(2)),
    "dtype as Python's type": lambda xp, x: xp.astype(x, float) + xp.sum(x, dtype=float),
    "dtype by name": lambda xp, x: xp.astype(x, "f8"),
    "concat's axis by position": lambda xp, x: xp.concat([xp.reshape(x, (1, 3))] * 2, 1),
    "unsigned exponents": lambda xp, x: x ** xp.asarray([0, 1, 2], dtype=xp.uint8),
    "a number by a scalar": lambda xp, x: xp.maximum(x[0], 0.123) + xp.minimum(5.0, x[1]),
    "rows of an array": lambda xp, x: sum(row * row for row in x),
    "copies": lambda xp, x: copy.deepcopy(x) * copy.copy(x),
}


@pytest.mark.parametrize("name", ODD)
def test_other_spellings_of_numpy_have_their_derivative(name: str) -> None:
    with np.errstate(all="ignore"):
        check_grads(lambda x: ODD[name](array_namespace(x), x), (X,), order=1)


def _imaginary_part_into_reals(xp: Any, x: Any) -> Any:
    y = x * 1.0
    y *= 1j
    return xp.real(y)


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "reshape's order": (lambda xp, x: xp.reshape(x, (3, 1), order="F"), "reshape: expected the arguments"),
    "sum's axis by position": (lambda xp, x: xp.sum(x, 0), "sum: expected the arguments of the Array API"),
    "ufunc's casting": (lambda xp, x: xp.exp(x, casting="safe"), "exp: expected the arguments of the Array"),
    "an imaginary factor in place": (_imaginary_part_into_reals, "in-place multiply: expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivative_says_so(name: str) -> None:
    f, message = REFUSED[name]
    with pytest.raises(RecordError, match=message):
        grad(lambda x: array_namespace(x).sum(f(array_namespace(x), x)))(X)


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "acosh", "atan", "atanh", "log", "sqrt", "log1p"])
@pytest.mark.parametrize("real", [3.0, -3.0])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_derivatives_follow_the_branch_of_their_function(name: str, real: float, zero: float) -> None:
    """Along a branch cut, where the two sides differ in sign."""
    z = np.asarray(complex(real, zero))

    def f(z: Any) -> Any:
        return getattr(array_namespace(z), name)(z)

    right, left = (np.asarray(complex(real + step, zero)) for step in (1e-6, -1e-6))
    difference = (f(right) - f(left)) / 2e-6
    np.testing.assert_allclose(jvp(f, (z,), (np.asarray(1 + 0j),))[1], difference, rtol=1e-6, atol=1e-9)


def test_division_by_the_number_zero_gives_infinite_slopes() -> None:
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(vjp(lambda x: x / 0.0, X)[1](np.ones(3))[0], np.inf)


def test_a_loop_over_entries_costs_one_array() -> None:
    """The cotangents of x[0], x[1], ... are added up in place: not one array of the size of x for each."""
    x = np.ones(1_000_000)

    def ends(x: Any, count: int) -> Any:
        total = x[0]
        for i in range(count):
            total = total + x[i] * x[-i - 1]
        return total

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        gradient = grad(ends)(x, count)
        assert float(gradient.sum()) == pytest.approx(2 * count + 1)
        return time.perf_counter() - begun

    # Zeros of this size for each entry would take two seconds. The quickest of three: others use the machine.
    assert min(seconds(500) for _ in range(3)) < 20 * min(seconds(1) for _ in range(3)) + 0.05


def test_tracers_as_python_objects() -> None:
    xp = namespace(array_namespace(X), lift=True)
    assert f"{xp.asarray(0.25):.1f}" == "0.2"
    with pytest.raises(RecordError, match="cannot become a Python number"):
        grad(lambda x: f"{x[0]:.3f}")(X)
    with pytest.raises(RecordError, match="cannot be written to a file"):
        xp.asarray(1.0).__reduce_ex__(4)
    with pytest.raises(TypeError, match="0-d"):
        iter(xp.asarray(1.0))
    with pytest.raises(AttributeError, match="no attribute 'random'"):
        _ = xp.random
