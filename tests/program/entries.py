"""Elementwise functions, and numbers on which compiled code has to do what NumPy does."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINARY", "DTYPES", "NUMBERS", "UNARY", "applies", "assert_close", "entries"]

UNARY = [
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "cos", "cosh", "exp",
    "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "logical_not",
    "negative", "positive", "reciprocal", "sign", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh",
    "trunc",
]  # fmt: skip
BINARY = [
    "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "copysign", "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal",
    "logaddexp", "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter",
    "not_equal", "pow", "remainder", "subtract",
]  # fmt: skip
NUMBERS = {"f": [2.0, 0.5, -1, 0, np.inf, np.nan], "i": [2, 1, 0, -1], "u": [2, 1, 0], "b": [True]}
DTYPES = ["float32", "float64", "int64", "int32", "int8", "uint32", "uint64", "bool"]


def entries(dtype: str) -> np.ndarray:
    """Return numbers of a dtype: the special ones, and some others."""
    kind = np.dtype(dtype).kind
    if kind == "f":
        info = np.finfo(dtype)
        special = [
            0.0,
            -0.0,
            1,
            -1,
            np.inf,
            -np.inf,
            np.nan,
            info.max,
            info.tiny,
            info.tiny / 4,
            -info.tiny / 4,
        ]
        return np.array([*special, 2.5, -2.5, 0.3, -0.3, 100, -100, 1e-9, -1e-9], dtype=dtype)
    if kind == "b":
        return np.array([True, False])
    info = np.iinfo(dtype)
    return np.array([0, 1, 2, 3, 5, info.max, info.min, *([-1, -2, -3] if kind == "i" else [])], dtype=dtype)


def assert_close(a: np.ndarray, b: np.ndarray, ulps: float, least: float = 0.0) -> None:
    """Check that ``b`` has the dtype, shape, NaN, signs and, within ``ulps``, the values of ``a``.

    Differences up to ``least`` are none.
    """
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if a.dtype.kind != "f" or not a.size:
        np.testing.assert_array_equal(a, b)
        return
    finite = np.isfinite(a)
    np.testing.assert_array_equal(np.where(finite, 0, a), np.where(np.isfinite(b), 0, b))
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))
    size = np.spacing(np.abs(np.where(finite, a, 1)))
    with np.errstate(all="ignore"):
        assert (np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)) <= ulps * size + least).all()


def applies(function: Any, *operands: Any) -> bool:
    """True if NumPy has the function for these operands."""
    try:
        function(*operands)
    except (TypeError, OverflowError, ValueError):
        return False
    return True
