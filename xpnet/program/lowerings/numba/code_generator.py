"""Code generator for the operations of a program in compiled code, and the buffers of its values."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from xpnet.program.lowerings.dtypes import KNOWN
from xpnet.program.lowerings.gemm import is_product
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.lowerings.numba.copies import (
    added_up,
    copied,
    filled,
    gathered,
    in_blocks,
    looked_up,
    summed,
)
from xpnet.program.lowerings.numba.elements import literal
from xpnet.program.lowerings.numba.lanes import writer_of
from xpnet.program.lowerings.numba.loops import Surroundings
from xpnet.program.lowerings.numba.partition import Piece, Region, Section, parts_of, time_of
from xpnet.program.lowerings.numba.products import product
from xpnet.program.lowerings.numba.repetition import without_repetition
from xpnet.program.lowerings.views import (
    Buffers,
    can_gather,
    can_look_up,
    gather_axis,
    part_of,
    placed,
    summed_axis,
)
from xpnet.program.passes.aliasing import View, c_order
from xpnet.program.passes.groups import Group
from xpnet.program.program import Operation, Ref, Value

__all__ = ["CodeGenerator", "writes_itself"]

_ALIGNED = 64  # bytes: a line of the cache, and the longest vector


class HostBuffers(Buffers):
    """Planned values, constants and scratch in one piece of memory; other values are arrays of their own."""

    def __init__(self, plan: MemoryPlan):
        super().__init__(plan, _ALIGNED)
        self._constants: dict[int, tuple[np.ndarray, View]] = {}

    def _constant(self, x: Any) -> View:
        if id(x) not in self._constants:
            kept = np.asarray(x)
            self._constants[id(x)] = kept, self.own(kept.shape, kept.dtype.name)
        return self._constants[id(x)][1]

    def _outside(self, view: View) -> View:
        dtype = self._program.values[view.root].dtype
        if view.dtype != dtype:
            raise TypeError(f"numba: entries of {view.dtype} in array {view.root}, which is of {dtype}")
        return view

    def memory(self) -> np.ndarray:
        """Return the memory, with the constants in it."""
        whole = np.zeros(self._size + _ALIGNED, dtype=np.uint8)
        start = -whole.__array_interface__["data"][0] % _ALIGNED
        memory = whole[start : start + self._size]
        for array, view in self._constants.values():
            entries = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            memory[view.offset : view.offset + array.nbytes] = entries
        return memory

    def slots(self, memory: np.ndarray) -> list[np.ndarray]:
        """Return the pieces of memory of the plan."""
        sizes = self._memory.slots
        return [memory[at : at + max(size, 1)] for at, size in zip(self._offsets, sizes, strict=True)]


class CodeGenerator:
    """Code for those operations of a program that compiled code can do.

    Args:
        plan: of the program, with groups.
        gemm: addresses of the BLAS's matrix products of float32 and float64, 0 if there are none.
        most: parts that an operation is cut into, at the most.

    Attributes:
        buffers: where values lie.
        code: pieces for each operation, by its ``id``; operations that are not here are left to Python.
        functions: lines of functions that the code calls.
        constants: names and texts of numbers in the code.
    """

    def __init__(self, plan: MemoryPlan, gemm: tuple[int, int], most: int = 1):
        self.program, self.gemm, self._aliasing, self._most = plan.program, gemm, plan.aliasing, most
        self.buffers = HostBuffers(plan)
        self.code: dict[int, list[Piece]] = {}
        self.functions: dict[str, list[str]] = {}
        self.constants: dict[str, str] = {}

    def _constant(self, value: Any, dtype: np.dtype[Any]) -> str:
        text = literal(value, dtype)
        assert text is not None
        for name, known in self.constants.items():
            if known == text:
                return name
        name = f"c{len(self.constants)}"
        self.constants[name] = text
        return name

    def pointers(self, code: list[str]) -> list[int]:
        """Return the numbers of the arrays that the code has pointers to."""
        found = {int(n) for line in code for n in re.findall(r"\bp(\d+)\b", line)}
        return sorted(found)

    def array_type(self, n: int, more: int = 0) -> tuple[str, int]:
        """Return dtype and number of dimensions of an array."""
        value = self.program.values[n]
        return value.dtype, len(value.shape) + more

    # --- code -----------------------------------------------------------------------------------------

    def write_all(self) -> None:
        """Fill ``code`` and ``functions``."""
        self.code.clear()
        around = Surroundings(self.program.values, self.buffers, self._constant, self._parts)
        for operation in self.program.operations:
            if isinstance(operation, Group):
                sections = writer_of(operation, around).sections()
            elif operation.name in _WRITTEN and operation.results[0] not in self._aliasing.views:
                section = getattr(self, f"_{operation.name}")(operation)
                if section is None:
                    continue
                sections = [section]
            else:
                continue
            self.code[id(operation)] = [self._piece(operation, section) for section in sections]
        known = [piece for pieces in self.code.values() for piece in pieces]
        blocks, self.functions = without_repetition([list(piece.lines) for piece in known])
        lines = iter(blocks)
        for pieces in self.code.values():
            pieces[:] = [dataclasses.replace(piece, lines=tuple(next(lines))) for piece in pieces]

    def _piece(self, operation: Operation, section: Section) -> Piece:
        values = self.program.values
        reads = self._regions(n for n in operation.reads() if values[n].size == 1 or not section.ends)
        writes = self._regions(operation.results if section.results is None else section.results)
        left = (Region(f"parts of {operation.results[0]}", 0, 1),)
        if section.ends:
            reads += left
        else:
            writes += left
        return Piece(tuple(section.lines), section.parts, reads, writes)

    def _parts(self, operation: Operation) -> int:
        return parts_of(time_of(operation, self.program.values), self._most)

    def _matmul(self, operation: Operation) -> Section | None:
        values, result = self.program.values, Ref(operation.results[0])
        given = [x for x in operation.operands if type(x) is Ref]
        known = is_product(operation, values, of_stacks=True)
        if not known or len(given) < 2 or not values[result.number].shape:
            return None
        a, b, c = (self.buffers(x) for x in (*given, result))
        zero, one = (self._constant(x, np.dtype(c.dtype)) for x in (0, 1))
        gemm = bool(self.gemm[c.dtype == "float64"])
        return product(a, b, c, gemm=gemm, zero=zero, one=one, parts=self._parts(operation))

    def _take(self, operation: Operation) -> Section | None:
        axis, n = gather_axis(operation, self.program.values), operation.results[0]
        if axis is None or not can_gather(operation, self.program.values):
            return None
        x, rows = (self.buffers(v) for v in operation.operands)
        return gathered(self.buffers(Ref(n)), x, rows, f"r{n}", self._parts(operation), axis)

    def _embedding(self, operation: Operation) -> Section | None:
        return self._by_code(operation, looked_up)

    def _embedding_transpose(self, operation: Operation) -> Section | None:
        return self._by_code(operation, added_up)

    def _by_code(self, operation: Operation, write: Callable[..., list[str]]) -> Section | None:
        n, (x, codes) = operation.results[0], operation.operands[:2]
        made = self.program.values[n]
        if not can_look_up(operation, self.program.values):
            return None
        views = (self.buffers(v) for v in (Ref(n), x, codes))
        return Section(write(*views, f"r{n}", self._constant(0, np.dtype(made.dtype))))

    def _sum(self, operation: Operation) -> Section | None:
        """Sum over an axis with others behind it, where no group does."""
        n, x = operation.results[0], operation.operands[0]
        axis = summed_axis(operation, self.program.values)
        if axis is None:
            return None
        target, made = self.buffers(Ref(n)), self.program.values[n]
        if len(target.shape) < len(self.buffers(x).shape):
            target = target.with_axis(axis)
        return Section(summed(target, self.buffers(x), axis, self._constant(0, np.dtype(made.dtype))))

    def _place(self, operation: Operation) -> Section | None:
        places = placed(operation, self.program.values)
        if places is None:
            return None
        whole, given = self.buffers(Ref(operation.results[0])), self.buffers(operation.operands[0])
        zero = self._constant(0, np.dtype(whole.dtype))
        return Section([*filled(whole, zero), *copied(part_of(whole, places, given), given)])

    def _sin(self, operation: Operation) -> Section | None:
        n, x = operation.results[0], operation.operands[0]
        target = self.buffers(Ref(n))
        if type(x) is not Ref or self.program.values[x.number].dtype != target.dtype:
            return None
        given = self.buffers(x)
        if target.dtype not in ("float32", "float64") or given.strides != c_order(given.shape):
            return None
        return in_blocks(operation.name, target, given, self._parts(operation))

    _cos = _sin

    def _reshape(self, operation: Operation) -> Section | None:
        """Copy the entries of an array that is not as it would be in memory."""
        n, x = operation.results[0], operation.operands[0]
        if type(x) is not Ref or self.program.values[n].dtype not in KNOWN:
            return None
        given, whole = self.buffers(x), self.buffers(Ref(n))
        target = dataclasses.replace(whole, shape=given.shape, strides=c_order(given.shape))
        return Section(copied(target, given))

    def _concat(self, operation: Operation) -> Section | None:
        """Copy those pieces that were not computed in their place."""
        whole, axis = self.buffers(Ref(operation.results[0])), operation.options.get("axis", 0)
        if axis is None or whole.dtype not in KNOWN:
            return None
        axis %= len(whole.shape)
        lines: list[str] = []
        start = 0
        for x in operation.operands:
            if (self.program.values[x.number].dtype if type(x) is Ref else x.dtype.name) != whole.dtype:
                return None
            given = self.buffers(x)
            lines += copied(whole.part(axis, start, given.shape[axis]), given)
            start += given.shape[axis]
        return Section(lines)

    def complete(self) -> bool:
        """True if compiled code does everything; known after `write_all`."""
        return all(type(x) is Ref for x in self.program.outputs) and all(
            id(op) in self.code or op.results[0] in self._aliasing.views for op in self.program.operations
        )

    def pieces_in_order(self) -> Iterator[Piece]:
        """Write all code anew, and yield it."""
        self.write_all()
        for operation in self.program.operations:
            yield from self.code.get(id(operation), [])

    # --- copies ---------------------------------------------------------------------------------------

    def _regions(self, numbers: Iterable[int]) -> tuple[Region, ...]:
        return tuple(Region.of(self.buffers(Ref(n))) for n in numbers)

    def _copy(self, target: View, given: View) -> Piece:
        return Piece(tuple(copied(target, given)), 1, (Region.of(given),), (Region.of(target),))

    def copy_to_array(self, number: int, x: Ref) -> Piece:
        """Return code that copies a value to the array with a number."""
        given = self.buffers(x)
        return self._copy(View(number, 0, given.dtype, given.shape, c_order(given.shape)), given)

    def carried(self, count: int) -> list[Piece]:
        """Return code that copies the first outputs over the inputs of the same positions, all at once."""
        return [self._copy(target, given) for target, given in self.buffers.state_copies(count)]

    def copies(self, wanted: dict[int, int]) -> list[Piece]:
        """Return code that copies outputs (by position) over inputs (by number)."""
        return [
            self._copy(self.buffers(Ref(n)), self.buffers(self.program.outputs[position]))
            for position, n in wanted.items()
        ]


_WRITTEN = frozenset(
    {"matmul", "take", "concat", "embedding", "embedding_transpose", "sum", "reshape", "place", "sin", "cos"}
)
"""Operations, beside groups, of which compiled code can do some."""


def writes_itself(operation: Operation, values: dict[int, Value]) -> bool:
    """True if compiled code can write the result into planned memory, while NumPy's function allocates it."""
    moves = can_gather(operation, values) or can_look_up(operation, values)
    copies = operation.name == "reshape" and values[operation.results[0]].dtype in KNOWN
    return moves or copies or operation.name == "matmul" or placed(operation, values) is not None
