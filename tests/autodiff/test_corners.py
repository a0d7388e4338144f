"""Corners of the rules on every backend: ties, origins, extremes, empty and 0-d arrays, size one, f(x, x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, widest
from xpnet.autodiff import functions, grad, hessian, jacobian, jvp, vjp
from xpnet.backends import Backend, array_namespace

INF, NAN = math.inf, math.nan
Table = dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]]


def _named(name: str, *numbers: float, **options: Any) -> Callable[..., Any]:
    return lambda xp, *args: getattr(xp, name)(*args, *numbers, **options)


def _on(backend: Backend, x: Any) -> Any:
    return backend.asarray(np.asarray(x, dtype=np.float64), dtype=widest(backend))


def _traced(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f(xp, *args)`` as a function of traced arguments."""
    return lambda *args: f(args[0].__array_namespace__(), *args)


def _alone(f: Callable[..., Any], args: list[Any], number: int) -> Callable[..., Any]:
    """Return ``f`` as a function of argument ``number``, the others being constant."""
    return lambda x: f(*(x if i == number else _lifted(x, z) for i, z in enumerate(args)))


def _lifted(x: Any, constant: Any) -> Any:
    """Return a constant in the namespace of the traced array ``x``."""
    return x.__array_namespace__().asarray(constant)


def _check(table: Table, name: str, backend: Backend, rtol: float = 1e-6) -> None:
    """Compare slopes of an elementwise function (or a sum of one) in both modes; quotients by 0 may warn."""
    f, points, slopes = table[name]
    args = [_on(backend, p) for p in points]
    with np.errstate(all="ignore"):
        y, pullback = vjp(_traced(f), *args)
        pulled = pullback(_on(backend, np.ones(y.shape)))
        for number, (got, want) in enumerate(zip(pulled, slopes, strict=True)):
            np.testing.assert_allclose(host(got), want, rtol=rtol, atol=0, err_msg=f"argument {number}")
            one = _alone(_traced(f), args, number)
            pushed = host(jvp(one, (args[number],), (_on(backend, np.ones(got.shape)),))[1])
            total = want if pushed.shape == np.shape(want) else np.sum(want)
            np.testing.assert_allclose(pushed, total, rtol=rtol, atol=1e-30, err_msg=f"along {number}")


# --- Ties and points without derivative: function, arguments, slope for each of them --------------------

