"""Differences between an array of one device and the reference's."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from xpnet.train.agreement.tolerance import UNDECIDED

__all__ = ["Difference", "count_differing", "largest_difference", "ratio"]


def ratio(figure: float | None, tolerance: float) -> float:
    """Return a figure in units of its tolerance: above 1 where devices differ.

    >>> ratio(1e-6, 2e-6), ratio(3.0, 0.0), ratio(0.0, 0.0), ratio(None, 1e-6)
    (0.5, 2.0, 0.0, inf)
    """
    if figure is None:
        return math.inf
    if tolerance == 0:  # of integers; real numbers that differ by more say more
        return 2.0 if figure else 0.0
    return figure / tolerance


class Difference(NamedTuple):
    """A difference of two arrays.

    Attributes:
        name: of the array.
        figure: how large it is; None where it has no size.
        tolerance: how large it may be.
        entry, expected, found: where it is largest, and the numbers there; None where the arrays are equal.
    """

    name: str
    figure: float | None
    tolerance: float
    entry: tuple[int, ...] | None = None
    expected: float | None = None
    found: float | None = None

    @property
    def ratio(self) -> float:
        """The figure in units of its tolerance."""
        return ratio(self.figure, self.tolerance)

    @property
    def verdict(self) -> str:
        """``"agree"``, ``"differ"`` or ``"undecided"``."""
        if self.ratio > 1.0:
            return "differ"
        return "agree" if self.tolerance < UNDECIDED else "undecided"


def count_differing(
    name: str, wanted: np.ndarray, found: np.ndarray, counted: np.ndarray | None = None
) -> Difference:
    """Return how many whole numbers differ, of those that are counted; None counts all.

    >>> count_differing("classes", np.asarray([3, 1, 4]), np.asarray([3, 1, 5]))[:4]
    ('classes', 1.0, 0.0, (2,))
    """
    if wanted.shape != found.shape:
        return Difference(name, None, 0.0)
    other = wanted != found
    if counted is not None:
        other &= counted
    return _at(name, float(other.sum()), 0.0, other, wanted, found)


def largest_difference(
    name: str, wanted: np.ndarray, found: np.ndarray, tolerance: float = 0.0
) -> Difference:
    """Return the largest difference of real numbers, relative to the largest number that is wanted.

    NaN and infinity are the same where both arrays have them, and no size of a difference otherwise.

    >>> largest_difference("w", np.asarray([1.0, -4.0]), np.asarray([1.0, -3.0]), 1e-6)[:4]
    ('w', 0.25, 1e-06, (1,))
    """
    if wanted.shape != found.shape:
        return Difference(name, None, tolerance)
    a, b = np.asarray(wanted, dtype=np.float64), np.asarray(found, dtype=np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    alike = finite | (a == b) | (np.isnan(a) & np.isnan(b))
    if not alike.all():
        return _at(name, None, tolerance, ~alike, wanted, found)
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    apart = np.abs(a - b)
    scale = np.abs(a).max(initial=0.0) or 1.0
    return _at(name, float(apart.max(initial=0.0) / scale), tolerance, apart, wanted, found)


def _at(
    name: str,
    figure: float | None,
    tolerance: float,
    apart: np.ndarray,
    wanted: np.ndarray,
    found: np.ndarray,
) -> Difference:
    """Return the difference with the entry that is furthest apart, if any is."""
    if not apart.any():
        return Difference(name, figure, tolerance)
    entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape))
    return Difference(name, figure, tolerance, entry, float(wanted[entry]), float(found[entry]))
