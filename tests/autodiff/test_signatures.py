"""``argnums``, ``has_aux`` and keyword arguments: each transform takes them as JAX's does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import draw
from xpnet.autodiff import (
    SparseMatrix,
    Tracer,
    grad,
    hessian,
    hessian_sparsity,
    hvp,
    jacfwd,
    jacobian,
    jacobian_sparsity,
    jacrev,
    jvp,
    linearize,
    sparse_hessian,
    sparse_jacobian,
    value_and_grad,
    vjp,
    vmap,
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
# All of ours that take a function and return one of its arguments.
OURS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    **OF_ARGUMENTS,
    "jacrev by name": (jacrev, _values),
    "jacfwd by name": (jacfwd, _values),
    "sparse_jacobian": (sparse_jacobian, _values),
    "sparse_hessian": (sparse_hessian, _value),
    "jacobian_sparsity": (jacobian_sparsity, _values),
    "hessian_sparsity": (hessian_sparsity, _value),
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
    elif isinstance(want, SparseMatrix):
        assert got.shape == want.shape
        _assert_same(got.todense(), want.todense())
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


@pytest.mark.parametrize("name", OURS)
def test_arguments_by_name_are_those_by_number(name: str) -> None:
    """However they are given; a tuple of names gives a dict where one of numbers gives a tuple."""
    transform, f = OURS[name]

    def of(argnums: Any) -> Any:
        return transform(f, argnums=argnums)(X, W, power=3)

    def named(argnames: Any, *args: Any, **options: Any) -> Any:
        return transform(f, argnames=argnames)(*args, power=3, **options)

    for args, options in (((X, W), {}), ((X,), {"w": W}), ((), {"w": W, "x": X})):
        _assert_same(named("w", *args, **options), of(1))
        both, one = named(("w", "x"), *args, **options), named(("x",), *args, **options)
        _assert_same(_in_turn(both), of((1, 0)))
        _assert_same(_in_turn(one), of((0,)))
    found, aux = transform(f, argnames="w", has_aux=True)(X, w=W, power=3, aux=True), f(X, W, aux=True)[1]
    _assert_same(found[0][1] if name == "value_and_grad" else found[1], aux)
    _assert_same(transform(f)(X, W, power=3), of(0))


def _in_turn(tree: Any) -> Any:
    """Return containers with tuples for dicts whose keys are names of arguments."""
    if isinstance(tree, dict):
        made = {key: _in_turn(value) for key, value in tree.items()}
        return tuple(made.values()) if made.keys() <= {"x", "w"} else made
    return type(tree)(map(_in_turn, tree)) if isinstance(tree, (list, tuple)) else tree


@pytest.mark.parametrize("name", OURS)
def test_all_have_the_same_options(name: str) -> None:
    known = inspect.signature(OURS[name][0]).parameters
    if name == "jacfwd":  # of the table, a partial function
        known = inspect.signature(jacobian).parameters
    assert next(iter(known)) == "f"
    assert known["argnums"].default is known["argnames"].default is None
    assert known["has_aux"].default is False
    assert known["argnames"].kind is known["has_aux"].kind is inspect.Parameter.KEYWORD_ONLY


def test_transforms_of_transforms_know_the_names() -> None:
    def f(x: Any, w: Any) -> Any:
        return array_namespace(x).sum(x * w**3)

    twice = grad(lambda x, w: array_namespace(x).sum(grad(f, argnames="w")(x, w)), argnames="x")
    np.testing.assert_allclose(twice(X, w=W), 3 * W**2)
    np.testing.assert_allclose(
        jacobian(grad(f, argnames="w"), argnames="x")(X, W), np.diag(3 * W**2), atol=1e-12
    )
    mapped = vmap(grad(f, argnames="w"))(X[:, None], W[:, None])
    np.testing.assert_allclose(mapped[:, 0], 3 * X * W**2)
    found = xpnet.compile(grad(f, argnames=("w",)))(X, W)
    np.testing.assert_allclose(found["w"], 3 * X * W**2)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0), [0, 1]])
@pytest.mark.parametrize("has_aux", [False, True])
def test_products_with_hessians_of_several_arguments(has_aux: bool, argnums: Any) -> None:
    f = functools.partial(_value, power=3, aux=has_aux)
    H = hessian(functools.partial(_value, power=3), (0, 1))(X, W)
    v = (W, X)
    several = isinstance(argnums, (tuple, list))
    chosen = argnums if several else (argnums,)
    found = hvp(
        f, (X, W), tuple(v[i] for i in chosen) if several else v[argnums], argnums=argnums, has_aux=has_aux
    )
    product, *aux = found if has_aux else (found,)
    want = tuple(sum(H[i][j] @ v[j] for j in chosen) for i in chosen)
    _assert_same(product, want if several else want[0])
    _assert_same(aux, [f(X, W)[1]] if has_aux else [])


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
    "both": (lambda t, f: t(f, argnums=0, argnames="x")(X, W), "argnums or argnames, found both, 0 and 'x'"),
    "unknown": (lambda t, f: t(f, argnames="v")(X, W), "an argument called 'v', found none .* known: "),
    "not given": (
        lambda t, f: t(lambda x, w=W: f(x, w), argnames="w")(X),
        "an argument called 'w', found none",
    ),
    "twice by name": (lambda t, f: t(f, argnames=("x", "x"))(X, W), "a name or a tuple of different ones"),
    "no name": (lambda t, f: t(f, argnames=(0,))(X, W), r"found \(0,\)"),
    "no aux": (lambda t, f: t(f, has_aux=True)(X, W), r"expected a pair \(value, aux\) as result"),
}


@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("name", OURS)
def test_wrong_arguments_are_refused(name: str, what: str) -> None:
    call, message = REFUSALS[what]
    with pytest.raises(RecordError, match=message):
        call(*OURS[name])


def test_a_product_of_one_argument_takes_no_numbers() -> None:
    with pytest.raises(
        RecordError, match="hvp of _value: expected a tuple of all arguments, for argnums is set"
    ):
        hvp(_value, X, X, argnums=0)


@pytest.mark.parametrize("result", [lambda x: x, lambda x: [x, x], lambda x: (x, x, x)])
@pytest.mark.parametrize("name", AT_A_POINT)
def test_results_without_aux_are_refused(name: str, result: Callable[..., Any]) -> None:
    args = ((X,), (X,)) if name == "jvp" else (X,)
    with pytest.raises(RecordError, match=rf"{name} of <lambda>: expected a pair .*has_aux is set, found"):
        AT_A_POINT[name](result, *args, has_aux=True)
