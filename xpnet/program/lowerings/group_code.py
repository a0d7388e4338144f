"""Generated code of a group, in any language: its loop, loads and stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from xpnet.program.lowerings.views import Buffers
from xpnet.program.passes.groups import REDUCTIONS, Group, domain, essential
from xpnet.program.passes.schedule import Schedule
from xpnet.program.program import Operation, Ref, Value

__all__ = ["GroupCode", "Walk", "operands_of"]


class Walk:
    """Loop indices over a shape; dimensions that every access passes in one stride are merged.

    Attributes:
        runs: the dimensions that are joined, for each index ``i0``, ``i1`` ... in the code.
        sizes: how far each index goes.
        entries: of the shape.
    """

    def __init__(
        self, shape: tuple[int, ...], accesses: Iterable[tuple[int, ...]], apart: Collection[int] = ()
    ):
        accesses = list(accesses)
        self.runs: list[list[int]] = []
        for i in range(len(shape)):
            same = all(s[i - 1] == s[i] * shape[i] for s in accesses)
            if i and same and i not in apart:
                self.runs[-1].append(i)
            else:
                self.runs.append([i])
        self.sizes = [math.prod(shape[i] for i in run) for run in self.runs]
        self.entries = math.prod(shape)

    def before(self, split: int) -> int:
        """Return the number of indices for dimensions before ``split``, which is kept apart."""
        return sum(run[0] < split for run in self.runs)

    def terms(self, strides: tuple[int, ...]) -> list[str]:
        """Return the texts of what adds up to an entry's place, reached with a stride for each dimension."""
        each = ((k, strides[run[-1]]) for k, run in enumerate(self.runs))
        return [f"i{k}" if stride == 1 else f"i{k} * {stride}" for k, stride in each if stride]


def operands_of(op: Operation) -> tuple[Any, ...]:
    """Return the operands that are numbers or arrays."""
    return op.operands[:1] if op.name in ("astype", *REDUCTIONS) else op.operands


class GroupCode:
    """Base class of the code generators for groups.

    Args:
        group: to be written.
        values: of its program.
        buffers: where that lies which is loaded and stored.
        cheap: as for `Schedule`.

    Attributes:
        schedule: the order of the group's work.
        split: dimensions of the loop that are rows; all, if that does not matter.
        walk: through the group's loop, rows and their entries apart.
    """

    _walk: type[Walk] = Walk

    def __init__(
        self, group: Group, values: dict[int, Value], buffers: Buffers, cheap: Callable[[Operation], bool]
    ):
        self._group, self._values, self._buffers = group, values, buffers
        self._shape = group.loop.shape
        self.schedule = Schedule(group, values, cheap)
        self.split = len(self._shape) if group.loop.split is None else group.loop.split
        self.walk = self._walk(self._shape, self._accesses(), apart=(self.split,))

    def _accesses(self) -> Iterator[tuple[int, ...]]:
        """Yield the strides of loads and stores along the loop's shape."""
        for op in self.schedule.members:
            goes = domain(op, self._values)
            for x in operands_of(op) if essential(goes) else ():
                if self._is_outside(x):
                    yield self._full(self._buffers(x).along(goes))
        for n in self._group.results:
            yield self._strides_of_result(n)

    def _is_outside(self, x: Any) -> bool:
        """True for an array from outside the group that is no number in the code."""
        if type(x) is Ref:
            return self.schedule.number(x) is None
        return hasattr(x, "shape") and self._buffers.number(x) is None

    def _full(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        return strides + (0,) * (len(self._shape) - len(strides))

    def _strides_of_result(self, n: int) -> tuple[int, ...]:
        own = self._buffers(Ref(n)).along(self._values[n].shape)
        if self.schedule.along(self.schedule.made[n]) == "column":
            return (0,) * (len(self._shape) - len(own)) + own
        return self._full(own)
