"""What compiled code does of a program, and where its values lie."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from xpnet.program.lowerings.numba.elements import literal
from xpnet.program.lowerings.numba.lanes import writer_of
from xpnet.program.lowerings.numba.loops import Place, Surroundings
from xpnet.program.lowerings.numba.moves import copied, gathered, whole
from xpnet.program.lowerings.numba.products import product
from xpnet.program.lowerings.numba.shares import Piece, Region, Section, parts_of, time_of
from xpnet.program.lowerings.numba.sharing import share
from xpnet.program.passes.aliasing import Layout, looks
from xpnet.program.passes.groups import Group
from xpnet.program.passes.memory import Memory
from xpnet.program.program import Operation, Program, Ref

__all__ = ["Native", "gathers_rows"]

_ALIGNED = 64  # bytes: a line of the cache, and the longest vector
_GATHERED = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
                       "float32", "float64"})  # fmt: skip


class Native:
    """Code for those operations of a program that compiled code can do.

    Planned values, constants and scratch are in one piece of memory, others are arrays of their own.

    Args:
        program: with groups.
        layout: what shares memory.
        memory: planned places.
        gemm: addresses of the BLAS's matrix products of float32 and float64, 0 if there are none.
        shares: the most parts that an operation is cut into.

    Attributes:
        code: pieces for each operation, by its ``id``; operations that are not here are left to Python.
        functions: lines of functions that the code calls.
        constants: names and texts of numbers in the code.
    """

    def __init__(
        self, program: Program, layout: Layout, memory: Memory, gemm: tuple[int, int], shares: int = 1
    ):
        self.program, self.layout, self.gemm, self.shares = program, layout, gemm, shares
        self.code: dict[int, list[Piece]] = {}
        self.functions: dict[str, list[str]] = {}
        self.constants: dict[str, str] = {}
        self._planned = memory
        self._offsets: list[int] = []
        self._size = 0
        for size in memory.slots:
            self._offsets.append(self._reserved(size))
        self._filled: dict[int, tuple[int, np.ndarray]] = {}
        self._own: dict[int, int] = {}
        self._arrays = looks(program, layout)

    # --- memory ---------------------------------------------------------------------------------------

    def _reserved(self, size: int) -> int:
        at = self._size
        self._size += -(-max(size, 1) // _ALIGNED) * _ALIGNED
        return at

    def memory(self) -> np.ndarray:
        """Return the memory, with the constants in it."""
        whole = np.zeros(self._size + _ALIGNED, dtype=np.uint8)
        start = -whole.__array_interface__["data"][0] % _ALIGNED
        memory = whole[start : start + self._size]
        for at, array in self._filled.values():
            memory[at : at + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return memory

    def forget(self) -> None:
        """Let go of what was needed to write code only: arrays as large as all values together."""
        self._arrays.clear()

    def slots(self, memory: np.ndarray) -> list[np.ndarray]:
        """Return the pieces of memory of the plan."""
        sizes = self._planned.slots
        return [memory[at : at + max(size, 1)] for at, size in zip(self._offsets, sizes, strict=True)]

    def place(self, x: Any) -> Place:
        """Return where a value or a constant array is."""
        if type(x) is not Ref:
            return self._place_constant(np.asarray(x))
        n = x.number
        root = self.layout.roots.get(n, n)
        array, whole = self._arrays[n], self._arrays[root]
        size = array.itemsize
        offset = (array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) // size
        strides = tuple(s // size for s in array.strides)
        pointer = f"p{self.layout.donated.get(root, root)}"
        if root in self._planned.slot_of or root in self._own:
            at = self._own[root] if root in self._own else self._offsets[self._planned.slot_of[root]]
            pointer, offset = f"m_{array.dtype.name}", offset + at // size
        return Place(pointer, offset, array.shape, strides)

    def _place_constant(self, x: np.ndarray) -> Place:
        if id(x) not in self._filled:
            self._filled[id(x)] = self._reserved(x.nbytes), x
        whole = np.empty(x.shape, dtype=x.dtype)
        strides = tuple(s // x.itemsize for s in whole.strides)
        return Place(f"m_{x.dtype.name}", self._filled[id(x)][0] // x.itemsize, x.shape, strides)

    def _scratch(self, size: int, dtype: str) -> Place:
        width = np.dtype(dtype).itemsize
        return Place(f"m_{dtype}", self._reserved(size * width) // width, (size,), (1,))

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

    def kind(self, n: int, more: int = 0) -> tuple[str, int]:
        """Return dtype and number of dimensions of an array."""
        value = self.program.values[n]
        return value.dtype, len(value.shape) + more

    def keep_apart(self, numbers: Iterable[int]) -> None:
        """Give values places of their own in the memory, for the code that is written after this."""
        for n in numbers:
            self._own[n] = self._reserved(self.program.values[n].bytes)

    # --- code -----------------------------------------------------------------------------------------

    def write_all(self) -> None:
        """Fill ``code`` and ``functions``."""
        self.code.clear()
        around = Surroundings(self.program.values, self.place, self._scratch, self._constant, self._parts)
        for operation in self.program.operations:
            if isinstance(operation, Group):
                sections = writer_of(operation, around).sections()
            elif operation.name in ("matmul", "take", "concat"):
                section = getattr(self, f"_{operation.name}")(operation)
                if section is None:
                    continue
                sections = [section]
            else:
                continue
            self.code[id(operation)] = [self._piece(operation, section) for section in sections]
        known = [piece for pieces in self.code.values() for piece in pieces]
        blocks, self.functions = share([list(piece.lines) for piece in known])
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
        return parts_of(time_of(operation, self.program.values), self.shares)

    def _matmul(self, operation: Operation) -> Section | None:
        n = operation.results[0]
        if any(type(x) is not Ref for x in operation.operands):
            return None
        dtypes = {self.program.values[m].dtype for m in (*operation.reads(), n)}
        if len(dtypes) != 1 or not dtypes <= {"float32", "float64"} or not self.program.values[n].shape:
            return None
        dtype = dtypes.pop()
        zero, one = (self._constant(x, np.dtype(dtype)) for x in (0, 1))
        a, b, c = (self.place(x) for x in (*operation.operands, Ref(n)))
        return product(
            a,
            b,
            c,
            dtype,
            gemm=bool(self.gemm[dtype == "float64"]),
            zero=zero,
            one=one,
            parts=self._parts(operation),
        )

    def _take(self, operation: Operation) -> Section | None:
        if not gathers_rows(operation, self.program):
            return None
        n = operation.results[0]
        x, rows = (self.place(v) for v in operation.operands)
        return gathered(self.place(Ref(n)), x, rows, f"r{n}", self._parts(operation))

    def _concat(self, operation: Operation) -> Section | None:
        """Copy those pieces that were not computed in their place."""
        place = self.place(Ref(operation.results[0]))
        dtype = self.program.values[operation.results[0]].dtype
        if operation.options.get("axis", 0) != 0 or len(place.shape) != 1 or dtype not in _GATHERED:
            return None
        lines: list[str] = []
        start = place.offset
        for x in operation.operands:
            if (self.program.values[x.number].dtype if type(x) is Ref else x.dtype.name) != dtype:
                return None
            given = self.place(x)
            lines += copied(Place(place.pointer, start, given.shape, (1,)), given)
            start += given.shape[0]
        return Section(lines)

    def complete(self) -> bool:
        """True if compiled code does everything; known after `write_all`."""
        return all(type(x) is Ref for x in self.program.outputs) and all(
            id(op) in self.code or op.results[0] in self.layout.views for op in self.program.operations
        )

    def pieces_in_order(self) -> Iterator[Piece]:
        """Write all code anew, and yield it."""
        self.write_all()
        for operation in self.program.operations:
            yield from self.code.get(id(operation), [])

    # --- copies ---------------------------------------------------------------------------------------

    def _region(self, place: Place, dtype: str) -> Region:
        width = np.dtype(dtype).itemsize
        reach = sum((n - 1) * s for n, s in zip(place.shape, place.strides, strict=True))
        base = place.pointer if place.pointer.startswith("p") else "memory"
        return Region(base, place.offset * width, (place.offset + reach + 1) * width)

    def _regions(self, numbers: Iterable[int]) -> tuple[Region, ...]:
        return tuple(self._region(self.place(Ref(n)), self.program.values[n].dtype) for n in numbers)

    def _copy(self, target: Place, given: Place, dtype: str) -> Piece:
        lines = tuple(copied(target, given))
        return Piece(lines, 1, (self._region(given, dtype),), (self._region(target, dtype),))

    def copy_to_array(self, number: int, x: Ref) -> Piece:
        """Return code that copies a value to the array with a number."""
        value = self.program.values[x.number]
        return self._copy(whole(f"p{number}", 0, value.shape), self.place(x), value.dtype)

    def carried(self, count: int) -> list[Piece]:
        """Return code that copies the first outputs over the inputs of the same positions, all at once."""
        first, then = [], []
        for n, x in zip(self.program.inputs[:count], self.program.outputs[:count], strict=True):
            given, value = self.place(x), self.program.values[x.number]
            target = self.place(Ref(n))
            if given == target:
                continue
            if given.pointer.startswith("p"):  # perhaps overwritten itself
                kept = self._scratch(value.size, value.dtype)
                kept = whole(kept.pointer, kept.offset, value.shape)
                first.append(self._copy(kept, given, value.dtype))
                given = kept
            then.append(self._copy(target, given, value.dtype))
        return first + then

    def copies(self, wanted: dict[int, int]) -> list[Piece]:
        """Return code that copies outputs (by position) over inputs (by number)."""
        return [
            self._copy(self.place(Ref(n)), self.place(x), self.program.values[n].dtype)
            for x, n in ((self.program.outputs[position], n) for position, n in wanted.items())
        ]


def gathers_rows(operation: Operation, program: Program) -> bool:
    """True for a ``take`` of rows, which compiled code can do."""
    if operation.name != "take" or len(operation.operands) != 2:
        return False
    if any(type(x) is not Ref for x in operation.operands):
        return False
    x, rows = (program.values[v.number] for v in operation.operands)
    axis = operation.options.get("axis")
    along = bool(x.shape) and x.shape[0] > 0 and (axis == 0 or (axis is None and len(x.shape) == 1))
    return along and len(rows.shape) == 1 and rows.dtype in ("int32", "int64") and x.dtype in _GATHERED
