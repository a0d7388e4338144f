"""What is computed at one entry: for each elementwise function its expression in generated code.

Functions and dtypes that have no expression here stay NumPy calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.program.lowerings import kinds
from xpnet.program.program import Operation, Value

__all__ = ["can_be_grouped", "cheap", "expression", "literal"]

# For each function: the kinds of its operands' common dtype (b, i, u, f) and its expression of them. In it
# {t} is the dtype, {zero} and {one} are numbers of it.
_BASIC: dict[str, tuple[str, str]] = {
    "add": ("iuf", "{0} + {1}"),
    "subtract": ("iuf", "{0} - {1}"),
    "multiply": ("iuf", "{0} * {1}"),
    "divide": ("f", "{0} / {1}"),
    "negative": ("if", "-{0}"),
    "positive": ("iuf", "{0}"),
    "abs": ("if", "abs({0})"),
    "square": ("iuf", "{0} * {0}"),
    "reciprocal": ("f", "{one} / {0}"),
    "sqrt": ("f", "math.sqrt({0})"),
    "equal": ("biuf", "{0} == {1}"),
    "not_equal": ("biuf", "{0} != {1}"),
    "less": ("iuf", "{0} < {1}"),
    "less_equal": ("iuf", "{0} <= {1}"),
    "greater": ("iuf", "{0} > {1}"),
    "greater_equal": ("iuf", "{0} >= {1}"),
    "logical_and": ("biuf", "({0} != {zero}) & ({1} != {zero})"),
    "logical_or": ("biuf", "({0} != {zero}) | ({1} != {zero})"),
    "logical_xor": ("biuf", "({0} != {zero}) != ({1} != {zero})"),
    "logical_not": ("biuf", "{0} == {zero}"),
    "bitwise_and": ("biu", "{0} & {1}"),
    "bitwise_or": ("biu", "{0} | {1}"),
    "bitwise_xor": ("biu", "{0} ^ {1}"),
    "bitwise_invert": ("iu", "~{0}"),
    "isnan": ("f", "{0} != {0}"),
    "isinf": ("f", "abs({0}) == np.inf"),
    "isfinite": ("f", "abs({0}) < np.inf"),
    "floor": ("f", "np.floor({0})"),
    "ceil": ("f", "np.ceil({0})"),
    "trunc": ("f", "np.trunc({0})"),
    "copysign": ("f", "math.copysign({0}, {1})"),
}
# The expressions above that hold for floating-point numbers, others for whole ones.
_ORDERED = {"maximum": ">", "minimum": "<"}
_OWN = frozenset({"exp", "log", "log1p", "expm1", "tanh"})
# The C library's, one number at a time: a gain in small loops only, where a call of NumPy costs more.
_SLOW = frozenset(
    {"sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "log2", "log10"}
)
_SMALL = 512
# From some version on NumPy computes x**0.5 as a root, which differs for -0.0 and -inf.
_POWER_HAS_ROOTS = bool(np.signbit(np.power(np.asarray([-0.0]), 0.5))[0])
_EXPENSIVE = _OWN | _SLOW | {"divide", "sqrt", "pow", "erf", "reciprocal", "floor_divide", "remainder"}


def can_be_grouped(operation: Operation, values: dict[int, Value]) -> bool:
    """True if an operation can be a member of a group in compiled code."""
    return kinds.groupable(
        operation, values, lambda names: expression(operation, values, names, lambda x, dtype: repr(x))
    )


def cheap(operation: Operation) -> bool:
    """True if computing it again costs no more than storing and loading it."""
    return operation.name not in _EXPENSIVE


def literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """Return the text of a number of a dtype; None if it is not exact there, as NumPy would refuse it."""
    number = kinds.number(value, dtype)
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
        names: of the operands' entries, in the dtypes of `kinds.kinds`.
        constant: gives the name of a number of a dtype.
    """
    found = kinds.generated_kinds(operation, values)
    if found is None:
        return None
    text = _text(operation, values, found, names, constant)
    if text is None:
        return None
    made = found[-1]
    if (made.kind in "iu" and made.itemsize < 8) or made.kind == "u":
        return f"np.{made.name}({text})"  # numba computes in 64 bits
    return text


def _text(
    operation: Operation,
    values: dict[int, Value],
    found: list[np.dtype[Any]],
    names: list[str],
    constant: Callable[..., str],
) -> str | None:
    name, common, made = operation.name, found[0], found[-1]
    if name == "where":
        return f"select({names[0]}, {names[1]}, {names[2]})"
    if name == "keep":
        return f"select({names[1]}, {names[0]}, {constant(0, made)})"
    if name == "astype":
        return _cast(names[0], common, made)
    if name in _BASIC:
        allowed, template = _BASIC[name]
        if common.kind not in allowed:
            return None
        zero, one = constant(0, common), constant(1, common)
        return template.format(*names, zero=zero, one=one)
    if name in _ORDERED and common.kind in "iuf":
        a, b = names
        nan = f" | ({a} != {a})" if common.kind == "f" else ""
        return f"select(({a} {_ORDERED[name]} {b}){nan}, {a}, {b})"
    if name == "sign" and common.kind in "if":
        a, zero = names[0], constant(0, common)
        below = f"select({a} < {zero}, {constant(-1, common)}, select({a} == {zero}, {zero}, {a}))"
        return f"select({a} > {zero}, {constant(1, common)}, {below})"
    if name in ("bitwise_left_shift", "bitwise_right_shift"):
        by = operation.operands[1]
        if type(by) is not int or not 0 <= by < 8 * made.itemsize or common.kind not in "iu":
            return None
        return f"{names[0]} {'<<' if 'left' in name else '>>'} {names[1]}"
    return _function(operation, values, common, names)


def _function(
    operation: Operation, values: dict[int, Value], common: np.dtype[Any], names: list[str]
) -> str | None:
    name = operation.name
    if common.kind != "f":
        return None
    if name == "pow" and type(operation.operands[1]) in (int, float):
        if operation.operands[1] == 2:
            return f"{names[0]} * {names[0]}"
        if operation.operands[1] == 0.5 and _POWER_HAS_ROOTS:
            return f"math.sqrt({names[0]})"
    if name in _OWN:
        return f"{name}_{common.name}({names[0]})"
    if name == "erf":
        return f"math.erf({names[0]})"
    if values[operation.results[0]].size > _SMALL:
        return None
    if name == "pow":
        return f"{names[0]} ** {names[1]}"
    return f"math.{name}({names[0]})" if name in _SLOW else None


def _cast(name: str, given: np.dtype[Any], made: np.dtype[Any]) -> str | None:
    if given == made:
        return name
    if made == np.dtype(bool):
        return f"{name} != 0"
    if given.kind == "f" and made.kind != "f":
        return None  # what NaN and infinities become depends on the instruction
    return f"np.{made.name}({name})"
