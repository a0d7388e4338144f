"""Rules of products along axes, which divide by nothing, so that zeros among the entries do no harm.

A product of some of the entries may over- or underflow where the product of all, and its slopes, are
ordinary numbers. So partial products are numbers m 2^e: e is the rounded logarithm of their size, which
leaves m between 1/√2 and √2. Scaling by powers of two is exact, and constant for derivatives.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.batching import along_axis, reduction
from xpnet.autodiff.rules.rule import along, cast, rule

__all__: list[str] = []


def _scaled(xp: Any, x: Any, exponent: Any) -> Any:
    """Return x 2^exponent for whole exponents, in two steps: 2^exponent itself may be out of range."""
    limit = 2 * round(math.log2(float(xp.finfo(x.dtype).max))) - 2
    exponent = xp.minimum(xp.maximum(exponent, -limit), limit)
    half = xp.floor(exponent * 0.5)
    for part in (half, xp.subtract(exponent, half)):
        x = xp.multiply(x, xp.astype(xp.pow(xp.ones_like(part) * 2, part), x.dtype))
    return x


def _exponents(xp: Any, x: Any, axis: int) -> Any:
    """Return the rounded logarithms of the running products' sizes to base 2; as if zeros were ones."""
    size = xp.abs(xp.stop_gradient(x))
    size = xp.where(xp.logical_and(xp.isfinite(size), size > 0), size, 1.0)
    return xp.round(xp.cumulative_sum(xp.log2(size), axis=axis))


def _shifted(xp: Any, y: Any, axis: int, step: int, fill: float = 0.0) -> Any:
    """Return y_{i+step}, and ``fill`` behind the end."""
    step = min(step, y.shape[axis])
    first, rest = y[along(y, axis, slice(0, step))], y[along(y, axis, slice(step, None))]
    return xp.concat([rest, xp.zeros_like(first) + fill], axis=axis)


def _delayed(xp: Any, y: Any, axis: int, fill: float = 0.0) -> Any:
    """Return y_{i-1}, and ``fill`` before the beginning."""
    size = y.shape[axis]
    first, rest = (
        y[along(y, axis, slice(0, min(size, 1)))],
        y[along(y, axis, slice(0, max(size - 1, 0)))],
    )
    return xp.concat([xp.zeros_like(first) + fill, rest], axis=axis)


def _factors(xp: Any, x: Any, axis: int) -> tuple[Any, Any, Any]:
    """Return m and e with x = m 2^e, such that products of consecutive m stay near 1, and the running Σ e."""
    sums = _exponents(xp, x, axis)
    exponents = xp.subtract(sums, _delayed(xp, sums, axis))
    return _scaled(xp, x, -exponents), exponents, sums


def _before(xp: Any, x: Any, axis: int) -> tuple[Any, Any]:
    """Return for each entry the product of those before it as m and e."""
    factors, _, sums = _factors(xp, x, axis)
    return _delayed(xp, xp.cumulative_prod(factors, axis=axis), axis, fill=1.0), _delayed(xp, sums, axis)


def _flipped(xp: Any, pair: tuple[Any, Any], axis: int) -> tuple[Any, ...]:
    return tuple(xp.flip(y, axis=axis) for y in pair)


def _pull_product(
    xp: Any, g: Any, out: Any, x: Any, *, axis: Any = None, keepdims: bool = False, dtype: Any = None
) -> Any:
    """Each entry's slope is the product of the others: of those before it and of those behind it."""
    ndim = len(x.shape)
    axes = range(ndim) if axis is None or not ndim else axis if isinstance(axis, tuple) else (axis,)
    reduced = sorted(a % ndim for a in axes)
    order = [a for a in range(ndim) if a not in reduced] + reduced
    moved = xp.permute_dims(cast(xp, x, out.dtype), tuple(order))
    kept = moved.shape[: ndim - len(reduced)]
    line = xp.reshape(moved, (*kept, math.prod(x.shape[a] for a in reduced)))  # -1 is unknown of nothing
    before, sums = _before(xp, line, -1)
    behind, sums_behind = _flipped(xp, _before(xp, xp.flip(line, axis=-1), -1), -1)
    g = xp.multiply(xp.reshape(g, (*kept, 1)), xp.multiply(before, behind))
    g = xp.reshape(_scaled(xp, g, xp.add(sums, sums_behind)), moved.shape)
    return cast(xp, xp.permute_dims(g, tuple(order.index(a) for a in range(ndim))), x.dtype)


