"""Means, variances and products of vectors as what they are made of, so that they can be parts of groups."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["expand"]


def expand(program: Program) -> Program:
    """Return the program with sums in place of ``mean``, ``var``, ``std`` and products of two vectors.

    The same up to rounding: sums may be added up in another order.
    """
    expanding = _Expanding(program)
    for operation in program.operations:
        x = operation.operands[0] if operation.operands else None
        floating = type(x) is Ref and program.values[x.number].dtype.startswith("float")
        if floating and operation.name in ("mean", "var", "std"):
            expanding.moment(operation)
        elif floating and operation.name == "matmul" and not program.values[operation.results[0]].shape:
            expanding.product(operation)
        else:
            expanding.operations.append(operation)
    return dataclasses.replace(program, operations=tuple(expanding.operations), values=expanding.values)


class _Expanding:
    def __init__(self, program: Program):
        self.values = dict(program.values)
        self.operations: list[Operation] = []
        self._xp = program.xp

    def _add(self, name: str, like: Value, *operands: Any, result: int | None = None, **options: Any) -> Ref:
        """Add an operation whose result has the shape and dtype of ``like``."""
        number = max(self.values) + 1 if result is None else result
        self.values[number] = like
        function = getattr(self._xp, name)
        self.operations.append(Operation(name, operands, options, (number,), function))
        return Ref(number)

    def product(self, operation: Operation) -> None:
        a, b = operation.operands
        terms = self._add("multiply", self.values[a.number], a, b)
        number = operation.results[0]
        self._add("sum", self.values[number], terms, result=number)

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
