"""Programs as readable Python: one line of NumPy for each operation, with the layer that it belongs to."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet.export import numpy_functions
from xpnet.export.network import ROWS, Network, cannot, with_parts_of_erf
from xpnet.program.lowerings.operations import ELEMENTWISE
from xpnet.program.program import Operation, Program, Ref

__all__ = ["Code", "code_of"]

_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "floor_divide": "//", "remainder": "%",
    "matmul": "@", "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=",
}  # fmt: skip
# NumPy's functions of the standard's names that a layer's forward pass may call beside elementwise ones.
_FUNCTIONS = frozenset(
    {"all", "any", "argmax", "argmin", "argsort", "broadcast_to", "clip", "concat", "cumulative_sum",
     "expand_dims", "flip", "matrix_transpose", "max", "mean", "min", "moveaxis", "outer", "permute_dims",
     "prod", "repeat", "reshape", "roll", "sort", "squeeze", "stack", "std", "sum", "take",
     "take_along_axis", "tensordot", "tile", "tril", "triu", "var", "vecdot", "where",
     "linalg.vector_norm"}
)  # fmt: skip
_OWN: dict[str, Callable[..., Any]] = {"embedding": numpy_functions.embedding}


@dataclasses.dataclass(frozen=True)
class Code:
    """A network as Python.

    Attributes:
        lines: of the body of a function of ``x`` and ``rows``, which reads the dict ``W``.
        arrays: what the code reads from ``W``, by name.
        functions: that the code calls.
    """

    lines: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    functions: tuple[Callable[..., Any], ...] = ()


def code_of(network: Network) -> Code:
    """Return the code of a network, which computes the same bits as its program on NumPy.

    Raises:
        ConfigError: an operation that cannot be exported; the message names it and its layer.
    """
    program = with_parts_of_erf(network.program, ("float32", "float64"))
    writer = _Writer(program, network.arrays)
    for operation in program.operations:
        writer.write(operation)
    found = zip(network.outputs, program.outputs, strict=True)
    returned = ", ".join(f'"{name}": {writer.text(x)}' for name, x in found)
    lines = *writer.lines(), f"return {{{returned}}}"
    return Code(lines, writer.arrays, tuple(writer.functions.values()))


class _Writer:
    def __init__(self, program: Program, known: dict[str, np.ndarray]):
        self.arrays: dict[str, np.ndarray] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self._named = {id(x): name for name, x in known.items()}
        self._kept: list[np.ndarray] = []  # whose ids are named
        self._values = dict.fromkeys(program.inputs, "x")
        self._written: list[tuple[str, str]] = []  # code and comment

    def lines(self) -> Iterator[str]:
        """Yield the lines, with a comment where a layer begins."""
        before = ""
        for code, comment in self._written:
            if comment and comment != before:
                yield f"# {comment}"
            before = comment
            yield code

    def write(self, operation: Operation) -> None:
        code = self._code(operation)
        names = []
        for n in operation.results:
            self._values[n] = f"v{len(self._values)}"
            names.append(self._values[n])
        made = ", ".join(names) + ("," if operation.many and len(names) == 1 else "")
        self._written.append((f"{made} = {code}", operation.scope.removesuffix("_forward")))

    def _code(self, operation: Operation) -> str:
        name, operands = operation.name, operation.operands
        if name == "getitem":
            return f"{self.text(operands[0])}[{self._index(operands[1])}]"
        given = [self.text(x) for x in operands]
        named = [f"{key}={self.text(value)}" for key, value in operation.options.items()]
        if name in _SIGNS and not named:
            return f"{_inside(given[0])} {_SIGNS[name]} {_inside(given[1])}"
        if name == "negative":
            return f"-{given[0]}"
        if name == "pow" and operation.function is operator.pow:
            return f"{_inside(given[0])} ** {_inside(given[1])}"
        if name in _OWN:
            self.functions[name] = _OWN[name]
            return f"{name}({', '.join(given)})"
        if name == "astype":
            return f"{given[0]}.astype(np.{np.dtype(operands[1]).name})"
        if name not in ELEMENTWISE and name not in _FUNCTIONS:
            raise cannot(operation, "has no counterpart in NumPy alone")
        if not hasattr(np, name.partition(".")[0]):
            raise cannot(operation, "has no counterpart in NumPy alone")
        if name in ("concat", "stack"):  # rules take their arrays one by one
            given = [f"[{', '.join(given)}]"]
        return f"np.{name}({', '.join([*given, *named])})"

    def _index(self, index: Any) -> str:
        return ", ".join(map(self._part, index if isinstance(index, tuple) else (index,)))

    def _part(self, part: Any) -> str:
        if isinstance(part, slice):
            ends = ["" if x is None else str(x) for x in (part.start, part.stop, part.step)]
            return ":".join(ends if part.step is not None else ends[:2])
        return "..." if part is Ellipsis else self.text(part)

    def text(self, x: Any) -> str:
        """Return an operand as Python."""
        if type(x) is Ref:
            return self._values[x.number]
        if x is ROWS:
            return "rows"
        if isinstance(x, (list, tuple)):
            inside = ", ".join(map(self.text, x)) + ("," if len(x) == 1 and isinstance(x, tuple) else "")
            return f"[{inside}]" if isinstance(x, list) else f"({inside})"
        if isinstance(x, (np.ndarray, np.generic)):
            return f"W[{json.dumps(self._array(np.asarray(x)))}]"
        if isinstance(x, (type, np.dtype)):
            return f"np.{np.dtype(x).name}"
        if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))):
            return f'float("{x}")'
        return repr(x)

    def _array(self, x: np.ndarray) -> str:
        if id(x) not in self._named:
            self._named[id(x)] = f"constant{len(self._kept)}"
            self._kept.append(x)
        name = self._named[id(x)]
        self.arrays[name] = np.ascontiguousarray(x) if x.ndim else x
        return name


def _inside(text: str) -> str:
    """Return an operand of a sign: a negative number in brackets."""
    return f"({text})" if text.startswith("-") else text