POINTS: Table = {
    "pow": (
        _named("pow"),
        ([0.0, 0.0, 0.0, 0.0, -2.0, -2.0], [0.0, 1.0, 2.0, 0.5, 0.0, 3.0]),
        ([0.0, 1.0, 0.0, INF, 0.0, 12.0], [0.0, 0.0, 0.0, 0.0, NAN, NAN]),
    ),
    "pow-of-tiny": (_named("pow"), ([1e-38, 1e-20], [0.0, 0.0]), ([0, 0], np.log([1e-38, 1e-20]))),
    "pow-0": (lambda xp, x: x**0, ([0.0, -2.0, INF],), ([0.0, 0.0, 0.0],)),
    "pow-1": (lambda xp, x: x**1, ([0.0, -2.0],), ([1.0, 1.0],)),
    "pow-3": (lambda xp, x: x**3, ([0.0, -2.0],), ([0.0, 12.0],)),
    "pow-half": (lambda xp, x: x**0.5, ([0.0, 4.0],), ([INF, 0.25],)),
    "pow-minus-1": (lambda xp, x: x**-1, ([-2.0, 0.5],), ([-0.25, -4.0],)),
    "0-to-the": (lambda xp, y: 0.0**y, ([0.0, 1.0, 2.5],), ([0.0, 0.0, 0.0],)),
    "negative-to-the": (lambda xp, y: (-2.0) ** y, ([2.0, 3.0],), ([NAN, NAN],)),
    "abs": (_named("abs"), ([0.0, -0.0],), ([0.0, 0.0],)),
    "sqrt": (_named("sqrt"), ([0.0, 4.0],), ([INF, 0.25],)),
    "hypot": (
        _named("hypot"),
        ([0.0, 0.0, 3.0, -3.0], [0.0, -2.0, 0.0, 4.0]),
        ([0.0, 0.0, 1.0, -0.6], [0.0, -1.0, 0.0, 0.8]),
    ),
    "atan2": (
        _named("atan2"),
        ([0.0, 0.0, 0.0, 2.0, -2.0], [0.0, 2.0, -2.0, 0.0, 0.0]),
        ([0.0, 0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, -0.5, 0.5]),
    ),
    "remainder": (
        _named("remainder"),
        ([5.5, -5.5, 5.5, -5.5, 6.0, -6.0, 0.0], [2.0, 2.0, -2.0, -2.0, 2.0, 2.0, 2.0]),
        ([1.0] * 7, [-2.0, 3.0, 3.0, -2.0, -3.0, 3.0, 0.0]),
    ),
    "copysign": (
        _named("copysign"),
        ([2.0, -2.0, 2.0, -2.0, 0.0], [1.0, 1.0, -0.0, -3.0, -1.0]),
        ([1.0, -1.0, -1.0, 1.0, 0.0], [0.0] * 5),
    ),
    "logaddexp": (
        _named("logaddexp"),
        ([-INF, INF, INF, -INF, 2.0, INF, 3.0], [-INF, INF, 1.0, 1.0, INF, -INF, 3.0]),
        ([0.5, 0.5, 1.0, 0.0, 0.0, 1.0, 0.5], [0.5, 0.5, 0.0, 1.0, 1.0, 0.0, 0.5]),
    ),
    "maximum-of-infinities": (_named("maximum"), ([INF, -INF], [INF, 0.0]), ([0.5, 0.0], [0.5, 1.0])),
    "clip": (
        _named("clip"),
        ([-3.0, -1.0, 0.0, 1.0, 3.0, 2.0], [-1.0, -1.0, -1.0, -1.0, -1.0, 2.0], [1.0, 1, 1, 1, 1, 2]),
        ([0.0, 1.0, 1.0, 1.0, 0.0, 1.0], [1.0, 0, 0, 0, 0, 0], [0.0, 0, 0, 0, 1, 0]),
    ),
    "clip-crossed": (  # the upper limit is the value
        _named("clip"),
        ([0.0, 1.0, 1.5, 2.0, 3.0], [2.0] * 5, [1.0] * 5),
        ([0.0] * 5, [0.0] * 5, [1.0] * 5),
    ),
    "clip-between-equals": (
        _named("clip"),
        ([0.0, 1.0, 2.0], [1.0] * 3, [1.0] * 3),
        ([0.0, 1, 0], [1.0, 0, 0], [0.0, 0, 1]),
    ),
    "clip-crossed-numbers": (lambda xp, x: xp.clip(x, 2.0, 1.0), ([0.0, 1.0, 3.0],), ([0.0] * 3,)),
    "clip-crossed-number": (
        lambda xp, x, y: xp.clip(x, 2.0, y),
        ([0.0, 3.0], [1.0, 1.0]),
        ([0.0] * 2, [1.0] * 2),
    ),
    "round": (lambda xp, x: xp.add(xp.round(x), x), ([0.5, 1.0],), ([1.0, 1.0],)),
    "floor_divide": (lambda xp, x: xp.add(x // 0.5, x), ([0.5, 0.7],), ([1.0, 1.0],)),
    "max-ties": (
        lambda xp, x: xp.sum(xp.max(x, axis=1)),
        ([[1.0, 1.0, 0.0], [2.0, 3.0, -1.0], [4.0, 4.0, 4.0]],),
        ([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]],),
    ),
    "min-ties-over-axes": (
        lambda xp, x: xp.sum(xp.min(x, axis=(0, 2), keepdims=True)),
        ([[[1.0, 1.0], [2.0, 3.0]], [[1.0, 5.0], [2.0, 2.0]]],),
        ([[[1 / 3, 1 / 3], [1 / 3, 0.0]], [[1 / 3, 0.0], [1 / 3, 1 / 3]]],),
    ),
    "std-of-equals": (
        lambda xp, x: xp.sum(xp.std(x, axis=1)),
        ([[2.0, 2], [1, 3]],),
        ([[0.0, 0], [-0.5, 0.5]],),
    ),
    "std-of-equals-with-a-rounded-mean": (
        lambda xp, x: xp.sum(xp.std(x, axis=0)),
        ([[0.1, 0.7], [0.1, 0.7], [0.1, 0.7]],),
        ([[0.0, 0.0]] * 3,),
    ),
    "std-of-one": (lambda xp, x: xp.std(x), (3.0,), (0.0,)),
    "var-of-equals": (lambda xp, x: xp.var(x), ([2.0, 2.0],), ([0.0, 0.0],)),
    "prod-one-zero": (_named("prod"), ([2.0, 0.0, 3.0],), ([0.0, 6.0, 0.0],)),
    "prod-two-zeros": (_named("prod"), ([2.0, 0.0, 0.0],), ([0.0, 0.0, 0.0],)),
    "cumulative_prod-zero": (
        lambda xp, x: xp.sum(xp.cumulative_prod(x)),
        ([2.0, 0.0, 3.0, 5.0],),
        ([1.0, 2 + 6 + 30, 0.0, 0.0],),
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_slopes_at_ties_origins_and_infinities(name: str, backend: Backend) -> None:
    if name.startswith("clip-crossed") and backend.name == "array_api_strict":
        pytest.skip("array_api_strict: refuses crossed bounds")
    _check(POINTS, name, backend)


# --- Second derivatives at the origin: right, or NaN ------------------------------------------------------

# function of a vector, its Hessian at a point; None: NaN
HESSIANS: dict[str, tuple[Callable[..., Any], list[float], Any]] = {
    "abs-squared": (lambda xp, x: xp.abs(x) ** 2, [0.0, -0.0], 2 * np.eye(2)),
    "abs-times-abs": (lambda xp, x: xp.abs(x) * xp.abs(x), [0.0, 2.0], 2 * np.eye(2)),
    "square-of-abs": (lambda xp, x: xp.square(xp.abs(x)), [0.0], 2 * np.eye(1)),
    "cos-of-abs": (lambda xp, x: xp.cos(xp.abs(x)), [0.0], -np.eye(1)),
    "abs-to-the-4": (lambda xp, x: xp.abs(x) ** 4, [0.0], np.zeros((1, 1))),
    "abs": (lambda xp, x: xp.abs(x), [0.0, 1.0], np.zeros((2, 2))),
    "norm-squared": (lambda xp, x: xp.linalg.vector_norm(x) ** 2, [0.0, 0.0], None),
    "norm-squared-away": (lambda xp, x: xp.linalg.vector_norm(x) ** 2, [0.0, 1.0], 2 * np.eye(2)),
    "norm-3-squared": (lambda xp, x: xp.linalg.vector_norm(x, ord=3) ** 2, [0.0, 0.0], None),
    "frobenius-squared": (lambda xp, x: xp.linalg.matrix_norm(xp.reshape(x, (1, 2))) ** 2, [0.0, 0.0], None),
    "norm": (lambda xp, x: xp.linalg.vector_norm(x), [0.0, 0.0], np.zeros((2, 2))),
    "hypot-squared": (lambda xp, x: xp.hypot(x[0], x[1]) ** 2, [0.0, 0.0], None),
    "size-of-complex-squared": (lambda xp, x: xp.abs(x[0] + 1j * x[1]) ** 2, [0.0, 0.0], None),
    "root-of-square": (lambda xp, x: xp.sqrt(x * x) ** 2, [0.0], None),
    "std": (lambda xp, x: xp.std(x), [0.1, 0.1, 0.1], np.zeros((3, 3))),
    "std-squared": (lambda xp, x: xp.std(x) ** 2, [0.1, 0.1, 0.1], None),
    "var": (lambda xp, x: xp.var(x), [0.1, 0.1], np.asarray([[0.5, -0.5], [-0.5, 0.5]])),
    "power-by-an-array": (lambda xp, x: xp.pow(x, xp.asarray([2.0, 3.0])), [0.0, 0.0], np.diag([2.0, 0.0])),
    "tanh": (lambda xp, x: xp.tanh(x) * x, [0.0], 2 * np.eye(1)),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_second_derivatives_at_the_origin_are_right_or_nan(name: str) -> None:
    """The gradient there is 0 by convention; a curvature of 0 beside it would be wrong in silence."""
    f, point, want = HESSIANS[name]
    total = _traced(lambda xp, x: xp.sum(f(xp, x)))
    x = np.asarray(point)
    with np.errstate(all="ignore"):
        for run in (hessian(total), jacobian(grad(total), mode="forward"), jacobian(grad(total))):
            found = run(x)
            if want is None:
                assert np.all(np.isnan(found) | ~np.eye(x.size, dtype=bool))
            else:
                np.testing.assert_allclose(found, want, atol=1e-12)


def test_second_derivatives_of_powers_at_the_exponent_0() -> None:
    """d²(x^y)/dx dy = x^(y-1) (1 + y log x), which is 1/x at y = 0."""
    x, y = np.asarray(3.0), np.asarray(0.0)
    f = lambda x, y: x.__array_namespace__().pow(x, y)  # noqa: E731
    assert float(grad(lambda y: grad(f)(x, y))(y)) == pytest.approx(1 / 3)
    assert float(grad(lambda x: grad(f, argnums=1)(x, y))(x)) == pytest.approx(1 / 3)
    assert float(grad(grad(lambda x: x**2))(np.asarray(0.0))) == 2.0


def test_prod_with_zeros_to_the_second_order(backend: Backend) -> None:
    """∂²/∂x₂∂x₃ of x₁x₂x₃ is x₁, also where x₂ and x₃ vanish."""
    x, v = _on(backend, [2.0, 0.0, 0.0]), _on(backend, [0.0, 1.0, 0.0])
    _, along = jvp(grad(lambda x: x.__array_namespace__().prod(x)), (x,), (v,))
    np.testing.assert_allclose(host(along), [0.0, 0.0, 2.0], atol=0)


# --- Very large and very small numbers: 1e-30 in float32, 1e-300 in float64 -----------------------------


def _extreme(tiny: float, big: float = 1e4) -> Table:
    return {
        "tanh": (_named("tanh"), ([-big, tiny, big],), ([0.0, 1.0, 0.0],)),
        "sigmoid-by-tanh": (
            lambda xp, x: 0.5 * xp.tanh(0.5 * x) + 0.5,
            ([-big, tiny, big],),
            ([0, 0.25, 0],),
        ),
        "softplus-by-logaddexp": (
            lambda xp, x: xp.logaddexp(x, 0.0),
            ([-big, tiny, big],),
            ([0.0, 0.5, 1.0],),
        ),
        "softplus-by-log1p": (
            lambda xp, x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0.0),
            ([-big, tiny, big],),
            ([0.0, 0.5, 1.0],),
        ),
        "log-sum-exp": (
            lambda xp, x: xp.log(xp.sum(xp.exp(x - xp.max(x)))) + xp.max(x),
            ([-big, big, big],),
            ([0.0, 0.5, 0.5],),
        ),
        "logaddexp": (_named("logaddexp"), ([big, -big, tiny], [-big, big, 0.0]), ([1, 0, 0.5], [0, 1, 0.5])),
        "expm1": (_named("expm1"), ([-big, tiny, -tiny],), ([0.0, 1.0, 1.0],)),
        "log1p": (_named("log1p"), ([tiny, big],), ([1.0, 1 / (1 + big)],)),
        "exp": (_named("exp"), ([-big, tiny],), ([0.0, 1.0],)),
        "sqrt": (_named("sqrt"), ([tiny],), ([0.5 / math.sqrt(tiny)],)),
        "log": (_named("log"), ([tiny, big],), ([1 / tiny, 1 / big],)),
        "hypot": (_named("hypot"), ([3 * tiny, 3 / tiny], [4 * tiny, 4 / tiny]), ([0.6, 0.6], [0.8, 0.8])),
        "atan2": (
            _named("atan2"),
            ([3 * tiny, 3 / tiny], [4 * tiny, 4 / tiny]),
            ([0.16 / tiny, 0.16 * tiny], [-0.12 / tiny, -0.12 * tiny]),
        ),
        "asinh": (_named("asinh"), ([tiny, 1e-3 / tiny],), ([1.0, 1e3 * tiny],)),
        "acosh": (_named("acosh"), ([1e-3 / tiny],), ([1e3 * tiny],)),
        "abs": (_named("abs"), ([tiny, -tiny],), ([1.0, -1.0],)),
        "prod": (_named("prod"), ([tiny, tiny, 1 / tiny],), ([1.0, 1.0, 0.0],)),
        "prod-of-many": (
            _named("prod"),
            ([tiny, *[2.0] * 2000, *[0.5] * 2000],),
            ([1.0, *[tiny / 2] * 2000, *[2 * tiny] * 2000],),
        ),
        "prod-over-axes": (
            lambda xp, x: xp.prod(x, axis=(0, 1)),
            ([[tiny, tiny], [1 / tiny, 1 / tiny]],),
            ([[1 / tiny, 1 / tiny], [tiny, tiny]],),
        ),
        "cumulative_prod-of-many": (
            lambda xp, x: xp.cumulative_prod(x)[-1],
            ([tiny, *[0.5] * 2000, *[2.0] * 2000],),
            ([1.0, *[2 * tiny] * 2000, *[tiny / 2] * 2000],),
        ),
        "cumulative_prod-underflow": (
            lambda xp, x: xp.cumulative_prod(x)[1],
            ([tiny, tiny, 0.0, big],),
            ([tiny, tiny, 0.0, 0.0],),
        ),
        "logsumexp": (lambda xp, x: functions.logsumexp(x), ([-big / tiny**0.5] * 4,), ([0.25] * 4,)),
        "logsumexp-of-infinities": (
            lambda xp, x: xp.sum(functions.logsumexp(x)),
            ([[-INF, -INF, -INF, -INF], [1.0, INF, INF, -INF], [-INF, 3.0, -INF, -INF]],),
            ([[0.25] * 4, [0.0, 0.5, 0.5, 0.0], [0.0, 1.0, 0.0, 0.0]],),
        ),
        "logaddexp-of-large": (
            _named("logaddexp"),
            ([-3e5, 1e17, -1e17], [-3e5, 1e17, -1e17]),
            ([0.5] * 3, [0.5] * 3),
        ),
        "cumulative_sum": (lambda xp, x: xp.sum(xp.cumulative_sum(x)), ([big, tiny],), ([2.0, 1.0],)),
    }


@pytest.mark.parametrize("name", _extreme(1e-300))
def test_very_large_and_very_small_numbers(name: str, backend: Backend) -> None:
    _check(_extreme(1e-300 if widest(backend) == "float64" else 1e-30), name, backend, rtol=2e-5)


# --- The same array twice -------------------------------------------------------------------------------

TWICE: dict[str, tuple[Callable[..., Any], Callable[[np.ndarray], Any]]] = {
    "add": (_named("add"), lambda x: 2 + 0 * x),
    "subtract": (_named("subtract"), lambda x: 0 * x),
    "multiply": (_named("multiply"), lambda x: 2 * x),
    "divide": (_named("divide"), lambda x: 0 * x),
    "pow": (_named("pow"), lambda x: x**x * (1 + np.log(x))),
    "maximum": (_named("maximum"), lambda x: 1 + 0 * x),
    "minimum": (_named("minimum"), lambda x: 1 + 0 * x),
    "hypot": (_named("hypot"), lambda x: math.sqrt(2) + 0 * x),
    "logaddexp": (_named("logaddexp"), lambda x: 1 + 0 * x),
    "atan2": (_named("atan2"), lambda x: 0 * x),
    "copysign": (_named("copysign"), lambda x: 1 + 0 * x),
    "remainder": (_named("remainder"), lambda x: 0 * x),
    "where": (lambda xp, x, y: xp.where(x > 1, x, y), lambda x: 1 + 0 * x),
    "clip": (lambda xp, x, y: xp.clip(x, y, y), lambda x: 1 + 0 * x),
    "vecdot": (_named("vecdot"), lambda x: 2 * x),
    "matmul": (_named("matmul"), lambda x: 2 * x),
    "concat": (lambda xp, x, y: xp.sum(xp.concat([x, y, x])), lambda x: 3 + 0 * x),
    "stack": (lambda xp, x, y: xp.sum(xp.stack([x, y]) ** 2), lambda x: 4 * x),
    "operators": (lambda xp, x, y: x * y + x / y - x**2 * y, lambda x: 2 * x - 3 * x**2),
}


@pytest.mark.parametrize("name", TWICE)
def test_the_same_array_as_both_arguments(name: str, backend: Backend) -> None:
    """d f(x, x) is the sum of the two partial derivatives."""
    f, slope = TWICE[name]
    x = _on(backend, draw(3, (4,), 0.5, 1.5))
    y, pullback = vjp(_traced(lambda xp, x: f(xp, x, x)), x)
    np.testing.assert_allclose(host(pullback(y * 0 + 1)[0]), slope(host(x)), rtol=1e-5, atol=1e-6)
    pushed = host(jvp(_traced(lambda xp, x: f(xp, x, x)), (x,), (x * 0 + 1,))[1])
    want = slope(host(x))
    np.testing.assert_allclose(pushed, want if pushed.shape else np.sum(want), rtol=1e-5, atol=1e-6)


def test_unused_arguments_get_zeros_of_their_own(backend: Backend) -> None:
    x, y = _on(backend, [1.0, 2.0]), _on(backend, [[3.0]])
    used, unused = grad(lambda x, y: x.__array_namespace__().sum(x * x), argnums=(0, 1))(x, y)
    np.testing.assert_array_equal(host(used), [2.0, 4.0])
    assert (unused.dtype, tuple(unused.shape), host(unused).tolist()) == (y.dtype, (1, 1), [[0.0]])
    pushed = jvp(lambda x, y: x * x, (x, y), (x * 0, y))[1]
    np.testing.assert_array_equal(host(pushed), [0.0, 0.0])


# --- Broadcasting against size one, 0-d and empty arrays -------------------------------------------------

SHAPES = [((1,), (3,)), ((1, 3), (2, 1)), ((), (1,)), ((1,), ()), ((1, 1), ()), ((2, 3), (1, 1, 1)),
          ((0,), (1,)), ((1,), (0,)), ((2, 0), (1, 1)), ((), (0, 2)), ((), ())]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["multiply", "hypot", "where", "clip", "affine-like"])
def test_broadcasting_against_size_one(name: str, shapes: Any, backend: Backend) -> None:
    """Cotangents are those of arrays broadcast beforehand, summed over what was repeated."""
    f = {"where": lambda xp, x, y: xp.where(x > 1, x * x, y), "clip": lambda xp, x, y: xp.clip(x, y, 1.6),
         "affine-like": lambda xp, x, y: x * y + x}.get(name, _named(name))  # fmt: skip
    x, y = (draw(i, shape, 0.5, 1.5) for i, shape in enumerate(shapes))
    whole = np.broadcast_shapes(*shapes)
    u = draw(5, whole)
    wide = vjp(_traced(f), *(np.broadcast_to(z, whole).copy() for z in (x, y)))[1](u)
    there = [_on(backend, z) for z in (x, y)]
    pulled = vjp(_traced(f), *there)[1](_on(backend, u))
    for got, z, g in zip(pulled, (x, y), wide, strict=True):
        assert tuple(got.shape) == z.shape
        extra = len(whole) - z.ndim
        axes = (*range(extra), *(extra + i for i, n in enumerate(z.shape) if n == 1))
        np.testing.assert_allclose(host(got), np.reshape(np.sum(g, axis=axes), z.shape), rtol=1e-5, atol=1e-6)


# function of one array of the given shape, none of whose entries may be there; those that rearrange arrays
# are in test_shapes.py
EMPTY: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "sum": (_named("sum"), (0, 3)),
    "sum-empty-axis": (_named("sum", axis=0), (0, 3)),
    "sum-other-axis": (_named("sum", axis=1, keepdims=True), (0, 3)),
    "mean-other-axis": (_named("mean", axis=1), (0, 3)),
    "mean": (_named("mean"), (0,)),
    "var-empty-axis": (_named("var", axis=0), (0, 3)),
    "var-too-few": (_named("var", correction=1), (1,)),
    "std-other-axis": (_named("std", axis=1), (0, 3)),
    "std": (_named("std"), (0,)),
    "prod": (_named("prod"), (0, 3)),
    "prod-empty-axis": (_named("prod", axis=0), (0, 3)),
    "prod-other-axis": (_named("prod", axis=1), (0, 3)),
    "max-other-axis": (_named("max", axis=1), (0, 3)),
    "min-other-axis": (_named("min", axis=-1, keepdims=True), (2, 0, 3)),
    "cumulative_sum": (_named("cumulative_sum"), (0,)),
    "cumulative_sum-initial": (_named("cumulative_sum", axis=0, include_initial=True), (0, 3)),
    "cumulative_prod": (_named("cumulative_prod"), (0,)),
    "cumulative_prod-initial": (_named("cumulative_prod", axis=1, include_initial=True), (2, 0)),
    "matmul-inner": (lambda xp, x: xp.matmul(x, xp.matrix_transpose(x)), (2, 0)),
    "matmul-outer": (lambda xp, x: xp.matmul(x, xp.matrix_transpose(x)), (0, 2)),
    "vecdot": (lambda xp, x: xp.vecdot(x, x), (2, 0)),
    "where": (lambda xp, x: xp.where(x > 0, x, 0.0), (0, 2)),
    "clip": (_named("clip", -1.0, 1.0), (0, 2)),
    "astype": (lambda xp, x: xp.astype(x, x.dtype), (0,)),
    "logsumexp": (lambda xp, x: functions.logsumexp(x), (0, 3)),
    "log_softmax": (lambda xp, x: functions.log_softmax(x), (0, 3)),
    "cross_entropy": (lambda xp, x: functions.cross_entropy(x, x), (0, 3)),
    "relu": (lambda xp, x: functions.relu(x), (0,)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # averages of nothing
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", EMPTY)
def test_empty_arrays(name: str, backend: Backend) -> None:
    """Results, cotangents and tangents have the shapes that they would have for full arrays."""
    f, shape = EMPTY[name]
    x = _on(backend, np.ones(shape))
    y, pullback = vjp(_traced(f), x)
    (pulled,) = pullback(_on(backend, np.ones(y.shape)))
    assert (pulled.dtype, tuple(pulled.shape)) == (x.dtype, shape)
    assert np.all(host(pulled) == 0) or name == "var-too-few"  # NaN, as its value
    pushed = jvp(_traced(f), (x,), (x,))[1]
    assert (pushed.dtype, tuple(pushed.shape)) == (y.dtype, tuple(y.shape))


def test_0_d_arrays_stay_arrays(backend: Backend) -> None:
    """Derivatives of 0-d functions are 0-d arrays of the argument's dtype, through any mix with numbers."""
    x = _on(backend, 0.7)
    for f, slope in (
        (lambda xp, x: 2 * x + 1 / x - x**3 + 2**x, 2 - 1 / 0.49 - 3 * 0.49 + 2**0.7 * math.log(2)),
        (lambda xp, x: xp.sum(x) * xp.prod(x) + xp.max(x) + xp.mean(x), 2 * 0.7 + 2),
        (lambda xp, x: xp.reshape(xp.broadcast_to(x, (2, 2)), (4,))[1] * x, 1.4),
        (lambda xp, x: xp.where(x > 0, xp.sin(x), x), math.cos(0.7)),
        (lambda xp, x: xp.sum(xp.stack([x, x * x])), 1 + 1.4),
    ):
        found = grad(_traced(f))(x)
        assert (found.dtype, tuple(found.shape)) == (x.dtype, ())
        assert float(found) == pytest.approx(slope, rel=1e-5)
        assert float(jvp(_traced(f), (x,), (x * 0 + 1,))[1]) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_sums_in_whole_numbers_are_constants(name: str, backend: Backend) -> None:
    x = _on(backend, [1.0, 2.0])

    def f(xp: Any, x: Any) -> Any:
        whole = getattr(xp, name)(x, dtype=xp.int32)
        return xp.sum(x * xp.astype(whole, x.dtype))

    want = {"sum": [3, 3], "prod": [2, 2], "cumulative_sum": [1, 3], "cumulative_prod": [1, 2]}[name]
    np.testing.assert_array_equal(host(grad(_traced(f))(x)), want)
    assert float(jvp(_traced(f), (x,), (x * 0 + 1,))[1]) == sum(want)


CONVENTIONS = (
    "pow", "pow-1", "abs", "sqrt", "atan2", "remainder", "copysign", "clip", "max-ties", "std-of-equals",
    "maximum-of-infinities", "prod-one-zero", "prod-two-zeros", "cumulative_prod-zero",
)  # fmt: skip


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_that_pytorch_shares(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    f, points, slopes = POINTS[name]
    args = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in points]
    found = torch.autograd.grad(torch.sum(f(array_namespace(*args), *args)), args)
    for got, want in zip(found, slopes, strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


def test_nan_of_the_branch_not_taken_stays_out_to_the_second_order(backend: Backend) -> None:
    """sin(x)/x with 1 in the gap: the denominator is made safe before it is divided by."""

    def sinc(xp: Any, x: Any) -> Any:
        gap = x == 0
        return xp.sum(xp.where(gap, 1 - x * x / 6, xp.sin(x) / xp.where(gap, 1.0, x)))

    x = _on(backend, [0.0, 2.0])
    slope = [0.0, (2 * math.cos(2) - math.sin(2)) / 4]
    np.testing.assert_allclose(host(grad(_traced(sinc))(x)), slope, rtol=1e-5, atol=1e-7)
    bent = jvp(grad(_traced(sinc)), (x,), (x * 0 + 1,))[1]
    at_two = -math.sin(2) / 2 - 2 * math.cos(2) / 4 + 2 * math.sin(2) / 8
    np.testing.assert_allclose(host(bent), [-1 / 3, at_two], rtol=1e-5, atol=1e-7)
