"""Code of a group's entries and numbers, for every form of its loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.elements import TYPES, expression, identity, literal
from xpnet.program.lowerings.cupy.kernels import Arguments, Walk, indented
from xpnet.program.lowerings.dtypes import dtypes_of
from xpnet.program.lowerings.group_code import GroupCode, operands_of
from xpnet.program.passes.groups import REDUCTIONS, Group, domain
from xpnet.program.program import Operation, Ref, Value

__all__ = ["JOIN", "Entries", "Phase"]

JOIN = {"sum": "Sum", "max": "Largest", "min": "Smallest"}
"""What joins two terms of a reduction, by its name."""


@dataclass(frozen=True)
class Phase:
    """Code at an entry in the first, second, ... pass over the entries.

    Attributes:
        body: lines that compute.
        terms: reductions, and what the entry adds to them.
        stores: lines behind all others, for a result may lie over an operand.
    """

    body: list[str]
    terms: list[tuple[Operation, str]]
    stores: list[str]


class Entries(GroupCode):
    """Writes lines for the members of a group.

    Values of members have names ``x0``, ``x1`` ... in the code, what is loaded ``y1``, ``y2`` ..., and the
    indices of `walk` are at hand. So equal groups in other parts of memory have equal code.

    Args:
        group: to be written.
        values: of its program.
        buffers: of values loaded and stored.

    Attributes:
        arguments: of the kernel.
        outer: how many indices of the walk are of rows.
        per_row: there are sums of rows, so that numbers of rows are computed apart from entries.
        once: lines before all loops.
        of_row: lines before the phases of a row.
    """

    _walk = Walk
    walk: Walk

    def __init__(self, group: Group, values: dict[int, Value], buffers: DeviceBuffers):
        super().__init__(group, values, buffers, lambda op: True)
        self.per_row = bool(self.reductions("row"))
        self._names = {op.results[0]: f"x{i}" for i, op in enumerate(self.schedule.members)}
        self.arguments = Arguments()
        self.outer = self.walk.before(self.split)
        self.once: list[str] = []
        self.of_row: list[str] = []
        # Names of what is loaded, by the text of the entry: before the loops, for a row, in this phase.
        self._loaded: tuple[dict[str, str], ...] = ({}, {}, {})
        self._loads = 0
        self._stored: dict[int, str] = {}  # entries of results that a later phase can load

    # --- entries of arrays ----------------------------------------------------------------------------

    def stored(self, n: int) -> str:
        """Return the line that stores a result."""
        return f"{self._entry(n)} = {self._names[n]};"

    def _entry(self, n: int) -> str:
        pointer = self.arguments.name(self._buffers(Ref(n)))
        return self.walk.entry(pointer, self._strides_of_result(n))

    # --- values ---------------------------------------------------------------------------------------

    def name(self, op: Operation) -> str:
        """Return the name of a member's value."""
        return self._names[op.results[0]]

    def dtype(self, op: Operation) -> np.dtype[Any]:
        """Return the dtype of a member's value."""
        return np.dtype(self._values[op.results[0]].dtype)

    def forget_loads(self) -> None:
        """Forget loaded values: the loop in which they were loaded has ended."""
        self._loaded[2].clear()

    def _load(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the name of an entry of an outside array, loaded as far outside the loops as possible."""
        view = self._buffers(x)
        strides = self._full(view.along(goes))
        text = self.walk.entry(self.arguments.name(view), strides)
        for known in self._loaded:
            if text in known:
                return known[text]
        varies = [any(strides[i] for i in run) for run in self.walk.runs]
        if not any(varies):
            level, target = 0, self.once
        elif self.per_row and not any(varies[self.outer :]):
            level, target = 1, self.of_row
        else:
            level, target = 2, lines
        self._loads += 1
        name = self._loaded[level][text] = f"y{self._loads}"
        target.append(f"const {TYPES[view.dtype]} {name} = {text};")
        return name

    def _operand(self, x: Any, kind: np.dtype[Any], goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the text of an operand's entry as a number of a dtype."""
        number = x if type(x) in (bool, int, float) else self._buffers.number(x)
        if number is not None:
            text = literal(number if number is x else number.astype(kind), kind)
            assert text is not None
            return f"({text})" if text.startswith("-") else text
        n = self.schedule.number(x)
        text = self._load(x, goes, lines) if n is None else self._names[n]
        dtype = self._values[x.number].dtype if type(x) is Ref else x.dtype.name
        return text if dtype == kind.name else f"({TYPES[kind.name]}){text}"

    def _compute(self, op: Operation, lines: list[str]) -> None:
        """Add the line that computes an elementwise member."""
        goes, found = domain(op, self._values), dtypes_of(op, self._values)
        assert found is not None
        given = zip(operands_of(op), found[:-1], strict=True)
        names = [self._operand(x, kind, goes, lines) for x, kind in given]
        text = expression(op, self._values, names)
        if op.name in REDUCTIONS:  # over nothing; a sum begins with 0, so that it is never -0.0
            text = f"{names[0]} + 0" if op.name == "sum" else names[0]
        lines.append(f"const {TYPES[self.dtype(op).name]} {self.name(op)} = {text};")

    def term(self, op: Operation, lines: list[str]) -> str:
        """Return the text of the reduced operand."""
        return self._operand(op.operands[0], self.dtype(op), domain(op, self._values), lines)

    def begun(self, op: Operation) -> str:
        """Return the line that begins a reduction."""
        dtype = self.dtype(op)
        return f"{TYPES[dtype.name]} {self.name(op)} = {identity(op.name, dtype)};"

    def joined(self, op: Operation, term: str) -> str:
        """Return the line that joins a reduction so far with a term."""
        return f"{self.name(op)} = {JOIN[op.name]}::join({self.name(op)}, {term});"

    def reductions(self, along: str) -> list[Operation]:
        """Return the members that reduce rows, columns or all."""
        return [op for op in self.schedule.members if self.schedule.along(op) == along]

    # --- numbers, rows, entries -----------------------------------------------------------------------

    def numbers(self, late: bool) -> list[str]:
        """Return the code of single numbers, before the loops or after them."""
        computed: list[str] = []
        stores: list[str] = []
        for op in self.schedule.members:
            n = op.results[0]
            if self.schedule.level(n) == "one" and (n in self.schedule.late) == late:
                if not self.schedule.along(op):
                    self._compute(op, computed)
                if n in self._group.results:
                    stores.append(self.stored(n))
        if stores and not late and self._shape:
            stores = ["if (blockIdx.x == 0 && threadIdx.x == 0) {", *indented(stores), "}"]
        return computed + stores

    def numbers_of_row(self, time: int, first: str, lines: list[str]) -> None:
        """Add the code of the numbers of a row that can be had before a phase.

        Args:
            time: of the phase.
            first: the condition under which a thread stands for its row.
            lines: to which to add.
        """
        for op in self.schedule.members:
            n, along = op.results[0], self.schedule.along(op)
            if along == "all":
                if self.schedule.level(op.operands[0]) == "row" and self.schedule.source_time(op) == time:
                    lines.append(f"if ({first}) {self.joined(op, self.term(op, lines))}")
            elif self.schedule.level(n) == "row" and self.schedule.time[n] == time:
                if not along:
                    self._compute(op, lines)
                if n in self._group.results:
                    lines.append(f"if ({first}) {self.stored(n)}")

    def phase(self, time: int, known: set[int]) -> Phase:
        """Return the code at an entry in a phase.

        Args:
            time: of the phase.
            known: values of entries that are at hand already; the phase's own are added.
        """
        schedule = self.schedule
        reductions = [
            op for op in schedule.members
            if schedule.along(op) and schedule.source_time(op) == time and self._is_entry(op.operands[0])
        ]  # fmt: skip
        results = [
            n for n in self._group.results
            if self._is_entry(n) and not schedule.along(schedule.made[n]) and schedule.time[n] == time
        ]  # fmt: skip
        body: list[str] = []
        for op in self._needed([*results, *(op.operands[0] for op in reductions)], known):
            n = op.results[0]
            if n in self._stored:
                body.append(f"const {TYPES[self.dtype(op).name]} {self.name(op)} = {self._stored[n]};")
            else:
                self._compute(op, body)
            known.add(n)
        terms = [(op, self.term(op, body)) for op in reductions]
        stores = []
        for n in results:
            stores.append(self.if_first(self.schedule.level(n) == "row") + self.stored(n))
            self._stored[n] = self._entry(n)
        return Phase(body, terms, stores)

    def _needed(self, wanted: list[Any], known: set[int]) -> list[Operation]:
        """Return the members to be computed, or loaded, for some values, in order."""
        found = (self.schedule.number(Ref(x) if type(x) is int else x) for x in wanted)
        numbers = {n for n in found if n is not None}
        needed = []
        for op in reversed(self.schedule.members):
            n = op.results[0]
            if n in numbers and n not in known and not self.schedule.along(op):
                needed.append(op)
                if n not in self._stored:
                    given = (self.schedule.number(x) for x in operands_of(op))
                    numbers.update(m for m in given if m is not None and self._is_entry(m))
        return needed[::-1]

    def _is_entry(self, x: int | Ref) -> bool:
        """True for a value that is computed with the entries."""
        level = self.schedule.level(x)
        return level == "entry" or (level == "row" and not self.per_row)

    def if_first(self, of_row: bool) -> str:
        """Return the condition for code that runs once for a row, where rows have no code of their own."""
        if not of_row:
            return ""
        inner = range(self.outer, len(self.walk.runs))
        return f"if ({' && '.join(f'i{k} == 0' for k in inner)}) "

    def at_entry(self, phase: Phase) -> list[str]:
        """Return the lines of a phase, where rows have no code of their own."""
        terms = [
            self.if_first(self.schedule.level(op.operands[0]) == "row") + self.joined(op, x)
            for op, x in phase.terms
        ]
        return [*phase.body, *terms, *phase.stores]
