"""Slopes of the standard's elementwise functions.

Conventions at points without a derivative:

- ``abs``, ``copysign``, ``hypot`` and ``atan2`` have slope 0 at the origin;
- where ``maximum`` or ``minimum`` meet a tie, each argument gets one half (as in JAX and PyTorch);
- ``clip`` at a limit lets its first argument through and gives the limit nothing (as in PyTorch; JAX halves);
- ``remainder`` has the slopes 1 and -floor(x / y), at its jumps those of the side where it is 0;
- ``logaddexp`` of two equal infinities gives one half to each;
- ``pow`` to the exponent 0 has slope 0 with respect to its base, at base 0 too; with respect to the exponent
  its slope is 0 at base 0, and NaN for a negative real base, which has powers to whole exponents only;
- ``sqrt`` and the like have infinite slopes where their graphs are vertical.

Of complex arguments, ``abs``, ``conj``, ``imag``, ``real`` and ``sign`` are differentiable over the real
numbers only; the others are holomorphic, with the slopes that they have on the real line.
"""

from __future__ import annotations

import cmath
import math
from typing import Any

from xpnet.autodiff.rules.rule import cast, composed, constant, elementwise, fit, linear, rule
from xpnet.backends.corrections import clip

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
    lambda xp, out, x, y: 1 / y if hasattr(y, "dtype") or y else math.copysign(math.inf, y),
    lambda xp, out, x, y: -xp.divide(out, y),
)
elementwise("reciprocal", lambda xp, out, x: -out * out)
elementwise("square", lambda xp, out, x: 2 * x)
elementwise("sqrt", lambda xp, out, x: 0.5 / out)
elementwise(
    "hypot",
    lambda xp, out, x, y: xp.where(out == 0, 0.0, xp.divide(x, xp.where(out == 0, 1.0, out))),
    lambda xp, out, x, y: xp.where(out == 0, 0.0, xp.divide(y, xp.where(out == 0, 1.0, out))),
)
elementwise("remainder", 1, lambda xp, out, x, y: -xp.floor_divide(x, y))
elementwise("copysign", lambda xp, out, x, y: xp.multiply(xp.sign(x), xp.sign(out)), 0)


