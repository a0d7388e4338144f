"""Views of buffers, results that may be written over operands, and gathers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from xpnet.program.lowerings.dtypes import KNOWN
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.passes.aliasing import View, c_order
from xpnet.program.passes.groups import Group, reduced
from xpnet.program.passes.schedule import Schedule
from xpnet.program.program import Operation, Ref, Value

__all__ = [
    "BUFFER", "Buffers", "can_gather", "can_look_up", "gather_axis", "part_of", "placed",
    "reads_entry_by_entry", "summed_axis",
]  # fmt: skip

BUFFER = -1
"""The root of what lies in a program's own memory."""


class Buffers:
    """Values of a program in one buffer, except those in separate arrays.

    Args:
        plan: of the program.
        aligned: bytes of which the beginning of each piece is a multiple.
        inside: inputs and outputs that lie in the buffer, too.
    """

    def __init__(self, plan: MemoryPlan, aligned: int, inside: Iterable[int] = ()):
        self._program, self._aliasing, self._memory = plan.program, plan.aliasing, plan.memory
        self._aligned = aligned
        self._size = 0
        self._offsets = [self._reserved(size) for size in plan.memory.slots]
        self._own: dict[int, int] = {}
        self._numbers: dict[int, tuple[Any, Any]] = {}
        self.keep(inside)

    def _reserved(self, size: int) -> int:
        at = self._size
        self._size += -(-max(size, 1) // self._aligned) * self._aligned
        return at

    def keep(self, numbers: Iterable[int]) -> None:
        """Give values places of their own in the buffer, from here on."""
        for n in numbers:
            self._own[n] = self._reserved(self._program.values[n].bytes)

    def own(self, shape: tuple[int, ...], dtype: str) -> View:
        """Return a new array in the buffer."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return View(BUFFER, self._reserved(size), dtype, shape, c_order(shape))

    def __call__(self, x: Any) -> View:
        """Return the view of a value or a constant array."""
        if type(x) is not Ref:
            return self._constant(x)
        part = self._aliasing.parts[x.number]
        root = self._aliasing.donated.get(part.root, part.root)
        offset = self._own.get(root)
        if offset is None and root in self._memory.slot_of:
            offset = self._offsets[self._memory.slot_of[root]]
        if offset is None:
            return self._outside(View(root, part.offset, part.dtype, part.shape, part.strides))
        return View(BUFFER, part.offset + offset, part.dtype, part.shape, part.strides)

    def _outside(self, view: View) -> View:
        """Return the view of a separate array."""
        return view

    def _constant(self, x: Any) -> View:
        """Return the view of a constant array."""
        raise NotImplementedError

    def state_copies(self, count: int) -> list[tuple[View, View]]:
        """Return targets and sources of copies: the first outputs over the inputs of the same positions."""
        first, then = [], []
        inputs = self._program.inputs
        for n, x in zip(inputs[:count], self._program.outputs[:count], strict=True):
            given, target = self(x), self(Ref(n))
            if given.is_at(target) or not given.size:
                continue
            if type(x) is Ref and self._aliasing.roots.get(x.number, x.number) in inputs:
                kept = self.own(given.shape, given.dtype)  # for it is perhaps overwritten itself
                first.append((kept, given))
                given = kept
            then.append((target, given))
        return first + then

    def number(self, x: Any) -> Any:
        """Return the number that all entries of a constant array are, bit for bit; None if they differ."""
        if type(x) is Ref or not hasattr(x, "shape"):
            return None
        if id(x) not in self._numbers:
            self._numbers[id(x)] = x, _single_entry(self._on_host(x))
        return self._numbers[id(x)][1]

    def _on_host(self, x: Any) -> np.ndarray:
        return np.asarray(x)


def gather_axis(operation: Operation, values: dict[int, Value]) -> int | None:
    """Return the axis along which an operation gathers by a vector of numbers; None if it is no gather."""
    if operation.name != "take" or operation.options.keys() - {"axis"}:
        return None
    if len(operation.operands) != 2 or type(operation.operands[0]) is not Ref:
        return None
    rank, rows = (len(_shape(x, values)) for x in operation.operands)
    axis = operation.options.get("axis")
    if axis is None and rank == 1:
        axis = 0
    return None if axis is None or rows != 1 else axis % rank


def can_gather(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a gather that generated code can do."""
    axis = gather_axis(operation, values)
    if axis is None:
        return False
    x, rows = values[operation.operands[0].number], operation.operands[1]
    numbers = values[rows.number].dtype if type(rows) is Ref else str(rows.dtype)
    return x.shape[axis] > 0 and x.dtype in KNOWN and numbers in ("int32", "int64")


def can_look_up(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a table of vectors, or its transpose, that generated code can do."""
    if operation.name not in ("embedding", "embedding_transpose"):
        return False
    if any(type(x) is not Ref for x in operation.operands[:2]):
        return False
    x, codes = (values[v.number] for v in operation.operands[:2])
    return x.dtype in KNOWN and codes.dtype in KNOWN and x.size > 0 and values[operation.results[0]].size > 0


def summed_axis(operation: Operation, values: dict[int, Value]) -> int | None:
    """Return the axis over which is summed, if it is a single one with others behind it."""
    if operation.name != "sum" or operation.options.keys() - {"axis", "keepdims"}:
        return None
    x, made = operation.operands[0], values[operation.results[0]]
    if type(x) is not Ref:
        return None
    axes = [i for i, gone in enumerate(reduced(operation, values)) if gone]
    rank = len(values[x.number].shape)
    if len(axes) != 1 or axes[0] == rank - 1 or values[x.number].dtype != made.dtype:
        return None
    return axes[0] if made.dtype in KNOWN and made.size else None


def placed(operation: Operation, values: dict[int, Value]) -> tuple[tuple[int, int, int], ...] | None:
    """Return where an operation puts an array among zeros, as axis, start and size; None if it does not so.

    That is ``place`` by slices and whole numbers, the transpose of taking out such a part.
    """
    if operation.name != "place":
        return None
    (x, index), made = operation.operands[:2], values[operation.results[0]]
    if type(x) is not Ref or made.dtype not in KNOWN or not made.size:
        return None
    parts = list(index) if isinstance(index, tuple) else [index]
    rank = len(made.shape)
    wide = [i for i, part in enumerate(parts) if part is ...]
    if len(wide) > 1 or len(parts) > rank + 1:
        return None
    for at in wide:
        parts[at : at + 1] = [slice(None)] * (rank + 1 - len(parts))
    found = []
    for axis, (part, size) in enumerate(zip(parts, made.shape, strict=False)):
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
            if step != 1 or stop <= start:
                return None
            found.append((axis, start, stop - start))
        elif isinstance(part, int) and not isinstance(part, bool):
            found.append((axis, part % size, 1))
        else:
            return None
    return tuple(found)


def part_of(whole: View, places: Iterable[tuple[int, int, int]], given: View) -> View:
    """Return the part of an array at some places, in the shape of ``given``, which goes there."""
    for axis, start, size in places:
        whole = whole.part(axis, start, size)
    kept = [(n, s) for n, s in zip(whole.shape, whole.strides, strict=True) if n != 1]
    strides = iter(s for _, s in kept)
    return dataclasses.replace(
        whole, shape=given.shape, strides=tuple(0 if n == 1 else next(strides) for n in given.shape)
    )


def _shape(x: Any, values: dict[int, Value]) -> tuple[int, ...]:
    return values[x.number].shape if type(x) is Ref else tuple(getattr(x, "shape", ()))


def reads_entry_by_entry(
    group: Group,
    old: int,
    values: dict[int, Value],
    roots: Mapping[int, int],
    same_entry: Callable[[Operation], bool],
) -> bool:
    """True if generated code has read an entry of ``old`` for the last time when it stores one of a result.

    Not if entries are gone through several times, as where rows have to wait for their sums.

    Args:
        group: that reads it.
        old: number of a value.
        values: of the program.
        roots: of views.
        same_entry: whether a member reads the very entry in whose place the result's is stored.
    """
    if group.loop.split is not None and Schedule(group, values, lambda operation: True).last:
        return False
    return all(
        n == old and same_entry(member)
        for member in group.members
        for n in member.reads()
        if roots.get(n, n) == old
    )


def _single_entry(x: np.ndarray) -> Any:
    first = x.reshape(-1)[:1]
    same = x.size and first.tobytes() * x.size == np.ascontiguousarray(x).tobytes()
    return first[0] if same else None
