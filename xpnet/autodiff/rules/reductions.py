"""Rules of the functions that reduce an array along axes, and of their running relatives.

Where ``max`` or ``min`` meet ties, the entries share evenly (as in JAX and PyTorch's ``amax``); ``std`` has
slope 0 where all entries are equal. ``prod`` and ``cumulative_prod`` divide by nothing, so that zeros among
the entries do no harm.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.rule import along, cast, constant, linear, rule

__all__: list[str] = []


def _spread(xp: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return ``y``, a reduction of ``x``, with the reduced axes put back as axes of size one."""
    if keepdims or axis is None:
        return y if keepdims else xp.reshape(y, (1,) * len(x.shape))
    axes = axis if isinstance(axis, tuple) else (axis,)
    kept = {a % len(x.shape) for a in axes}
    return xp.reshape(y, tuple(1 if i in kept else n for i, n in enumerate(x.shape)))


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(len(x.shape))) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def _count(x: Any, axis: Any) -> int:
    """Return how many values of ``x`` one reduced value comes from."""
    return math.prod(x.shape) if axis is None else math.prod(x.shape[a] for a in _axes(x, axis))


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


linear("sum", _pull_sum)
linear("mean", _pull_mean)


def _pull_variance(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    deviation = x - xp.mean(x, axis=axis, keepdims=True)
    if deviation.dtype != out.dtype:  # some libraries have it of complex arrays: the mean of |deviation|²
        deviation = xp.conj(deviation)
    factor = _divided(2, _count(x, axis) - correction)
    return xp.multiply(_spread(xp, g, x, axis, keepdims), deviation * factor)


def _pull_deviation(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
) -> Any:
    halved = xp.divide(g, xp.where(out == 0, math.inf, 2 * out))
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


# --- Products and running sums ------------------------------------------------------------------------


def _before(xp: Any, x: Any, axis: int) -> Any:
    """Return for each entry the product of those before it along an axis."""
    products = xp.cumulative_prod(x, axis=axis, include_initial=True)
    return products[along(x, axis, slice(0, x.shape[axis]))]


def _pull_product(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None
) -> Any:
    """Each entry's slope is the product of the others: of those before it and of those behind it."""
    rest = cast(xp, x, out.dtype)
    g = xp.multiply(xp.ones_like(rest), _spread(xp, g, x, axis, keepdims))
    for a in _axes(x, axis):
        behind = xp.flip(_before(xp, xp.flip(rest, axis=a), a), axis=a)
        g = xp.multiply(g, _before(xp, rest, a) * behind)
        rest = xp.prod(rest, axis=a, keepdims=True)
    return cast(xp, g, x.dtype)


def _pull_running_sum(
    xp: Any, g: Any, out: Any, x: Any, *, axis: int | None = None, dtype: Any = None,
    include_initial: bool = False,
) -> Any:  # fmt: skip
    axis = axis or 0
    g = g[along(g, axis, slice(1, None))] if include_initial else g
    return cast(xp, xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis), x.dtype)


def _pull_running_product(
    xp: Any, g: Any, out: Any, x: Any, *, axis: int | None = None, dtype: Any = None,
    include_initial: bool = False,
) -> Any:  # fmt: skip
    """Entry i gets (Π x before i) r_i, where r_i = g_i + x_{i+1} r_{i+1} collects the outputs from i on.

    The recurrence is solved by doubling: after k rounds, r_i depends on r_{i+2^k} only.
    """
    axis = axis or 0
    g = g[along(g, axis, slice(1, None))] if include_initial else g
    wide = cast(xp, x, out.dtype)

    def ahead(y: Any, step: int) -> Any:
        """Return y_{i+step}, and 0 behind the end."""
        first, rest = y[along(y, axis, slice(0, step))], y[along(y, axis, slice(step, None))]
        return xp.concat([rest, xp.zeros_like(first)], axis=axis)

    size, step = x.shape[axis], 1
    factor = ahead(wide, 1) if size else wide
    while step < size:
        g = xp.add(g, xp.multiply(factor, ahead(g, step)))
        factor = factor * ahead(factor, step)
        step *= 2
    return cast(xp, xp.multiply(_before(xp, wide, axis), g), x.dtype)


rule("prod", _pull_product)
linear("cumulative_sum", _pull_running_sum)
rule("cumulative_prod", _pull_running_product)

constant("all", "any", "argmax", "argmin", "count_nonzero")
