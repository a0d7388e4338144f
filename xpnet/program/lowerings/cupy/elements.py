"""What is computed at one entry: for each elementwise function its expression in CUDA C++.

Functions and dtypes that have no expression here stay calls of the array library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.program.lowerings import kinds
from xpnet.program.program import Operation, Value

__all__ = ["TYPES", "can_be_grouped", "expression", "identity", "literal"]

TYPES = {
    "bool": "bool", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "float32": "float", "float64": "double",
}  # fmt: skip
"""The type of an entry, by dtype."""

# For each function: the kinds of its operands' common dtype (b, i, u, f) and its expression of them. {t} is
# their type, {w} an unsigned one in which whole numbers wrap around, {f} ends names of float functions.
_BASIC: dict[str, tuple[str, str]] = {
    "divide": ("f", "{0} / {1}"),
    "reciprocal": ("f", "1 / {0}"),
    "equal": ("biuf", "{0} == {1}"),
    "not_equal": ("biuf", "{0} != {1}"),
    "less": ("biuf", "{0} < {1}"),
    "less_equal": ("biuf", "{0} <= {1}"),
    "greater": ("biuf", "{0} > {1}"),
    "greater_equal": ("biuf", "{0} >= {1}"),
    "logical_and": ("biuf", "({0} != 0) & ({1} != 0)"),
    "logical_or": ("biuf", "({0} != 0) | ({1} != 0)"),
    "logical_xor": ("biuf", "({0} != 0) != ({1} != 0)"),
    "logical_not": ("biuf", "{0} == 0"),
    "bitwise_and": ("biu", "{0} & {1}"),
    "bitwise_or": ("biu", "{0} | {1}"),
    "bitwise_xor": ("biu", "{0} ^ {1}"),
    "bitwise_invert": ("iu", "~{0}"),
    "isnan": ("f", "{0} != {0}"),
    "isinf": ("f", "fabs{f}({0}) == {inf}"),
    "isfinite": ("f", "fabs{f}({0}) < {inf}"),
    "maximum": ("iuf", "Largest::join({0}, {1})"),
    "minimum": ("iuf", "Smallest::join({0}, {1})"),
}
_ARITHMETIC = {
    "add": "{0} + {1}", "subtract": "{0} - {1}", "multiply": "{0} * {1}", "negative": "-{0}",
    "positive": "{0}", "square": "{0} * {0}",
}  # fmt: skip
# Functions of the C library, by the standard's name.
_LIBRARY = {
    "abs": "fabs", "acos": "acos", "acosh": "acosh", "asin": "asin", "asinh": "asinh", "atan": "atan",
    "atan2": "atan2", "atanh": "atanh", "ceil": "ceil", "copysign": "copysign", "cos": "cos", "cosh": "cosh",
    "erf": "erf", "exp": "exp", "expm1": "expm1", "floor": "floor", "hypot": "hypot", "log": "log",
    "log10": "log10", "log1p": "log1p", "log2": "log2", "nextafter": "nextafter", "pow": "pow", "sin": "sin",
    "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh", "trunc": "trunc",
}  # fmt: skip


def can_be_grouped(operation: Operation, values: dict[int, Value]) -> bool:
    """True if an operation can be a member of a group in a generated kernel."""
    return kinds.groupable(operation, values, lambda names: expression(operation, values, names))


def literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """Return the text of a number of a dtype; None if it is not exact there, as NumPy would refuse it."""
    number = kinds.number(value, dtype)
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
    """Return the number with which a sum, maximum or minimum begins."""
    if name == "sum":
        value: Any = 0
    elif dtype.kind == "f":
        value = -np.inf if name == "max" else np.inf
    else:
        value = np.iinfo(dtype).min if name == "max" else np.iinfo(dtype).max
    text = literal(value, dtype)
    assert text is not None
    return text


def expression(operation: Operation, values: dict[int, Value], names: list[str]) -> str | None:
    """Return the expression of one entry of the result; None if there is none.

    Args:
        operation: elementwise.
        values: of its program.
        names: of the operands' entries, in the dtypes of `kinds.kinds`.
    """
    found = kinds.generated_kinds(operation, values)
    if found is None:
        return None
    text = _text(operation, found, names)
    made = found[-1]
    if text is not None and made.kind in "iu" and made.itemsize < 4:  # C computes in 32 bits at least
        return f"({TYPES[made.name]})({text})"
    return text


def _text(operation: Operation, found: list[np.dtype[Any]], names: list[str]) -> str | None:
    name, common, made = operation.name, found[0], found[-1]
    if name == "where":
        return f"{names[0]} ? {names[1]} : {names[2]}"
    if name == "keep":
        return f"{names[1]} ? {names[0]} : 0"
    if name == "astype":
        return f"{names[0]} != 0" if made.kind == "b" else f"({TYPES[made.name]}){names[0]}"
    kind, t = common.kind, TYPES[common.name]
    if name in _BASIC:
        allowed, template = _BASIC[name]
        suffix = "f" if common.itemsize == 4 else ""
        inf = literal(np.inf, common) if kind == "f" else ""
        return template.format(*names, f=suffix, inf=inf) if kind in allowed else None
    if name in _ARITHMETIC and kind != "b":
        return _arithmetic(name, common, names)
    if name == "sign" and kind in "if":
        return f"{names[0]} > 0 ? 1 : {names[0]} < 0 ? -1 : {names[0]} == 0 ? 0 : {names[0]}"
    if name == "abs" and kind == "i":
        return f"{names[0]} < 0 ? {_arithmetic('negative', common, names)} : {names[0]}"
    if name in ("bitwise_left_shift", "bitwise_right_shift"):
        by = operation.operands[1]
        if type(by) is not int or not 0 <= by < 8 * made.itemsize or kind not in "iu":
            return None
        left = f"({t})(({_unsigned(common)}){names[0]} << {by})"
        return left if "left" in name else f"{names[0]} >> {by}"
    return _library(operation, common, names) if kind == "f" else None


def _arithmetic(name: str, common: np.dtype[Any], names: list[str]) -> str:
    """Whole numbers with a sign are computed without it: C++ leaves open what they overflow to."""
    if common.kind == "f" or common.name in ("uint32", "uint64"):
        return _ARITHMETIC[name].format(*names)
    unsigned = [f"({_unsigned(common)}){x}" for x in names]
    return f"({TYPES[common.name]})({_ARITHMETIC[name].format(*unsigned)})"


def _unsigned(dtype: np.dtype[Any]) -> str:
    return TYPES["uint64" if dtype.itemsize == 8 else "uint32"]


def _library(operation: Operation, common: np.dtype[Any], names: list[str]) -> str | None:
    name = operation.name
    if name == "pow" and type(operation.operands[1]) in (int, float) and operation.operands[1] in (2, 3):
        return " * ".join(names[:1] * int(operation.operands[1]))
    if name == "signbit":
        return f"signbit({names[0]})"
    if name == "logaddexp":
        return f"log_add_exp({names[0]}, {names[1]})"
    if name not in _LIBRARY:
        return None
    return f"{_LIBRARY[name]}{'f' if common.itemsize == 4 else ''}({', '.join(names)})"
