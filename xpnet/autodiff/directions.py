"""Many directions at once: tangents, or cotangents, pushed or pulled as a batch of a recording."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.batch import BatchTrace
from xpnet.autodiff.tracer import Tracer
from xpnet.autodiff.transforms import Recording
from xpnet.backends import array_namespace

__all__ = ["FIRST_COLUMNS", "in_batches", "rows_at_once"]

_ENTRIES = 2**20  # of the largest array that is made of many rows or columns at once
FIRST_COLUMNS = 16  # how large a function's arrays are is known after these


def rows_at_once(recording: Recording) -> int:
    """Return how many cotangents are pulled back at once at first."""
    outs = [out for *_, out in recording.trace.tape if hasattr(out, "shape")]
    return _ENTRIES // max(1, *(math.prod(out.shape) for out in outs))


def in_batches(
    xp: Any,
    size: int,
    directions: Callable[[int, int], list[Any]],
    apply: Callable[[list[Any]], list[Any]],
    first: int,
) -> list[Any]:
    """Return ``apply`` of many directions, of which the first axis of the answers has the number.

    Args:
        xp: plain namespace of the directions.
        size: how many directions there are.
        directions: ``directions(start, count)`` returns arrays of ``count`` of them, from ``start`` on.
        apply: takes such arrays as those of one direction, and returns arrays, or None for a constant.
        first: how many are taken at once at first, then as many as fit by the sizes that these had.
    """
    parts: list[list[Any]] = []
    done, many = 0, first
    while done < size or not parts:  # of no directions one answer tells the shapes
        count = max(1, min(many, size - done))
        batch = _MeasuredBatch(xp, count)
        answers = apply([batch.mapped(x) for x in directions(done, count)])
        batch.open = False
        parts.append([None if y is None else batch.spread(y) for y in answers])
        done, many = done + count, _ENTRIES // batch.largest
    if len(parts) == 1:
        return parts[0] if size else [None if y is None else y[:0, ...] for y in parts[0]]
    return [None if ys[0] is None else array_namespace(*ys).concat(ys) for ys in zip(*parts, strict=True)]


class _MeasuredBatch(BatchTrace):
    """A batch that knows how many entries the largest example in it has."""

    __slots__ = ("largest",)

    def __init__(self, xp: Any, size: int):
        super().__init__(xp, size)
        self.largest = 1

    def mapped(self, value: Any, scalar: bool = True) -> Tracer:
        self.largest = max(self.largest, math.prod(value.shape[1:]))
        return super().mapped(value, scalar)
