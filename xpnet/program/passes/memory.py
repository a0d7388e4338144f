"""Which values share memory: views with what they look at, results with an operand, others by turns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from xpnet.program.passes.groups import Group, may_overwrite
from xpnet.program.program import Operation, Program, Ref

__all__ = ["Memory", "plan_memory"]


@dataclass(frozen=True)
class Memory:
    """Places for the values that operations make.

    Attributes:
        slots: bytes of each piece of memory.
        slot_of: which piece each value lies in; values that are not here need memory of their own.
        naive: bytes that all values would take without sharing.
    """

    slots: tuple[int, ...]
    slot_of: dict[int, int]
    naive: int

    @property
    def bytes(self) -> int:
        """Peak memory of the planned values."""
        return sum(self.slots)


def plan_memory(
    program: Program,
    roots: Mapping[int, int],
    *,
    in_place: Collection[str] = (),
    apart: Collection[int] = (),
) -> Memory:
    """Plan memory by liveness: a value's place is free again after the last operation that reads it.

    Args:
        program: whose operations run in order.
        roots: for each value that lies in another's memory (a view, a piece of what is joined later) that
            other, which then gets its place when the first of them is made.
        in_place: names of operations that may write into an operand of the same shape and dtype, if that is
            read for the last time (``"group"``: if the group's members run one by one).
        apart: roots that get no place: inputs, outputs, and what is allocated otherwise.
    """
    last = _last_reads(program, roots)
    free: list[int] = []
    slots: list[int] = []
    slot_of: dict[int, int] = {}
    naive = 0
    for i, operation in enumerate(program.operations):
        reads = list(operation.reads())
        dying = [n for n in dict.fromkeys(roots.get(n, n) for n in reads) if last[n] == i and n in slot_of]
        for n in operation.results:
            root = roots.get(n, n)
            if root in slot_of or root in apart:
                continue
            size = program.values[root].bytes
            naive += size
            heir = None
            if operation.name in in_place and root == n:
                heir = next((d for d in dying if _fits(program, operation, roots, d, n)), None)
            if heir is not None:
                slot_of[n] = slot_of[heir]
                dying.remove(heir)
                continue
            place = _best(free, slots, size)
            if place is None:
                slots.append(size)
                place = len(slots) - 1
            else:
                free.remove(place)
                slots[place] = max(slots[place], size)
            slot_of[root] = place
            if root not in last:  # made but never read
                free.append(place)
        free.extend(slot_of[n] for n in dying)
    return Memory(tuple(slots), slot_of, naive)


def _last_reads(program: Program, roots: Mapping[int, int]) -> dict[int, int]:
    """Return for each root the number of the last operation that reads it or a view of it."""
    last: dict[int, int] = {}
    for i, operation in enumerate(program.operations):
        for n in operation.reads():
            last[roots.get(n, n)] = i
    for x in program.outputs:
        if type(x) is Ref:
            last[roots.get(x.number, x.number)] = len(program.operations)
    return last


def _fits(program: Program, operation: Operation, roots: Mapping[int, int], old: int, new: int) -> bool:
    """True if ``old`` is read whole, through no view, and has the shape and dtype of the result ``new``."""
    reads = list(operation.reads())
    views = any(n != old and roots.get(n) == old for n in reads)
    if isinstance(operation, Group) and not may_overwrite(operation, old, new, program.values):
        return False
    return old in reads and not views and program.values[old] == program.values[new]


def _best(free: list[int], slots: list[int], size: int) -> int | None:
    """Return the smallest free piece that is large enough, else the largest free one, to be enlarged."""
    large = [place for place in free if slots[place] >= size]
    if large:
        return min(large, key=slots.__getitem__)
    return max(free, key=slots.__getitem__, default=None)
