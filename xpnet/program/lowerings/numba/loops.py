"""Code generation for a group as nested loops.

The group's loop becomes outer loops over rows and inner loops over their entries. What needs a row's sum
waits for it: the inner loop is run once for each such *phase*. Dimensions that every access goes through in
one stride become one, so that most groups are a single long loop, which LLVM turns into vector code.

For several threads, the first or the last loop is cut into parts. Sums that go across the cut are added up
for each part, and then over the parts, together with everything that there is one number of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.lowerings.dtypes import dtypes_of, identity
from xpnet.program.lowerings.group_code import GroupCode, operands_of
from xpnet.program.lowerings.numba.elements import cheap, expression, pointer
from xpnet.program.lowerings.numba.partition import Section, cut_of, most
from xpnet.program.lowerings.views import Buffers
from xpnet.program.passes.aliasing import View
from xpnet.program.passes.groups import REDUCTIONS, Group, domain
from xpnet.program.program import Operation, Ref, Value

__all__ = ["GroupWriter", "Surroundings", "indented", "reading"]

_BLOCK = 4096  # entries that are added up in their own precision; the sums of blocks are in float64


@dataclass(frozen=True)
class Surroundings:
    """Surroundings of a group's code.

    Attributes:
        values: of the program.
        buffers: where values are that are made outside, or needed there; memory for others.
        constant: a name for a number of a dtype.
        parts: into how many parts a group is cut.
    """

    values: dict[int, Value]
    buffers: Buffers
    constant: Callable[[Any, np.dtype[Any]], str]
    parts: Callable[[Group], int]


def indented(lines: list[str], by: int = 1) -> list[str]:
    """Return the lines further to the right."""
    return ["    " * by + line for line in lines]


class GroupWriter(GroupCode):
    """Writes one group; see the module."""

    _rows_outside = True

    def __init__(self, group: Group, around: Surroundings):
        super().__init__(group, around.values, around.buffers, cheap)
        self._around, self._rows = around, group.loop.split is not None
        self._sizes = self.walk.sizes
        self._outer = self.walk.before(self.split) if self._rows else max(len(self._sizes) - 1, 0)
        self._cut = cut_of(self.schedule, self._sizes, self._outer, self._rows, around.parts(group))
        self._stored: dict[int, str] = {}  # entries of what a later phase can load
        # Names of what is loaded, by the text of the entry: in this phase, for each row, before the loops.
        self._loaded: dict[str, str] = {}
        self._loaded_rows: dict[str, str] = {}
        self._loaded_once: dict[str, str] = {}
        # Results are stored at the end: they may lie over an operand that is read after they are computed.
        self._stores: list[str] = []
        self._once: list[str] = []
        self._of_rows: list[str] = []
        self._count = 0
        self._columns: dict[int, str] = {}

    # --- entries --------------------------------------------------------------------------------------

    def _entry_of_result(self, n: int) -> str:
        return self._at(self._buffers(Ref(n)), self._strides_of_result(n))

    def _range(self, k: int) -> str:
        """Return what a loop goes over: all of a dimension, or this part of it."""
        return "low, high" if self._cut.parts > 1 and k == self._cut.across else str(self._sizes[k])

    def _at(self, view: View, strides: tuple[int, ...], first: str = "") -> str:
        """Return the text of an entry."""
        terms = [*([first] if first else []), *self.walk.terms(strides)]
        if view.first or not terms:
            terms.append(str(view.first))
        return f"{pointer(view)}[{' + '.join(terms)}]"

    # --- code -----------------------------------------------------------------------------------------

    def sections(self) -> list[Section]:
        """Return the code of the group: first the code in parts, then the code for one thread."""
        before, stores, after = self._alone()
        if not self._shape:
            return [Section([*self._once, *before, *stores])]
        members = self.schedule.members
        totals = [op for op in members if self.schedule.along(op) == "all"]
        columns = [op for op in members if self.schedule.along(op) == "column"]
        start = [f"t{op.results[0]} = {self._start(op, total=True)}" for op in totals]
        for op in columns:
            start += self._inner_loops([f"{self._column(op)} = {self._start(op)}"])
        loops = self._outer_loops(bool(totals))
        done = [f"x{op.results[0]} = np.{self._dtype(op).name}(t{op.results[0]})" for op in totals]
        if self._cut.parts == 1:
            return [Section([*self._once, *before, *stores, *start, *loops, *done, *after])]
        size = most(self._cut.each, self._sizes[self._cut.across], "low")
        bounds = [f"low = part * {self._cut.each}", f"high = low + {size}"]
        kept = {op.results[0]: self._kept_total(op) for op in totals}
        loops += [f"{kept[n]} = t{n}" for n in kept]
        together = [line for op in totals for line in self._total_of_parts(op, kept[op.results[0]])]
        if self._cut.partial:
            together += [line for op in columns for line in self._column_of_parts(op)]
        summed = {op.results[0] for op in columns} if self._cut.partial else set()
        late = tuple(n for n in self._group.results if self.schedule.level(n) == "one" or n in summed)
        early = tuple(n for n in self._group.results if n not in late)
        in_parts = Section([*bounds, *self._once, *before, *start, *loops], self._cut.parts, early)
        if not late:
            return [in_parts]
        ending = [*self._once, *before, *stores, *together, *done, *after]
        return [in_parts, Section(ending, 1, late, ends=True)]

    def _kept_total(self, op: Operation) -> str:
        wide = op.name == "sum" and self._dtype(op).kind == "f"
        dtype = "float64" if wide else self._dtype(op).name
        kept = self._buffers.own((self._cut.parts,), dtype)
        return f"{pointer(kept)}[part + {kept.first}]"

    def _total_of_parts(self, op: Operation, kept: str) -> list[str]:
        name = f"t{op.results[0]}"
        return [
            f"{name} = {self._start(op, total=True)}",
            f"for part in range({self._cut.parts}):",
            f"    {name} = {self._combined(op, name, kept, 'all')}",
        ]

    def _column_of_parts(self, op: Operation) -> list[str]:
        entry = self._entry_of_result(op.results[0])
        added = f"{entry} = {self._combined(op, entry, self._column(op), 'column')}"
        return [
            *self._inner_loops([f"{entry} = {self._start(op)}"]),
            f"for part in range({self._cut.parts}):",
            *indented(self._inner_loops([added])),
        ]

    def _column(self, op: Operation) -> str:
        """Return the entry where a sum over columns is added up."""
        n = op.results[0]
        if not self._cut.partial:
            return self._entry_of_result(n)
        if n not in self._columns:
            self._columns[n] = self._in_scratch_of_row(n)
        return self._columns[n]

    def _alone(self) -> tuple[list[str], list[str], list[str]]:
        """Return the code of single numbers: before the loops, what stores these, and after the loops."""
        before: list[str] = []
        stores: list[str] = []
        after: list[str] = []
        for op in self.schedule.members:
            n = op.results[0]
            if self.schedule.level(n) != "one":
                continue
            late = n in self.schedule.late
            if not self.schedule.along(op):
                lines = after if late else before
                lines.append(f"x{n} = {self._computed(op, self._name, lines)}")
            if n in self._group.results:
                (after if late else stores).append(self._storing(n))
        return before, stores, after

    def _name(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the name of an operand that is at hand, or is loaded."""
        n = self.schedule.number(x)
        return self._load(x, goes, lines) if n is None else f"x{n}"

    def _load(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the name of an entry of an outside array, loaded as far outside the loops as possible."""
        view = self._buffers(x)
        strides = self._full(view.along(goes)) if self._shape else ()
        text = self._at(view, strides)
        if text not in self._loaded:
            self._count += 1
            name = f"a{self._group.results[0]}_{self._count}"
            inner = [run for run in self.walk.runs[self._outer :] if strides[run[-1]]]
            outer = [run for run in self.walk.runs[: self._outer] if strides[run[-1]]]
            inner = inner or (outer if not self._rows_outside else [])
            known = self._loaded if inner else self._loaded_rows if outer else self._loaded_once
            known[text] = name
            self._loaded[text] = name
            (lines if inner else self._of_rows if outer else self._once).append(
                f"{name} = {reading(text, self._values[x.number].dtype if type(x) is Ref else x.dtype.name)}"
            )
        return self._loaded[text]

    def _computed(self, op: Operation, name: Callable[..., str], lines: list[str]) -> str:
        """Return the expression of an elementwise member."""
        goes = domain(op, self._values)
        found = dtypes_of(op, self._values)
        assert found is not None
        names = []
        for x, kind in zip(operands_of(op), found[:-1], strict=True):
            single = self._buffers.number(x)
            if single is not None or type(x) in (bool, int, float):
                names.append(self._around.constant(x if single is None else single.astype(kind), kind))
                continue
            text = name(x, goes, lines)
            dtype = self._values[x.number].dtype if type(x) is Ref else x.dtype.name
            names.append(text if dtype == kind.name else f"np.{kind.name.replace('bool', 'bool_')}({text})")
        if op.name in REDUCTIONS:  # over nothing; a sum begins with 0.0, so that it is never -0.0
            signed = op.name == "sum" and found[0].kind == "f"
            return f"{names[0]} + {self._around.constant(0, found[0])}" if signed else names[0]
        expressed = expression(op, self._values, names, self._around.constant)
        assert expressed is not None
        return expressed

    def _outer_loops(self, totals: bool) -> list[str]:
        if not self._outer and totals and len(self._sizes) == 1 and self._sizes[0] > _BLOCK:
            return [*self._blocks(_BLOCK), *indented(self._row_code("start, stop"))]
        body = self._row_code()
        for k in range(self._outer - 1, -1, -1):
            body = [f"for i{k} in range({self._range(k)}):", *indented(body)]
        return body

    def _blocks(self, size: int) -> list[str]:
        """Return the head of a loop over pieces of the first dimension, from ``start`` to ``stop``."""
        if self._cut.parts == 1:
            low, high, count = "", str(self._sizes[0]), str(-(-self._sizes[0] // size))
        else:
            low, high, count = "low + ", "high", f"(high - low + {size - 1}) // {size}"
        return [
            f"for block in range({count}):",
            f"    start = {low}block * {size}",
            f"    stop = min(start + {size}, {high})",
        ]

    def _inner_loops(self, body: list[str], bounds: str = "") -> list[str]:
        for k in range(len(self._sizes) - 1, self._outer - 1, -1):
            body = [f"for i{k} in range({bounds or self._range(k)}):", *indented(body)]
        return body

    def _row_code(self, bounds: str = "") -> list[str]:
        """Return the code of one row: its numbers and its phases by turns."""
        lines: list[str] = []
        for time in range(self.schedule.last + 2):
            self._row_numbers(time, lines)
            if time <= self.schedule.last:
                lines += self._phase(time, bounds)
        return [*self._of_rows, *lines]

    def _row_numbers(self, time: int, lines: list[str]) -> None:
        """Add the code of the numbers of a row that can be had before a phase."""
        for op in self.schedule.members:
            n, along = op.results[0], self.schedule.along(op)
            if along in ("all", "column"):
                if self.schedule.level(op.operands[0]) == "row" and self.schedule.source_time(op) == time:
                    text = self._operand(op, self._name, lines)
                    target = f"t{n}" if along == "all" else self._column(op)
                    lines.append(f"{target} = {self._combined(op, target, text, along)}")
            elif self.schedule.level(n) == "row" and self.schedule.time[n] == time:
                if not along:
                    lines.append(f"x{n} = {self._computed(op, self._name, lines)}")
                if n in self._group.results:
                    lines.append(self._storing(n))

    def _phase(self, time: int, bounds: str) -> list[str]:
        """Return the inner loop of a phase, and the results of its sums."""
        start: list[str] = []
        body: list[str] = []
        done: list[str] = []
        computed: set[int] = set()

        def name(x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
            n = self.schedule.number(x)
            if n is not None and self.schedule.level(n) == "entry" and n not in computed:
                computed.add(n)
                self._compute(n, time, name, lines)
            return self._name(x, goes, lines)

        for op in self.schedule.members:
            n, along = op.results[0], self.schedule.along(op)
            if not along:
                wanted = n in self._group.results or n in self.schedule.spilled
                if wanted and self.schedule.time.get(n) == time and self.schedule.level(n) == "entry":
                    name(Ref(n), domain(op, self._values), body)
            elif self.schedule.level(op.operands[0]) == "entry" and self.schedule.source_time(op) == time:
                text = self._operand(op, name, body)
                target = self._column(op) if along == "column" else f"x{n}"
                body.append(
                    f"{target} = {self._combined(op, target, text, 'column' if along == 'column' else 'row')}"
                )
                if along != "column":
                    start.append(f"x{n} = {self._start(op)}")
                if along == "all":
                    done.append(f"t{n} = {self._combined(op, f't{n}', f'x{n}', 'all')}")
        body += self._stores
        self._stores = []
        self._loaded = {**self._loaded_once, **self._loaded_rows}
        return [*start, *self._inner_loops(body, bounds), *done] if body else []

    def _compute(self, n: int, time: int, name: Callable[..., str], lines: list[str]) -> None:
        """Make an entry of a member's value available: load it, or compute it, again if that is cheap."""
        made = self.schedule.time[n]
        if n in self._stored and made < time:
            lines.append(f"x{n} = {reading(self._stored[n], self._values[n].dtype)}")
            return
        lines.append(f"x{n} = {self._computed(self.schedule.made[n], name, lines)}")
        if made == time and n in self._group.results:
            self._stored[n] = self._entry_of_result(n)
            self._stores.append(self._storing(n))
        elif made == time and n in self.schedule.spilled:
            self._stored[n] = self._entry_of_scratch(n)
            lines.append(self._storing(n, self._stored[n]))

    def _entry_of_scratch(self, n: int) -> str:
        """Return the text of an entry that is kept from phase to phase."""
        return self._in_scratch_of_row(n)

    def _in_scratch_of_row(self, n: int) -> str:
        strides, step = [0] * len(self._shape), 1
        for k in range(len(self.walk.runs) - 1, self._outer - 1, -1):
            strides[self.walk.runs[k][-1]] = step
            step *= self._sizes[k]
        kept = self._buffers.own((step * self._cut.parts,), self._values[n].dtype)
        return self._at(kept, tuple(strides), f"part * {step}" if self._cut.parts > 1 else "")

    def _storing(self, n: int, entry: str = "") -> str:
        """Return the line that stores a value; bytes hold 0 and 1 for False and True."""
        text = f"np.uint8(x{n})" if self._values[n].dtype == "bool" else f"x{n}"
        return f"{entry or self._entry_of_result(n)} = {text}"

    # --- reductions -----------------------------------------------------------------------------------

    def _dtype(self, op: Operation) -> np.dtype[Any]:
        return np.dtype(self._values[op.results[0]].dtype)

    def _start(self, op: Operation, total: bool = False) -> str:
        dtype = self._dtype(op)
        wide = total and op.name == "sum" and dtype.kind == "f"
        return self._around.constant(identity(op.name, dtype), np.dtype("float64") if wide else dtype)

    def _combined(self, op: Operation, so_far: str, term: str, along: str) -> str:
        """Return the expression of a reduction so far and a further term.

        Terms of a row are added up side by side, rows of a column in order, and totals in float64.
        """
        dtype = self._dtype(op)
        if op.name != "sum":
            if dtype.kind == "f":
                return f"{'largest' if op.name == 'max' else 'smallest'}({so_far}, {term})"
            return f"select({so_far} {'>' if op.name == 'max' else '<'} {term}, {so_far}, {term})"
        if dtype.kind != "f":
            return f"np.{dtype.name}({so_far} + {term})"
        if along == "all":
            return f"{so_far} + np.float64({term})"
        return f"{so_far} + {term}" if along == "column" else f"sum2({so_far}, {term})"

    def _operand(self, op: Operation, name: Callable[..., str], lines: list[str]) -> str:
        x = op.operands[0]
        text = name(x, domain(op, self._values), lines)
        dtype = self._dtype(op)
        return text if self._values[x.number].dtype == dtype.name else f"np.{dtype.name}({text})"


def reading(entry: str, dtype: str) -> str:
    """Return the expression of a stored entry; bytes hold 0 and 1 for False and True."""
    return f"{entry} != 0" if dtype == "bool" else entry
