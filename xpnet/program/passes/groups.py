"""Grouping: elementwise operations and the reductions at their ends, to be computed in one loop.

A group is a loop over some shape. Its members work on the entries of that shape, on its *rows* (the leading
``split`` dimensions, each of which the trailing ones were reduced over), or on single numbers. A softmax is
such a group: the largest entry of a row, a difference, its exponential, their sum, a quotient. What comes
out of a whole loop only (sums over everything, and over the leading dimensions, such as gradients of a bias)
can be used in it by what is done with single numbers after the loop, and by other groups.

Dimensions of one entry are left out of all shapes here, so that (64, 1) is the same as (64,).
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.program.passes.simplify import drop_dead
from xpnet.program.program import Operation, Program, Ref, Value, refs

__all__ = [
    "Group", "Loop", "domain", "essential", "group_operations", "may_overwrite", "reduced", "same_entries",
    "split_group", "strides_along",
]  # fmt: skip

REDUCTIONS = frozenset({"sum", "max", "min"})
_NAMED = 2  # scopes of members that a group is named for
_RESHAPES = frozenset({"reshape", "expand_dims", "squeeze"})


@dataclass(frozen=True, slots=True)
class Loop:
    """Loops of a group: a shape without ones, and how many dimensions are rows, if that matters."""

    shape: tuple[int, ...]
    split: int | None = None

    def joined(self, other: Loop) -> Loop | None:
        """Return the loop that does the work of both, or None."""
        if len(self.shape) > len(other.shape):
            return other.joined(self)
        n = len(self.shape)
        if self.shape == other.shape:
            if self.split is None or other.split is None or self.split == other.split:
                return Loop(self.shape, other.split if self.split is None else self.split)
            return None
        if n == 0:
            return other
        if self.split is None and self.shape == other.shape[:n] and other.split in (None, n):
            return Loop(other.shape, n)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Group(Operation):
    """An operation made of others: ``members`` in order, in one ``loop``."""

    members: tuple[Operation, ...] = ()
    loop: Loop = dataclasses.field(default_factory=lambda: Loop(()))


def essential(shape: Sequence[int]) -> tuple[int, ...]:
    """Return ``shape`` without its ones."""
    return tuple(n for n in shape if n != 1)


def strides_along(shape: tuple[int, ...], strides: tuple[int, ...], goes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides with which a loop over ``goes``, without its ones, walks through an array."""
    full = (0,) * (len(goes) - len(shape)) + tuple(
        0 if n == 1 else s for n, s in zip(shape, strides, strict=True)
    )
    return tuple(s for s, n in zip(full, goes, strict=True) if n != 1)


