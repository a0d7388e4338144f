"""Schedule of a group: values before its loops, for each row, in a phase of the row, or after the loops.

What needs a sum over a row has to wait for it, so the entries of a row are gone through several times, in
*phases*. A value of an earlier phase is computed again where that is cheap, else spilled and loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from xpnet.program.passes.groups import REDUCTIONS, Group, essential, reduced
from xpnet.program.program import Operation, Ref, Value

__all__ = ["Schedule", "along"]

_RESHAPES = frozenset({"reshape", "expand_dims", "squeeze"})


def along(op: Operation, values: dict[int, Value]) -> str:
    """Return what a reduction goes along: ``"row"``, ``"column"`` or ``"all"``; ``""`` if it is none."""
    if op.name not in REDUCTIONS:
        return ""
    shape = values[op.operands[0].number].shape
    flags = [flag for flag, n in zip(reduced(op, values), shape, strict=True) if n != 1]
    if not any(flags):
        return ""
    return "all" if all(flags) else "column" if flags[0] else "row"


class Schedule:
    """The order of a group's work.

    Args:
        group: to be computed.
        values: of its program.
        cheap: says of an operation that computing it again costs no more than storing and loading it.

    Attributes:
        members: the operations that compute something, in order; by result, ``made``.
        time: for values of entries the phase in which they are computed, for values of rows the phase before
            which they are at hand.
        late: values that are known after the loops only.
        last: the last phase.
        spilled: values that must be stored for a later phase.
    """

    def __init__(self, group: Group, values: dict[int, Value], cheap: Callable[[Operation], bool]):
        self._group, self._values, self._cheap = group, values, cheap
        results = {op.results[0] for op in group.members}
        self._same: dict[int, int] = {}
        for op in group.members:
            x = op.operands[0]
            if op.name in _RESHAPES and type(x) is Ref and x.number in results:
                self._same[op.results[0]] = self._same.get(x.number, x.number)
        self.members = [op for op in group.members if op.results[0] not in self._same]
        self.made = {op.results[0]: op for op in self.members}
        self.time: dict[int, int] = {}
        self.late: set[int] = set()
        self.spilled: set[int] = set()
        self.last = 0
        self._find_times()
        self._find_spilled()

    def number(self, x: Any) -> int | None:
        """Return the number of a member's value, also through reshapes; None for an outside array."""
        if type(x) is not Ref:
            return None
        n = self._same.get(x.number, x.number)
        return n if n in self.made else None

    def level(self, x: int | Ref) -> str:
        """Return whether a value is ``"one"`` number, one for each ``"row"``, or one for each ``"entry"``."""
        shape = essential(self._values[x.number if type(x) is Ref else x].shape)  # type: ignore[index]
        if not shape:
            return "one"
        loop = self._group.loop
        return "row" if loop.split is not None and len(shape) < len(loop.shape) else "entry"

    def along(self, op: Operation) -> str:
        """Return what a reduction goes along: ``"row"``, ``"column"`` or ``"all"``; ``""`` if it is none."""
        return along(op, self._values)

    def source_time(self, op: Operation) -> int:
        """Return when a reduction's operand is at hand."""
        n = self.number(op.operands[0])
        return 0 if n is None else self.time.get(n, 0)

    def _inputs(self, op: Operation) -> Iterator[int]:
        for x in op.operands:
            n = self.number(x)
            if n is not None:
                yield n

    def _find_times(self) -> None:
        for op in self.members:
            n, along, given = op.results[0], self.along(op), list(self._inputs(op))
            time = max([self.time[x] for x in given if x in self.time], default=0)
            if along in ("all", "column") or any(x in self.late for x in given):
                self.late.add(n)
            elif along == "row":
                self.time[n] = time + 1
            elif self.level(n) != "one":
                self.time[n] = time

    def _find_spilled(self) -> None:
        seen: set[tuple[int, int]] = set()
        for op in self.members:
            n = self.number(op.operands[0]) if self.along(op) else op.results[0]
            wanted = self.along(op) or n in self._group.results
            if wanted and n is not None and self.level(n) == "entry":
                self.last = max(self.last, self.time[n])
                self._want(n, self.time[n], seen)

    def _want(self, n: int, time: int, seen: set[tuple[int, int]]) -> None:
        """Find what to spill, given that a value is wanted in a phase."""
        if (n, time) in seen or self.level(n) != "entry":
            return
        seen.add((n, time))
        if self.time[n] < time and (n in self._group.results or not self._cheap(self.made[n])):
            if n not in self._group.results:
                self.spilled.add(n)
            time = self.time[n]
        for x in self._inputs(self.made[n]):
            self._want(x, time, seen)
