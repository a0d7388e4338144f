"""Memory plan by liveness: views share their base, results overwrite an operand, buffers are reused.

And in which order operations run, so that little memory is taken at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from xpnet.program.program import Operation, Program, Ref

__all__ = ["Memory", "idle_slots", "order_for_memory", "plan_memory"]


@dataclass(frozen=True)
class Memory:
    """Buffers for the results of operations.

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

    def __str__(self) -> str:
        """In words: ``6.96 MB in 12 pieces; 39.90 MB without sharing``."""
        planned, naive = (
            f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.2f} kB"
            for count in (self.bytes, self.naive)
        )
        return f"{planned} in {len(self.slots)} pieces; {naive} without sharing"


def order_for_memory(
    program: Program, roots: Mapping[int, int], views: Collection[int], apart: Collection[int]
) -> Program:
    """Return the program with operations that free more memory than they take as early as they can be.

    In a backward pass, the product that reads a layer's input for the last time comes before the one that
    makes the cotangent of that input, which so can take its place.

    Args:
        program: whose operations run in order.
        roots: as for `plan_memory`.
        views: values that are looks at their root, and cost nothing.
        apart: as for `plan_memory`.
    """
    last = _last_reads(program, roots)
    made_at = {n: i for i, operation in enumerate(program.operations) for n in operation.results}
    read_at: dict[int, set[int]] = {}
    order: list[int] = []
    for i, operation in enumerate(program.operations):
        sources = {roots.get(n, n) for n in operation.reads()}
        needed = {made_at[n] for n in operation.reads() if n in made_at}
        freed = {n for n in sources if last[n] == i and n not in apart}
        taken = sum(program.values[n].bytes for n in operation.results if n not in roots and n not in apart)
        at = len(order)
        while at and order[at - 1] not in needed:
            # Before another operation that reads it, a value is not freed.
            freed = {n for n in freed if order[at - 1] not in read_at.get(n, ())}
            gain = sum(program.values[n].bytes for n in freed) - taken
            if gain <= 0 and operation.results[0] not in views:
                break
            at -= 1
        order.insert(at, i)
        for n in sources:
            read_at.setdefault(n, set()).add(i)
    return dataclasses.replace(program, operations=tuple(program.operations[i] for i in order))


def plan_memory(
    program: Program,
    roots: Mapping[int, int],
    *,
    in_place: Callable[[Operation, int, int], bool] = lambda operation, old, new: False,
    apart: Collection[int] = (),
) -> Memory:
    """Plan memory by liveness: a value's buffer is free again after the last operation that reads it.

    Args:
        program: whose operations run in order.
        roots: for each value that lies in another's memory (a view, a piece of what is joined later) that
            other, which then gets its place when the first of them is made.
        in_place: says of an operation and the numbers of an operand, of the shape and dtype of a result and
            read for the last time, and of that result, if this may be written over the operand.
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
            if root == n:
                fitting = (d for d in dying if _fits(program, reads, roots, d, n))
                heir = next((d for d in fitting if in_place(operation, d, n)), None)
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


def idle_slots(program: Program, roots: Mapping[int, int], memory: Memory) -> list[set[int]]:
    """Return for each operation the pieces of memory that hold nothing needed while it runs."""
    last = _last_reads(program, roots)
    first: dict[int, int] = {}
    for i, operation in enumerate(program.operations):
        for n in operation.results:
            first.setdefault(roots.get(n, n), i)
    idle = [set(range(len(memory.slots))) for _ in program.operations]
    for root, slot in memory.slot_of.items():
        for i in range(first[root], last.get(root, first[root]) + 1):
            idle[i].discard(slot)
    return idle


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


def _fits(program: Program, reads: list[int], roots: Mapping[int, int], old: int, new: int) -> bool:
    """True if ``old`` is read whole, through no view, and has the shape and dtype of the result ``new``."""
    views = any(n != old and roots.get(n) == old for n in reads)
    return old in reads and not views and program.values[old] == program.values[new]


def _best(free: list[int], slots: list[int], size: int) -> int | None:
    """Return the smallest free piece that is large enough, else the largest free one, to be enlarged."""
    large = [place for place in free if slots[place] >= size]
    if large:
        return min(large, key=slots.__getitem__)
    return max(free, key=slots.__getitem__, default=None)