rule("prod", _pull_product, batch=reduction)


def _recurrence(xp: Any, terms: Any, levels: Any, factors: Any, exponents: Any, axis: int) -> tuple[Any, Any]:
    """Solve r_i = b_i + f_i r_{i+1}, for b = terms 2^levels and f = factors 2^exponents, for r = m 2^e.

    By doubling: after k rounds, r_i depends on r_{i+2^k} only.
    """
    size, step = terms.shape[axis], 1
    while step < size:
        more = xp.multiply(factors, _shifted(xp, terms, axis, step))
        level = xp.add(exponents, _shifted(xp, levels, axis, step))
        top = xp.where(more == 0, levels, xp.where(terms == 0, level, xp.maximum(levels, level)))
        terms = xp.add(
            _scaled(xp, terms, xp.subtract(levels, top)), _scaled(xp, more, xp.subtract(level, top))
        )
        levels = top
        exponents = xp.add(exponents, _shifted(xp, exponents, axis, step))
        factors = xp.multiply(factors, _shifted(xp, factors, axis, step))
        step *= 2
    return terms, levels


def _pull_running_product(
    xp: Any, g: Any, out: Any, x: Any, *, axis: int | None = None, dtype: Any = None,
    include_initial: bool = False,
) -> Any:  # fmt: skip
    """Entry i gets (Π x before i) r_i, where r_i = g_i + x_{i+1} r_{i+1} collects the outputs from i on."""
    line, axis = _as_line(xp, x, axis)
    g = g if x.shape else xp.reshape(g, (-1,))
    g = g[along(g, axis, slice(1, None))] if include_initial else g
    factors, exponents, sums = _factors(xp, cast(xp, line, out.dtype), axis)
    before = _delayed(xp, xp.cumulative_prod(factors, axis=axis), axis, fill=1.0)
    ahead, exponents = (_shifted(xp, y, axis, 1) for y in (factors, exponents))
    r, levels = _recurrence(xp, g, xp.zeros_like(sums), ahead, exponents, axis)
    pulled = _scaled(xp, xp.multiply(before, r), xp.add(_delayed(xp, sums, axis), levels))
    return cast(xp, xp.reshape(pulled, x.shape), x.dtype)


def _push_running_product(
    xp: Any, tangents: list[Any], out: Any, x: Any, *, axis: int | None = None, dtype: Any = None,
    include_initial: bool = False,
) -> Any:  # fmt: skip
    """The product rule: dP_i = dx_i P_{i-1} + x_i dP_{i-1}."""
    line, axis = _as_line(xp, x, axis)
    factors, exponents, sums = _factors(xp, cast(xp, line, out.dtype), axis)
    before = _delayed(xp, xp.cumulative_prod(factors, axis=axis), axis, fill=1.0)
    given = cast(xp, xp.reshape(tangents[0], line.shape), out.dtype)
    terms, levels, factors, exponents = (
        xp.flip(y, axis=axis)
        for y in (xp.multiply(given, before), _delayed(xp, sums, axis), factors, exponents)
    )
    solved = _recurrence(xp, terms, levels, factors, exponents, axis)
    pushed = xp.flip(_scaled(xp, *solved), axis=axis)
    if include_initial:
        pushed = xp.concat([xp.zeros_like(out[along(out, axis, slice(0, 1))]), pushed], axis=axis)
    return pushed if x.shape else xp.reshape(pushed, out.shape)


def _as_line(xp: Any, x: Any, axis: int | None) -> tuple[Any, int]:
    """Return a 0-d array, of which some libraries take running products, as one of one entry."""
    return (x, axis or 0) if x.shape else (xp.reshape(x, (1,)), 0)


_along = along_axis(None, flattens=False)
rule("cumulative_prod", _pull_running_product, push=_push_running_product, batch=_along)
