"""Slopes of the standard's elementwise functions.

Conventions at points without a derivative: ``abs`` has slope 0 at 0; where ``maximum`` or ``minimum``
meet a tie, each argument gets one half.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.rule import constant, elementwise, fit, linear, rule

__all__: list[str] = []

_LN2, _LN10 = math.log(2.0), math.log(10.0)

# Arithmetic
elementwise("positive", 1)
elementwise("negative", -1)
elementwise("add", 1, 1)
elementwise("subtract", 1, -1)
elementwise("multiply", lambda xp, out, x, y: y, lambda xp, out, x, y: x)
elementwise(
    "divide",
    lambda xp, out, x, y: 1 / y,
    lambda xp, out, x, y: -xp.divide(out, y),
)
elementwise("reciprocal", lambda xp, out, x: -out * out)
elementwise("square", lambda xp, out, x: 2 * x)
elementwise("sqrt", lambda xp, out, x: 0.5 / out)
elementwise("abs", lambda xp, out, x: xp.sign(x))
elementwise(
    "hypot",
    lambda xp, out, x, y: xp.where(out == 0, 0.0, xp.divide(x, xp.where(out == 0, 1.0, out))),
    lambda xp, out, x, y: xp.where(out == 0, 0.0, xp.divide(y, xp.where(out == 0, 1.0, out))),
)
elementwise("remainder", 1, lambda xp, out, x, y: -xp.floor(xp.divide(x, y)))
elementwise("copysign", lambda xp, out, x, y: xp.multiply(xp.sign(x), xp.copysign(xp.ones_like(x), y)), 0)


def _power_slopes(xp: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x^y)/dx = y x^(y-1); for a constant exponent, 0 and 1 have slopes without negative powers."""
    if isinstance(y, (int, float)):
        if y == 2:
            return 2 * x
        return 0 * x if y == 0 else y * x ** (y - 1)
    return xp.where(y == 0, 0.0, xp.multiply(y, xp.pow(x, xp.where(y == 0, 1.0, y - 1))))


def _exponent_slope(xp: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x^y)/dy = x^y log(x), and 0 where x = 0 (the limit for y > 0)."""
    if isinstance(x, (int, float)):
        return out * math.log(x) if x > 0 else 0 * out
    return xp.where(x == 0, 0.0, xp.multiply(out, xp.log(xp.where(x == 0, 1.0, x))))


elementwise("pow", _power_slopes, _exponent_slope)

# Exponentials and logarithms
elementwise("exp", lambda xp, out, x: out)
elementwise("expm1", lambda xp, out, x: out + 1)
elementwise("log", lambda xp, out, x: 1 / x)
elementwise("log1p", lambda xp, out, x: 1 / (1 + x))
elementwise("log2", lambda xp, out, x: 1 / (x * _LN2))
elementwise("log10", lambda xp, out, x: 1 / (x * _LN10))
elementwise(
    "logaddexp",
    lambda xp, out, x, y: xp.exp(xp.subtract(x, out)),
    lambda xp, out, x, y: xp.exp(xp.subtract(y, out)),
)

# Trigonometric and hyperbolic functions
elementwise("sin", lambda xp, out, x: xp.cos(x))
elementwise("cos", lambda xp, out, x: -xp.sin(x))
elementwise("tan", lambda xp, out, x: 1 + out * out)
elementwise("asin", lambda xp, out, x: 1 / xp.sqrt(1 - x * x))
elementwise("acos", lambda xp, out, x: -1 / xp.sqrt(1 - x * x))
elementwise("atan", lambda xp, out, x: 1 / (1 + x * x))
elementwise(
    "atan2",
    lambda xp, out, x, y: xp.divide(y, xp.add(x * x, y * y)),
    lambda xp, out, x, y: xp.divide(-x, xp.add(x * x, y * y)),
)
elementwise("sinh", lambda xp, out, x: xp.cosh(x))
elementwise("cosh", lambda xp, out, x: xp.sinh(x))
elementwise("tanh", lambda xp, out, x: 1 - out * out)
elementwise("asinh", lambda xp, out, x: 1 / xp.sqrt(x * x + 1))
elementwise("acosh", lambda xp, out, x: 1 / xp.sqrt(x * x - 1))
elementwise("atanh", lambda xp, out, x: 1 / (1 - x * x))


# Selections
def _larger(xp: Any, x: Any, y: Any) -> Any:
    """1 where x > y, one half where they are equal, else 0, in the dtype of the array among them."""
    dtype = (y if isinstance(x, (int, float)) else x).dtype
    return (xp.astype(xp.greater(x, y), dtype) + xp.astype(xp.greater_equal(x, y), dtype)) * 0.5


elementwise("maximum", lambda xp, out, x, y: _larger(xp, x, y), lambda xp, out, x, y: _larger(xp, y, x))
elementwise("minimum", lambda xp, out, x, y: _larger(xp, y, x), lambda xp, out, x, y: _larger(xp, x, y))
elementwise(
    "where",
    0,
    lambda xp, out, condition, x, y: condition,
    lambda xp, out, condition, x, y: xp.logical_not(condition),
)


elementwise(
    "clip",
    lambda xp, out, x, *limits: xp.equal(out, x),
    lambda xp, out, x, low, *high: xp.less(x, low),
    lambda xp, out, x, low, high: xp.greater(x, high),
)

# g where the mask is True, else 0: what boolean slopes do to a cotangent.
linear("keep", lambda xp, g, out, x, mask: fit(xp, xp.keep(g, mask), x))

# Conversions
rule(
    "astype",
    lambda xp, g, out, x, dtype, **options: xp.astype(g, x.dtype),
    push=lambda xp, tangents, out, x, dtype, **options: xp.astype(tangents[0], dtype),
)

constant(
    "sign", "signbit", "ceil", "floor", "round", "trunc", "floor_divide", "nextafter",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
)  # fmt: skip
