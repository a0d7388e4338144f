"""Statistics of columns of numbers, of many columns at once: the scaling, and the limits of cells."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from xpnet.data.columns.scaling import Scaling, scalings_of

__all__ = ["FAR", "Statistics", "moments_of", "statistics_of"]

FAR = 1000.0
"""A cell is absurd if it is farther from the median than so many times the distance of the quartiles."""

_FEWEST = 8  # cells from which quartiles say anything
_ABSURD_SHARE = 0.05  # of the cells: more of them are a part of the distribution
_QUANTILES = ((0.25, 0.75), (0.05, 0.95), (0.01, 0.99))  # the outer ones where the inner ones coincide
_LARGEST = sys.float_info.max


class Statistics(NamedTuple):
    """What the cells of a column say.

    Attributes:
        median: their median.
        limits: a cell below the first or above the second is absurd.
        absurd: whether a cell is.
        span: the smallest and the largest cell.
        mean, std: mean and population standard deviation of all cells; of equal ones their value, and 1.
        scaling: that of all cells; None: by mean and deviation.
    """

    median: float
    limits: tuple[float, float]
    absurd: bool
    span: tuple[float, float]
    mean: float
    std: float
    scaling: Scaling | None


def statistics_of(
    cells: np.ndarray, scaling: str = "standard", weight: np.ndarray | None = None
) -> list[Statistics]:
    """Return the statistics of columns.

    Args:
        cells: (columns, rows) float64, finite; at least one row.
        scaling: one of `xpnet.data.columns.scaling.SCALINGS`.
        weight: (rows,) above 0, of the rows in mean and deviation; None: they are equal.

    >>> statistics_of(np.asarray([[1.0, 2.0, 3.0]]))[0].median
    2.0
    """
    n = cells.shape[1]
    middle = ((n - 1) // 2, n // 2)
    places = {place for pair in _QUANTILES for place in _places(pair, n)}
    ordered = np.partition(cells, sorted({0, n - 1, *middle, *places}), axis=1)
    one, other = ordered[:, middle[0]], ordered[:, middle[1]]
    # halved first: the sum of two huge ones would overflow
    median = np.where(one == other, one, 0.5 * one + 0.5 * other)
    low, high = ordered[:, 0], ordered[:, -1]
    half = high / 2 - low / 2
    half = np.where(half == 0, np.where(low == 0, 0.5, np.abs(low) / 2), half)
    lower, upper = _around(low, high, half)
    undecided = np.full(len(cells), n >= _FEWEST)
    for pair in _QUANTILES:
        first, last = _places(pair, n)
        spread = ordered[:, last] / 2 - ordered[:, first] / 2
        decides = undecided & (spread > 1e-9 * np.abs(median))  # not equal but for rounding
        near = _around(median, median, spread)
        outside = np.count_nonzero(_beyond(cells, *near), axis=1)
        narrow = decides & (outside <= max(1.0, _ABSURD_SHARE * n))
        lower, upper = np.where(narrow, near[0], lower), np.where(narrow, near[1], upper)
        undecided &= ~decides
        if not undecided.any():
            break
    absurd = _beyond(cells, lower, upper).any(axis=1)
    columns = (median, lower, upper, absurd, low, high, *moments_of(cells, low, high, weight))
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Statistics(m, (a, b), odd, (least, most), mean, std, scaled)
        for (m, a, b, odd, least, most, mean, std), scaled in zip(
            rows, scalings_of(cells, scaling), strict=True
        )
    ]


def moments_of(
    cells: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of columns, (columns, rows), between ``low`` and ``high``."""
    # scaled by a power of two, which is exact: huge squares do not overflow, tiny ones do not vanish
    exponent = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
    scaled = np.ldexp(cells, -exponent[:, None])
    with np.errstate(over="ignore"):
        if weight is None:
            mean, std = scaled.mean(axis=1), scaled.std(axis=1)
        else:
            mean = np.average(scaled, axis=1, weights=weight)
            std = np.sqrt(np.average((scaled - mean[:, None]) ** 2, axis=1, weights=weight))
        mean, std = np.ldexp(mean, exponent), np.ldexp(std, exponent)
    equal = low == high
    return np.where(equal, low, mean), np.where(equal, 1.0, std)


def _beyond(cells: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    return (cells < lower[:, None]) | (cells > upper[:, None])


def _places(pair: tuple[float, float], n: int) -> tuple[int, int]:
    """Return the places of two quantiles among n ordered cells; an extreme cell is outside of them."""
    low, high = pair
    return math.floor((n - 1) * low), math.ceil((n - 1) * high) - (n > 1)


def _around(low: np.ndarray, high: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``low`` and ``high`` moved apart by `FAR` times twice ``half``; at most the largest floats."""
    reach = 2.0 * FAR * np.minimum(half, _LARGEST / (2.0 * FAR))
    with np.errstate(over="ignore"):
        return np.maximum(low - reach, -_LARGEST), np.minimum(high + reach, _LARGEST)
