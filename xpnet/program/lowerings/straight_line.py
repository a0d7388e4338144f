"""Straight-line NumPy code for a program with planned memory."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from xpnet.backends import lacking
from xpnet.program.lowerings.calls import Names, Texts, written
from xpnet.program.lowerings.memory_plan import MemoryPlan
from xpnet.program.passes.aliasing import laid_out
from xpnet.program.program import Operation, Ref

__all__ = ["StraightLine"]

_FILLED = 1 << 16  # entries of an array that is full of one number, at the most


class StraightLine(Texts):
    """Writes the lines of a program: planned values are names among their globals, others are made there.

    Args:
        plan: of the program, whose groups, if it has any, are written otherwise.
        pieces: the planned memory itself.
        lasting: inputs that are the same arrays in many runs, so that views of them are made once.
        packed: inputs whose entries lie side by side, row by row.

    Attributes:
        ahead: lines to be run once.
        lines: lines of each run.
        constants: vectors that are full of one number.
        allocated: outputs whose arrays are there already.
    """

    def __init__(
        self,
        plan: MemoryPlan,
        pieces: list[np.ndarray],
        lasting: Collection[int] = (),
        packed: Collection[int] = (),
    ):
        program, aliasing, memory = plan.program, plan.aliasing, plan.memory
        super().__init__(program, Names())
        self.ahead: list[str] = []
        self.lines: list[str] = []
        self.constants: list[np.ndarray] = []
        self._full: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}
        self._aliasing, self._memory, self._lasting, self._packed = aliasing, memory, lasting, packed
        self.allocated: set[int] = set()
        self._static: dict[int, np.ndarray] = {}
        for n, place in memory.slot_of.items():
            value = program.values[n]
            self._static[n] = laid_out(pieces[place][: value.bytes].view(value.dtype_object), value)
        for n, (joined, start, stop) in aliasing.pieces.items():
            if joined in self._static:
                self._static[n] = self._static[joined][start:stop].reshape(program.values[n].shape)

    def write_all(self) -> None:
        """Fill ``ahead`` and ``lines``, except the results."""
        for operation in self.program.operations:
            self.write_operation(operation)
        for position, given in self._aliasing.copied.items():
            copyto = self.names.called("copyto", np.copyto)
            self.lines.append(f"{copyto}(v{given}, {self.text(self.program.outputs[position])})")

    def results(self) -> list[str]:
        """Return the texts of the results."""
        copied = {p: Ref(n) for p, n in self._aliasing.copied.items()}
        return [self.text(copied.get(i, x)) for i, x in enumerate(self.program.outputs)]

    def write_operation(self, operation: Operation) -> None:
        """Add the lines of an operation."""
        n = operation.results[0]
        if n in self._aliasing.views:
            self.write_view(operation)
        elif n in self._static or n in self._aliasing.outputs:
            for made in operation.results:
                self.allocate(made)
            if operation.name == "concat":
                self._write_joined(operation)
            elif operation.name == "matmul" and (product := self.product(operation)):
                given = ", ".join(self.text(x) for x in (*operation.operands, Ref(n)))
                self.lines.append(f"{product}({given})")
            else:
                self.lines += written(operation, self)
        else:
            self._write_call(operation)

    def _write_call(self, operation: Operation) -> None:
        """Add the line that calls an operation's function, whose results get memory of their own."""
        made, call = ", ".join(f"v{n}" for n in operation.results), self._called(operation)
        given = ", ".join(self.text(Ref(n)) for n in dict.fromkeys(operation.reads()))
        apart = self.names.called("apart", lacking.apart)
        if operation.many:
            self.lines.append(f"{made}, = [{apart}(x, {given}) for x in {call}]")
        else:
            self.lines.append(f"{made} = {apart}({call}, {given})")

    def write_view(self, operation: Operation) -> None:
        """Add the line that makes a view, if it is not made beforehand."""
        n, source = operation.results[0], operation.operands[0].number
        if source in self._static:
            self._static[n] = operation.function(
                self._static[source], *operation.operands[1:], **operation.options
            )
        else:
            lines = self.ahead if self.lasts(n) else self.lines
            lines.append(f"v{n} = {self._called(operation)}")

    def allocate(self, n: int) -> None:
        """Add the line that makes an array for an output, unless it is written over an input."""
        if n not in self._aliasing.outputs or n in self._aliasing.donated or n in self.allocated:
            return
        self.allocated.add(n)
        value = self.program.values[n]
        empty = self.names.called("empty", np.empty)
        turned = f".transpose({tuple(map(int, np.argsort(value.order)))})" if value.order else ""
        shape = tuple(value.shape[axis] for axis in value.order) or value.shape
        self.lines.append(f"v{n} = {empty}({shape!r}, {self.names.of(value.dtype_object)}){turned}")

    def lasts(self, n: int) -> bool:
        return self._aliasing.home(n) in self._lasting

    def _write_joined(self, operation: Operation) -> None:
        """Copy those pieces that were not computed in their place."""
        n = operation.results[0]
        axis, stop = operation.options.get("axis", 0), 0
        operands = [self.text(x) for x in operation.operands]
        if axis != 0 or any(len(self._shape(x)) != 1 for x in operation.operands):
            join = self.names.called("concatenate", np.concatenate)
            self.lines.append(f"{join}([{', '.join(operands)}], {axis!r}, {self.text(Ref(n))})")
            return
        copyto = self.names.called("copyto", np.copyto)
        for x, text in zip(operation.operands, operands, strict=True):
            start, stop = stop, stop + math.prod(self._shape(x))
            inside = type(x) is Ref and self._is_piece(x.number, n, start)
            if not inside and start < stop:
                self.lines.append(f"{copyto}({self.text(Ref(n))}[{start}:{stop}], {text})")

    def _is_piece(self, number: int, joined: int, start: int) -> bool:
        """True for a value that was computed in its place in the vector ``joined``."""
        if number in self._static and joined in self._static:
            place = self._static[joined][start:]
            return self._static[number].__array_interface__["data"][0] == place.__array_interface__["data"][0]
        return False

    def product(self, operation: Operation) -> str:
        """Return the name of what computes a product as np.matmul does, in a quarter of the time; or none."""
        return self.names.called("dot", np.ndarray.dot) if self._is_plain_product(operation) else ""

    def _is_plain_product(self, operation: Operation) -> bool:
        """True for a product of two matrices that the BLAS can read as they lie: there, the two agree."""
        numbers = [*operation.reads(), operation.results[0]]
        values = [self.program.values[n] for n in numbers]
        return (
            len(numbers) == 3
            and all(len(value.shape) == 2 and min(value.shape) > 1 for value in values)
            and len({value.dtype for value in values}) == 1
            and values[0].dtype in ("float32", "float64")
            and all(self._lies_packed(n) for n in numbers)
        )

    def _lies_packed(self, n: int) -> bool:
        root = self._aliasing.home(n)
        known = root in self._static or root in self._packed or root in self._aliasing.outputs
        return n in self._aliasing.packed and (known or self._is_gathered(root))

    def _is_gathered(self, n: int) -> bool:
        return any(op.results == (n,) and op.name == "take" for op in self.program.operations)

    def _called(self, operation: Operation) -> str:
        """Return a call of the operation's function, or of the array's method that does the same."""
        operands, options = [self.text(x) for x in operation.operands], operation.options
        x = operation.operands[0] if operation.operands else None
        if type(x) is Ref:
            if operation.name == "getitem" and len(operands) == 2:
                return f"{operands[0]}[{operands[1]}]"
            if operation.name == "matrix_transpose" and len(self._shape(x)) == 2:
                return f"{operands[0]}.T"
            if operation.name == "reshape" and len(operands) == 2 and not options:
                return f"{operands[0]}.reshape({operands[1]})"
            if operation.name == "take" and len(operands) == 2 and options.keys() <= {"axis"}:
                return f"{operands[0]}.take({operands[1]}, {options.get('axis')!r})"
        named = [f"{name}={self.text(x)}" for name, x in options.items()]
        return f"{self.names.of(operation.function)}({', '.join([*operands, *named])})"

    def _shape(self, x: Any) -> tuple[int, ...]:
        return self.program.values[x.number].shape if type(x) is Ref else tuple(x.shape)

    # --- names -----------------------------------------------------------------------------------------

    def text(self, x: Any) -> str:
        if type(x) is Ref:
            n = self._aliasing.donated.get(x.number, x.number)
            if n in self._static:
                self.names.called(f"v{n}", self._static[n])
            return f"v{n}"
        if isinstance(x, (list, tuple)):
            inside = ", ".join(self.text(item) for item in x)
            return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' if len(x) == 1 else ''})"
        if x is None or type(x) in (bool, int) or (type(x) is float and math.isfinite(x)):
            return repr(x)
        return self.names.of(x)

    def bits(self, x: Any, dtype: Any) -> str:
        array = self.known(x.number) if type(x) is Ref else None
        if array is None:
            return f"{self.text(x)}.view({self.names.of(dtype)})"
        return self.names.called(f"{self.text(x)}_bits", array.view(dtype))

    def filled(self, number: Any, n: int) -> str:
        value = self.program.values[n]
        if value.size > _FILLED:
            return self.names.number(number)
        return self.names.of(self.full(number, value.shape))

    def full(self, number: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array that is full of one number, one for all who ask for the same."""
        size = math.prod(shape)
        for entries in self.constants:
            alike = entries.dtype == number.dtype and entries[:1].tobytes() == number.tobytes()
            if alike and len(entries) >= size:
                break
        else:
            entries = np.full(max(size, 1), number)
            self.constants.append(entries)
        return self._full.setdefault((id(entries), shape), entries[:size].reshape(shape))

    def known(self, n: int) -> np.ndarray | None:
        """Return the array of a value, if its buffer is planned."""
        return self._static.get(n)

    def overlap(self, a: int, b: int) -> bool:
        """True if two values may share memory."""
        return self._place(a) == self._place(b)

    def _place(self, n: int) -> tuple[bool, int]:
        root = self._aliasing.home(n)
        slot = self._memory.slot_of.get(root)
        return (False, root) if slot is None else (True, slot)
