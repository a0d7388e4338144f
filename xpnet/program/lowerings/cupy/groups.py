"""The writing of a group as one kernel.

Three ways through a group's loop, by the sums in it:

- *flat*: no sums but those over everything. Each thread does every so many-th entry.
- *rows*: sums of rows. A row is done by the neighbouring threads of a warp, or by a block if it is long,
  and is gone through several times (*phases*), where a later value needs an earlier sum.
- *columns*: sums over the leading dimensions. A block has some columns, and each of its threads every so
  many-th row of a chunk.

Sums are trees whose shape depends on the program alone, in the dtype of the sum: short runs by each thread,
then threads, then blocks, which the block that comes last adds up. So they are the same in every run and on
every GPU. Values are computed again for each phase rather than stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet.program.lowerings.cupy.elements import TYPES, expression, identity, literal
from xpnet.program.lowerings.cupy.kernels import Arguments, Kernel, Walk, blocks_for, indented
from xpnet.program.lowerings.cupy.places import Places
from xpnet.program.lowerings.kinds import kinds
from xpnet.program.passes.groups import REDUCTIONS, Group, domain, essential
from xpnet.program.passes.schedule import Schedule
from xpnet.program.program import Operation, Ref, Value

__all__ = ["write_group"]

_THREADS = 256
_LONG = 1024  # entries of a row, from which on a block does it
_RUN = 16  # rows that a thread adds up before others help, in sums of columns
_JOIN = {"sum": "Sum", "max": "Largest", "min": "Smallest"}


def write_group(group: Group, values: dict[int, Value], places: Places) -> Kernel:
    """Return the kernel of a group."""
    writer = _Writer(group, values, places)
    found = {writer.plan.along(op) for op in writer.plan.members}
    if not group.loop.shape:
        return writer.single()
    return writer.rows() if "row" in found else writer.columns() if "column" in found else writer.flat()


class _Writer:
    def __init__(self, group: Group, values: dict[int, Value], places: Places):
        self._group, self._values, self._places = group, values, places
        self._shape = group.loop.shape
        self._split = len(self._shape) if group.loop.split is None else group.loop.split
        self.plan = Schedule(group, values, lambda op: True)
        self._names = {op.results[0]: f"x{i}" for i, op in enumerate(self.plan.members)}
        self._arguments = Arguments()
        apart = (self._split,) if 0 < self._split < len(self._shape) else ()
        self._walk = Walk(self._shape, self._accesses(), apart)
        self._outer = self._walk.before(self._split)
        self._once: list[str] = []  # code before the loops
        self._of_row: list[str] = []
        # Names of what is loaded, by the text of the entry: before the loops, for a row, in this phase.
        self._loaded: tuple[dict[str, str], ...] = ({}, {}, {})
        self._count = 0
        self._per_row = False  # numbers of rows are computed apart from entries
        self._stored: dict[int, str] = {}  # entries of results that a later phase can load

    # --- entries --------------------------------------------------------------------------------------

    def _accesses(self) -> Iterator[tuple[int, ...]]:
        """Yield the strides along the loop's shape of what is loaded and stored."""
        for op in self.plan.members:
            goes = domain(op, self._values)
            for x in op.operands if essential(goes) else ():
                if self._is_outside(x):
                    yield self._full(self._places(x).along(goes))
        for n in self._group.results:
            yield self._strides_of_result(n)

    def _is_outside(self, x: Any) -> bool:
        """True for an array that is made elsewhere, and is no number in the code."""
        if type(x) is Ref:
            return self.plan.number(x) is None
        return hasattr(x, "shape") and self._places.number(x) is None

    def _full(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        return strides + (0,) * (len(self._shape) - len(strides))

    def _strides_of_result(self, n: int) -> tuple[int, ...]:
        own = self._places(Ref(n)).along(self._values[n].shape)
        if self.plan.along(self.plan.made[n]) == "column":
            return (0,) * (len(self._shape) - len(own)) + own
        return self._full(own)

    def _entry_of_result(self, n: int) -> str:
        pointer = self._arguments.name(self._places(Ref(n)))
        return self._walk.entry(pointer, self._strides_of_result(n))

    def _load(self, x: Any, goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the name of an entry of what is made elsewhere, loaded as far outside as it can be."""
        place = self._places(x)
        strides = self._full(place.along(goes))
        text = self._walk.entry(self._arguments.name(place), strides)
        for known in self._loaded:
            if text in known:
                return known[text]
        varies = [any(strides[i] for i in run) for run in self._walk.runs]
        if not any(varies):
            level, target = 0, self._once
        elif self._per_row and not any(varies[self._outer :]):
            level, target = 1, self._of_row
        else:
            level, target = 2, lines
        self._count += 1
        name = f"y{self._count}"
        self._loaded[level][text] = name
        target.append(f"const {TYPES[place.dtype]} {name} = {text};")
        return name

    def _operand(self, x: Any, kind: np.dtype[Any], goes: tuple[int, ...], lines: list[str]) -> str:
        """Return the text of an operand's entry as a number of a dtype."""
        number = x if type(x) in (bool, int, float) else self._places.number(x)
        if number is not None:
            text = literal(number if type(number) is type(x) else number.astype(kind), kind)
            assert text is not None
            return f"({text})" if text.startswith("-") else text
        n = self.plan.number(x)
        text = self._load(x, goes, lines) if n is None else self._names[n]
        dtype = self._values[x.number].dtype if type(x) is Ref else x.dtype.name
        return text if dtype == kind.name else f"({TYPES[kind.name]}){text}"

    def _compute(self, op: Operation, lines: list[str]) -> None:
        """Add the line that computes an elementwise member."""
        n, goes = op.results[0], domain(op, self._values)
        found = kinds(op, self._values)
        assert found is not None
        operands = op.operands[:1] if op.name in ("astype", *REDUCTIONS) else op.operands
        names = [self._operand(x, kind, goes, lines) for x, kind in zip(operands, found[:-1], strict=True)]
        text = names[0] if op.name in REDUCTIONS else expression(op, self._values, names)
        lines.append(f"const {TYPES[self._values[n].dtype]} {self._names[n]} = {text};")

    def _inputs(self, op: Operation) -> Iterator[int]:
        operands = op.operands[:1] if op.name in ("astype", *REDUCTIONS) else op.operands
        yield from (n for x in operands if (n := self.plan.number(x)) is not None)

    # --- code of a phase ------------------------------------------------------------------------------

    def _is_entry(self, n: int) -> bool:
        """True for a value that is computed with the entries."""
        level = self.plan.level(n)
        return level == "entry" or (level == "row" and not self._per_row)

    def _reductions(self, time: int) -> list[Operation]:
        """Return the reductions whose terms are at hand in a phase, entry by entry."""
        return [
            op for op in self.plan.members
            if self.plan.along(op) and self.plan.source_time(op) == time
            and self._is_entry(op.operands[0].number)
        ]  # fmt: skip

    def _phase(self, time: int, known: set[int]) -> tuple[list[str], list[str], list[tuple[Operation, str]]]:
        """Return the code of an entry in a phase, the stores behind it, and terms of reductions.

        Args:
            time: of the phase.
            known: values of entries that are at hand already; the phase's own are added.
        """
        reductions = self._reductions(time)
        wanted = {n for op in reductions if (n := self.plan.number(op.operands[0])) is not None}
        here = [
            n for n in self._group.results
            if self._is_entry(n) and not self.plan.along(self.plan.made[n]) and self.plan.time[n] == time
        ]  # fmt: skip
        wanted.update(here)
        for op in reversed(self.plan.members):
            n = op.results[0]
            if n in wanted and n not in known and n not in self._stored and not self.plan.along(op):
                wanted.update(m for m in self._inputs(op) if self._is_entry(m))
        body: list[str] = []
        for op in self.plan.members:
            n = op.results[0]
            if n not in wanted or n in known or self.plan.along(op):
                continue
            if n in self._stored:
                body.append(f"const {TYPES[self._values[n].dtype]} {self._names[n]} = {self._stored[n]};")
            else:
                self._compute(op, body)
            known.add(n)
        terms = [(op, self._term(op, body)) for op in reductions]
        stores = []
        for n in here:
            entry = self._entry_of_result(n)
            first = self._first_of_row() if self.plan.level(n) == "row" else ""
            stores.append(f"{first}{entry} = {self._names[n]};")
            if not first:
                self._stored[n] = entry
        return body, stores, terms

    def _first_of_row(self) -> str:
        """Return the condition under which an entry stands for its row."""
        return f"if ({' && '.join(f'i{k} == 0' for k in range(self._outer, len(self._walk.runs)))}) "

    def _term(self, op: Operation, lines: list[str]) -> str:
        kind = np.dtype(self._values[op.results[0]].dtype)
        return self._operand(op.operands[0], kind, domain(op, self._values), lines)

    def _joined(self, op: Operation, term: str) -> str:
        name = self._names[op.results[0]]
        return f"{name} = {_JOIN[op.name]}::join({name}, {term});"

    def _begun(self, op: Operation) -> str:
        dtype = self._values[op.results[0]].dtype
        start = identity(op.name, np.dtype(dtype))
        return f"{TYPES[dtype]} {self._names[op.results[0]]} = {start};"

    # --- numbers --------------------------------------------------------------------------------------

    def _numbers(self, late: bool) -> list[str]:
        """Return the code of single numbers, before the loops or after them."""
        computed: list[str] = []
        stores: list[str] = []
        for op in self.plan.members:
            n = op.results[0]
            if self.plan.level(n) != "one" or (n in self.plan.late) != late:
                continue
            if not self.plan.along(op):
                self._compute(op, computed)
            if n in self._group.results:
                stores.append(f"{self._entry_of_result(n)} = {self._names[n]};")
        if stores and not late and self._shape:
            stores = ["if (blockIdx.x == 0 && threadIdx.x == 0) {", *indented(stores), "}"]
        return computed + stores

    def _totals(self) -> list[Operation]:
        return [op for op in self.plan.members if self.plan.along(op) == "all"]

    def _finished(self, blocks: int, threads: int) -> list[str]:
        """Return the code that adds up what the threads have of sums over everything."""
        totals = self._totals()
        if not totals:
            return []
        dtypes = [self._values[op.results[0]].dtype for op in totals]
        names = [self._names[op.results[0]] for op in totals]
        block = [
            f"{name} = of_block<{_JOIN[op.name]}, {threads}>({name});"
            for op, name in zip(totals, names, strict=True)
        ]
        done = ["if (threadIdx.x == 0) {", *indented(self._numbers(late=True)), "}"]
        if blocks == 1:
            return [*block, *done]
        parts = self._places.scratch([blocks] * len(totals), dtypes)
        pointers = [self._arguments.name(part) for part in parts]
        ticket = self._arguments.name(self._places.tickets(1))
        written = [f"{p}[blockIdx.x] = {name};" for p, name in zip(pointers, names, strict=True)]
        read = []
        for op, name, pointer, dtype in zip(totals, names, pointers, dtypes, strict=True):
            start = identity(op.name, np.dtype(dtype))
            read += [
                f"{name} = {start};",
                f"for (int k = threadIdx.x; k < {blocks}; k += {threads})",
                f"    {self._joined(op, f'((volatile {TYPES[dtype]}*){pointer})[k]')}",
            ]
        return [
            *block, "if (threadIdx.x == 0) {", *indented(written), "}",
            f"if (is_last({ticket}, {blocks})) {{", *indented([*read, *block, *done]), "}",
        ]  # fmt: skip

    def _kernel(self, lines: list[str], blocks: int, threads: int) -> Kernel:
        """Return the kernel: numbers, the loops, and what becomes of sums."""
        # Late numbers may load what is outside, which belongs before the loops, so they are written first.
        done = self._finished(blocks, threads)
        begun = [self._begun(op) for op in self._totals()]
        whole = [*self._once, *begun, *lines, *done]
        return self._arguments.kernel(whole, blocks, threads, self._walk.entries)

    # --- ways through the loop ------------------------------------------------------------------------

    def single(self) -> Kernel:
        """One thread for a few numbers."""
        code = self._numbers(late=False)
        return self._arguments.kernel([*self._once, *code], 1, 1)

    def flat(self) -> Kernel:
        """Entry by entry."""
        self._once += self._numbers(late=False)
        body, stores, terms = self._phase(0, set())
        joined = [
            ("" if self.plan.level(op.operands[0]) == "entry" else self._first_of_row()) + self._joined(op, x)
            for op, x in terms
        ]
        entries = self._walk.entries
        threads = min(_THREADS, max(32, 1 << (entries - 1).bit_length()))
        blocks = blocks_for(entries, threads)
        step = blocks * threads
        loop = [
            f"for (index i = blockIdx.x * {threads} + threadIdx.x; i < {entries}; i += {step}) {{",
            *indented([*self._walk.indices("i", 0, len(self._walk.runs)), *body, *joined, *stores]),
            "}",
        ]
        return self._kernel(loop, blocks, threads)

    def columns(self) -> Kernel:
        """Sums over leading dimensions: some columns a block, all rows or a chunk of them."""
        self._once += self._numbers(late=False)
        body, stores, terms = self._phase(0, set())
        sizes, outer = self._walk.sizes, self._outer
        rows, width = int(np.prod(sizes[:outer])), int(np.prod(sizes[outer:]))
        lanes = min(32, 1 << (width - 1).bit_length())
        side = _THREADS // lanes  # threads that share a column
        tiles = -(-width // lanes)
        chunks = max(1, min(-(-rows // (side * _RUN)), 1024 // tiles))
        chunk = -(-rows // chunks)
        chunks = -(-rows // chunk)
        sums = [op for op, _ in terms if self.plan.along(op) == "column"]
        first = self._first_of_row()
        joined = [
            ("" if op in sums or self.plan.level(op.operands[0]) == "entry" else first) + self._joined(op, x)
            for op, x in terms
        ]
        head = [
            f"const index c = blockIdx.x % {tiles} * {lanes} + threadIdx.x % {lanes};",
            f"const index top = blockIdx.x / {tiles} * {chunk};",
            f"const index bottom = c >= {width} ? top : top + {chunk} < {rows} ? top + {chunk} : {rows};",
            *self._walk.indices("c", outer, len(sizes)),
            *(self._begun(op) for op in sums),
            f"for (index r = top + threadIdx.x / {lanes}; r < bottom; r += {side}) {{",
            *indented([*self._walk.indices("r", 0, outer), *body, *joined, *stores]),
            "}",
        ]
        return self._kernel(
            [*head, *self._summed(sums, width, lanes, tiles, chunks)], tiles * chunks, _THREADS
        )

    def _summed(self, sums: list[Operation], width: int, lanes: int, tiles: int, chunks: int) -> list[str]:
        """Return the code that adds up what threads, and then chunks, have of columns."""
        block, stored = [], []
        for op in sums:
            name = self._names[op.results[0]]
            block.append(f"{name} = of_column<{_JOIN[op.name]}, {_THREADS}, {lanes}>({name});")
            stored.append(f"{self._entry_of_result(op.results[0])} = {name};")
        mine = f"if (threadIdx.x < {lanes} && c < {width}) {{"
        if chunks == 1:
            return [*block, mine, *indented(stored), "}"]
        dtypes = [self._values[op.results[0]].dtype for op in sums]
        # Behind the parts of sums over everything, which the same kernel may have.
        totals = self._totals()
        kept = [self._values[op.results[0]].dtype for op in totals] + dtypes
        sizes = [tiles * chunks] * len(totals) + [width * chunks] * len(sums)
        parts = self._places.scratch(sizes, kept)[len(totals) :]
        tickets = self._arguments.name(self._places.tickets(tiles + 1))
        written, read = [], []
        for op, part in zip(sums, parts, strict=True):
            name, pointer = self._names[op.results[0]], self._arguments.name(part)
            written.append(f"{pointer}[blockIdx.x / {tiles} * {width} + c] = {name};")
            read += [
                f"{name} = {identity(op.name, np.dtype(part.dtype))};",
                f"for (int k = c < {width} ? threadIdx.x / {lanes} : {chunks}; k < {chunks}; "
                f"k += {_THREADS // lanes})",
                f"    {self._joined(op, f'((volatile {TYPES[part.dtype]}*){pointer})[k * {width} + c]')}",
            ]
        return [
            *block, mine, *indented(written), "}",
            f"if (is_last({tickets} + 1 + blockIdx.x % {tiles}, {chunks})) {{",
            *indented([*read, *block, mine, *indented(stored), "}"]), "}",
        ]  # fmt: skip

    def rows(self) -> Kernel:
        """Sums of rows: some threads a row, phase after phase."""
        self._per_row = True
        self._once += self._numbers(late=False)
        sizes, outer = self._walk.sizes, self._outer
        rows, width = int(np.prod(sizes[:outer])), int(np.prod(sizes[outer:]))
        threads = _THREADS if width >= _LONG else _THREADS // 2
        lanes = _THREADS if width >= _LONG else min(32, 1 << (width - 1).bit_length())
        at_once = threads // lanes  # rows of a block
        blocks = blocks_for(rows, at_once)
        code = self._code_of_row(width, lanes, threads)
        loop = [
            f"for (index top = blockIdx.x * {at_once}; top < {rows}; top += {blocks * at_once}) {{",
            f"    const index own = top + threadIdx.x / {lanes};",
            # Threads without a row do the last one, without storing: in a warp, all have to take part.
            f"    const bool on = own < {rows};",
            f"    const index r = on ? own : {rows - 1};",
            *indented([*self._walk.indices("r", 0, outer), *self._of_row, *code]),
            "}",
        ]
        return self._kernel([f"const int lane = threadIdx.x % {lanes};", *loop], blocks, threads)

    def _code_of_row(self, width: int, lanes: int, threads: int) -> list[str]:
        """Return the code of a row: its numbers and its phases by turns."""
        sizes, outer = self._walk.sizes, self._outer
        short = width <= lanes  # one entry a thread, which stays at hand
        lines: list[str] = []
        if short:
            lines = [f"const index j = lane < {width} ? lane : {width - 1};",
                     *self._walk.indices("j", outer, len(sizes))]  # fmt: skip
        known: set[int] = set()
        for time in range(self.plan.last + 2):
            self._numbers_of_row(time, lines)
            if time > self.plan.last:
                break
            known = known if short else set()
            body, stores, terms = self._phase(time, known)
            sums = [op for op, _ in terms if self.plan.along(op) == "row"]
            lines += [self._begun(op) for op in sums]
            joined = [self._joined(op, x) for op, x in terms]
            if short:
                lines += body
                inside = [*joined, *stores]
                lines += [f"if (on && lane < {width}) {{", *indented(inside), "}"] if inside else []
            elif body or joined or stores:
                lines += [
                    f"for (index j = on ? lane : {width}; j < {width}; j += {lanes}) {{",
                    *indented([*self._walk.indices("j", outer, len(sizes)), *body, *joined, *stores]),
                    "}",
                ]
                self._loaded[2].clear()
            for op in sums:
                name, join = self._names[op.results[0]], _JOIN[op.name]
                whole = f"of_block<{join}, {threads}>" if lanes > 32 else f"of_lanes<{join}, {lanes}>"
                lines.append(f"{name} = {whole}({name});")
        return lines

    def _numbers_of_row(self, time: int, lines: list[str]) -> None:
        """Add the code of the numbers of a row that can be had before a phase."""
        for op in self.plan.members:
            n, along = op.results[0], self.plan.along(op)
            if along == "all":
                if self.plan.level(op.operands[0]) == "row" and self.plan.source_time(op) == time:
                    lines.append(f"if (on && lane == 0) {self._joined(op, self._term(op, lines))}")
            elif self.plan.level(n) == "row" and self.plan.time[n] == time:
                if not along:
                    self._compute(op, lines)
                if n in self._group.results:
                    lines.append(f"if (on && lane == 0) {self._entry_of_result(n)} = {self._names[n]};")
