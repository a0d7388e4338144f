"""What the rules promise at kinks and ties, beside NaN, and for very large numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import host, widest
from xpnet.autodiff import functions, grad, jvp, vjp
from xpnet.backends import Backend

# function, its arguments, and the derivative to each of them
KINKS: dict[str, tuple[Any, tuple[list[float], ...], tuple[list[float], ...]]] = {
    "relu": (lambda xp, x: functions.relu(x), ([-1.0, 0.0, -0.0, 2.0],), ([0.0, 0.0, 0.0, 1.0],)),
    "abs": (lambda xp, x: xp.abs(x), ([-1.0, 0.0, 2.0],), ([-1.0, 0.0, 1.0],)),
    "maximum": (
        lambda xp, x, y: xp.maximum(x, y),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
        ([0, 0.5, 1], [1, 0.5, 0]),
    ),
    "minimum": (
        lambda xp, x, y: xp.minimum(x, y),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
        ([1, 0.5, 0], [0, 0.5, 1]),
    ),
    "maximum-with-itself": (lambda xp, x: xp.maximum(x, x), ([1.0, 2.0],), ([1.0, 1.0],)),
    "maximum-with-zero": (lambda xp, x: xp.maximum(x, 0.0), ([-1.0, 0.0, 2.0],), ([0.0, 0.5, 1.0],)),
    "max-tie": (lambda xp, x: xp.max(x), ([1.0, 3.0, 3.0, 3.0],), ([0.0, 1 / 3, 1 / 3, 1 / 3],)),
    "min-tie": (lambda xp, x: xp.min(x), ([1.0, 1.0, 3.0],), ([0.5, 0.5, 0.0],)),
    "clip-edges": (
        lambda xp, x: xp.clip(x, -1.0, 1.0),
        ([-2.0, -1.0, 0.0, 1.0, 2.0],),
        ([0.0, 1.0, 1.0, 1.0, 0.0],),
    ),
    "square-root-of-square": (lambda xp, x: xp.sqrt(x * x), ([2.0, -2.0],), ([1.0, -1.0],)),
    "power-2-at-0": (lambda xp, x: x**2, ([0.0, -2.0],), ([0.0, -4.0],)),
    "power-of-0": (
        lambda xp, x, y: xp.pow(x, y),
        ([0.0, 2.0], [2.0, 0.0]),
        ([0.0, 0.0], [0.0, float(np.log(2.0))]),
    ),
    "floor": (lambda xp, x: xp.add(xp.floor(x), x), ([0.5, 1.0],), ([1.0, 1.0],)),
    "sign": (lambda xp, x: xp.add(xp.sign(x), x), ([0.0, 1.0],), ([1.0, 1.0],)),
}


@pytest.mark.parametrize("name", KINKS)
def test_derivative_at_kinks_and_ties(name: str, backend: Backend) -> None:
    f, points, slopes = KINKS[name]
    args = [backend.asarray(np.asarray(p), dtype=widest(backend)) for p in points]
    y, pullback = vjp(lambda *x: f(x[0].__array_namespace__(), *x), *args)
    pulled = pullback(y * 0 + 1)
    for got, want in zip(pulled, slopes, strict=True):
        np.testing.assert_allclose(host(got), want, rtol=1e-6, atol=0)
    zeros = [x * 0 for x in args]
    for number, want in enumerate(slopes):
        along = tuple(z + 1 if i == number else z for i, z in enumerate(zeros))
        pushed = jvp(lambda *x: f(x[0].__array_namespace__(), *x), tuple(args), along)[1]
        want = want if host(pushed).shape == np.shape(want) else np.sum(want)
        np.testing.assert_allclose(host(pushed), want, rtol=1e-6, atol=0)


def test_where_keeps_nan_and_infinity_of_the_other_branch_out(backend: Backend) -> None:
    x = backend.asarray(np.asarray([-1.0, 0.0, 4.0]), dtype=widest(backend))

    def safe_root(x: Any) -> Any:
        xp = x.__array_namespace__()
        inside = xp.where(x > 0, x, 1.0)
        return xp.sum(xp.where(x > 0, xp.sqrt(inside), 0.0))

    np.testing.assert_allclose(host(grad(safe_root)(x)), [0.0, 0.0, 0.25])

    def nan_cotangent(x: Any) -> Any:
        xp = x.__array_namespace__()
        return xp.sum(xp.where(x > 0, x, xp.log(x - 100.0)))  # the logarithm is NaN everywhere

    value = vjp(nan_cotangent, x)[1](x[0] * 0 + 1)[0]
    assert host(value)[2] == 1.0
    chosen = vjp(lambda x: x.__array_namespace__().where(x > 0, x, 2 * x), x)[1]
    spread = host(chosen(backend.asarray(np.asarray([np.nan, 1.0, np.inf]), dtype=widest(backend)))[0])
    np.testing.assert_array_equal(spread, [np.nan, 2.0, np.inf])


BIG = 1e4
# compound function of x = (-10⁴, 0, 10⁴): value and gradient of its sum
STABLE: dict[str, tuple[Any, list[float] | float, list[float]]] = {
    "sigmoid": (functions.sigmoid, [0.0, 0.5, 1.0], [0.0, 0.25, 0.0]),
    "softplus": (functions.softplus, [0.0, float(np.log(2)), BIG], [0.0, 0.5, 1.0]),
    "mish": (functions.mish, [0.0, 0.0, BIG], [0.0, 0.6, 1.0]),
    "erf": (functions.erf, [-1.0, 0.0, 1.0], [0.0, 2 / float(np.sqrt(np.pi)), 0.0]),
    "logsumexp": (functions.logsumexp, BIG, [0.0, 0.0, 1.0]),
    "log_softmax": (functions.log_softmax, [-2 * BIG, -BIG, 0.0], [1.0, 1.0, -2.0]),
    "softmax": (functions.softmax, [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]),
    "cross_entropy": (
        lambda x: functions.cross_entropy(x, _targets(x, [1.0, 0.0, 0.0])),
        2 * BIG,
        [-1.0, 0.0, 1.0],
    ),
    "cross_entropy-right": (
        lambda x: functions.cross_entropy(x, _targets(x, [0.0, 0.0, 1.0])),
        0.0,
        [0.0, 0.0, 0.0],
    ),
    "logistic_loss-0": (
        lambda x: functions.logistic_loss(x, _targets(x, [0.0, 0.0, 0.0])),
        [0.0, float(np.log(2)), BIG],
        [0.0, 0.5, 1.0],
    ),
    "logistic_loss-1": (
        lambda x: functions.logistic_loss(x, _targets(x, [1.0, 1.0, 1.0])),
        [BIG, float(np.log(2)), 0.0],
        [-1.0, -0.5, 0.0],
    ),
}


def _targets(x: Any, values: list[float]) -> Any:
    xp = x.__array_namespace__() if hasattr(x, "__array_namespace__") else functions.array_namespace(x)
    return xp.asarray(values, dtype=x.dtype, device=x.device)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STABLE)
def test_compound_functions_are_stable_for_very_large_arguments(
    name: str, dtype: str, backend: Backend
) -> None:
    if dtype != widest(backend) and dtype == "float64":
        pytest.skip(f"{backend.spec}: no float64 on this device")
    f, value, gradient = STABLE[name]
    x = backend.asarray(np.asarray([-BIG, 0.0, BIG]), dtype=dtype)
    y, pullback = vjp(f, x)
    np.testing.assert_allclose(host(y), value, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(host(pullback(y * 0 + 1)[0]), gradient, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(
        host(jvp(f, (x,), (x * 0 + 1,))[1]).sum(), np.sum(gradient), rtol=1e-6, atol=1e-6
    )


def test_logsumexp_of_infinities(backend: Backend) -> None:
    rows = np.asarray([[-np.inf, -np.inf], [-np.inf, 3.0], [np.inf, 3.0]])
    x = backend.asarray(rows, dtype=widest(backend))
    np.testing.assert_array_equal(host(functions.logsumexp(x)), [-np.inf, 3.0, np.inf])


def test_sigmoid_is_accurate_far_from_zero() -> None:
    """exp(-x) underflows at 745, sigma(-x) with it, and not before."""
    np.testing.assert_allclose(functions.sigmoid(np.asarray([-700.0])), np.exp(-700.0), rtol=1e-13)
    np.testing.assert_allclose(functions.softplus(np.asarray([-700.0])), np.exp(-700.0), rtol=1e-13)


def test_mixed_dtypes_give_each_argument_its_own(backend: Backend) -> None:
    if widest(backend) != "float64":
        pytest.skip(f"{backend.spec}: no float64 on this device")
    narrow, wide = backend.asarray(np.ones(3), dtype="float32"), backend.asarray(np.ones(3), dtype="float64")
    y, pullback = vjp(lambda x, y: x.__array_namespace__().multiply(x, y), narrow, wide)
    pulled = pullback(y * 0 + 1)
    assert [g.dtype for g in pulled] == [narrow.dtype, wide.dtype]
    converted = grad(
        lambda x: x.__array_namespace__().sum(x.__array_namespace__().astype(x, backend.dtype("float64")))
    )
    assert converted(narrow).dtype == narrow.dtype


def test_relu_stops_an_infinite_cotangent_at_inactive_units(backend: Backend) -> None:
    _, pullback = vjp(functions.relu, backend.asarray([-1.0, 2.0], dtype=widest(backend)))
    (pulled,) = pullback(backend.asarray([float("inf"), 3.0], dtype=widest(backend)))
    np.testing.assert_array_equal(host(pulled), [0.0, 3.0])


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("sigmoid", [0.25, 0.0, -0.125]),
        ("softplus", [0.5, 0.25, 0.0]),
        ("mish", [0.6, 0.64, -0.096]),
        ("logistic_loss", [0.5, 0.25, 0.0]),
    ],
)
def test_smooth_functions_are_smooth_at_zero(name: str, want: list[float]) -> None:
    """Their bodies use |x| and min, whose kinks must show in no derivative."""

    def f(x: Any) -> Any:
        return functions.logistic_loss(x, 0 * x) if name == "logistic_loss" else getattr(functions, name)(x)

    for order, value in enumerate(want, start=1):
        derivative = f
        for _ in range(order):
            derivative = grad(derivative)
        assert float(derivative(np.asarray(0.0))) == pytest.approx(value, abs=1e-12)
