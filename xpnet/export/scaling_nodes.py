"""Scalings of numbers in nodes of ONNX, of many columns at once; see `xpnet.data.columns.scaling`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xpnet.data.columns.scaling import NORMAL_QUANTILE, Quantile, Robust
from xpnet.export.graph import Graph

__all__ = ["add_codes", "add_quantile", "add_robust"]

_LARGEST = float(np.finfo(np.float64).max)


def add_robust(graph: Graph, x: str, scalings: Sequence[Robust]) -> str:
    """Return the robust scaling of columns x (rows, columns) float64."""
    constant = graph.constant
    center, factor = np.asarray([(scaling.center, scaling.factor) for scaling in scalings]).T
    z = graph.add("Mul", graph.add("Sub", x, constant(center)), constant(factor))
    z = graph.add("Clip", z, constant(-1e9), constant(1e9))
    t = graph.add("Div", z, constant(3.0))
    below = graph.add("Sqrt", graph.add("Add", constant(1.0), graph.add("Mul", t, t)))
    return str(graph.add("Div", z, below))


def add_quantile(graph: Graph, x: str, scalings: Sequence[Quantile]) -> str:
    """Return the scaling to a normal distribution of columns x (rows, columns) float64; of NaN anything."""
    segments = [_segments(np.asarray(scaling.quantiles)) for scaling in scalings]
    tables = [np.append(-math.inf, values[1:]) for values, *_ in segments]
    place, _ = _add_search(graph, x, tables)
    value, level, slope, tie = (
        graph.add("Gather", _flat(graph, parts), place) for parts in zip(*segments, strict=True)
    )
    share = graph.add("Add", level, graph.add("Mul", graph.add("Sub", x, value), slope))
    share = graph.add("Where", graph.add("Equal", x, value), tie, share)
    return _add_normal_quantile(
        graph, graph.add("Clip", share, graph.constant(1e-7), graph.constant(1.0 - 1e-7))
    )


def _segments(quantiles: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the values, levels and slopes of line segments, and the levels at the values themselves.

    A first segment stands for what is below all quantiles.
    """
    levels = np.linspace(0.0, 1.0, len(quantiles))
    values, first, counts = np.unique(quantiles, return_index=True, return_counts=True)
    low, high = levels[first], levels[first + counts - 1]
    with np.errstate(over="ignore"):
        slopes = np.minimum((low[1:] - high[:-1]) / np.diff(values), _LARGEST)
    return (
        np.append(values[:1], values),
        np.append(0.0, high),
        np.concatenate([[0.0], slopes, [0.0]]),
        np.append(0.0, (low + high) / 2),
    )


def add_codes(graph: Graph, x: str, categories: Sequence[Sequence[float]]) -> str:
    """Return for columns x (rows, columns) float64 the codes from 1 on, and 0 for what is no category."""
    tables = [np.asarray(own, dtype=np.float64) for own in categories]
    place, found = _add_search(graph, x, tables)
    starts = np.arange(len(tables)) * _size(tables)
    code = graph.add("Sub", place, graph.constant(starts - 1, "int64"))
    none = graph.constant(0, "int64")
    return str(graph.add("Cast", graph.add("Where", graph.add("Equal", found, x), code, none), to=11))


def _add_search(graph: Graph, x: str, tables: Sequence[np.ndarray]) -> tuple[str, str]:
    """Find the last entry of each column's ascending table that is not above x, by bisection.

    Returns:
        Its place among the entries of `_flat`, and the entry; the place before the first one where there is
        none.
    """
    size, flat = _size(tables), _flat(graph, tables)
    place = graph.constant((np.arange(len(tables)) * size - 1)[None], "int64")
    step = size // 2
    while step:
        further = graph.add("Add", place, graph.constant(step, "int64"))
        below = graph.add("LessOrEqual", graph.add("Gather", flat, further), x)
        place = graph.add("Where", below, further, place)
        step //= 2
    return place, str(graph.add("Gather", flat, place))


def _size(tables: Sequence[np.ndarray]) -> int:
    """Return a power of two above the length of the longest table."""
    return 1 << max(map(len, tables)).bit_length()


def _flat(graph: Graph, tables: Sequence[np.ndarray]) -> str:
    """Return the entries of all tables, each padded with infinity to `_size`."""
    found = np.full((len(tables), _size(tables)), math.inf)
    for row, table in zip(found, tables, strict=True):
        row[: len(table)] = table
    return graph.constant(found.ravel())


def _add_normal_quantile(graph: Graph, p: str) -> str:
    constant = graph.constant
    q = graph.add("Sub", p, constant(0.5))
    middle = graph.add("Sub", constant(0.180625), graph.add("Mul", q, q))
    tail = graph.add("Min", p, graph.add("Sub", constant(1.0), p))
    tail = graph.add("Sqrt", graph.add("Neg", graph.add("Log", tail)))
    found = []
    for parts, t in zip(NORMAL_QUANTILE, (middle, graph.add("Sub", tail, constant(1.6))), strict=True):
        above, below = (_add_polynomial(graph, coefficients, t) for coefficients in parts)
        found.append(graph.add("Div", above, below))
    in_the_middle = graph.add("LessOrEqual", graph.add("Abs", q), constant(0.425))
    one = graph.add("Mul", q, found[0])
    return str(graph.add("Where", in_the_middle, one, graph.add("Mul", graph.add("Sign", q), found[1])))


def _add_polynomial(graph: Graph, coefficients: Sequence[float], t: str) -> str:
    value = graph.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = graph.add("Add", graph.add("Mul", value, t), graph.constant(coefficient))
    return value