def reduced(operation: Operation, values: dict[int, Value]) -> tuple[bool, ...]:
    """Return for each dimension of a reduction's operand whether it is reduced."""
    n = len(values[operation.operands[0].number].shape)
    axis = operation.options.get("axis")
    if axis is None:
        return (True,) * n
    axes = {a % n for a in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple(i in axes for i in range(n))


def domain(operation: Operation, values: dict[int, Value]) -> tuple[int, ...]:
    """Return the loop shape of an operation."""
    number = operation.operands[0].number if operation.name in REDUCTIONS else operation.results[0]
    return values[number].shape


def same_entries(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a reshape that adds or drops nothing but dimensions of one entry."""
    if operation.name not in _RESHAPES or type(operation.operands[0]) is not Ref:
        return False
    source, made = operation.operands[0].number, operation.results[0]
    return essential(values[source].shape) == essential(values[made].shape)


def may_overwrite(group: Group, old: int, new: int, values: dict[int, Value]) -> bool:
    """True if ``new`` may take the memory of ``old`` where members run one by one on some rows at a time.

    That is, if the member that makes it, or an earlier one, is the last to read ``old``, and each reads the
    same rows of it that are being made.
    """
    made = next(i for i, member in enumerate(group.members) if new in member.results)
    if values[old] != values[new]:
        return False
    for i, member in enumerate(group.members):
        if old in member.reads():
            entry_by_entry = len(domain(member, values)) == len(values[old].shape)
            if i > made or not entry_by_entry or (i == made and member.name == "where"):
                return False
    return True


def group_operations(program: Program, can: Callable[[Operation], bool]) -> Program:
    """Return the program with groups of the operations that ``can`` be in one.

    ``can`` must admit only elementwise operations with one result, and ``sum``, ``max`` and ``min``.
    """
    joining = _Joining(drop_dead(program), can)
    for a, b in joining.edges():
        joining.try_join(a, b)
    for a, b in joining.siblings():
        joining.try_join(a, b)
    return drop_dead(joining.program())


class _Joining:
    """Sets of operations, joined step by step; sets of operations are bits of whole numbers here."""

    def __init__(self, program: Program, can: Callable[[Operation], bool]):
        self._program, self._values = program, program.values
        self._operations = program.operations
        self._made_by = {n: i for i, op in enumerate(self._operations) for n in op.results}
        self._same: dict[int, int] = {}
        self._loops: dict[int, Loop] = {}
        for i, operation in enumerate(self._operations):
            if same_entries(operation, self._values):
                source = operation.operands[0].number
                self._same[operation.results[0]] = self._same.get(source, source)
            elif can(operation) and (loop := _own_loop(operation, self._values)) is not None:
                self._loops[i] = loop
        self._of = list(range(len(self._operations)))
        self._members = {i: 1 << i for i in range(len(self._operations))}
        self._before: dict[int, int] = {}
        for i, operation in enumerate(self._operations):
            direct = {self._made_by[n] for n in self._reads(operation) if n in self._made_by}
            self._before[i] = 0
            for j in direct:
                self._before[i] |= self._before[j] | 1 << j

    def _reads(self, operation: Operation) -> Iterator[int]:
        for n in operation.reads():
            yield self._same.get(n, n)

    # --- what to try ----------------------------------------------------------------------------------

    def edges(self) -> list[tuple[int, int]]:
        """Return pairs of makers and readers, first those whose value need not be kept once they are joined.

        So what a loop has at hand is computed anew rather than stored, and of two values that could be
        stored between forward and backward pass, the mask of a ReLU is, not what it was made from.
        """
        found = []
        kept = {self._same.get(n, n) for n in refs(self._program.outputs)}
        readers: dict[int, list[int]] = {}
        for i, operation in enumerate(self._operations):
            if operation.results[0] in self._same:
                continue
            for n in dict.fromkeys(self._reads(operation)):
                readers.setdefault(n, []).append(i)
        for n, at in readers.items():
            made = self._made_by.get(n)
            if made is None or made not in self._loops:
                continue
            spared = 0 if n in kept or any(i not in self._loops for i in at) else self._values[n].bytes
            found += [(-spared, i, made) for i in at if i in self._loops]
        return [(made, i) for _, i, made in sorted(found)]

    def siblings(self) -> list[tuple[int, int]]:
        """Return pairs of operations that read the same array."""
        readers: dict[int, list[int]] = {}
        for i in self._loops:
            for n in dict.fromkeys(self._reads(self._operations[i])):
                if essential(self._values[n].shape):
                    readers.setdefault(n, []).append(i)
        return sorted({(at[0], i) for at in readers.values() for i in at[1:]})

    # --- joining --------------------------------------------------------------------------------------

    def try_join(self, i: int, j: int) -> None:
        """Join the sets of two operations, if one loop can do both and nothing must happen in between."""
        a, b = self._of[i], self._of[j]
        if a == b:
            return
        loop = self._loops[a].joined(self._loops[b])
        if loop is None or self._between(a, b) or self._between(b, a):
            return
        both = self._members[a] | self._members[b]
        if not self._computable(both, loop):
            return
        before = (self._before[a] | self._before[b]) & ~both
        for k in _bits(self._members[b]):
            self._of[k] = a
        self._members[a], self._loops[a], self._before[a] = both, loop, before
        del self._members[b], self._loops[b], self._before[b]
        for k, earlier in self._before.items():
            if earlier & both:
                self._before[k] = earlier | both | before

    def _between(self, a: int, b: int) -> bool:
        """True if something that is in neither set must run after ``a`` and before ``b``."""
        between = self._before[b] & ~self._members[a] & ~self._members[b]
        others = {self._of[k] for k in _bits(between)}
        return any(self._before[x] & self._members[a] for x in others)

    def _computable(self, members: int, loop: Loop) -> bool:
        """True if all that one member reads of another is at hand at the same place of the loop."""
        late: set[int] = set()
        for i in _bits(members):
            operation = self._operations[i]
            after = False
            goes = domain(operation, self._values)
            for n in operation.reads():
                made = self._made_by.get(self._same.get(n, n))
                if made is None or not members >> made & 1:
                    continue
                after = after or made in late
                if not _leads(self._values[n].shape, goes):
                    return False
            if after and essential(goes):
                return False
            if after or (operation.name in REDUCTIONS and _ends(operation, loop, self._values)):
                late.add(i)
        return True

    # --- the result -----------------------------------------------------------------------------------

    def program(self) -> Program:
        """Return the program with one operation for each set."""
        nodes: dict[int, Operation] = {}
        outside = self._read_outside()
        for a, members in self._members.items():
            inside = [self._operations[i] for i in _bits(members)]
            if a in self._loops:
                nodes[a] = self._group(inside, self._loops[a], outside)
            else:
                nodes[a] = inside[0]
        return dataclasses.replace(self._program, operations=tuple(self._ordered(nodes)))

    def _read_outside(self) -> set[int]:
        """Return the numbers of values that are read outside the set that makes them."""
        found = set(refs(self._program.outputs))
        for i, operation in enumerate(self._operations):
            if operation.results[0] in self._same:
                continue
            for n in operation.reads():
                root = self._same.get(n, n)
                made = self._made_by.get(root)
                if made is not None and self._of[made] != self._of[i]:
                    found.add(root)
        return found | {self._same[n] for n in found if n in self._same}

    def _group(self, inside: list[Operation], loop: Loop, outside: set[int]) -> Group:
        made = {n for operation in inside for n in operation.results}
        members: list[Operation] = []
        for operation in inside:
            for n in operation.reads():
                if n not in made and self._same.get(n) in made:
                    # A reshape between members: part of the group, and beside it for others to read.
                    chain = self._reshapes(n, made)
                    members += chain
                    made.update(reshape.results[0] for reshape in chain)
            members.append(operation)
        results = tuple(n for operation in inside for n in operation.results if n in outside)
        return _group(members, results, loop)

    def _reshapes(self, n: int, made: set[int]) -> list[Operation]:
        chain: list[Operation] = []
        while n not in made:
            operation = self._operations[self._made_by[n]]
            chain.append(operation)
            n = operation.operands[0].number
        return chain[::-1]

    def _ordered(self, nodes: dict[int, Operation]) -> Iterator[Operation]:
        """Yield the operations so that each comes after those it reads from, else in their old order."""
        made_in = {n: a for a, operation in nodes.items() for n in operation.results}
        waits = {a: {made_in[n] for n in operation.reads() if n in made_in} for a, operation in nodes.items()}
        wakes: dict[int, list[int]] = {}
        for a, awaited in waits.items():
            for b in awaited:
                wakes.setdefault(b, []).append(a)
        ready = [(self._members[a].bit_length(), a) for a, awaited in waits.items() if not awaited]
        heapq.heapify(ready)
        while ready:
            _, a = heapq.heappop(ready)
            yield nodes[a]
            for b in wakes.get(a, ()):
                waits[b].discard(a)
                if not waits[b]:
                    heapq.heappush(ready, (self._members[b].bit_length(), b))


def _group(members: Sequence[Operation], results: tuple[int, ...], loop: Loop) -> Group:
    made = {n for operation in members for n in operation.results}
    reads = tuple(dict.fromkeys(n for operation in members for n in operation.reads() if n not in made))
    run = _Run(members, reads, results)
    operands = tuple(map(Ref, reads))
    return Group("group", operands, {}, results, run, True, tuple(members), loop, scope=_scope(members))


def _scope(members: Sequence[Operation]) -> str:
    """Return what most members are a part of: one or two things in order, as in ``"dense_relu_forward"``."""
    counts = Counter(operation.scope for operation in members if operation.scope)
    most = [name for name, _ in counts.most_common(_NAMED)]
    names = [name for name in counts if name in most]
    parts = [name.rpartition("_") for name in names]
    things, passes = dict.fromkeys(part[0] for part in parts), dict.fromkeys(part[2] for part in parts)
    return "_".join([*things, *passes] if 1 in (len(things), len(passes)) else names)


def split_group(group: Group, later: Callable[[Operation], bool]) -> list[Group]:
    """Return a group as two: members that are to come ``later``, and what needs them, after the others."""
    taken: list[Operation] = []
    names: set[int] = set()
    for operation in group.members:
        if later(operation) or names.intersection(operation.reads()):
            taken.append(operation)
            names.update(operation.results)
    first = [operation for operation in group.members if operation not in taken]
    if not taken or not first:
        return [group]
    second = _group(taken, tuple(n for n in group.results if n in names), group.loop)
    made = {n for operation in first for n in operation.results}
    wanted = dict.fromkeys(n for n in (*group.results, *second.reads()) if n in made)
    return [_group(first, tuple(wanted), group.loop), second]


class _Run:
    """Computes a group, one member after another."""

    def __init__(self, members: Sequence[Operation], reads: tuple[int, ...], results: tuple[int, ...]):
        self._members, self._reads, self._results = members, reads, results

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        values = dict(zip(self._reads, arrays, strict=True))
        for operation in self._members:
            operands = [values[x.number] if type(x) is Ref else x for x in operation.operands]
            values[operation.results[0]] = operation.function(*operands, **operation.options)
        return tuple(values[n] for n in self._results)


def _own_loop(operation: Operation, values: dict[int, Value]) -> Loop | None:
    """Return the loop of an operation alone, None if it cannot be in any."""
    shape = essential(domain(operation, values))
    if 0 in shape:
        return None
    if operation.name not in REDUCTIONS:
        return Loop(shape)
    flags = _essentially_reduced(operation, values)
    if all(flags) or not any(flags):
        return Loop(shape)
    split = flags.index(not flags[0])
    return Loop(shape, split) if len(set(flags[split:])) == 1 else None


def _essentially_reduced(operation: Operation, values: dict[int, Value]) -> list[bool]:
    shape = values[operation.operands[0].number].shape
    return [flag for flag, n in zip(reduced(operation, values), shape, strict=True) if n != 1]


def _ends(operation: Operation, loop: Loop, values: dict[int, Value]) -> bool:
    """True for a reduction whose result is known after the whole loop only."""
    flags = _essentially_reduced(operation, values)
    return bool(flags) and flags[0]


def _leads(shape: tuple[int, ...], goes: tuple[int, ...]) -> bool:
    """True if an array of ``shape``, broadcast to ``goes``, varies with the leading dimensions only."""
    full = (1,) * (len(goes) - len(shape)) + shape
    varies = [n == m for n, m in zip(full, goes, strict=True) if m != 1]
    return sorted(varies, reverse=True) == varies


def _bits(number: int) -> Iterator[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
