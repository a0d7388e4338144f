"""The writing of straight-line NumPy code for a program whose memory is planned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.program.lowerings.numpy.layout import Layout
from xpnet.program.passes.memory import Memory
from xpnet.program.program import Operation, Program, Ref

__all__ = ["UFUNCS", "Writer", "plannable"]

# Functions that NumPy has as ufuncs: they write into out=, which may be an operand's memory.
UFUNCS: dict[str, Any] = {
    "abs": np.absolute, "acos": np.arccos, "acosh": np.arccosh, "add": np.add, "asin": np.arcsin,
    "asinh": np.arcsinh, "atan": np.arctan, "atan2": np.arctan2, "atanh": np.arctanh,
    "bitwise_and": np.bitwise_and, "bitwise_invert": np.invert, "bitwise_left_shift": np.left_shift,
    "bitwise_or": np.bitwise_or, "bitwise_right_shift": np.right_shift, "bitwise_xor": np.bitwise_xor,
    "conj": np.conjugate, "copysign": np.copysign, "cos": np.cos, "cosh": np.cosh, "divide": np.divide,
    "equal": np.equal, "exp": np.exp, "expm1": np.expm1, "floor": np.floor,
    "floor_divide": np.floor_divide, "greater": np.greater, "greater_equal": np.greater_equal,
    "hypot": np.hypot, "isfinite": np.isfinite, "isinf": np.isinf, "isnan": np.isnan, "less": np.less,
    "less_equal": np.less_equal, "log": np.log, "log10": np.log10, "log1p": np.log1p, "log2": np.log2,
    "logaddexp": np.logaddexp, "logical_and": np.logical_and, "logical_not": np.logical_not,
    "logical_or": np.logical_or, "logical_xor": np.logical_xor, "maximum": np.maximum,
    "minimum": np.minimum, "multiply": np.multiply, "negative": np.negative, "nextafter": np.nextafter,
    "not_equal": np.not_equal, "pow": np.power, "reciprocal": np.reciprocal, "remainder": np.remainder,
    "sign": np.sign, "signbit": np.signbit, "sin": np.sin, "sinh": np.sinh, "sqrt": np.sqrt,
    "square": np.square, "subtract": np.subtract, "tan": np.tan, "tanh": np.tanh,
}  # fmt: skip
_REDUCTIONS = {"sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce}
_BITS: dict[str, Any] = {"float32": np.int32, "float64": np.int64, "float16": np.int16}


def plannable(program: Program) -> set[int]:
    """Return the results that can be written into memory of our choice."""
    return {operation.results[0] for operation in program.operations if _writes(operation, program)}


def _writes(operation: Operation, program: Program) -> bool:
    made = program.values[operation.results[0]]
    if operation.many or operation.name in ("where", "astype", "concat") or operation.name in UFUNCS:
        return not operation.many and not operation.options.keys() - {"axis", "copy"}
    if operation.name == "keep":
        return made.dtype in _BITS
    if operation.name == "matmul":
        return len(made.shape) >= 2
    if operation.name in _REDUCTIONS:
        x = operation.operands[0]
        known = program.values[x.number].dtype if type(x) is Ref else ""
        return known == made.dtype and "dtype" not in operation.options and len(operation.operands) == 1
    return False


class Writer:
    """Writes the function ``run``: the inputs are its arguments, everything else is a name in its globals."""

    def __init__(self, program: Program, layout: Layout, memory: Memory, pieces: list[np.ndarray]):
        self._program, self._layout = program, layout
        self._lines: list[str] = []
        self._names: dict[str, Any] = {"empty": np.empty, "copyto": np.copyto}
        self._static: dict[int, np.ndarray] = {}
        for n, place in memory.slot_of.items():
            value = program.values[n]
            self._static[n] = pieces[place][: value.bytes].view(value.dtype_object).reshape(value.shape)
        self._allocated: set[int] = set()
        for n, (joined, start, stop) in layout.pieces.items():
            if joined in self._static:
                self._static[n] = self._static[joined][start:stop].reshape(program.values[n].shape)

    def write(self) -> tuple[str, dict[str, Any]]:
        """Return the source, and the names that it uses."""
        for operation in self._program.operations:
            self._operation(operation)
        for position, given in self._layout.copied.items():
            self._lines.append(f"copyto(v{given}, {self._text(self._program.outputs[position])})")
        copied = {p: Ref(n) for p, n in self._layout.copied.items()}
        results = [self._text(copied.get(i, x)) for i, x in enumerate(self._program.outputs)]
        head = f"def run({', '.join(f'v{n}' for n in self._program.inputs)}):"
        lines = [head, *(f"    {line}" for line in self._lines), f"    return [{', '.join(results)}]"]
        return "\n".join(lines) + "\n", self._names

    def _operation(self, operation: Operation) -> None:
        n = operation.results[0]
        if n in self._layout.views:
            self._view(operation, n)
        elif n in self._static or n in self._layout.outputs:
            self._computed(operation, n)
        else:
            made = ", ".join(f"v{n}" for n in operation.results)
            self._lines.append(f"{made} = {self._called(operation)}")

    def _view(self, operation: Operation, n: int) -> None:
        source = operation.operands[0].number
        if source in self._static:
            self._static[n] = operation.function(
                self._static[source], *operation.operands[1:], **operation.options
            )
        else:
            self._lines.append(f"v{n} = {self._called(operation)}")

    def _computed(self, operation: Operation, n: int) -> None:
        if n in self._layout.outputs and n not in self._allocated:
            self._allocated.add(n)
            if n in self._layout.donated:
                self._lines.append(f"v{n} = v{self._layout.donated[n]}")
            else:
                value = self._program.values[n]
                dtype = self._constant(value.dtype_object)
                self._lines.append(f"v{n} = empty({value.shape!r}, {dtype})")
        out = self._text(Ref(n))
        operands = [self._text(x) for x in operation.operands]
        name, options = operation.name, operation.options
        if name in UFUNCS:
            self._lines.append(f"{self._constant(UFUNCS[name])}({', '.join(operands)}, out={out})")
        elif name == "matmul":
            self._lines.append(f"{self._constant(np.matmul)}({', '.join(operands)}, out={out})")
        elif name in _REDUCTIONS:
            axis, kept = options.get("axis"), bool(options.get("keepdims", False))
            reduce = self._constant(_REDUCTIONS[name])
            self._lines.append(f"{reduce}({operands[0]}, axis={axis!r}, keepdims={kept}, out={out})")
        elif name == "keep":
            bits, times = self._constant(_BITS[self._program.values[n].dtype]), self._constant(np.multiply)
            whole, made = f"{operands[0]}.view({bits})", f"{out}.view({bits})"
            self._lines.append(f"{times}({whole}, {operands[1]}, out={made})")
        elif name == "astype":
            self._lines.append(f"copyto({out}, {operands[0]}, 'unsafe')")
        elif name == "where":
            self._lines.append(f"copyto({out}, {operands[2]})")
            self._lines.append(f"copyto({out}, {operands[1]}, where={operands[0]})")
        else:
            self._joined(operation, n, operands)

    def _joined(self, operation: Operation, n: int, operands: list[str]) -> None:
        """Copy those pieces that were not computed in their place."""
        axis, stop = operation.options.get("axis", 0), 0
        if axis != 0 or any(len(self._shape(x)) != 1 for x in operation.operands):
            joined = self._constant(np.concatenate)
            self._lines.append(f"{joined}([{', '.join(operands)}], axis={axis!r}, out={self._text(Ref(n))})")
            return
        for x, text in zip(operation.operands, operands, strict=True):
            start, stop = stop, stop + math.prod(self._shape(x))
            inside = type(x) is Ref and self._is_piece(x.number, n, start)
            if not inside and start < stop:
                self._lines.append(f"copyto({self._text(Ref(n))}[{start}:{stop}], {text})")

    def _is_piece(self, number: int, joined: int, start: int) -> bool:
        """True for a value that was computed in its place in the vector ``joined``."""
        if number in self._static and joined in self._static:
            place = self._static[joined][start:]
            return self._static[number].__array_interface__["data"][0] == place.__array_interface__["data"][0]
        return False

    def _called(self, operation: Operation) -> str:
        options = [f", {name}={self._text(x)}" for name, x in operation.options.items()]
        operands = ", ".join(self._text(x) for x in operation.operands)
        return f"{self._constant(operation.function)}({operands}{''.join(options)})"

    def _shape(self, x: Any) -> tuple[int, ...]:
        return self._program.values[x.number].shape if type(x) is Ref else tuple(x.shape)

    # --- names -----------------------------------------------------------------------------------------

    def _text(self, x: Any) -> str:
        if type(x) is Ref:
            if x.number in self._static:
                self._names[f"v{x.number}"] = self._static[x.number]
            return f"v{x.number}"
        if isinstance(x, (list, tuple)):
            inside = ", ".join(self._text(item) for item in x)
            return f"[{inside}]" if isinstance(x, list) else f"({inside}{',' if len(x) == 1 else ''})"
        if x is None or type(x) in (bool, int) or (type(x) is float and math.isfinite(x)):
            return repr(x)
        return self._constant(x)

    def _constant(self, x: Any) -> str:
        for name, known in self._names.items():
            if known is x:
                return name
        name = f"c{len(self._names)}"
        self._names[name] = x
        return name
