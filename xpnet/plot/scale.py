"""Scales of axes: limits, how numbers are spread between them, and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Scale", "round_numbers"]


class Scale:
    """An axis: its limits, how numbers are spread between them, and its ticks.

    Args:
        most: ticks at most.
    """

    def __init__(self, most: int):
        self.most, self.integer, self.kind, self.threshold = most, False, "linear", 1.0
        self.label, self.size, self.turned, self.inverted = "", 12.0, False, False
        self.limits: tuple[float, float] | None = None
        self._low, self._high = math.inf, -math.inf  # of the data
        self._ticks: tuple[Sequence[float], Sequence[str]] | None = None
        self._written: Callable[[float, Any], str] | None = None

    def see(self, values: Any) -> None:
        """Make room for values."""
        found = np.asarray(values, dtype=np.float64)
        found = found[np.isfinite(found)]
        if found.size:
            self._low, self._high = min(self._low, float(found.min())), max(self._high, float(found.max()))

    def set_major_formatter(self, function: Callable[[float, Any], str]) -> None:
        """Let ``function(value, None)`` write the numbers."""
        self._written = function

    def set_ticks(self, places: Sequence[float], names: Sequence[str] | None = None) -> None:
        """Set ticks at ``places``, with names or as numbers."""
        self._ticks = places, names or [f"{place:g}" for place in places]

    def ends(self) -> tuple[float, float]:
        """Return the limits that were set, or those of the data with a margin, on the scale."""
        if self.limits is not None:
            low, high = (float(end) for end in self._spread(self.limits))
            return low, high
        if not math.isfinite(self._low):
            return 0.0, 1.0
        low, high = float(self._spread(self._low)), float(self._spread(self._high))
        margin = 0.045 * (high - low) or (0.5 * abs(low) if self.kind == "linear" else 1.0) or 1.0
        return low - margin, high + margin

    def share(self, values: Any) -> Any:
        """Return where values are between the limits, from 0 to 1."""
        low, high = self.ends()
        found = (self._spread(values) - low) / (high - low)
        return 1 - found if self.inverted else found

    def marks(self) -> list[tuple[float, str]]:
        """Return the ticks within the limits with their text."""
        low, high = self.ends()
        if self._ticks is not None:
            places, names = self._ticks
        else:
            places = round_numbers(low, high, self.most, integer=self.integer)
            names = _numbers(places)
        if self._written is not None:
            names = [self._written(place, None) for place in places]
        pairs = zip(places, names, strict=True)
        return [(place, name) for place, name in pairs if -1e-6 <= self.share(place) <= 1 + 1e-6]

    def _spread(self, values: Any) -> Any:
        values = np.asarray(values, dtype=np.float64)
        if self.kind == "linear":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            powers = np.log10(values / self.threshold)
            if self.kind == "log":
                return powers
            return np.where(values > self.threshold, powers + 1, values / self.threshold)


def round_numbers(low: float, high: float, most: int, *, integer: bool = False) -> list[float]:
    """Return at most ``most`` ticks between two numbers, at multiples of 1, 2, 2.5 or 5 times a power of ten.

    >>> round_numbers(0.0, 1.0, 6), round_numbers(0.7, 3.2, 8, integer=True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [1.0, 2.0, 3.0])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [factor * power for factor in (1, 2, 2.5, 5, 10, 20, 25, 50)]
    steps = [step for step in steps if not integer or (step >= 1 and step == round(step))] or [1.0]
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _numbers(places: Sequence[float]) -> list[str]:
    """Return numbers with equally many digits, as many as they need.

    >>> _numbers([0.0, 0.25, 0.5]), _numbers([2e6, 4e6])
    (['0.00', '0.25', '0.50'], ['2000000', '4000000'])
    """
    near = 1e-3 * (places[1] - places[0] if len(places) > 1 else abs(places[0]) if places else 0.0)
    for digits in range(16):
        texts = [f"{place:.{digits}f}" for place in places]
        if all(abs(float(text) - place) <= near for text, place in zip(texts, places, strict=True)):
            break
    return texts
