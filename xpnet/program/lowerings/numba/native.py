"""The writing of what compiled code can do, besides groups: matrix products, gathers, copies; and places."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from xpnet.program.lowerings.numba.elements import literal
from xpnet.program.lowerings.numba.lanes import writer_of
from xpnet.program.lowerings.numba.loops import Place, Surroundings
from xpnet.program.lowerings.numba.sharing import share
from xpnet.program.lowerings.numpy.layout import Layout, looks
from xpnet.program.passes.groups import Group
from xpnet.program.passes.memory import Memory
from xpnet.program.program import Operation, Program, Ref

__all__ = ["Native", "gathers_rows"]

_ALIGNED = 64  # bytes: a line of the cache, and the longest vector
_TINY = 512  # products of two numbers in a matrix product, up to which loops are faster than the BLAS


class Native:
    """Code for those operations of a program that compiled code can do.

    Planned values, constants and scratch are in one piece of memory, others are arrays of their own.

    Args:
        program: with groups.
        layout: what shares memory.
        memory: planned places.
        gemm: addresses of the BLAS's matrix products of float32 and float64, 0 if there are none.

    Attributes:
        code: lines for each operation, by its ``id``; operations that are not here are left to Python.
        functions: lines of functions that the code calls.
        constants: names and texts of numbers in the code.
    """

    def __init__(self, program: Program, layout: Layout, memory: Memory, gemm: tuple[int, int]):
        self.program, self.layout, self.gemm = program, layout, gemm
        self.code: dict[int, list[str]] = {}
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
        around = Surroundings(self.program.values, self.place, self._scratch, self._constant)
        for operation in self.program.operations:
            if isinstance(operation, Group):
                self.code[id(operation)] = writer_of(operation, around).lines()
            elif operation.name in ("matmul", "take", "concat"):
                lines = getattr(self, f"_{operation.name}")(operation)
                if lines is not None:
                    self.code[id(operation)] = lines
        blocks, self.functions = share(list(self.code.values()))
        self.code = dict(zip(self.code, blocks, strict=True))

    def _matmul(self, operation: Operation) -> list[str] | None:
        n = operation.results[0]
        if any(type(x) is not Ref for x in operation.operands):
            return None
        dtypes = {self.program.values[m].dtype for m in (*operation.reads(), n)}
        known = len(dtypes) == 1 and dtypes <= {"float32", "float64"}
        if not known or not self.program.values[n].shape:
            return None
        a, b, c = _matrices(*(self.place(x) for x in (*operation.operands, Ref(n))))
        if any(len(x.shape) != 2 for x in (a, b, c)):
            return None
        dtype = dtypes.pop()
        (rows, inner), columns = a.shape, b.shape[1]
        if not rows * inner * columns:
            return None
        gemm = self.gemm[dtype == "float64"]
        if rows * inner * columns <= (_TINY if gemm else 8 * _TINY):
            return _loops(a, b, c, self._constant(0, np.dtype(dtype)))
        left, right = _lead(a), _lead(b)
        if not gemm or left is None or right is None:
            return None
        one = self._constant(1, np.dtype(dtype))
        pointers = [f"moved({x.pointer}, {x.offset})" for x in (a, b, c)]
        return [
            f"gemm(gemm{dtype[-2:]}, {left[0]}, {right[0]}, {rows}, {columns}, {inner}, {one}, "
            f"{pointers[0]}, {left[1]}, {pointers[1]}, {right[1]}, {pointers[2]}, {columns})"
        ]

    def _take(self, operation: Operation) -> list[str] | None:
        if not gathers_rows(operation, self.program):
            return None
        x, rows = (self.place(v) for v in operation.operands)
        out = self.place(Ref(operation.results[0]))
        n = operation.results[0]
        row = Place(x.pointer, x.offset, x.shape[1:], x.strides[1:])
        given = _entry(row, f"r{n} * {x.strides[0]}")
        written = _entry(
            Place(out.pointer, out.offset, out.shape[1:], out.strides[1:]), f"i * {out.strides[0]}"
        )
        return [
            f"for i in range({rows.shape[0]}):",
            f"    r{n} = np.int64({rows.pointer}[i * {rows.strides[0]} + {rows.offset}])",
            f"    if r{n} < 0:",
            f"        r{n} += {x.shape[0]}",
            f"    if r{n} < 0 or r{n} >= {x.shape[0]}:",
            '        raise IndexError("take: an index is out of bounds")',
            *_nested(x.shape[1:], f"{written} = {given}", 1),
        ]

    def _concat(self, operation: Operation) -> list[str] | None:
        """Copy those pieces that were not computed in their place."""
        whole = self.place(Ref(operation.results[0]))
        dtype = self.program.values[operation.results[0]].dtype
        if operation.options.get("axis", 0) != 0 or len(whole.shape) != 1 or dtype not in _GATHERED:
            return None
        lines: list[str] = []
        start = whole.offset
        for x in operation.operands:
            if (self.program.values[x.number].dtype if type(x) is Ref else x.dtype.name) != dtype:
                return None
            given = self.place(x)
            target = Place(whole.pointer, start, given.shape, (1,))
            lines += _copied(target, given)
            start += given.shape[0]
        return lines

    def complete(self) -> bool:
        """True if compiled code does everything; known after `write_all`."""
        return all(type(x) is Ref for x in self.program.outputs) and all(
            id(op) in self.code or op.results[0] in self.layout.views for op in self.program.operations
        )

    def code_in_order(self) -> Iterator[list[str]]:
        """Write all code anew, and yield that of each operation."""
        self.write_all()
        for operation in self.program.operations:
            yield self.code.get(id(operation), [])

    def copy_to_array(self, number: int, x: Ref) -> list[str]:
        """Return code that copies a value to the array with a number."""
        shape = self.program.values[x.number].shape
        return _copied(_whole(f"p{number}", 0, shape), self.place(x))

    def carried(self, count: int) -> list[str]:
        """Return code that copies the first outputs over the inputs of the same positions, all at once."""
        first, then = [], []
        for n, x in zip(self.program.inputs[:count], self.program.outputs[:count], strict=True):
            given, value = self.place(x), self.program.values[x.number]
            target = self.place(Ref(n))
            if given == target:
                continue
            if given.pointer.startswith("p"):  # perhaps overwritten itself
                kept = self._scratch(value.size, value.dtype)
                kept = _whole(kept.pointer, kept.offset, value.shape)
                first += _copied(kept, given)
                given = kept
            then += _copied(target, given)
        return first + then

    def copies(self, copied: dict[int, int]) -> list[str]:
        """Return code that copies outputs (by position) over inputs (by number)."""
        lines = []
        for position, given in copied.items():
            lines += _copied(self.place(Ref(given)), self.place(self.program.outputs[position]))
        return lines


_GATHERED = frozenset({"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
                       "float32", "float64"})  # fmt: skip


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


def _whole(pointer: str, offset: int, shape: tuple[int, ...]) -> Place:
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    return Place(pointer, offset, shape, tuple(strides))


def _copied(target: Place, given: Place) -> list[str]:
    if target == given or 0 in given.shape:
        return []
    return _nested(given.shape, f"{_entry(target)} = {_entry(given)}")


def _entry(place: Place, first: str = "") -> str:
    terms = [f"j{k} * {s}" for k, (n, s) in enumerate(zip(place.shape, place.strides, strict=True)) if n != 1]
    terms = [t.removesuffix(" * 1") for t in terms] + [str(place.offset)]
    return f"{place.pointer}[{' + '.join([first, *terms] if first else terms)}]"


def _nested(shape: tuple[int, ...], line: str, by: int = 0) -> list[str]:
    lines = []
    for k, n in enumerate(shape):
        if n != 1:
            lines.append("    " * by + f"for j{k} in range({n}):")
            by += 1
    return [*lines, "    " * by + line]


def _matrices(a: Place, b: Place, c: Place) -> tuple[Place, Place, Place]:
    """Return the factors and the result of a product with vectors as rows and columns."""
    if len(a.shape) == 1:
        a, c = _with_axis(a, 0), _with_axis(c, 0)
    if len(b.shape) == 1:
        b, c = _with_axis(b, 1), _with_axis(c, 1)
    return a, b, c


def _with_axis(x: Place, axis: int) -> Place:
    shape, strides = list(x.shape), list(x.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 1 if axis else x.shape[0])
    return Place(x.pointer, x.offset, tuple(shape), tuple(strides))


def _lead(x: Place) -> tuple[int, int] | None:
    """Return the BLAS's flag for a matrix (111: as it is, 112: transposed) and its leading dimension."""
    (rows, columns), (s, t) = x.shape, x.strides
    if (t == 1 or columns == 1) and (s >= columns or rows == 1):
        return 111, max(s, columns)
    if (s == 1 or rows == 1) and (t >= rows or columns == 1):
        return 112, max(t, rows)
    return None


def _loops(a: Place, b: Place, c: Place, zero: str) -> list[str]:
    def at(x: Place, i: str, j: str) -> str:
        return f"{x.pointer}[{i} * {x.strides[0]} + {j} * {x.strides[1]} + {x.offset}]"

    return [
        f"for i in range({a.shape[0]}):",
        f"    for j in range({b.shape[1]}):",
        f"        s = {zero}",
        f"        for k in range({a.shape[1]}):",
        f"            s = s + {at(a, 'i', 'k')} * {at(b, 'k', 'j')}",
        f"        {at(c, 'i', 'j')} = s",
    ]