def _base_slope(xp: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x^y)/dx = y x^(y-1), and 0 for y = 0, also where x = 0."""
    if isinstance(y, (int, float, complex)):
        return 2 * x if y == 2 else y if y in (0, 1) else y * x ** (y - 1)
    # Only where 1/x would overflow: elsewhere d(y x^(y-1))/dy = 1/x at y = 0 has to be kept.
    y = y if y.dtype == out.dtype else xp.astype(y, out.dtype)  # unsigned and boolean exponents have no y - 1
    flat = xp.logical_and(xp.equal(y, 0), xp.less_equal(xp.abs(x), 1e-30))
    return xp.multiply(y, xp.pow(xp.where(flat, 1.0, x), y - 1))


def _log_of_number(x: Any, is_complex: bool) -> complex:
    """Return log(x), 0 for x = 0, and NaN for a negative x among real numbers."""
    if x == 0:
        return 0.0
    if is_complex:
        return cmath.log(x)
    return math.log(x) if x > 0 else math.nan


def _exponent_slope(xp: Any, out: Any, x: Any, y: Any) -> Any:
    """d(x^y)/dy = x^y log(x), and 0 where x = 0 (the limit for y > 0)."""
    if isinstance(x, (int, float, complex)):
        return out * _log_of_number(x, xp.isdtype(out.dtype, "complex floating"))
    x = x if x.dtype == out.dtype else xp.astype(x, out.dtype)  # a negative base has a complex logarithm
    return xp.multiply(out, xp.log(xp.where(x == 0, 1.0, x)))


elementwise("pow", _base_slope, _exponent_slope)

# Exponentials and logarithms
elementwise("exp", lambda xp, out, x: out)
elementwise("expm1", lambda xp, out, x: out + 1)
elementwise("log", lambda xp, out, x: 1 / x)
elementwise("log1p", lambda xp, out, x: 1 / (1 + x))
elementwise("log2", lambda xp, out, x: 1 / (x * _LN2))
elementwise("log10", lambda xp, out, x: 1 / (x * _LN10))


def _share(xp: Any, out: Any, x: Any, other: Any) -> Any:
    """exp(x - out), the share of x in the sum; among infinities 1 for the larger and 1/2 for equal ones."""
    top = xp.logical_and(xp.isinf(out), xp.equal(x, out))
    halved = xp.astype(xp.equal(x, other), out.dtype) * 0.5
    return xp.where(top, 1 - halved, xp.exp(xp.subtract(xp.where(top, 0.0, x), xp.where(top, 0.0, out))))


elementwise(
    "logaddexp", lambda xp, out, x, y: _share(xp, out, x, y), lambda xp, out, x, y: _share(xp, out, y, x)
)

# Trigonometric and hyperbolic functions
elementwise("sin", lambda xp, out, x: xp.cos(x))
elementwise("cos", lambda xp, out, x: -xp.sin(x))
elementwise("tan", lambda xp, out, x: 1 + out * out)


def _leg(xp: Any, out: Any, x: Any, of_angle: str) -> Any:
    """√(1 - x²); of complex x from the angle, by ``"cos"`` or ``"sin"``, for the root has two branches."""
    if xp.isdtype(x.dtype, "complex floating"):
        return getattr(xp, of_angle)(out)
    return xp.sqrt((1 - x) * (1 + x))


elementwise("asin", lambda xp, out, x: 1 / _leg(xp, out, x, "cos"))
elementwise("acos", lambda xp, out, x: -1 / _leg(xp, out, x, "sin"))
elementwise("atan", lambda xp, out, x: 1 / (1 + x * x))
elementwise("sinh", lambda xp, out, x: xp.cosh(x))
elementwise("cosh", lambda xp, out, x: xp.sinh(x))
elementwise("tanh", lambda xp, out, x: 1 - out * out)
elementwise("asinh", lambda xp, out, x: 1 / xp.cosh(out))  # x² would overflow
elementwise("acosh", lambda xp, out, x: 1 / xp.sinh(out))  # on the branch of acosh, also for complex x
elementwise("atanh", lambda xp, out, x: 1 / ((1 - x) * (1 + x)))


def _per_square(xp: Any, x: Any, y: Any) -> Any:
    """x / (x² + y²), and 0 at the origin; the squares themselves would overflow or vanish early."""
    radius = xp.hypot(x, y)
    radius = xp.where(radius == 0, 1.0, radius)
    return xp.divide(xp.divide(x, radius), radius)


elementwise(
    "atan2",
    lambda xp, out, y, x: _per_square(xp, x, y),
    lambda xp, out, y, x: -_per_square(xp, y, x),
)

# Parts of complex numbers, with their pulls for cotangents c that stand for Re Σ c dz
linear("conj", lambda xp, g, out, x: xp.conj(g))
linear("real", lambda xp, g, out, x: cast(xp, g, x.dtype))
linear("imag", lambda xp, g, out, x: xp.astype(g, x.dtype) * -1j)  # Im dz = Re(-i dz)


def _direction(xp: Any, size: Any, x: Any) -> Any:
    """x / |x|, and 0 at 0; ``size`` is |x|."""
    return xp.sign(x) if x.dtype == size.dtype else xp.divide(x, xp.where(size == 0, 1.0, size))


def _pull_size(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """d|z| = Re(conj(z) dz) / |z|; on the real line sign(x) dx."""
    slope = _direction(xp, out, x)
    return xp.multiply(g, slope if x.dtype == out.dtype else xp.conj(slope))


def _push_size(xp: Any, tangents: list[Any], out: Any, x: Any) -> Any:
    slope = _direction(xp, out, x)
    if x.dtype == out.dtype:
        return xp.multiply(tangents[0], slope)
    return xp.real(xp.multiply(tangents[0], xp.conj(slope)))


rule("abs", _pull_size, push=_push_size)


@composed("sign")
def _sign(xp: Any, x: Any) -> Any:
    """z / |z|, and 0 at 0: constant on the real line."""
    if not xp.isdtype(x.dtype, "complex floating"):
        return xp.sign(xp.stop_gradient(x))
    return _direction(xp, xp.abs(x), x)


# Selections
def _larger(xp: Any, x: Any, y: Any) -> Any:
    """1 where x > y, one half where they are equal, else 0, in the dtype of the array among them."""
    dtype = (x if hasattr(x, "dtype") else y).dtype  # of the array: NumPy's 0-d results are floats too
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
    body=clip,  # recorded as that, so that programs have its parts in one loop with others
)

# g where the mask is True, else 0: what boolean slopes do to a cotangent.
linear("keep", lambda xp, g, out, x, mask: fit(xp, xp.keep(g, mask), x))

# Conversions
rule(
    "astype",
    lambda xp, g, out, x, dtype, **options: cast(xp, g, x.dtype),
    push=lambda xp, tangents, out, x, dtype, **options: xp.astype(tangents[0], dtype),
)

constant(
    "signbit", "ceil", "floor", "round", "trunc", "floor_divide", "nextafter",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
)  # fmt: skip
