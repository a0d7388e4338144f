"""Rules of the functions that reduce an array along axes, and of running sums.

Where ``max`` or ``min`` meet ties, the entries share evenly (as in JAX and PyTorch's ``amax``); ``std`` has
slope 0 where all entries are equal, as norms have at zero. Of 0-d arrays, which some libraries reduce over
axis 0 or -1, nothing is reduced. Products are in ``products.py``.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.batching import along_axis, along_or_all, reduction
from xpnet.autodiff.rules.rule import along, cast, constant, is_complex, linear, rule

__all__: list[str] = []


def _spread(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return ``y``, a reduction of ``x``, with the reduced axes put back as axes of size one."""
    if keepdims or axis is None or not x.shape:
        return y if keepdims else xp.reshape(y, (1,) * len(x.shape))
    axes = axis if isinstance(axis, tuple) else (axis,)
    kept = {a % len(x.shape) for a in axes}
    return xp.reshape(y, tuple(1 if i in kept else n for i, n in enumerate(x.shape)))


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    if axis is None or not x.shape:
        return tuple(range(len(x.shape)))
    return axis if isinstance(axis, tuple) else (axis,)


def _count(x: Any, axis: Any) -> int:
    """Return how many values of ``x`` one reduced value comes from."""
    return math.prod(x.shape[a] for a in _axes(x, axis))


def _divided(number: float, count: float) -> float:
    """Return ``number / count``: NaN where there is nothing to average, as the average itself is."""
    return number / count if count > 0 else math.nan


def _pull_sum(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None
) -> Any:
    g = xp.multiply(xp.ones_like(x), _spread(xp, g, x, axis, keepdims))  # cheaper than broadcast_to
    return g if g.dtype == x.dtype else cast(xp, g, x.dtype)


def _pull_mean(xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return _pull_sum(xp, g * _divided(1, _count(x, axis)), out, x, axis=axis, keepdims=keepdims)


linear("sum", _pull_sum, batch=reduction)
linear("mean", _pull_mean, batch=reduction)


def _pull_variance(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    deviation = x - xp.mean(x, axis=axis, keepdims=True)
    if deviation.dtype != out.dtype:  # some libraries have it of complex arrays: the mean of |deviation|²
        deviation = xp.conj(deviation)
    factor = _divided(2, _count(x, axis) - correction)
    return xp.multiply(_spread(xp, g, x, axis, keepdims), deviation * factor)


def _squared_spread(xp: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return Σ |x - x₀|² along axes, which is 0 for equal entries."""
    axes = {a % len(x.shape) for a in _axes(x, axis)}
    first = x[tuple(slice(0, min(n, 1)) if a in axes else slice(None) for a, n in enumerate(x.shape))]
    difference = xp.subtract(x, first)
    parts = [xp.real(difference), xp.imag(difference)] if is_complex(xp, x) else [difference]
    return xp.sum(sum(xp.square(part) for part in parts), axis=axis, keepdims=keepdims)


def _pull_deviation(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    if _count(x, axis) == 1 and correction < 1:
        return xp.zeros_like(x)
    spread = _squared_spread(xp, x, axis, keepdims)
    equal = spread == 0  # the mean of equal entries may be rounded, and then ``out`` is not 0
    halved = xp.where(equal, 0.0, xp.divide(g, xp.where(equal, 1.0, 2 * out)))
    # A cotangent of 0 there, as of the square, has the derivative NaN: that of √, which has the right value.
    # ``out`` is 0 there, or what rounding left.
    unknown = xp.logical_and(equal, xp.less_equal(xp.abs(g), 1e6 * out))
    halved = xp.where(unknown, xp.sqrt(xp.where(unknown, spread, 1.0)), halved)
    return _pull_variance(xp, halved, out, x, axis=axis, correction=correction, keepdims=keepdims)


rule("var", _pull_variance, batch=reduction)
rule("std", _pull_deviation, batch=reduction)


def _extreme_share(xp: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return the weights with which the extreme values share a cotangent: ties share evenly."""
    chosen = xp.astype(xp.equal(x, _spread(xp, out, x, axis, keepdims)), x.dtype)
    return chosen / xp.sum(chosen, axis=axis, keepdims=True)


def _pull_extreme(xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return xp.multiply(_spread(xp, g, x, axis, keepdims), _extreme_share(xp, out, x, axis, keepdims))


def _push_extreme(
    xp: Any, tangents: list[Any], out: Any, x: Any, *, axis: Any = None, keepdims: bool = False
) -> Any:
    share = _extreme_share(xp, out, x, axis, keepdims)
    return xp.sum(xp.multiply(tangents[0], share), axis=axis, keepdims=keepdims)


rule("max", _pull_extreme, push=_push_extreme, batch=reduction)
rule("min", _pull_extreme, push=_push_extreme, batch=reduction)


# --- Running sums --------------------------------------------------------------------------------------


def _pull_running_sum(
    xp: Any, g: Any, out: Any, x: Any, *, axis: int | None = None, dtype: Any = None,
    include_initial: bool = False,
) -> Any:  # fmt: skip
    axis = axis or 0 if x.shape else 0
    g = g[along(g, axis, slice(1, None))] if include_initial else g
    pulled = xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)
    return cast(xp, pulled if x.shape else xp.reshape(pulled, ()), x.dtype)


linear("cumulative_sum", _pull_running_sum, batch=along_axis(None, flattens=False))

constant("all", "any", "count_nonzero", batch=reduction)
constant("argmax", "argmin", batch=along_or_all)
