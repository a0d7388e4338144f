"""Kinds of numbers: gradients have the dtype and shape of their arguments, whatever stands beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.autodiff.rule_cases import BINARY, Case
from tests.autodiff.test_rules import every_rule
from tests.support import draw
from xpnet.autodiff import check_grads, functions, grad, jacobian, jvp, value_and_grad, vjp
from xpnet.autodiff.namespaces import Namespace
from xpnet.backends import array_namespace
from xpnet.backends import backend as backend_named
from xpnet.backends.lacking import extended
from xpnet.errors import RecordError


def _space(*args: Any) -> Any:
    space = array_namespace(*args)
    return space if isinstance(space, Namespace) else extended(space)


def _mixed_with_complex(case: Case) -> Callable[..., Any]:
    """Return the case's result, real or complex, times complex numbers, so that cotangents are complex."""

    def run(*args: Any) -> Any:
        xp = _space(*args)
        y = case.function(xp, *args, *case.constants)
        return xp.multiply(y, xp.asarray(0.3 - 1.2j, dtype=xp.complex128))

    return run


@every_rule
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_have_dtype_and_shape_of_their_arguments(case: Case, dtype: str) -> None:
    args = tuple(x.astype(dtype) for x in case.args)
    f = _mixed_with_complex(case)
    y, pullback = vjp(f, *args)
    pulled = pullback(np.asarray((0.7 + 0.4j) * np.ones(y.shape), dtype=y.dtype))
    assert [(g.dtype, g.shape) for g in pulled] == [(x.dtype, x.shape) for x in args]
    pushed = jvp(f, args, args)[1]
    assert (pushed.dtype, pushed.shape) == (y.dtype, y.shape)
    plain = lambda *x: case.function(_space(*x), *x, *case.constants)  # noqa: E731
    y, pullback = vjp(plain, *args)
    assert [g.dtype for g in pullback(np.ones_like(y))] == [x.dtype for x in args]
    assert jvp(plain, args, args)[1].dtype == y.dtype


# Functions of complex arrays, given real ones, which NumPy takes too: name, options.
_OF_REAL = {
    "imag": {}, "real": {}, "conj": {}, "fft.irfft": {}, "fft.irfftn": {}, "fft.hfft": {"n": 5},
    "fft.ifft": {}, "fft.fft": {"n": 5}, "fft.rfft": {}, "fft.ihfft": {}, "fft.fftn": {},
    "fft.ifftn": {}, "fft.rfftn": {}, "sign": {}, "abs": {},
}  # fmt: skip


@pytest.mark.parametrize("name", _OF_REAL)
def test_functions_of_complex_arrays_take_real_ones(name: str) -> None:
    def f(x: Any) -> Any:
        xp = _space(x)
        for part in name.split("."):
            xp = getattr(xp, part)
        return xp(x, **_OF_REAL[name])

    x = draw(3, (3, 4))
    check_grads(f, (x,))
    y, pullback = vjp(f, x.astype("float32"))
    assert pullback(np.ones_like(y))[0].dtype == np.float32


# --- Whole numbers and truth values beside floating arrays --------------------------------------------

