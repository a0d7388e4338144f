"""``argnums``, ``has_aux`` and keyword arguments: each transform takes them as JAX's does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw
from xpnet.autodiff import (
    Tracer,
    grad,
    hessian,
    jacobian,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)
from xpnet.backends import array_namespace
from xpnet.errors import RecordError

X, W = draw(1, (3,)), draw(2, (3,))


def _value(x: Any, w: Any, *, power: int = 1, aux: bool = False) -> Any:
    value = array_namespace(x).sum(x**power * w * w)
    return (value, {"y": x * w, "number": 3, "nothing": None}) if aux else value


def _values(x: Any, w: Any, *, power: int = 1, aux: bool = False) -> Any:
    y = {"a": x**power * w, "b": (x[0] * w[1],)}
    return (y, [x + w, 3.0]) if aux else y


# For each of ours JAX's, and a function of the kind they take.
OF_ARGUMENTS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "grad": (grad, _value),
    "value_and_grad": (value_and_grad, _value),
    "jacrev": (jacobian, _values),
    "jacfwd": (functools.partial(jacobian, mode="forward"), _values),
    "hessian": (hessian, _value),
}
AT_A_POINT: dict[str, Callable[..., Any]] = {"vjp": vjp, "linearize": linearize, "jvp": jvp}


def _assert_same(got: Any, want: Any) -> None:
    """The same containers with the same numbers, none of them traced."""
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        for key, value in want.items():
            _assert_same(got[key], value)
    elif isinstance(want, (list, tuple)):
        assert type(got) is type(want)
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            _assert_same(a, b)
    elif want is None:
        assert got is None
    else:
        assert not isinstance(got, Tracer)
        np.testing.assert_allclose(got, np.asarray(want), rtol=1e-12)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0), (0, 1), [0]])
@pytest.mark.parametrize("has_aux", [False, True])
@pytest.mark.parametrize("name", OF_ARGUMENTS)
def test_transforms_of_functions_agree_with_jax(name: str, has_aux: bool, argnums: Any) -> None:
    jax = pytest.importorskip("jax")
    transform, f = OF_ARGUMENTS[name]
    with jax.enable_x64(True):
        x, w = map(jax.numpy.asarray, (X, W))
        want = getattr(jax, name)(f, argnums=argnums, has_aux=has_aux)(x, w, power=3, aux=has_aux)
        _assert_same(transform(f, argnums=argnums, has_aux=has_aux)(X, W, power=3, aux=has_aux), want)


@pytest.mark.parametrize("has_aux", [False, True])
@pytest.mark.parametrize("name", AT_A_POINT)
def test_transforms_at_a_point_agree_with_jax(name: str, has_aux: bool) -> None:
    jax = pytest.importorskip("jax")
    f = functools.partial(_values, power=3, aux=has_aux)

    def run(transform: Callable[..., Any], x: Any, w: Any) -> Any:
        if name == "jvp":
            return transform(f, (x, w), (w, x), has_aux=has_aux)
        y, walk, *aux = transform(f, x, w, has_aux=has_aux)
        return y, walk(y) if name == "vjp" else walk(w, x), *aux

    with jax.enable_x64(True):
        want = run(getattr(jax, name), *map(jax.numpy.asarray, (X, W)))
    _assert_same(run(AT_A_POINT[name], X, W), want)


def test_aux_may_be_anything_and_nests() -> None:
    def f(x: Any) -> Any:
        return x @ x, {"text": "a", "doubled": 2 * x}

    (h, inner), outer = jacobian(lambda x: grad(f, has_aux=True)(x), has_aux=True)(X), f(X)[1]
    np.testing.assert_array_equal(h, 2 * np.eye(3))
    assert inner["text"] == outer["text"]
    np.testing.assert_array_equal(inner["doubled"], outer["doubled"])
    _, aux = grad(lambda x: (x @ jvp(f, (x,), (x,), has_aux=True)[2]["doubled"], x), has_aux=True)(X)
    np.testing.assert_array_equal(aux, X)


REFUSALS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "too large": (lambda t, f: t(f, argnums=2)(X, W), "expected argument number 2, found 2 arguments"),
    "too small": (lambda t, f: t(f, argnums=(0, -3))(X, W), "expected argument number -3, found 2 arguments"),
    "twice": (lambda t, f: t(f, argnums=(0, -2))(X, W), "expected argnums to name each argument once"),
    "no number": (lambda t, f: t(f, argnums="x")(X, W), "expected argnums to be a whole number or a tuple"),
    "no whole number": (lambda t, f: t(f, argnums=(0, 0.5))(X, W), "expected argnums to be a whole number"),
    "none": (lambda t, f: t(f, argnums=())(X, W), "expected a floating array among the arguments"),
    "by keyword": (lambda t, f: t(f, argnums=1)(X, w=W), "argnums counts positional arguments from 0"),
    "no aux": (lambda t, f: t(f, has_aux=True)(X, W), r"expected a pair \(value, aux\) as result"),
}


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("name", OF_ARGUMENTS)
def test_wrong_arguments_are_refused(name: str, what: str) -> None:
    call, message = REFUSALS[what]
    with pytest.raises(RecordError, match=message):
        call(*OF_ARGUMENTS[name])


@pytest.mark.parametrize("result", [lambda x: x, lambda x: [x, x], lambda x: (x, x, x)])
@pytest.mark.parametrize("name", AT_A_POINT)
def test_results_without_aux_are_refused(name: str, result: Callable[..., Any]) -> None:
    args = ((X,), (X,)) if name == "jvp" else (X,)
    with pytest.raises(RecordError, match=rf"{name} of <lambda>: expected a pair .*has_aux is set, found"):
        AT_A_POINT[name](result, *args, has_aux=True)
