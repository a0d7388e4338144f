"""Code generation for a group with short rows: many rows side by side, entry after entry.

LLVM unrolls a loop over the 10 classes of a softmax and then computes one number at a time. With the loops
the other way round, the inner one goes over rows, of which there are many. What a row has one number of has a
number for each lane then, in scratch memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.loops import GroupWriter, Surroundings, indented, reading
from xpnet.program.passes.groups import Group, domain
from xpnet.program.program import Operation, Ref

__all__ = ["LaneWriter", "writer_of"]

_SHORT = 32  # entries of a row, from which on LLVM's vector code is along the row
_LANES = 128


def writer_of(group: Group, around: Surroundings) -> GroupWriter:
    """Return the code generator of a group."""
    lanes = LaneWriter(group, around)
    return lanes if lanes.fits() else GroupWriter(group, around)


class LaneWriter(GroupWriter):
    """Writes a group with the loop over its rows inside."""

    _rows_outside = False

    def __init__(self, group: Group, around: Surroundings):
        super().__init__(group, around)
        self._numbers: dict[int, str] = {}

    def fits(self) -> bool:
        """True if rows are short, and there are sums over them."""
        sums = any(self.schedule.along(op) == "row" for op in self.schedule.members)
        return sums and self._outer == 1 and len(self._sizes) == 2 and self._sizes[1] < _SHORT

    @property
    def _rows_at_once(self) -> int:
        """Rows that there are, or that a part has."""
        return self._cut.each if self._cut.parts > 1 else self._sizes[0]

    @property
    def _lanes(self) -> int:
        return min(_LANES, self._rows_at_once)

    def _outer_loops(self, totals: bool) -> list[str]:
        if self._rows_at_once <= _LANES:
            return self._row_code()
        return [*self._blocks(_LANES), *indented(self._row_code())]

    def _over_lanes(self, body: list[str]) -> list[str]:
        bounds = "start, stop" if self._rows_at_once > _LANES else self._range(0)
        return [f"for i0 in range({bounds}):", *indented(body)] if body else []

    def _lane(self, n: int, entries: int = 1) -> str:
        """Return the text of a lane's number in new scratch memory: one for a row, or for an entry of it."""
        size = self._lanes * entries
        kept = self._buffers.own((size * self._cut.parts,), self._values[n].dtype)
        terms = [f"part * {size}"] if self._cut.parts > 1 else []
        begin = "start" if self._rows_at_once > _LANES else "low" if self._cut.parts > 1 else ""
        terms.append(f"i0 - {begin}" if begin else "i0")
        terms += [f"i1 * {self._lanes}"] if entries > 1 else []
        return f"{pointer(kept)}[{' + '.join(terms)} + {kept.first}]"

    def _number(self, n: int) -> str:
        """Return the text of a row's number in scratch memory."""
        if n not in self._numbers:
            self._numbers[n] = self._lane(n)
        return self._numbers[n]

    def _entry_of_scratch(self, n: int) -> str:
        return self._lane(n, self._sizes[1])

    def _namer(self, time: int | None) -> Callable[[Any, tuple[int, ...], list[str]], str]:
        """Return what gives operands names in a loop's body, where each is loaded or computed once."""
        known: set[int] = set()
        self._loaded = dict(self._loaded_once)

        def name(x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
            n = self.schedule.number(x)
            if n is not None and n not in known and self.schedule.level(n) != "one":
                known.add(n)
                if self.schedule.level(n) == "row":
                    op = self.schedule.made[n]
                    if time is None and not self.schedule.along(op) and self.schedule.time[n] == self._now:
                        lines.append(f"x{n} = {self._computed(op, name, lines)}")
                        lines.append(self._storing(n, self._number(n)))
                    else:
                        lines.append(f"x{n} = {reading(self._number(n), self._values[n].dtype)}")
                else:
                    self._compute(n, self._now, name, lines)
            return self._name(x, goes, lines)

        return name

    def _row_numbers(self, time: int, lines: list[str]) -> None:
        self._now = time
        name, start, body, done = self._namer(None), [], [], []  # type: ignore[var-annotated]
        for op in self.schedule.members:
            n, along = op.results[0], self.schedule.along(op)
            if along in ("all", "column"):
                if self.schedule.level(op.operands[0]) == "row" and self.schedule.source_time(op) == time:
                    self._total(op, self._operand(op, name, body), start, body, done)
            elif self.schedule.level(n) == "row" and self.schedule.time[n] == time:
                if n in self._group.results or not along:
                    name(Ref(n), domain(op, self._values), body)
                if n in self._group.results:
                    body.append(self._storing(n))
        lines += [*start, *self._over_lanes(body), *done]

    def _total(self, op: Operation, term: str, start: list[str], body: list[str], done: list[str]) -> None:
        n = op.results[0]
        start.append(f"x{n} = {self._start(op)}")
        body.append(f"x{n} = {self._combined(op, f'x{n}', term, 'row')}")
        done.append(f"t{n} = {self._combined(op, f't{n}', f'x{n}', 'all')}")

    def _phase(self, time: int, bounds: str) -> list[str]:
        self._now = time
        name = self._namer(time)
        first: list[str] = []
        start: list[str] = []
        before: list[str] = []
        body: list[str] = []
        after: list[str] = []
        done: list[str] = []
        for op in self.schedule.members:
            n, along = op.results[0], self.schedule.along(op)
            if not along:
                wanted = n in self._group.results or n in self.schedule.spilled
                if wanted and self.schedule.time.get(n) == time and self.schedule.level(n) == "entry":
                    name(Ref(n), domain(op, self._values), body)
            elif self.schedule.level(op.operands[0]) == "entry" and self.schedule.source_time(op) == time:
                text = self._operand(op, name, body)
                if along == "all":
                    self._total(op, text, start, body, done)
                elif along == "row":
                    number = self._number(n)
                    first.append(f"{number} = {self._start(op)}")
                    body.append(f"{number} = {self._combined(op, number, text, 'column')}")
                else:
                    before.append(f"x{n} = {self._start(op)}")
                    body.append(f"x{n} = {self._combined(op, f'x{n}', text, 'row')}")
                    entry = self._column(op)
                    after.append(f"{entry} = {self._combined(op, entry, f'x{n}', 'column')}")
        body += self._stores
        self._stores = []
        if not body:
            return []
        loop = [
            f"for i1 in range(hidden({self._sizes[1]})):",
            *indented([*before, *self._over_lanes(body), *after]),
        ]
        return [*start, *self._over_lanes(first), *loop, *done]
