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

import math
from dataclasses import dataclass

from xpnet.program.lowerings.cupy.buffers import DeviceBuffers
from xpnet.program.lowerings.cupy.elements import TYPES, identity
from xpnet.program.lowerings.cupy.entries import JOIN, Entries
from xpnet.program.lowerings.cupy.kernels import Kernel, blocks_for, indented
from xpnet.program.passes.aliasing import View
from xpnet.program.passes.groups import Group
from xpnet.program.program import Operation, Value

__all__ = ["write_group"]

_THREADS = 256
_LONG = 1024  # entries of a row, from which on a block does it
_RUN = 16  # rows that a thread adds up before others help, in sums of columns


def write_group(group: Group, values: dict[int, Value], buffers: DeviceBuffers) -> Kernel:
    """Return the kernel of a group."""
    entries = Entries(group, values, buffers)
    if not group.loop.shape:
        code = entries.numbers(late=False)
        return entries.arguments.kernel([*entries.once, *code], 1, 1)
    writer = _Writer(entries, buffers)
    if entries.per_row:
        return writer.rows()
    return writer.columns() if entries.reductions("column") else writer.flat()


@dataclass(frozen=True)
class _Blocks:
    """Sums over several blocks: each has a part, and the last one adds up the parts.

    Attributes:
        count: of the blocks.
        mine: the condition under which a thread stores its block's part.
        stored: where, in an array for all parts.
        begin: the first part that a thread reads.
        stride: from one to the next.
        read: where the part ``k`` is.
        ticket: the expression of the counter that says which block is the last.
    """

    count: int
    mine: str
    stored: str
    begin: str
    stride: int
    read: str
    ticket: str


