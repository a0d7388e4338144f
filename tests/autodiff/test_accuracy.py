"""Slopes of elementwise functions over the whole range of their arguments, by their relative error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xpnet.autodiff import functions, jvp, vjp

mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed")

_SIGNS = (-1, 1)
_REACH = {
    "line": [s * 10.0**k for s in _SIGNS for k in np.linspace(-12, 2, 43)],
    "all": [s * 10.0**k for s in _SIGNS for k in np.linspace(-90, 90, 37)],
    "positive": [10.0**k for k in np.linspace(-90, 90, 37)],
    "unit": [s * (1 - 10.0**-k) for s in _SIGNS for k in np.linspace(0.05, 15, 30)],
    "above-one": [1 + 10.0**k for k in np.linspace(-15, 90, 40)],
    "above-minus-one": [-1 + 10.0**k for k in np.linspace(-15, 90, 40)],
    "angle": [s * 10.0**k for s in _SIGNS for k in np.linspace(-9, 0.1, 19)],
}


def _named(name: str) -> Callable[..., Any]:
    return lambda x: getattr(x.__array_namespace__(), name)(x)


def _bell(x: Any) -> Any:
    return mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2


def _bent(x: Any) -> Any:
    return -_bell(x) * mpmath.tanh(x / 2)


def _logistic(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _of_one(name: str, other: float) -> Callable[..., Any]:
    return lambda x: getattr(functions, name)(x, 0 * x + other)


def _square(x: Any) -> Any:
    """The slope of tanh."""
    return mpmath.sech(x) ** 2


def _mish(x: Any) -> Any:
    return x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


# function, slope, second derivative, where, and the relative errors that are tolerated, in units of ε
SLOPES: dict[str, tuple[Any, Any, Any, str, float, float]] = {
    "exp": (_named("exp"), mpmath.exp, mpmath.exp, "line", 4, 4),
    "expm1": (_named("expm1"), mpmath.exp, mpmath.exp, "line", 4, 4),
    "log": (_named("log"), lambda x: 1 / x, lambda x: -1 / x**2, "positive", 4, 8),
    "log1p": (
        _named("log1p"),
        lambda x: 1 / (1 + x),
        lambda x: -1 / (1 + x) ** 2,
        "above-minus-one",
        4,
        8,
    ),
    "log2": (
        _named("log2"),
        lambda x: 1 / x / mpmath.log(2),
        lambda x: -1 / x**2 / mpmath.log(2),
        "positive",
        4,
        8,
    ),
    "log10": (
        _named("log10"),
        lambda x: 1 / x / mpmath.log(10),
        lambda x: -1 / x**2 / mpmath.log(10),
        "positive",
        4,
        8,
    ),
    "sqrt": (_named("sqrt"), lambda x: x**-0.5 / 2, lambda x: -(x**-1.5) / 4, "positive", 4, 8),
    "reciprocal": (_named("reciprocal"), lambda x: -(x**-2), lambda x: 2 * x**-3, "all", 4, 8),
    "sinh": (_named("sinh"), mpmath.cosh, mpmath.sinh, "line", 4, 4),
    "cosh": (_named("cosh"), mpmath.sinh, mpmath.cosh, "line", 4, 4),
    "tanh": (_named("tanh"), _square, lambda x: -2 * _square(x) * mpmath.tanh(x), "line", 8, 8),
    "asinh": (
        _named("asinh"),
        lambda x: (1 + x * x) ** -0.5,
        lambda x: -x * (1 + x * x) ** -1.5,
        "all",
        8,
        16,
    ),
    "acosh": (
        _named("acosh"),
        lambda x: (x * x - 1) ** -0.5,
        lambda x: -x * (x * x - 1) ** -1.5,
        "above-one",
        8,
        16,
    ),
    "atanh": (_named("atanh"), lambda x: 1 / (1 - x * x), lambda x: 2 * x / (1 - x * x) ** 2, "unit", 8, 16),
    "asin": (
        _named("asin"),
        lambda x: (1 - x * x) ** -0.5,
        lambda x: x * (1 - x * x) ** -1.5,
        "unit",
        8,
        16,
    ),
    "acos": (
        _named("acos"),
        lambda x: -((1 - x * x) ** -0.5),
        lambda x: -x * (1 - x * x) ** -1.5,
        "unit",
        8,
        16,
    ),
    "atan": (_named("atan"), lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2, "all", 8, 16),
    "tan": (
        _named("tan"),
        lambda x: mpmath.sec(x) ** 2,
        lambda x: 2 * mpmath.sec(x) ** 2 * mpmath.tan(x),
        "angle",
        8,
        16,
    ),
    "sigmoid": (functions.sigmoid, _bell, _bent, "line", 8, 8),
    "softplus": (functions.softplus, _logistic, _bell, "line", 8, 128),
    "mish": (
        functions.mish,
        lambda x: mpmath.diff(_mish, x),
        lambda x: mpmath.diff(_mish, x, 2),
        "line",
        32,
        math.inf,  # far out it is right to a rounding unit of the slope, 1
    ),
    "log-sigmoid": (
        lambda x: -functions.softplus(-x),
        lambda x: _logistic(-x),
        lambda x: -_bell(x),
        "line",
        8,
        128,
    ),
    "logaddexp": (lambda x: x.__array_namespace__().logaddexp(x, 0.0), _logistic, _bell, "line", 8, 16),
    "logistic-loss-of-0": (_of_one("logistic_loss", 0.0), _logistic, _bell, "line", 8, 16),
    "logistic-loss-of-1": (_of_one("logistic_loss", 1.0), lambda x: -_logistic(-x), _bell, "line", 8, 16),
    "erf": (
        functions.erf,
        lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x),
        lambda x: -4 * x / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x),
        "line",
        1000,
        1000,
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SLOPES)
def test_slopes_are_accurate_over_the_whole_range(name: str, dtype: str) -> None:
    f, slope, bend, reach, *limits = SLOPES[name]
    numbers = np.finfo(dtype)
    with np.errstate(over="ignore", under="ignore"):
        x = np.asarray(_REACH[reach]).astype(dtype)
    bounded = {"unit": np.abs(x) < 1, "above-one": (x > 1) & np.isfinite(x), "above-minus-one": x > -1}
    x = x[bounded.get(reach, np.isfinite(x) & (x != 0))]
    with np.errstate(all="ignore"):
        one = np.ones_like(x)
        found = vjp(f, x)[1](one)[0], jvp(lambda x: vjp(f, x)[1](one)[0], (x,), (one,))[1]
        for order, (exact, values, limit) in enumerate(
            zip((slope, bend), found, limits, strict=True), start=1
        ):
            assert values.dtype == x.dtype
            for point, got in zip(x, values, strict=True):
                with mpmath.workdps(60):
                    want = exact(mpmath.mpf(float(point)))
                    ordinary = float(numbers.tiny) * 1e3 < abs(want) < float(numbers.max) * 1e-3
                    error = abs(mpmath.mpf(float(got)) / want - 1) / float(numbers.eps) if ordinary else 0
                what = f"derivative {order} at {point}: {got} for {float(want)}"
                assert error <= limit, f"{what}, off by {float(error):.0f} ε"
                assert ordinary or math.isfinite(got) or abs(want) > float(numbers.max) * 1e-3, what
