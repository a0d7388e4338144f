"""Groups of recorded operations that are one operation of ONNX, as a table of expressions.

xpnet records compound functions, such as the sigmoid, as their parts; here they are found again, in layers of
users' own too. A row is tried at each operation, from the last one to the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.program.program import Operation, Program, Ref

__all__ = ["PATTERNS", "SCALED", "Match", "Pattern", "matches"]


@dataclass(frozen=True)
class Op:
    """An operation of this name with these operands and options."""

    name: str
    operands: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Some:
    """Any value; the same one wherever the name stands. A constant, or a number, if so said."""

    name: str
    kind: str = "value"


@dataclass(frozen=True)
class Pattern:
    """An operation of ONNX and what it is written as.

    Attributes:
        op: of ONNX; its inputs are the values, then the constants. `SCALED` is a product and a sum.
        expression: the recorded operations.
        attributes: made of the numbers that were found.
        dtypes: those that runtimes compute it in.
        fits: whether the constants are such as it takes.
    """

    op: str
    expression: Op
    attributes: Callable[[dict[str, Any]], dict[str, Any]] = lambda found: {}
    dtypes: tuple[str, ...] = ("float32", "float64")
    fits: Callable[[dict[str, Any]], bool] = lambda found: True


@dataclass(frozen=True)
class Match:
    """A pattern that was found: the values and constants by name, and the operations inside."""

    pattern: Pattern
    found: dict[str, Any]


def _op(name: str, *operands: Any, **options: Any) -> Op:
    return Op(name, operands, options)


def _along(name: str, x: Any) -> Op:
    return _op(name, x, axis=-1, keepdims=True)


_X, _A = Some("x"), Some("a", "number")
_SMALL = _op("exp", _op("negative", _op("abs", _X)))
_POSITIVE = _op("greater", _X, 0)
_ELU = _op("where", _POSITIVE, _X, _op("multiply", _A, _op("expm1", _op("where", _POSITIVE, 0.0, _X))))
_P, _Q = _op("exp", _op("minimum", _X, 0)), _op("exp", _op("negative", _op("maximum", _X, 0)))
_2Q = _op("multiply", 2, _Q)
_MISH = _op("multiply", _P, _op("add", _P, _2Q))
_SHIFTED = _op("subtract", _X, _along("max", _X))
_EXP = _op("exp", _SHIFTED)
_CENTRED = _op("subtract", _X, _along("mean", _X))
_ROOT = _op("sqrt", _op("add", _along("var", _X), _A))
_DEVIATION = Some("deviation", "constant")
_SCALE, _SHIFT = Some("scale", "constant"), Some("shift", "constant")


SCALED = "Scaled"
"""(x - mean) / deviation * scale + shift with constants: two nodes."""


def _are_rows(found: dict[str, Any]) -> bool:
    return all(x.ndim == 1 for x in found.values() if isinstance(x, np.ndarray))


PATTERNS = (
    Pattern(
        "Gemm",
        _op("add", _op("matmul", _X, Some("weight", "constant")), Some("bias", "constant")),
        fits=lambda found: found["weight"].ndim == 2 and found["bias"].ndim == 1,
    ),
    Pattern("Relu", _op("maximum", _X, 0)),
    Pattern(
        "LeakyRelu",
        _op("where", _POSITIVE, _X, _op("multiply", _X, _A)),
        lambda found: {"alpha": float(found["a"])},
        ("float32",),
    ),
    Pattern(
        "Selu",
        _op("multiply", Some("gamma", "number"), _ELU),
        lambda found: {"alpha": float(found["a"]), "gamma": float(found["gamma"])},
        ("float32",),
    ),
    Pattern(
        "Elu",
        _ELU,
        lambda found: {"alpha": float(found["a"])},
        ("float32",),
    ),
    Pattern(
        "Gelu",
        _op(
            "multiply",
            _op("multiply", 0.5, _X),
            _op("add", 1, _op("erf", _op("multiply", _X, math.sqrt(0.5)))),
        ),
        dtypes=("float32",),
    ),
    Pattern("Sigmoid", _op("divide", _op("exp", _op("minimum", _X, 0)), _op("add", 1, _SMALL))),
    Pattern(
        "Mish",
        _op("multiply", _X, _op("divide", _MISH, _op("add", _MISH, _op("multiply", _2Q, _Q)))),
        dtypes=("float32",),
    ),
    Pattern("Softplus", _op("add", _op("maximum", _X, 0), _op("log1p", _SMALL)), dtypes=("float32",)),
    Pattern("Softmax", _op("divide", _EXP, _along("sum", _EXP)), lambda found: {"axis": -1}),
    Pattern(
        "LogSoftmax",
        _op("subtract", _SHIFTED, _op("log", _along("sum", _EXP))),
        lambda found: {"axis": -1},
    ),
    Pattern(
        "LayerNormalization",
        _op("add", _op("multiply", _op("divide", _CENTRED, _ROOT), _SCALE), _SHIFT),
        lambda found: {"axis": -1, "epsilon": float(found["a"])},
        fits=_are_rows,
    ),
    Pattern(
        SCALED,
        _op(
            "add",
            _op("multiply", _op("divide", _op("subtract", _X, Some("mean", "constant")), _DEVIATION), _SCALE),
            _SHIFT,
        ),
        fits=_are_rows,
    ),
)
"""Longer expressions are tried at their last operation, so their parts are not found by themselves."""


def matches(program: Program, dtypes: dict[int, str]) -> tuple[dict[int, Match], set[int]]:
    """Return the patterns in a program, by their last value, and the values that are computed in them alone.

    Args:
        program: whose operations make one value each.
        dtypes: of the values.
    """
    made = {n: operation for operation in program.operations for n in operation.results}
    uses = Counter(n for operation in program.operations for n in operation.reads())
    uses.update(x.number for x in program.outputs if type(x) is Ref)
    found: dict[int, Match] = {}
    inside: set[int] = set()
    for operation in reversed(program.operations):
        (last, *_) = operation.results
        if last in inside:
            continue
        for pattern in PATTERNS:
            matcher = _Matcher(made)
            if dtypes[last] not in pattern.dtypes or not matcher.fits(pattern.expression, operation):
                continue
            if all(uses[n] == count for n, count in matcher.passed.items()) and pattern.fits(matcher.found):
                found[last] = Match(pattern, matcher.found)
                inside |= matcher.passed.keys()
                break
    return found, inside


class _Matcher:
    def __init__(self, made: dict[int, Operation]):
        self.found: dict[str, Any] = {}
        self.passed: Counter[int] = Counter()  # values inside, and how often each is used there
        self._made = made
        self._seen: dict[int, Op] = {}

    def fits(self, wanted: Op, operation: Operation) -> bool:
        if operation.name != wanted.name or len(operation.operands) != len(wanted.operands):
            return False
        given = {"correction": 0, **operation.options} if wanted.name == "var" else operation.options
        if given != ({"correction": 0, **wanted.options} if wanted.name == "var" else wanted.options):
            return False
        return all(map(self._operand, wanted.operands, operation.operands))

    def _operand(self, wanted: Any, x: Any) -> bool:
        if isinstance(wanted, Op):
            if type(x) is not Ref or x.number not in self._made:
                return False
            self.passed[x.number] += 1
            if x.number in self._seen:  # its own operands count once
                return self._seen[x.number] == wanted
            self._seen[x.number] = wanted
            return self.fits(wanted, self._made[x.number])
        if isinstance(wanted, Some):
            kinds = {"value": type(x) is Ref, "constant": isinstance(x, np.ndarray)}
            if not kinds.get(wanted.kind, type(x) in (int, float)):
                return False
            known = self.found.setdefault(wanted.name, x)
            return known is x or (type(x) is type(known) and not isinstance(x, np.ndarray) and known == x)
        return type(x) in (int, float) and x == wanted
