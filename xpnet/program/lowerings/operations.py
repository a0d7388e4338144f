"""Elementwise functions: one row each, with columns for NumPy, for loops compiled by numba, and for CUDA.

A function or dtype without an expression stays a call of the array library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.program.program import Operation

__all__ = ["ELEMENTWISE", "Column", "Dtypes", "Elementwise", "expression", "is_costly", "ufunc_of"]

Dtypes = list[np.dtype[Any]]
Column = Mapping[str, str] | Callable[[Operation, Dtypes], Mapping[str, str]]


@dataclass(frozen=True)
class Elementwise:
    """An elementwise function, and how an entry of its result is computed.

    Columns for generated code have expressions by the kind of the operands' dtype: ``b``, ``i``, ``u``, ``f``
    as in NumPy, ``U`` for unsigned numbers of 32 bits or more, ``s`` for floating-point numbers in small
    arrays. The first one that fits is taken. ``{0}``, ``{1}`` ... in it are entries of the operands. A column
    that depends on more, such as an exponent, is a function of the operation and its dtypes.

    Attributes:
        numpy: the ufunc: it writes into ``out=``, which may be an operand's memory. None: there is none.
        numba: expressions of Python; ``{zero}``, ``{one}`` and ``{minus}`` are 0, 1 and -1, ``{t}`` is the
            dtype's name.
        cuda: expressions of C++; ``{t}`` is the operands' type and ``{made}`` the result's, ``{w}`` an
            unsigned one in which whole numbers wrap around, ``{inf}`` infinity; ``{f}`` ends names of
            functions of float.
        costly: computing it again costs more than storing and loading it.
        dtypes: ``(given, made)`` to the dtypes to which operands are cast, and of the result; None if they do
            not fit. For what is no ufunc; ``given`` has Python's type for a number of Python.
    """

    numpy: Any = None
    numba: Column | None = None
    cuda: Column | None = None
    costly: bool = False
    dtypes: Callable[[list[Any], np.dtype[Any]], Dtypes | None] | None = None


def ufunc_of(name: str) -> Any:
    """Return the ufunc of a function, None if it has none."""
    return ELEMENTWISE[name].numpy if name in ELEMENTWISE else None


def is_costly(operation: Operation) -> bool:
    """True if computing an operation again costs more than storing and loading its result."""
    return operation.name in ELEMENTWISE and ELEMENTWISE[operation.name].costly


def expression(
    column: Column | None,
    operation: Operation,
    dtypes: Dtypes,
    names: Sequence[str],
    kinds: str,
    words: Mapping[str, Callable[[], str]],
) -> str | None:
    """Return the expression of an entry; None if there is none.

    Args:
        column: of the operation's row.
        operation: elementwise.
        dtypes: of the operands, and of the result.
        names: of the operands' entries.
        kinds: of the operands' dtype.
        words: what the words in braces stand for, asked where they occur.
    """
    found = column(operation, dtypes) if callable(column) else column or {}
    for fitting, text in found.items():
        if set(fitting) & set(kinds):
            said = {word: what() for word, what in words.items() if f"{{{word}}}" in text}
            return text.format(*names, **said)
    return None


# --- columns ----------------------------------------------------------------------------------------------


def _wrapping(text: str) -> dict[str, str]:
    """Return a column of CUDA for arithmetic: C++ leaves open what numbers with a sign overflow to."""
    unsigned = text.replace("{0}", "({w}){0}").replace("{1}", "({w}){1}")
    return {"fU": text, "iu": f"({{t}})({unsigned})"}


def _shifted(left: bool, cuda: bool) -> Column:
    def column(operation: Operation, dtypes: Dtypes) -> dict[str, str]:
        by = operation.operands[1]
        if type(by) is not int or not 0 <= by < 8 * dtypes[-1].itemsize:
            return {}
        if cuda:
            return {"iu": f"({{t}})(({{w}}){{0}} << {by})" if left else f"{{0}} >> {by}"}
        return {"iu": "{0} << {1}" if left else "{0} >> {1}"}

    return column


# From some version on NumPy computes x**0.5 as a root, which differs for -0.0 and -inf.
_POWER_HAS_ROOTS = bool(np.signbit(np.power(np.asarray([-0.0]), 0.5))[0])


def _power(operation: Operation, dtypes: Dtypes) -> dict[str, str]:
    by = operation.operands[1]
    if type(by) in (int, float) and by == 2:
        return {"f": "{0} * {0}"}
    if type(by) in (int, float) and by == 0.5 and _POWER_HAS_ROOTS:
        return {"f": "math.sqrt({0})"}
    return {"s": "{0} ** {1}"}


def _power_on_cuda(operation: Operation, dtypes: Dtypes) -> dict[str, str]:
    by = operation.operands[1]
    if type(by) in (int, float) and by in (2, 3):
        return {"f": " * ".join(["{0}"] * int(by))}
    return {"f": "pow{f}({0}, {1})"}


def _cast(operation: Operation, dtypes: Dtypes) -> dict[str, str]:
    given, made = dtypes
    if given == made:
        return {"biuf": "{0}"}
    if made.kind == "b":
        return {"biuf": "{0} != 0"}
    # What NaN and infinities become as whole numbers depends on the instruction.
    return {"biu" if made.kind != "f" else "biuf": f"np.{made.name}({{0}})"}


def _cast_on_cuda(operation: Operation, dtypes: Dtypes) -> dict[str, str]:
    return {"biuf": "{0} != 0" if dtypes[-1].kind == "b" else "({made}){0}"}


def _as_given(given: list[Any], made: np.dtype[Any]) -> Dtypes | None:
    return [given[0], made] if isinstance(given[0], np.dtype) else None


def _kept(given: list[Any], made: np.dtype[Any]) -> Dtypes | None:
    return [made, np.dtype(bool), made] if given == [made, np.dtype(bool)] else None


def _selected(given: list[Any], made: np.dtype[Any]) -> Dtypes | None:
    known = len(given) == 3 and given[0] == np.dtype(bool)
    return [np.dtype(bool), made, made, made] if known else None


# --- the table --------------------------------------------------------------------------------------------

_Row = Elementwise
# Alike in Python and C++.
_DIVIDED, _NAN, _INVERTED = {"f": "{0} / {1}"}, {"f": "{0} != {0}"}, {"iu": "~{0}"}
_AND, _OR, _XOR = ({"biu": f"{{0}} {sign} {{1}}"} for sign in "&|^")

ELEMENTWISE: dict[str, Elementwise] = {
    # Arithmetic.
    "add": _Row(np.add, {"iuf": "{0} + {1}"}, _wrapping("{0} + {1}")),
    "subtract": _Row(np.subtract, {"iuf": "{0} - {1}"}, _wrapping("{0} - {1}")),
    "multiply": _Row(np.multiply, {"iuf": "{0} * {1}"}, _wrapping("{0} * {1}")),
    "divide": _Row(np.divide, _DIVIDED, _DIVIDED, costly=True),
    "floor_divide": _Row(np.floor_divide, costly=True),
    "remainder": _Row(np.remainder, costly=True),
    "positive": _Row(None, {"iuf": "{0}"}, _wrapping("{0}")),
    "negative": _Row(np.negative, {"if": "-{0}"}, _wrapping("-{0}")),
    "square": _Row(np.square, {"iuf": "{0} * {0}"}, _wrapping("{0} * {0}")),
    "reciprocal": _Row(np.reciprocal, {"f": "{one} / {0}"}, {"f": "1 / {0}"}, costly=True),
    "pow": _Row(np.power, _power, _power_on_cuda, costly=True),
    "abs": _Row(
        np.absolute,
        {"if": "abs({0})"},
        {"f": "fabs{f}({0})", "i": "{0} < 0 ? ({t})(-({w}){0}) : {0}"},
    ),
    "sign": _Row(
        np.sign,
        {
            "if": "select({0} > {zero}, {one}, select({0} < {zero}, {minus}, "
            "select({0} == {zero}, {zero}, {0})))"
        },
        {"if": "{0} > 0 ? 1 : {0} < 0 ? -1 : {0} == 0 ? 0 : {0}"},
    ),
    "maximum": _Row(
        np.maximum,
        {"f": "select(({0} > {1}) | ({0} != {0}), {0}, {1})", "iu": "select(({0} > {1}), {0}, {1})"},
        {"iuf": "Largest::join({0}, {1})"},
    ),
    "minimum": _Row(
        np.minimum,
        {"f": "select(({0} < {1}) | ({0} != {0}), {0}, {1})", "iu": "select(({0} < {1}), {0}, {1})"},
        {"iuf": "Smallest::join({0}, {1})"},
    ),
    # Comparisons and logic.
    "equal": _Row(np.equal, {"biuf": "{0} == {1}"}, {"biuf": "{0} == {1}"}),
    "not_equal": _Row(np.not_equal, {"biuf": "{0} != {1}"}, {"biuf": "{0} != {1}"}),
    "less": _Row(np.less, {"iuf": "{0} < {1}"}, {"biuf": "{0} < {1}"}),
    "less_equal": _Row(np.less_equal, {"iuf": "{0} <= {1}"}, {"biuf": "{0} <= {1}"}),
    "greater": _Row(np.greater, {"iuf": "{0} > {1}"}, {"biuf": "{0} > {1}"}),
    "greater_equal": _Row(np.greater_equal, {"iuf": "{0} >= {1}"}, {"biuf": "{0} >= {1}"}),
    "logical_and": _Row(
        np.logical_and, {"biuf": "({0} != {zero}) & ({1} != {zero})"}, {"biuf": "({0} != 0) & ({1} != 0)"}
    ),
    "logical_or": _Row(
        np.logical_or, {"biuf": "({0} != {zero}) | ({1} != {zero})"}, {"biuf": "({0} != 0) | ({1} != 0)"}
    ),
    "logical_xor": _Row(
        np.logical_xor, {"biuf": "({0} != {zero}) != ({1} != {zero})"}, {"biuf": "({0} != 0) != ({1} != 0)"}
    ),
    "logical_not": _Row(np.logical_not, {"biuf": "{0} == {zero}"}, {"biuf": "{0} == 0"}),
    "isnan": _Row(np.isnan, _NAN, _NAN),
    "isinf": _Row(np.isinf, {"f": "abs({0}) == np.inf"}, {"f": "fabs{f}({0}) == {inf}"}),
    "isfinite": _Row(np.isfinite, {"f": "abs({0}) < np.inf"}, {"f": "fabs{f}({0}) < {inf}"}),
    "signbit": _Row(np.signbit, None, {"f": "signbit({0})"}),
    # Choices and casts, which are no ufuncs.
    "where": _Row(None, {"b": "select({0}, {1}, {2})"}, {"b": "{0} ? {1} : {2}"}, dtypes=_selected),
    "keep": _Row(None, {"biuf": "select({1}, {0}, {zero})"}, {"biuf": "{1} ? {0} : 0"}, dtypes=_kept),
    "astype": _Row(None, _cast, _cast_on_cuda, dtypes=_as_given),
    # Bits.
    "bitwise_and": _Row(np.bitwise_and, _AND, _AND),
    "bitwise_or": _Row(np.bitwise_or, _OR, _OR),
    "bitwise_xor": _Row(np.bitwise_xor, _XOR, _XOR),
    "bitwise_invert": _Row(np.invert, _INVERTED, _INVERTED),
    "bitwise_left_shift": _Row(np.left_shift, _shifted(True, False), _shifted(True, True)),
    "bitwise_right_shift": _Row(np.right_shift, _shifted(False, False), _shifted(False, True)),
    # Rounding, and neighbours of numbers.
    "floor": _Row(np.floor, {"f": "np.floor({0})"}, {"f": "floor{f}({0})"}),
    "ceil": _Row(None, {"f": "np.ceil({0})"}, {"f": "ceil{f}({0})"}),
    "trunc": _Row(None, {"f": "np.trunc({0})"}, {"f": "trunc{f}({0})"}),
    "copysign": _Row(np.copysign, {"f": "math.copysign({0}, {1})"}, {"f": "copysign{f}({0}, {1})"}),
    "nextafter": _Row(np.nextafter, None, {"f": "nextafter{f}({0}, {1})"}),
    "conj": _Row(np.conjugate),
    # Roots, exponentials and logarithms. Those that numba has of its own become vector code.
    "sqrt": _Row(np.sqrt, {"f": "math.sqrt({0})"}, {"f": "sqrt{f}({0})"}, costly=True),
    "hypot": _Row(np.hypot, None, {"f": "hypot{f}({0}, {1})"}),
    "exp": _Row(np.exp, {"f": "exp_{t}({0})"}, {"f": "exp{f}({0})"}, costly=True),
    "expm1": _Row(np.expm1, {"f": "expm1_{t}({0})"}, {"f": "expm1{f}({0})"}, costly=True),
    "log": _Row(np.log, {"f": "log_{t}({0})"}, {"f": "log{f}({0})"}, costly=True),
    "log1p": _Row(np.log1p, {"f": "log1p_{t}({0})"}, {"f": "log1p{f}({0})"}, costly=True),
    "tanh": _Row(np.tanh, {"f": "tanh_{t}({0})"}, {"f": "tanh{f}({0})"}, costly=True),
    "erf": _Row(None, {"f": "math.erf({0})"}, {"f": "erf{f}({0})"}, costly=True, dtypes=_as_given),
    "logaddexp": _Row(np.logaddexp, None, {"f": "log_add_exp({0}, {1})"}),
    "atan2": _Row(np.arctan2, None, {"f": "atan2{f}({0}, {1})"}),
    # The C library's, one number at a time: a gain in small loops only, where a call of NumPy costs more.
    "log2": _Row(np.log2, {"s": "math.log2({0})"}, {"f": "log2{f}({0})"}, costly=True),
    "log10": _Row(np.log10, {"s": "math.log10({0})"}, {"f": "log10{f}({0})"}, costly=True),
    "sin": _Row(np.sin, {"s": "math.sin({0})"}, {"f": "sin{f}({0})"}, costly=True),
    "cos": _Row(np.cos, {"s": "math.cos({0})"}, {"f": "cos{f}({0})"}, costly=True),
    "tan": _Row(np.tan, {"s": "math.tan({0})"}, {"f": "tan{f}({0})"}, costly=True),
    "asin": _Row(np.arcsin, {"s": "math.asin({0})"}, {"f": "asin{f}({0})"}, costly=True),
    "acos": _Row(np.arccos, {"s": "math.acos({0})"}, {"f": "acos{f}({0})"}, costly=True),
    "atan": _Row(np.arctan, {"s": "math.atan({0})"}, {"f": "atan{f}({0})"}, costly=True),
    "sinh": _Row(np.sinh, {"s": "math.sinh({0})"}, {"f": "sinh{f}({0})"}, costly=True),
    "cosh": _Row(np.cosh, {"s": "math.cosh({0})"}, {"f": "cosh{f}({0})"}, costly=True),
    "asinh": _Row(np.arcsinh, {"s": "math.asinh({0})"}, {"f": "asinh{f}({0})"}, costly=True),
    "acosh": _Row(np.arccosh, {"s": "math.acosh({0})"}, {"f": "acosh{f}({0})"}, costly=True),
    "atanh": _Row(np.arctanh, {"s": "math.atanh({0})"}, {"f": "atanh{f}({0})"}, costly=True),
}
"""By the names of the standard. A new elementwise function is one more row."""
