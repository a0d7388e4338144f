"""Expansion of means, variances and narrow products into sums, which can be parts of groups."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["expand"]

_FEW = 4096  # terms of a sum, up to which they may be added up one after another
_SMALL = 2**22  # entries of a matrix, from which on the BLAS's threads are worth more than fewer passes


def expand(program: Program) -> Program:
    """Return the program with sums in place of ``mean``, ``var``, ``std`` and narrow matrix products.

    Narrow are products of vectors, and those of matrices with one row or one column, as in layers with one
    unit, or steps on one row. The same up to rounding: sums may be added up in another order.
    """
    expanding = _Expanding(program)
    for operation in program.operations:
        x = operation.operands[0] if operation.operands else None
        expanding.scope = operation.scope
        floating = type(x) is Ref and program.values[x.number].dtype.startswith("float")
        if floating and operation.name in ("mean", "var", "std"):
            expanding.moment(operation)
        elif not (floating and operation.name == "matmul" and expanding.product(operation)):
            expanding.operations.append(operation)
    return dataclasses.replace(program, operations=tuple(expanding.operations), values=expanding.values)


class _Expanding:
    def __init__(self, program: Program):
        self.values = dict(program.values)
        self.operations: list[Operation] = []
        self.scope = ""  # of the operation that is being expanded
        self._xp = program.xp

    def _add(self, name: str, like: Value, *operands: Any, result: int | None = None, **options: Any) -> Ref:
        """Add an operation whose result has the shape and dtype of ``like``."""
        number = max(self.values) + 1 if result is None else result
        self.values[number] = like
        function = getattr(self._xp, name)
        self.operations.append(Operation(name, operands, options, (number,), function, scope=self.scope))
        return Ref(number)

    def product(self, operation: Operation) -> bool:
        """Add what a narrow product comes to; False if it is none."""
        if any(type(x) is not Ref for x in operation.operands):
            return False
        a, b = operation.operands
        left, right = self.values[a.number], self.values[b.number]
        made, number = self.values[operation.results[0]], operation.results[0]
        if left.dtype != right.dtype or not left.size or not right.size:
            return False
        if not made.shape:
            terms = self._add("multiply", left, a, b)
            self._add("sum", made, terms, result=number)
            return True
        if len(left.shape) != 2 or len(right.shape) != 2:
            return False
        (m, k), n = left.shape, right.shape[1]
        if k == 1:
            self._add("multiply", made, a, b, result=number)
        elif n == 1 and left.size <= _SMALL:
            self._sums(a, self._reshaped(b, (1, k)), 1, number)
        elif m == 1 and right.size <= _SMALL and k <= _FEW:
            self._sums(b, self._reshaped(a, (k, 1)), 0, number)
        else:
            return False
        return True

    def _sums(self, matrix: Ref, factors: Ref, axis: int, number: int) -> None:
        """Add the sums of a matrix times factors along an axis; a transposed one is gone through as it is."""
        turned = self._turned(matrix)
        if turned is not None and (axis == 0 or self.values[turned.number].shape[0] <= _FEW):
            shape = self.values[factors.number].shape
            matrix, factors, axis = turned, self._reshaped(factors, shape[::-1]), 1 - axis
        like, made = self.values[matrix.number], self.values[number]
        kept = dataclasses.replace(like, shape=tuple(1 if i == axis else n for i, n in enumerate(like.shape)))
        terms = self._add("multiply", like, matrix, factors)
        done = number if kept == made else None
        total = self._add("sum", kept, terms, result=done, axis=axis, keepdims=True)
        if done is None:
            self._add("reshape", made, total, made.shape, result=number)

    def _reshaped(self, x: Ref, shape: tuple[int, ...]) -> Ref:
        like = self.values[x.number]
        if like.shape == shape:
            return x
        return self._add("reshape", dataclasses.replace(like, shape=shape), x, shape)

    def _turned(self, x: Ref) -> Ref | None:
        """Return what a value is the transposed of, if anything."""
        made = next((op for op in self.operations if x.number in op.results), None)
        return made.operands[0] if made is not None and made.name == "matrix_transpose" else None

    def moment(self, operation: Operation) -> None:
        (x,), options, number = operation.operands, operation.options, operation.results[0]
        given, made = self.values[x.number], self.values[number]
        axis, kept = options.get("axis"), bool(options.get("keepdims", False))
        count = given.size / max(made.size, 1)
        if operation.name == "mean":
            total = self._add("sum", made, x, axis=axis, keepdims=kept)
            self._add("divide", made, total, count, result=number)
            return
        axes = range(len(given.shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        ones = {a % len(given.shape) for a in axes} if given.shape else set()
        row = dataclasses.replace(
            given, shape=tuple(1 if i in ones else n for i, n in enumerate(given.shape))
        )
        mean = self._add("divide", row, self._add("sum", row, x, axis=axis, keepdims=True), count)
        less = self._add("subtract", given, x, mean)
        square = self._add("multiply", given, less, less)
        total = self._add("sum", made, square, axis=axis, keepdims=kept)
        free = count - options.get("correction", 0.0)
        variance = number if operation.name == "var" else None
        divided = self._add("divide", made, total, max(float(free), 0.0), result=variance)
        if operation.name == "std":
            self._add("sqrt", made, divided, result=number)
