"""The dtypes of elementwise functions and reductions in generated code: NumPy's, asked of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.program.lowerings.operations import ELEMENTWISE, Dtypes, ufunc_of
from xpnet.program.passes.groups import REDUCTIONS
from xpnet.program.program import Operation, Ref, Value

__all__ = ["KNOWN", "dtypes_in_code", "dtypes_of", "groupable", "identity", "number"]

KNOWN = (
    "float32", "float64", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
)  # fmt: skip
"""Dtypes that generated code has."""


def groupable(
    operation: Operation, values: dict[int, Value], expressed: Callable[[list[str]], str | None]
) -> bool:
    """True if an operation can be a member of a group in generated code.

    Args:
        operation: any.
        values: of its program.
        expressed: gives the expression of an entry, for names of the operands' entries; or None.
    """
    operands = operation.operands
    if operation.many or any(values[n].dtype not in KNOWN for n in (*operation.reads(), *operation.results)):
        return False
    if operation.name in REDUCTIONS:
        return _can_reduce(operation, values)
    if any(isinstance(x, (list, tuple)) for x in operands):
        return False
    return expressed([f"x{i}" for i in range(len(operands))]) is not None


def _can_reduce(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a sum, maximum or minimum that generated code can compute."""
    x = operation.operands[0]
    if (
        type(x) is not Ref
        or len(operation.operands) > 1
        or operation.options.keys() - {"axis", "keepdims", "dtype"}
    ):
        return False
    given, made = values[x.number].dtype, values[operation.results[0]].dtype
    return made != "bool" and (operation.name == "sum" or given == made)


def dtypes_of(operation: Operation, values: dict[int, Value]) -> Dtypes | None:
    """Return the dtypes to which operands are cast, and then that of the result; None if there are none."""
    made = np.dtype(values[operation.results[0]].dtype)
    name = operation.name
    if name in REDUCTIONS:
        return [made, made]
    given = [_dtype(x, values) for x in operation.operands]
    row = ELEMENTWISE.get(name)
    if row is not None and row.dtypes is not None:
        return row.dtypes(given, made)
    try:
        found = list((ufunc_of(name) or getattr(np, name)).resolve_dtypes((*given, None)))
    except (TypeError, AttributeError, ValueError):
        return None
    return found if found[-1] == made and len(set(found[:-1])) == 1 else None


def dtypes_in_code(operation: Operation, values: dict[int, Value]) -> Dtypes | None:
    """Return `dtypes_of` if generated code supports them and holds the operands' numbers exactly."""
    found = dtypes_of(operation, values)
    if found is None or any(dtype.name not in KNOWN for dtype in found):
        return None
    for x, dtype in zip(operation.operands, found[:-1], strict=False):
        if type(x) in (bool, int, float) and number(x, dtype) is None:
            return None
    return found


def number(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a value as a number of a dtype; None if it is not exact there, as NumPy would refuse it."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(value, dtype=dtype)[()]
    except (OverflowError, TypeError, ValueError):
        return None


def identity(name: str, dtype: np.dtype[Any]) -> Any:
    """Return the number with which a sum, maximum or minimum begins."""
    if name == "sum":
        return 0
    if dtype.kind == "f":
        return -np.inf if name == "max" else np.inf
    return np.iinfo(dtype).min if name == "max" else np.iinfo(dtype).max


def _dtype(x: Any, values: dict[int, Value]) -> Any:
    """Return an operand's dtype, Python's type for a number of Python."""
    if type(x) is Ref:
        return np.dtype(values[x.number].dtype)
    if type(x) in (int, float):
        return type(x)
    return np.dtype(bool) if type(x) is bool else getattr(x, "dtype", None)
