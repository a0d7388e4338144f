"""Slopes of the standard's elementwise functions.

Conventions at points without a derivative:

- ``abs``, ``copysign``, ``hypot`` and ``atan2`` have slope 0 at the origin; the derivative of that slope is
  NaN for ``hypot``, and for ``abs`` of real numbers what it is on the right, so that x ↦ f(|x|) has its
  second derivative wherever it is smooth: 2 for |x|² (as in JAX);
- where ``maximum`` or ``minimum`` meet a tie, each argument gets one half (as in JAX and PyTorch);
- ``clip`` at a limit lets its first argument through and gives the limit nothing (as in PyTorch; JAX halves);
  of crossed limits the upper one, which is the value, has the slope 1;
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

from xpnet.autodiff.rules.batching import entrywise, last_axes
from xpnet.autodiff.rules.rule import (
    Rule,
    View,
    cast,
    composed,
    constant,
    elementwise,
    fit,
    is_complex,
    linear,
    rule,
)
from xpnet.backends.corrections import clip
from xpnet.backends.lacking import bell

__all__ = ["smooth_sigmoid"]

_LN2, _LN10 = math.log(2.0), math.log(10.0)


# Arithmetic
elementwise("positive", 1)
elementwise("negative", -1)
elementwise("add", 1, 1)
elementwise("subtract", 1, -1)
elementwise("multiply", lambda xp, _out, _x, y: y, lambda xp, _out, x, _y: x)
elementwise(
    "divide",
    lambda xp, _out, _x, y: 1 / y if hasattr(y, "dtype") or y else math.copysign(math.inf, y),
    lambda xp, out, _x, y: -xp.divide(out, y),
)
elementwise("reciprocal", lambda xp, out, _x: -out * out)
elementwise("square", lambda xp, _out, x: 2 * x)
elementwise("sqrt", lambda xp, out, _x: 0.5 / out)
elementwise(
    "hypot",
    lambda xp, out, x, y: _leg_share(xp, out, x),
    lambda xp, out, x, y: _leg_share(xp, out, y),
)
elementwise("remainder", 1, lambda xp, _out, x, y: -xp.floor_divide(x, y))
elementwise("copysign", lambda xp, out, x, y: xp.multiply(xp.sign(x), xp.sign(out)), 0)


def _leg_share(xp: Any, out: Any, leg: Any) -> Any:
    """leg / hypotenuse; at the origin 0, of which √out has the value, and NaN for its derivative."""
    origin = out == 0
    return xp.where(origin, xp.sqrt(out), xp.divide(leg, xp.where(origin, 1.0, out)))


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
elementwise("exp", lambda xp, out, _x: out)
elementwise("expm1", lambda xp, _out, x: xp.exp(x))  # of out + 1 rounding leaves nothing for x << 0
elementwise("log", lambda xp, _out, x: 1 / x)
elementwise("log1p", lambda xp, _out, x: 1 / (1 + x))
elementwise("log2", lambda xp, _out, x: (1 / _LN2) / x)
elementwise("log10", lambda xp, _out, x: (1 / _LN10) / x)


def smooth_sigmoid(xp: Any, x: Any) -> Any:
    """The sigmoid without kinks in its parts, so that it can be traced to any order also at 0."""
    positive = xp.greater_equal(xp.real(x) if is_complex(xp, x) else x, 0)
    e = xp.exp(xp.where(positive, -x, x))
    return xp.where(positive, 1.0, e) / (1 + e)


def _share(xp: Any, out: Any, x: Any, other: Any) -> Any:
    """σ(x - other), the share of x in the sum; exp(x - out) would enlarge what rounding did to ``out``.

    Among infinities it is 1 for the larger one and 1/2 for equal ones.
    """
    equal = xp.logical_and(xp.isinf(out), xp.equal(x, other))
    x, other = (
        xp.where(equal, 0.0, y if hasattr(y, "dtype") else xp.zeros_like(out) + y) for y in (x, other)
    )
    return smooth_sigmoid(xp, xp.subtract(x, other))


elementwise(
    "logaddexp", lambda xp, out, x, y: _share(xp, out, x, y), lambda xp, out, x, y: _share(xp, out, y, x)
)

# Trigonometric and hyperbolic functions
elementwise("sin", lambda xp, _out, x: xp.cos(x))
elementwise("cos", lambda xp, _out, x: -xp.sin(x))
elementwise("tan", lambda xp, out, _x: 1 + out * out)


def _leg(xp: Any, out: Any, x: Any, of_angle: str) -> Any:
    """√(1 - x²); of complex x from the angle, by ``"cos"`` or ``"sin"``, for the root has two branches."""
    if is_complex(xp, x):
        return getattr(xp, of_angle)(out)
    return xp.sqrt((1 - x) * (1 + x))


elementwise("asin", lambda xp, out, x: 1 / _leg(xp, out, x, "cos"))
elementwise("acos", lambda xp, out, x: -1 / _leg(xp, out, x, "sin"))
elementwise(
    "atan",
    lambda xp, out, x: 1 / (1 + x * x) if is_complex(xp, x) else xp.square(1 / _hypotenuse(xp, out, x)),
)


# The slope of the sigmoid: registered, since the parts of its own slope cancel near 0.
elementwise("bell", lambda xp, out, x: -out * xp.tanh(0.5 * x), body=bell)


def _hypotenuse(xp: Any, out: Any, x: Any) -> Any:
    """√(1 + x²) without overflow of the square; of complex x, which has two branches of it, from asinh(x)."""
    return xp.cosh(out) if is_complex(xp, x) else xp.hypot(x, xp.ones_like(x))


elementwise("sinh", lambda xp, _out, x: xp.cosh(x))
elementwise("cosh", lambda xp, _out, x: xp.sinh(x))
elementwise(
    "tanh",  # of x alone, so that tapes need not keep both
    lambda xp, _out, x: 1 - xp.square(xp.tanh(x)) if is_complex(xp, x) else 4 * xp.bell(2 * x),
)
elementwise("asinh", lambda xp, out, x: 1 / _hypotenuse(xp, out, x))
elementwise(
    "acosh",  # on its branch, for complex x; x² - 1 would overflow
    lambda xp, out, x: 1 / (xp.sinh(out) if is_complex(xp, x) else xp.sqrt(x - 1) * xp.sqrt(x + 1)),
)
elementwise("atanh", lambda xp, _out, x: 1 / ((1 - x) * (1 + x)))


def _per_square(xp: Any, x: Any, y: Any) -> Any:
    """x / (x² + y²), and 0 at the origin; the squares themselves would overflow or vanish early."""
    radius = xp.hypot(x, y)
    radius = xp.where(radius == 0, 1.0, radius)
    return xp.divide(xp.divide(x, radius), radius)


elementwise(
    "atan2",
    lambda xp, _out, y, x: _per_square(xp, x, y),
    lambda xp, _out, y, x: -_per_square(xp, y, x),
)

# Parts of complex numbers, with their pulls for cotangents c that stand for Re Σ c dz
linear("conj", lambda xp, g, out, x: xp.conj(g), batch=entrywise)


def _push_complex(xp: Any, tangents: list[Any], out: Any, real: Any, imaginary: Any) -> Any:
    return xp.complex_of(*(xp.zeros_like(real) if t is None else t for t in tangents))


rule(
    "complex_of",
    lambda xp, g, out, real, imaginary: xp.real(g),
    lambda xp, g, out, real, imaginary: -xp.imag(g),
    push=_push_complex,
    batch=lambda call, *parts: call.function(*(call.spread(i, x) for i, x in enumerate(parts))),
)


def _put_real(xp: Any, part: Any, x: Any) -> Any:
    return xp.complex_of(part, xp.imag(x)) if is_complex(xp, x) else part


def _put_imag(xp: Any, part: Any, x: Any) -> Any:
    return xp.complex_of(xp.real(x), part)


linear("real", lambda xp, g, out, x: cast(xp, g, x.dtype), view=View(_put_real), batch=entrywise)


def _pull_imag(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """Im dz = Re(-i dz), and 0 for real z, of which some libraries take the imaginary part too."""
    return xp.astype(g, x.dtype) * -1j if is_complex(xp, x) else xp.zeros_like(x)


linear("imag", _pull_imag, view=View(_put_imag), batch=entrywise)


def _direction(xp: Any, size: Any, x: Any) -> Any:
    """z / |z|, and 0 at 0."""
    return xp.divide(x, xp.where(size == 0, 1.0, size))


def _size_slope(xp: Any, size: Any, x: Any) -> Any:
    """conj(z) / |z|; at 0 it is √|z|, which has the value 0, and NaN for its derivative."""
    zero = size == 0
    nothing = xp.sqrt(xp.where(zero, size, 1.0))
    return xp.where(zero, xp.astype(nothing, x.dtype), xp.conj(_direction(xp, size, x)))


def _pull_size(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """d|z| = Re(conj(z) dz) / |z|; on the real line sign(x) dx."""
    if not is_complex(xp, x):
        return xp.multiply(g, xp.sign(x))
    return xp.multiply(g, _size_slope(xp, out, x))


def _push_size(xp: Any, tangents: list[Any], out: Any, x: Any) -> Any:
    if not is_complex(xp, x):
        return xp.multiply(tangents[0], xp.sign(x))
    return xp.real(xp.multiply(tangents[0], _size_slope(xp, out, x)))


def _right_hand(xp: Any, x: Any) -> Any:
    """The slope of |x| with 1 at x = 0."""
    return xp.where(x == 0, 1.0, xp.sign(x))


def _pull_inner_size(xp: Any, g: Any, out: Any, x: Any) -> Any:
    """The same cotangent as that of ``abs``, 0 at 0, with the derivative that it has on the right."""
    if is_complex(xp, x):
        return _pull_size(xp, g, out, x)
    nothing = xp.subtract(g, xp.stop_gradient(g))
    return xp.where(x == 0, nothing, xp.multiply(g, xp.sign(x)))


def _pull_outer_size(xp: Any, g: Any, out: Any, x: Any) -> Any:
    return _pull_size(xp, g, out, x) if is_complex(xp, x) else xp.multiply(g, _right_hand(xp, x))


def _push_right_hand(xp: Any, tangents: list[Any], out: Any, x: Any) -> Any:
    if is_complex(xp, x):
        return _push_size(xp, tangents, out, x)
    return xp.multiply(tangents[0], _right_hand(xp, x))


rule(
    "abs",
    _pull_size,
    push=_push_size,
    nested=(
        Rule("abs", (_pull_inner_size,), push=_push_right_hand, batch=entrywise),
        Rule("abs", (_pull_outer_size,), push=_push_right_hand, batch=entrywise),
    ),
    batch=entrywise,
)


@composed("sign", batch=entrywise)
def _sign(xp: Any, x: Any) -> Any:
    """z / |z|, and 0 at 0: constant on the real line."""
    if not is_complex(xp, x):
        return xp.sign(xp.stop_gradient(x))
    return _direction(xp, xp.abs(x), x)


# Selections
def _larger(xp: Any, out: Any, x: Any, y: Any) -> Any:
    """1 where x > y, one half where they are equal, else 0, in the dtype of the result."""
    dtype = out.dtype  # not of x or y, which may be whole numbers or truth values
    return (xp.astype(xp.greater(x, y), dtype) + xp.astype(xp.greater_equal(x, y), dtype)) * 0.5


elementwise(
    "maximum", lambda xp, out, x, y: _larger(xp, out, x, y), lambda xp, out, x, y: _larger(xp, out, y, x)
)
elementwise(
    "minimum", lambda xp, out, x, y: _larger(xp, out, y, x), lambda xp, out, x, y: _larger(xp, out, x, y)
)
elementwise(
    "where",
    0,
    lambda xp, _out, condition, _x, _y: condition,
    lambda xp, _out, condition, _x, _y: xp.logical_not(condition),
)


def _unless_crossed(xp: Any, mask: Any, low: Any, high: Any) -> Any:
    """Return the mask, False where the lower limit is above the upper one."""
    if low is None or high is None:
        return mask
    if hasattr(low, "dtype") or hasattr(high, "dtype"):
        return xp.logical_and(mask, xp.less_equal(low, high))
    return mask if low <= high else xp.zeros_like(mask)


def _is_upper(xp: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    above = xp.greater(x, high)
    if low is None or not (hasattr(low, "dtype") or hasattr(high, "dtype")):
        return above if low is None or low <= high else xp.ones_like(above)
    return xp.logical_or(above, xp.greater(low, high))


elementwise(
    "clip",
    lambda xp, out, x, low=None, high=None: _unless_crossed(xp, xp.equal(out, x), low, high),
    lambda xp, out, x, low, high=None: _unless_crossed(xp, xp.less(x, low), low, high),
    _is_upper,
    body=clip,  # recorded as that, so that programs have its parts in one loop with others
)

# g where the mask is True, else 0: what boolean slopes do to a cotangent.
linear("keep", lambda xp, g, out, x, mask: fit(xp, xp.keep(g, mask), x), batch=entrywise)

# Conversions
rule(
    "astype",
    lambda xp, g, out, x, dtype, **options: cast(xp, g, x.dtype),
    push=lambda xp, tangents, out, x, dtype, **options: xp.astype(tangents[0], dtype),
    batch=last_axes(0),
)

constant(
    "signbit", "ceil", "floor", "round", "trunc", "floor_divide", "nextafter",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "isfinite", "isinf", "isnan", "logical_and", "logical_not", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
)  # fmt: skip
