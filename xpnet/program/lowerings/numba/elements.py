"""Elements in Python that numba compiles: numbers, and the expressions of the table."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.program.lowerings import dtypes, operations
from xpnet.program.lowerings.views import BUFFER
from xpnet.program.passes.aliasing import View
from xpnet.program.program import Operation, Value

__all__ = ["can_be_grouped", "cheap", "expression", "literal", "pointer"]

_SMALL = 512  # entries up to which functions of the C library are worth it


def can_be_grouped(operation: Operation, values: dict[int, Value]) -> bool:
    """True if an operation can be a member of a group in compiled code."""
    return dtypes.groupable(
        operation, values, lambda names: expression(operation, values, names, lambda x, dtype: repr(x))
    )


def cheap(operation: Operation) -> bool:
    """True if computing it again costs no more than storing and loading it."""
    return not operations.is_costly(operation)


def literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """Return the text of a number of a dtype; None if it is not exact there, as NumPy would refuse it."""
    number = dtypes.number(value, dtype)
    if number is None:
        return None
    if dtype == np.dtype(bool):
        return repr(bool(number))
    if dtype.kind == "f":
        text = repr(float(number)) if math.isfinite(number) else f"np.{float(number)!r}"
        return f"np.{dtype.name}({text.replace('np.-inf', '-np.inf')})"
    return f"np.{dtype.name}({int(number)})"


def expression(
    operation: Operation,
    values: dict[int, Value],
    names: list[str],
    constant: Callable[[Any, np.dtype[Any]], str],
) -> str | None:
    """Return the expression of one entry of the result; None if there is none.

    Args:
        operation: elementwise.
        values: of its program.
        names: of the operands' entries, in the dtypes of `dtypes.dtypes_of`.
        constant: gives the name of a number of a dtype.
    """
    found = dtypes.dtypes_in_code(operation, values)
    row = operations.ELEMENTWISE.get(operation.name)
    if found is None or row is None:
        return None
    common, made = found[0], found[-1]
    numbers = {"zero": 0, "one": 1, "minus": -1}
    words = {word: functools.partial(constant, number, common) for word, number in numbers.items()}
    small = "s" if common.kind == "f" and values[operation.results[0]].size <= _SMALL else ""
    text = operations.expression(
        row.numba, operation, found, names, common.kind + small, {"t": lambda: common.name, **words}
    )
    if text is not None and ((made.kind in "iu" and made.itemsize < 8) or made.kind == "u"):
        return f"np.{made.name}({text})"  # numba computes in 64 bits
    return text


def pointer(view: View) -> str:
    """Return the name of the pointer from which a view's offset counts."""
    return f"m_{view.dtype}" if view.root == BUFFER else f"p{view.root}"