class _Writer:
    def __init__(self, entries: Entries, buffers: DeviceBuffers):
        self._entries, self._buffers = entries, buffers
        sizes, outer = entries.walk.sizes, entries.outer
        self._rows, self._width = math.prod(sizes[:outer]), math.prod(sizes[outer:])
        self._totals = entries.reductions("all")
        entries.once += entries.numbers(late=False)

    # --- sums -----------------------------------------------------------------------------------------

    def _summed(
        self, sums: list[Operation], together: str, done: list[str], parts: list[View], blocks: _Blocks
    ) -> list[str]:
        """Return the code that joins what threads, and then blocks, have of sums.

        Args:
            sums: members of the group.
            together: the function that joins what the threads of a block have.
            done: what is done with the sums in the end.
            parts: memory for the blocks' parts.
            blocks: how they are joined.
        """
        entries = self._entries
        inside = [
            f"{entries.name(op)} = {together.format(JOIN[op.name])}({entries.name(op)});" for op in sums
        ]
        if blocks.count == 1:
            return [*inside, *done]
        stored, read = [], []
        for op, part in zip(sums, parts, strict=True):
            name, pointer = entries.name(op), entries.arguments.name(part)
            stored.append(f"{pointer}[{blocks.stored}] = {name};")
            read += [
                f"{name} = {identity(op.name, entries.dtype(op))};",
                f"for (int k = {blocks.begin}; k < {blocks.count}; k += {blocks.stride})",
                f"    {entries.joined(op, f'((volatile {TYPES[part.dtype]}*){pointer})[{blocks.read}]')}",
            ]
        return [
            *inside, f"if ({blocks.mine}) {{", *indented(stored), "}",
            f"if (is_last({blocks.ticket}, {blocks.count})) {{", *indented([*read, *inside, *done]), "}",
        ]  # fmt: skip

    def _parts(self, sums: list[Operation], sizes: list[int]) -> list[View]:
        """Return memory for blocks' parts of sums."""
        return self._buffers.scratch(sizes, [self._entries.dtype(op).name for op in sums])

    def _ticket(self, number: str, count: int, blocks: int) -> str:
        """Return the expression of one of ``count`` counters; none is needed for one block."""
        if blocks == 1:
            return ""
        return f"{self._entries.arguments.name(self._buffers.tickets(count))} + {number}"

    def _kernel(self, loop: list[str], blocks: int, threads: int) -> Kernel:
        """Return the kernel of a loop and of what comes after it: sums over everything, and their numbers."""
        entries = self._entries
        tail: list[str] = []
        if self._totals:
            done = ["if (threadIdx.x == 0) {", *indented(entries.numbers(late=True)), "}"]
            parts = self._parts(self._totals, [blocks] * len(self._totals))
            ticket = self._ticket("0", 1, blocks)
            how = _Blocks(blocks, "threadIdx.x == 0", "blockIdx.x", "threadIdx.x", threads, "k", ticket)
            tail = self._summed(self._totals, f"of_block<{{}}, {threads}>", done, parts, how)
        begun = [entries.begun(op) for op in self._totals]
        lines = [*entries.once, *begun, *loop, *tail]
        return entries.arguments.kernel(lines, blocks, threads, entries.walk.entries)

    # --- ways through the loop ------------------------------------------------------------------------

    def flat(self) -> Kernel:
        """Entry by entry."""
        walk, phase = self._entries.walk, self._entries.phase(0, set())
        threads = min(_THREADS, max(32, 1 << (walk.entries - 1).bit_length()))
        blocks = blocks_for(walk.entries, threads)
        first, step = f"blockIdx.x * {threads} + threadIdx.x", blocks * threads
        loop = [
            f"for (index i = {first}; i < {walk.entries}; i += {step}) {{",
            *indented([*walk.indices("i", 0, len(walk.runs)), *self._entries.at_entry(phase)]),
            "}",
        ]
        return self._kernel(loop, blocks, threads)

    def columns(self) -> Kernel:
        """Sums over leading dimensions: some columns a block, all rows or a chunk of them."""
        entries, rows, width = self._entries, self._rows, self._width
        sums = entries.reductions("column")
        lanes = min(32, 1 << (width - 1).bit_length())
        side = _THREADS // lanes  # threads that share a column
        tiles = -(-width // lanes)
        chunk = -(-rows // blocks_for(rows, side * _RUN))
        chunks = -(-rows // chunk)
        code = entries.at_entry(entries.phase(0, set()))
        loop = [
            f"const index c = blockIdx.x % {tiles} * {lanes} + threadIdx.x % {lanes};",
            f"const index top = blockIdx.x / {tiles} * {chunk};",
            f"const index bottom = c >= {width} ? top : top + {chunk} < {rows} ? top + {chunk} : {rows};",
            *entries.walk.indices("c", entries.outer, len(entries.walk.runs)),
            *(entries.begun(op) for op in sums),
            f"for (index r = top + threadIdx.x / {lanes}; r < bottom; r += {side}) {{",
            *indented([*entries.walk.indices("r", 0, entries.outer), *code]),
            "}",
        ]
        mine = f"threadIdx.x < {lanes} && c < {width}"
        done = [f"if ({mine}) {{", *indented(entries.stored(op.results[0]) for op in sums), "}"]
        # Behind the parts of sums over everything, which the same kernel may have.
        blocks = tiles * chunks
        sizes = [blocks] * len(self._totals) + [width * chunks] * len(sums)
        parts = self._parts([*self._totals, *sums], sizes)[len(self._totals) :]
        how = _Blocks(
            chunks,
            mine,
            stored=f"blockIdx.x / {tiles} * {width} + c",
            begin=f"c < {width} ? threadIdx.x / {lanes} : {chunks}",
            stride=side,
            read=f"k * {width} + c",
            ticket=self._ticket(f"1 + blockIdx.x % {tiles}", 1 + tiles, chunks),
        )
        loop += self._summed(sums, f"of_column<{{}}, {_THREADS}, {lanes}>", done, parts, how)
        return self._kernel(loop, blocks, _THREADS)

    def rows(self) -> Kernel:
        """Sums of rows: some threads a row, phase after phase."""
        entries, rows, width = self._entries, self._rows, self._width
        threads = _THREADS if width >= _LONG else _THREADS // 2
        lanes = _THREADS if width >= _LONG else min(32, 1 << (width - 1).bit_length())
        at_once = threads // lanes  # rows of a block
        blocks = blocks_for(rows, at_once)
        # A short row is one entry a thread, which stays at hand from phase to phase.
        code = self._short_row(lanes) if width <= lanes else self._long_row(lanes, threads)
        loop = [
            f"const int lane = threadIdx.x % {lanes};",
            f"for (index top = blockIdx.x * {at_once}; top < {rows}; top += {blocks * at_once}) {{",
            f"    const index own = top + threadIdx.x / {lanes};",
            # Threads without a row go through the last one, without storing: all of a warp take part.
            f"    const bool on = own < {rows};",
            f"    const index r = on ? own : {rows - 1};",
            *indented([*entries.walk.indices("r", 0, entries.outer), *entries.of_row, *code]),
            "}",
        ]
        return self._kernel(loop, blocks, threads)

    def _short_row(self, lanes: int) -> list[str]:
        entries, width = self._entries, self._width
        lines = [f"const index j = lane < {width} ? lane : {width - 1};", *self._indices_of_row()]
        known: set[int] = set()
        for time in range(entries.schedule.last + 1):
            entries.numbers_of_row(time, "on && lane == 0", lines)
            phase = entries.phase(time, known)
            sums = [op for op, _ in phase.terms if entries.schedule.along(op) == "row"]
            inside = [*(entries.joined(op, x) for op, x in phase.terms), *phase.stores]
            lines += [*(entries.begun(op) for op in sums), *phase.body]
            lines += [f"if (on && lane < {width}) {{", *indented(inside), "}"] if inside else []
            lines += self._row_sums(sums, f"of_lanes<{{}}, {lanes}>")
        entries.numbers_of_row(entries.schedule.last + 1, "on && lane == 0", lines)
        return lines

    def _long_row(self, lanes: int, threads: int) -> list[str]:
        entries, width = self._entries, self._width
        together = f"of_block<{{}}, {threads}>" if lanes > 32 else f"of_lanes<{{}}, {lanes}>"
        lines: list[str] = []
        for time in range(entries.schedule.last + 1):
            entries.numbers_of_row(time, "on && lane == 0", lines)
            phase = entries.phase(time, set())
            sums = [op for op, _ in phase.terms if entries.schedule.along(op) == "row"]
            terms = [entries.joined(op, x) for op, x in phase.terms]
            lines += [
                *(entries.begun(op) for op in sums),
                f"for (index j = on ? lane : {width}; j < {width}; j += {lanes}) {{",
                *indented([*self._indices_of_row(), *phase.body, *terms, *phase.stores]),
                "}",
                *self._row_sums(sums, together),
            ]
            entries.forget_loads()
        entries.numbers_of_row(entries.schedule.last + 1, "on && lane == 0", lines)
        return lines

    def _indices_of_row(self) -> list[str]:
        return self._entries.walk.indices("j", self._entries.outer, len(self._entries.walk.runs))

    def _row_sums(self, sums: list[Operation], together: str) -> list[str]:
        name = self._entries.name
        return [f"{name(op)} = {together.format(JOIN[op.name])}({name(op)});" for op in sums]
