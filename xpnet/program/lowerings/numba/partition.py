"""Partition of a program among threads, and the barriers between its parts.

The code of an operation consists of *sections*. One with several parts has code for the part with the number
``part``; others are done by the first thread alone. With what they read and write they are *pieces* of a
program: before a piece that reads or writes what another thread may have written, or writes what another may
have read, all threads wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xpnet.program.lowerings.numba.elements import cheap
from xpnet.program.lowerings.views import BUFFER
from xpnet.program.passes.aliasing import View
from xpnet.program.passes.groups import REDUCTIONS, Group
from xpnet.program.passes.schedule import Schedule
from xpnet.program.program import Operation, Program, Value

__all__ = [
    "Cut", "Piece", "Region", "Section", "cut", "cut_of", "most", "parts_of", "parts_of_program",
    "time_of", "wakes_the_blas", "with_barriers",
]  # fmt: skip

# Nanoseconds, roughly and on one core, for an entry that is loaded or stored, cheap work on it, other work,
# and for a product of two numbers in a matrix product.
_ENTRY, _CHEAP, _DEAR, _PRODUCT = 0.1, 0.03, 0.4, 0.01
_BARRIER = 100.0  # for each thread there is
_PART = 400.0  # of an operation is worth a thread
_WAKING = 150e3  # of a call is worth waking threads for
_MEETING = 50e3  # of a step of a loop is worth threads that meet in it
_LINE = 16  # entries that a part of a row has at the least: a line of the cache, or two
_THREADED = 2600.0  # of a matrix product, from which on the BLAS would cut it itself


class Section(NamedTuple):
    """Part of an operation's code.

    Attributes:
        lines: the code.
        parts: into how many parts the work is cut.
        results: which of the operation's results it stores; None: all.
        ends: it takes up what the parts of the section before left in scratch memory, and otherwise reads
            single numbers only.
    """

    lines: list[str]
    parts: int = 1
    results: tuple[int, ...] | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes from ``start`` to ``stop`` of the memory or of an array."""

    base: str
    start: int
    stop: int

    @classmethod
    def of(cls, view: View) -> Region:
        """Return the region that the entries of an array are in."""
        ways = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
        low, high = sum(min(way, 0) for way in ways), sum(max(way, 0) for way in ways)
        base = "memory" if view.root == BUFFER else f"p{view.root}"
        return cls(base, view.offset + low * view.width, view.offset + (high + 1) * view.width)

    def meets(self, other: Region) -> bool:
        """True if the regions have bytes in common."""
        return self.base == other.base and self.start < other.stop and other.start < self.stop


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of code, into how many parts their work is cut, and what they read and write."""

    lines: tuple[str, ...]
    parts: int = 1
    reads: tuple[Region, ...] = ()
    writes: tuple[Region, ...] = ()

    def waits_for(self, other: Piece) -> bool:
        """True if an earlier piece must be finished before this one begins."""
        if self.parts == 1 and other.parts == 1:
            return False  # the same thread does both
        return (
            _meet(self.reads, other.writes)
            or _meet(self.writes, other.reads)
            or _meet(self.writes, other.writes)
        )


def _meet(some: tuple[Region, ...], others: tuple[Region, ...]) -> bool:
    return any(x.meets(y) for x in some for y in others)


def with_barriers(pieces: Iterable[Piece], parts: int) -> list[str]:
    """Return the code of pieces one after another, with barriers between them where they are needed.

    It knows ``thread`` and ``threads``, and the parts of this thread from ``first`` up to ``last``.
    """
    if parts == 1:
        return [line for piece in pieces for line in piece.lines]
    lines: list[str] = []
    since: list[Piece] = []
    for piece in pieces:
        if not piece.lines:
            continue
        if any(piece.waits_for(other) for other in since):
            lines += _BARRIER_LINES
            since = []
        if piece.parts == 1:
            lines.append("if thread == 0:")
        else:
            last = "last" if piece.parts == parts else f"min(last, {piece.parts})"
            lines.append(f"for part in range(first, {last}):")
        lines += [f"    {line}" for line in piece.lines]
        since.append(piece)
    return [*lines, *_BARRIER_LINES]  # before the next step


_BARRIER_LINES = ["passed += 1", "if barrier(gate, threads, passed):", "    return"]


def cut(size: int, parts: int, unit: int = 1) -> int:
    """Return how many of ``size`` entries a part has: a multiple of ``unit``; the last may have fewer."""
    return -(-size // (parts * unit)) * unit


@dataclass(frozen=True, slots=True)
class Cut:
    """Partition of a group's loops.

    Attributes:
        parts: into how many.
        across: which of the loops.
        each: how many of its turns a part has; the last may have fewer.
        partial: sums over columns go across the cut.
    """

    parts: int = 1
    across: int = 0
    each: int = 0
    partial: bool = False


def cut_of(schedule: Schedule, sizes: Sequence[int], outer: int, rows: bool, wanted: int) -> Cut:
    """Return how a group is cut into at most ``wanted`` parts: by rows, or by columns if it only sums these.

    Args:
        schedule: of the group's work.
        sizes: of its loops.
        outer: how many of them are outer ones.
        rows: these go over rows, which have numbers of their own.
        wanted: parts, at the most.
    """
    if wanted == 1 or not sizes or (rows and not outer):
        return Cut()
    columns = any(schedule.along(op) == "column" for op in schedule.members)
    last = len(sizes) - 1
    if columns and sizes[last] >= wanted * _LINE and not _has_rows(schedule):
        across, unit, partial = last, _LINE, False
    else:
        across, unit, partial = 0, 1 if outer else _LINE, columns
    each = cut(sizes[across], wanted, unit)
    parts = -(-sizes[across] // each)
    return Cut(parts, across, each, partial) if parts > 1 else Cut()


def _has_rows(schedule: Schedule) -> bool:
    """True if a row has numbers of its own, beside sums over columns."""
    for op in schedule.members:
        along = schedule.along(op)
        if along == "row" or schedule.level(op.operands[0] if along else op.results[0]) == "row":
            return True
    return False


def most(each: int, size: int, start: str) -> str:
    """Return how many of ``each`` entries from ``start`` on there are among ``size``."""
    return f"min({each}, {size} - {start})" if size % each else str(each)


# --- how many -------------------------------------------------------------------------------------------


def time_of(operation: Operation, values: dict[int, Value]) -> float:
    """Return roughly how many nanoseconds one core takes."""
    made = [values[n] for n in operation.results]
    if isinstance(operation, Group):
        entries = math.prod(operation.loop.shape)
        inside = {n for member in operation.members for n in member.results}
        outside = {n for member in operation.members for n in member.reads()} - inside
        moved = sum(min(values[n].size, entries) for n in (*outside, *operation.results))
        work = sum(_CHEAP if cheap(m) or m.name in REDUCTIONS else _DEAR for m in operation.members)
        return moved * _ENTRY + entries * work
    if operation.name == "matmul":
        given = [values[n].shape for n in operation.reads()]
        inner = given[0][-1] if given and given[0] else 1
        wide = 2 if made[0].dtype == "float64" else 1
        return sum(v.size for v in made) * inner * _PRODUCT * wide
    return 2 * sum(v.size for v in made) * _ENTRY


def parts_of(nanoseconds: float, wanted: int) -> int:
    """Return into how many parts, at most ``wanted``, work is cut that takes so long."""
    return max(1, min(wanted, int(nanoseconds / _PART)))


def parts_of_program(program: Program, threads: int, *, once: bool) -> int:
    """Return how many parts a program is cut into.

    With n threads it takes about its time / n + barriers · n, which more threads do not always make less.

    Args:
        program: with groups.
        threads: at hand.
        once: a call runs it once, not many times.
    """
    if threads == 1:
        return 1
    times = [time_of(op, program.values) for op in program.operations]
    if sum(times) < (_WAKING if once else _MEETING):
        return 1
    cuttable = [t for t in times if parts_of(t, threads) > 1]
    if not cuttable:
        return 1
    return max(1, min(threads, round(math.sqrt(sum(cuttable) / (_BARRIER * len(times))))))


def wakes_the_blas(program: Program) -> bool:
    """True if the BLAS would use threads of its own, which then are awake for a tenth of a second."""
    products = (op for op in program.operations if op.name == "matmul")
    return any(time_of(op, program.values) > _THREADED for op in products)
