"""Rules of the functions that reduce an array along axes."""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.rule import constant, linear, rule

__all__: list[str] = []


def _spread(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return ``y``, a reduction of ``x``, with the reduced axes put back as axes of size one."""
    if keepdims or axis is None:
        return y if keepdims else xp.reshape(y, (1,) * len(x.shape))
    axes = axis if isinstance(axis, tuple) else (axis,)
    kept = {a % len(x.shape) for a in axes}
    return xp.reshape(y, tuple(1 if i in kept else n for i, n in enumerate(x.shape)))


def _count(x: Any, axis: Any) -> int:
    """Return how many values of ``x`` one reduced value comes from."""
    if axis is None:
        return math.prod(x.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[a] for a in axes)


def _pull_sum(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None
) -> Any:
    g = xp.multiply(xp.ones_like(x), _spread(xp, g, x, axis, keepdims))  # cheaper than broadcast_to
    return g if g.dtype == x.dtype else xp.astype(g, x.dtype)


def _pull_mean(xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return xp.broadcast_to(_spread(xp, g * (1 / _count(x, axis)), x, axis, keepdims), x.shape)


linear("sum", _pull_sum)
linear("mean", _pull_mean)


def _pull_variance(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    deviation = x - xp.mean(x, axis=axis, keepdims=True)
    return xp.multiply(_spread(xp, g, x, axis, keepdims), deviation * (2 / (_count(x, axis) - correction)))


def _pull_deviation(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    halved = xp.divide(g, 2 * out)
    return _pull_variance(xp, halved, out, x, axis=axis, correction=correction, keepdims=keepdims)


rule("var", _pull_variance)
rule("std", _pull_deviation)


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


rule("max", _pull_extreme, push=_push_extreme)
rule("min", _pull_extreme, push=_push_extreme)

constant("all", "any", "argmax", "argmin", "count_nonzero")
