"""Elements in CUDA C++: types, numbers, and the expressions of the table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.program.lowerings import dtypes, operations
from xpnet.program.program import Operation, Value

__all__ = ["TYPES", "can_be_grouped", "expression", "identity", "literal"]

TYPES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "float32": "float", "float64": "double",
    "complex64": "Complex64", "complex128": "Complex128",
}  # fmt: skip
"""The type of an entry, by dtype."""


def can_be_grouped(operation: Operation, values: dict[int, Value]) -> bool:
    """True if an operation can be a member of a group in a generated kernel."""
    return dtypes.groupable(operation, values, lambda names: expression(operation, values, names))


def literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """Return the text of a number of a dtype; None if it is not exact there, as NumPy would refuse it."""
    number = dtypes.number(value, dtype)
    if number is None:
        return None
    if dtype.kind == "b":
        return "true" if number else "false"
    if dtype.kind == "f":
        if math.isfinite(number):
            return f"{number!s}f" if dtype.itemsize == 4 else f"{number!s}"
        bits = int(number.view(f"int{8 * dtype.itemsize}"))
        return f"__int_as_float({bits})" if dtype.itemsize == 4 else f"__longlong_as_double({bits}LL)"
    return _whole(int(number), dtype)


def _whole(number: int, dtype: np.dtype[Any]) -> str:
    if dtype.itemsize < 4:
        return f"({TYPES[dtype.name]})({number})"
    ending = {"int32": "", "uint32": "u", "int64": "LL", "uint64": "ULL"}[dtype.name]
    if number == np.iinfo(dtype).min and dtype.kind == "i":  # C++ has no literals below zero
        return f"({number + 1}{ending} - 1)"
    return f"{number}{ending}"


def identity(name: str, dtype: np.dtype[Any]) -> str:
    """Return the text of the number with which a sum, maximum or minimum begins."""
    return str(literal(dtypes.identity(name, dtype), dtype))


def expression(operation: Operation, values: dict[int, Value], names: list[str]) -> str | None:
    """Return the expression of one entry of the result; None if there is none.

    Args:
        operation: elementwise.
        values: of its program.
        names: of the operands' entries, in the dtypes of `dtypes.dtypes_of`.
    """
    found = dtypes.dtypes_in_code(operation, values)
    row = operations.ELEMENTWISE.get(operation.name)
    if found is None or row is None:
        return None
    common, made = found[0], found[-1]
    words: dict[str, Callable[[], str]] = {
        "t": lambda: TYPES[common.name],
        "made": lambda: TYPES[made.name],
        "w": lambda: TYPES["uint64" if common.itemsize == 8 else "uint32"],
        "inf": lambda: str(literal(np.inf, common)),
        "f": lambda: "f" if common.itemsize == 4 else "",
    }
    kinds = common.kind + ("U" if common.name in ("uint32", "uint64") else "")
    text = operations.expression(row.cuda, operation, found, names, kinds, words)
    if text is not None and made.kind in "iu" and made.itemsize < 4:  # C computes in 32 bits at least
        return f"({TYPES[made.name]})({text})"
    return text