_WHOLE = {
    "bool": np.asarray([True, False, True]),
    "int8": np.asarray([1, 2, 3], dtype=np.int8),
    "int64": np.asarray([1, 2, 3]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", _WHOLE)
@pytest.mark.parametrize("name", [*BINARY, "where", "clip-low", "clip-high"])
def test_whole_numbers_beside_floating_arrays(name: str, kind: str, dtype: str) -> None:
    """The slopes are those beside the same numbers in floating point, on either side and in both modes."""
    whole = (
        _WHOLE[kind] | np.asarray([True] * 3)
        if name in ("divide", "remainder") and kind == "bool"
        else _WHOLE[kind]
    )
    if name == "copysign" and kind == "bool":
        pytest.skip("copysign: NumPy has no signs of truth values")

    def call(xp: Any, x: Any, y: Any) -> Any:
        if name == "where":
            return xp.where(xp.asarray([True, False, True]), x, y)
        if name.startswith("clip"):
            return xp.clip(x, y, None) if name == "clip-low" else xp.clip(x, None, y)
        return getattr(xp, name)(x, y)

    x, one, floating = np.asarray([0.4, 2.0, 3.7], dtype=dtype), np.ones(3, dtype), whole.astype(dtype)
    for swapped in (False, True) if not name.startswith("clip") else (False,):

        def f(x: Any, y: Any, swapped: bool = swapped) -> Any:
            return call(_space(x), *((y, x) if swapped else (x, y)))

        beside = lambda x, f=f: f(x, whole)  # noqa: E731
        want = vjp(lambda x, f=f: f(x, floating), x)[1](one)[0]
        y, pullback = vjp(beside, x)
        (pulled,) = pullback(np.ones_like(y))
        assert pulled.dtype == x.dtype
        np.testing.assert_allclose(pulled, want, rtol=1e-6)
        np.testing.assert_allclose(jvp(beside, (x,), (one,))[1], want, rtol=1e-6)


# --- Complex arguments of compound functions --------------------------------------------------------------


def test_the_sigmoid_of_complex_numbers() -> None:
    z = np.asarray([0.3 + 0.4j, -2 - 1j, 800 + 1j, -800 + 1j, 0j])
    np.testing.assert_allclose(functions.sigmoid(z[:2]), 1 / (1 + np.exp(-z[:2])), rtol=1e-14)
    np.testing.assert_allclose(functions.sigmoid(z[2:]), [1, 0, 0.5], atol=1e-300)
    check_grads(functions.sigmoid, (z[:2],))


_OF_REALS = (
    "relu", "softplus", "mish", "erf", "logsumexp", "log_softmax", "softmax", "logistic_loss",
    "cross_entropy",
)  # fmt: skip


@pytest.mark.parametrize("name", _OF_REALS)
def test_functions_of_real_numbers_refuse_complex_ones(name: str) -> None:
    z = np.ones(3, dtype=complex)
    more = (z,) if name in ("logistic_loss", "cross_entropy") else ()
    for run in (getattr(functions, name), lambda *z: vjp(getattr(functions, name), *z)):
        with pytest.raises(
            RecordError, match=rf"{name}: expected real arrays, found dtype complex128; take xp.real"
        ):
            run(z, *more)


# --- Python's numbers -------------------------------------------------------------------------------------


def test_floats_are_differentiated_wherever_they_are() -> None:
    """Floats and complex numbers have gradients; whole numbers and truth values are constants."""
    x = np.asarray(3.0)
    got = grad(lambda p: p["a"] * p["b"] * p["n"] + p["c"][0])(
        {"a": 2.0, "b": x, "n": 4, "on": True, "c": (1.0,)}
    )
    assert got == {"a": 12.0, "b": 8.0, "n": None, "on": None, "c": (1.0,)}
    assert grad(lambda p: p[0] * p[1])([2.0, 3.0]) == [3.0, 2.0]
    narrow = grad(lambda p: p[0] * p[1])([2.0, np.asarray(3.0, dtype="float32")])
    assert [g.dtype for g in narrow] == [np.float32, np.float32]
    (pulled,) = vjp(lambda p: p[0] * p[1], [2.0, 1j])[1](1.0)
    assert pulled == [0.0, 2.0]  # of a real argument the real part
    y, tangent = jvp(lambda p: p["a"] ** 2 * p["n"], ({"a": 3.0, "n": 2},), ({"a": 1.0, "n": None},))
    assert (float(y), float(tangent)) == (18.0, 12.0)
    assert jacobian(lambda p: p[0] * p[1])([2.0, 3.0]) == [3.0, 2.0]
    check_grads(lambda p: p["a"] ** 2 * p["b"], ({"a": 2.0, "b": x, "n": 3},))


def test_python_numbers_as_results() -> None:
    x = np.asarray(3.0)
    for number in (1, 1.5):
        assert value_and_grad(lambda x, number=number: number)(x) == (number, 0.0)
    with pytest.raises(RecordError, match="expected a floating result, found dtype bool"):
        grad(lambda x: True)(x)
    assert vjp(lambda x: (x, False), x)[0][1].dtype == np.bool_


def test_formats_of_numbers() -> None:
    """Constants have those of numbers on every library; of traced arrays the derivative would be lost."""
    seen: list[str] = []

    def f(x: Any) -> Any:
        xp = x.__array_namespace__()
        seen.extend([f"{xp.asarray(0.25):.3f}", f"{xp.asarray(7):>4d}", f"{xp.asarray(1 + 2j):.1f}", f"{x}"])
        with pytest.raises(RecordError, match=r"expected a 0-d array, found shape \(2,\)"):
            f"{xp.asarray([1.0, 2.0]):.3f}"
        with pytest.raises(RecordError, match=r"its text, for its derivative would be lost; .*stop_gradient"):
            f"{x:.3f}"
        return x * x

    grad(f)(np.asarray(3.0))
    assert seen == ["0.250", "   7", "1.0+2.0j", "Tracer(array(3.))"]


# --- 0-d arrays over an axis ------------------------------------------------------------------------------


# slope and second derivative of x times the sum of what comes out, at x = 3
_OVER_AN_AXIS = {
    "sum": (6.0, 2.0), "mean": (6.0, 2.0), "prod": (6.0, 2.0), "max": (6.0, 2.0), "min": (6.0, 2.0),
    "var": (0.0, 0.0), "std": (0.0, 0.0), "cumulative_sum": (6.0, 2.0), "cumulative_prod": (6.0, 2.0),
    "repeat": (12.0, 4.0),
}  # fmt: skip


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.backends("torch"))])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("name", _OVER_AN_AXIS)
def test_0_d_arrays_over_an_axis(name: str, axis: int, library: str) -> None:
    """Where the library reduces them over an axis, repeats them, or takes running sums of them."""
    backend = backend_named(library)
    x, one = backend.asarray(3.0, dtype="float64"), backend.asarray(1.0, dtype="float64")

    def f(x: Any) -> Any:
        xp = _space(x)
        return xp.sum(getattr(xp, name)(x, *((2,) if name == "repeat" else ()), axis=axis)) * x

    try:
        f(x)
    except (IndexError, ValueError):
        pytest.skip(f"{library}: {name} takes no axis of a 0-d array")
    slope, second = _OVER_AN_AXIS[name]
    assert (float(grad(f)(x)), float(jvp(f, (x,), (one,))[1])) == (slope, slope)
    assert float(jvp(grad(f), (x,), (one,))[1]) == second


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax", "cross_entropy"])
def test_softmax_of_a_0_d_array_is_that_of_one_entry(name: str) -> None:
    f, x = getattr(functions, name), np.asarray(3.0)
    more = (np.asarray(1.0),) if name == "cross_entropy" else ()
    found = grad(lambda x: f(x, *more) * 2)(x)
    assert (found.shape, float(found)) == ((), 2.0 if name == "logsumexp" else 0.0)
    check_grads(lambda x: f(x, *more), (x,))
