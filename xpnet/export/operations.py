"""Recorded operations as nodes of ONNX: one row each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.export.graph import Graph
from xpnet.export.network import ROWS, cannot, with_parts_of_erf
from xpnet.export.patterns import SCALED, Match, matches
from xpnet.program.program import Operation, Program, Ref

__all__ = ["OPERATIONS", "Nodes", "add_program"]

_FLOAT_ONLY = ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan")


@dataclass(frozen=True)
class Nodes:
    """An operation on its way into a graph.

    Attributes:
        graph: where it goes.
        operation: the recorded one.
        given: names of its operands that are values or arrays, in order; None for numbers and the rest.
        dtypes: of these operands; None likewise.
        shapes: likewise, in the recording.
        made: dtype of the result.
        shape: of the result in the recording.
    """

    graph: Graph
    operation: Operation
    given: list[str | None]
    dtypes: list[str | None]
    shapes: list[tuple[int, ...] | None]
    made: str
    shape: tuple[int, ...]

    def cast(self, i: int, dtype: str) -> str:
        """Return the name of operand ``i`` in a dtype; numbers become constants."""
        name, own = self.given[i], self.dtypes[i]
        if name is None:
            return self.graph.constant(self.operation.operands[i], dtype)
        return name if own == dtype else self.to(name, dtype)

    def to(self, name: str, dtype: str) -> str:
        """Return a value in another dtype."""
        from onnx import helper

        return str(self.graph.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def all(self, dtype: str) -> list[str]:
        """Return all operands in a dtype."""
        return [self.cast(i, dtype) for i in range(len(self.operation.operands))]

    def argument(self, i: int, name: str, default: Any = None) -> Any:
        """Return an argument given by position or by name."""
        operands = self.operation.operands
        return operands[i] if len(operands) > i else self.operation.options.get(name, default)

    def ints(self, *values: int) -> str:
        """Return a constant of whole numbers."""
        return self.graph.constant(list(values), "int64")

    @property
    def common(self) -> str:
        """The dtype in which operands meet."""
        known = [np.dtype(x) for x in self.dtypes if x is not None]
        numbers = [x for x in self.operation.operands if isinstance(x, (bool, int, float))]
        return str(np.result_type(*known, *numbers))

    @property
    def rank(self) -> int:
        """The number of axes of the first operand."""
        return len(self.shapes[0] or ())

    @property
    def x(self) -> str:
        """The first operand."""
        return self.cast(0, self.dtypes[0] or self.made)


Row = Callable[[Nodes], str]


def _same(op: str, **attributes: Any) -> Row:
    """Operands and result have one dtype."""

    def row(n: Nodes) -> str:
        if op in _FLOAT_ONLY and n.made == "float64":
            raise cannot(n.operation, "is computed in float32 alone by onnxruntime; train with that dtype")
        return str(n.graph.add(op, *n.all(n.made), **attributes))

    return row


def _compared(op: str) -> Row:
    return lambda n: str(n.graph.add(op, *n.all(n.common)))


def _logical(op: str) -> Row:
    return lambda n: str(n.graph.add(op, *n.all("bool")))


def _of_float(op: str) -> Row:
    """A test of an entry, of which whole numbers have none."""
    floating = ("float32", "float64")
    return lambda n: str(n.graph.add(op, n.x if n.dtypes[0] in floating else n.cast(0, "float32")))


def _written(*steps: tuple[Any, ...]) -> Row:
    """Nodes one after another; operands are "x", "y", numbers in the result's dtype, and earlier results."""

    def row(n: Nodes) -> str:
        known = dict(zip("xy", n.all(n.made), strict=False))
        made = ""
        for number, (op, *operands) in enumerate(steps):
            names = [known[x] if isinstance(x, str) else n.graph.constant(x, n.made) for x in operands]
            made = known[f"#{number}"] = str(n.graph.add(op, *names))
        return made

    return row


def _not_equal(n: Nodes) -> str:
    return str(n.graph.add("Not", n.graph.add("Equal", *n.all(n.common))))


def _is_finite(n: Nodes) -> str:
    odd = n.graph.add("Or", _of_float("IsInf")(n), _of_float("IsNaN")(n))
    return str(n.graph.add("Not", odd))


def _where(n: Nodes) -> str:
    return str(n.graph.add("Where", n.cast(0, "bool"), n.cast(1, n.made), n.cast(2, n.made)))


def _clip(n: Nodes) -> str:
    made = n.x
    for i, op in ((1, "Max"), (2, "Min")):
        if n.argument(i, "") is not None:
            made = str(n.graph.add(op, made, n.cast(i, n.made)))
    return made


def _reduced(op: str) -> Row:
    def row(n: Nodes) -> str:
        x = n.cast(0, n.made)
        axis, kept = n.argument(1, "axis"), bool(n.operation.options.get("keepdims", False))
        axes = [] if axis is None else [n.ints(*(axis if isinstance(axis, tuple) else (axis,)))]
        return str(n.graph.add(op, x, *axes, keepdims=int(kept)))

    return row


def _variance(n: Nodes) -> str:
    x, options = n.x, n.operation.options
    axis, kept = n.argument(1, "axis"), int(bool(options.get("keepdims", False)))
    axes = [] if axis is None else [n.ints(*(axis if isinstance(axis, tuple) else (axis,)))]
    away = n.graph.add("Sub", x, n.graph.add("ReduceMean", x, *axes, keepdims=1))
    square = n.graph.add("Mul", away, away)
    if not options.get("correction"):
        return str(n.graph.add("ReduceMean", square, *axes, keepdims=kept))
    zeros = n.graph.add("Mul", square, n.graph.constant(0, n.made))
    ones = n.graph.add("Add", zeros, n.graph.constant(1, n.made))
    count = n.graph.add("ReduceSum", ones, *axes, keepdims=kept)
    less = n.graph.add("Sub", count, n.graph.constant(options["correction"], n.made))
    return str(n.graph.add("Div", n.graph.add("ReduceSum", square, *axes, keepdims=kept), less))


def _index_of(op: str) -> Row:
    def row(n: Nodes) -> str:
        axis, kept = n.argument(1, "axis"), bool(n.operation.options.get("keepdims", False))
        if axis is None:
            raise cannot(n.operation, "has no counterpart in ONNX without an axis")
        made = str(n.graph.add(op, n.x, axis=axis, keepdims=int(kept)))
        return made if n.made == "int64" else n.to(made, n.made)

    return row


def _shape(n: Nodes, wanted: Any) -> str:
    """Return a shape in which the number of rows may be."""
    if ROWS not in wanted:
        return n.ints(*wanted)
    parts = [
        n.graph.add("Shape", n.graph.rows, start=0, end=1) if size is ROWS else n.ints(size)
        for size in wanted
    ]
    return str(n.graph.add("Concat", *parts, axis=0))


def _reshape(n: Nodes) -> str:
    wanted = n.argument(1, "shape")
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    if wanted.count(ROWS) == 1 and -1 not in wanted:
        wanted = tuple(-1 if size is ROWS else size for size in wanted)
    return str(n.graph.add("Reshape", n.x, _shape(n, wanted)))


def _broadcast(n: Nodes) -> str:
    return str(n.graph.add("Expand", n.x, _shape(n, n.argument(1, "shape"))))


def _transposed(order: Callable[[Nodes, int], list[int]]) -> Row:
    return lambda n: str(n.graph.add("Transpose", n.x, perm=order(n, n.rank)))


def _axes_moved(n: Nodes, rank: int) -> list[int]:
    source, target = n.argument(1, "source"), n.argument(2, "destination")
    shape = np.moveaxis(np.empty(range(1, rank + 1)), source, target).shape
    return [size - 1 for size in shape]


def _joined(n: Nodes) -> str:
    axis, names = n.operation.options.get("axis", 0), n.all(n.made)
    if axis is None:
        names, axis = [str(n.graph.add("Reshape", x, n.ints(-1))) for x in names], 0
    return str(n.graph.add("Concat", *names, axis=axis))


def _stacked(n: Nodes) -> str:
    axis = n.operation.options.get("axis", 0)
    parts = [n.graph.add("Unsqueeze", x, n.ints(axis)) for x in n.all(n.made)]
    return str(n.graph.add("Concat", *parts, axis=axis))


def _with_axes(op: str) -> Row:
    def row(n: Nodes) -> str:
        axis = n.argument(1, "axis", 0)
        return str(n.graph.add(op, n.x, n.ints(*(axis if isinstance(axis, tuple) else (axis,)))))

    return row


def _taken(n: Nodes) -> str:
    axis = n.argument(2, "axis", 0)
    return str(n.graph.add("Gather", n.x, n.cast(1, "int64"), axis=axis))


def _looked_up(n: Nodes) -> str:
    """Rows of a table for codes; zeros for codes that are no row."""
    dtype = n.dtypes[1] or n.made
    codes, zero = n.cast(1, dtype), n.graph.constant(0, dtype)
    rows = n.to(n.graph.add("Shape", n.x, start=0, end=1), dtype)
    known = n.graph.add("And", n.graph.add("GreaterOrEqual", codes, zero), n.graph.add("Less", codes, rows))
    numbers = n.to(n.graph.add("Where", known, codes, zero), "int64")
    found = n.graph.add("Gather", n.x, numbers, axis=0)
    known = n.graph.add("Unsqueeze", known, n.ints(-1))
    return str(n.graph.add("Where", known, found, n.graph.constant(0, n.made)))


def _part(n: Nodes) -> str:
    """A part of an array, by whole numbers, slices, None and Ellipsis."""
    index = n.operation.operands[1]
    parts = list(index) if isinstance(index, tuple) else [index]
    rank = n.rank
    if any(not isinstance(x, (int, slice, type(None), type(Ellipsis))) or isinstance(x, bool) for x in parts):
        raise cannot(n.operation, "has an index by an array, which has no counterpart in ONNX; use xp.take")
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    given = sum(x is not None and x is not Ellipsis for x in parts)
    place = parts.index(Ellipsis)
    parts[place : place + 1] = [slice(None)] * (rank - given)
    made, axis = n.x, 0
    gone, new = list[int](), list[int]()
    for position, x in enumerate(parts):
        if x is None:
            new.append(position - len(gone))
            continue
        if isinstance(x, int):
            end = x + 1 if x != -1 else np.iinfo(np.int64).max
            if (n.shapes[0] or ())[axis] != 1:
                made = str(n.graph.add("Slice", made, n.ints(x), n.ints(end), n.ints(axis)))
            gone.append(axis)
        elif x != slice(None):
            step = 1 if x.step is None else x.step
            far = np.iinfo(np.int64).max if step > 0 else np.iinfo(np.int64).min
            begin = (0 if step > 0 else np.iinfo(np.int64).max) if x.start is None else x.start
            end = far if x.stop is None else x.stop
            made = str(n.graph.add("Slice", made, n.ints(begin), n.ints(end), n.ints(axis), n.ints(step)))
        axis += 1
    if gone:
        made = str(n.graph.add("Squeeze", made, n.ints(*gone)))
    return str(n.graph.add("Unsqueeze", made, n.ints(*new))) if new else made


def _flipped(n: Nodes) -> str:
    axis = n.argument(1, "axis")
    axes = range(n.rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    made, last = n.x, np.iinfo(np.int64)
    for one in axes:
        made = n.graph.add("Slice", made, n.ints(-1), n.ints(last.min), n.ints(one), n.ints(-1))
    return str(made)


def _product(n: Nodes) -> str:
    return str(n.graph.add("MatMul", *n.all(n.made)))


def _inner(n: Nodes) -> str:
    axis = n.operation.options.get("axis", -1)
    return str(n.graph.add("ReduceSum", n.graph.add("Mul", *n.all(n.made)), n.ints(axis), keepdims=0))


def _cast(n: Nodes) -> str:
    return n.cast(0, n.made)


def _summed(n: Nodes) -> str:
    axis = n.argument(1, "axis")
    along = n.graph.constant(0 if axis is None else axis, "int64")
    return str(n.graph.add("CumSum", n.cast(0, n.made), along))


OPERATIONS: dict[str, Row] = {
    # Arithmetic.
    "add": _same("Add"),
    "subtract": _same("Sub"),
    "multiply": _same("Mul"),
    "divide": _same("Div"),
    "floor_divide": _written(("Div", "x", "y"), ("Floor", "#0")),
    "remainder": _written(("Div", "x", "y"), ("Floor", "#0"), ("Mul", "#1", "y"), ("Sub", "x", "#2")),
    "positive": _same("Identity"),
    "negative": _same("Neg"),
    "square": _written(("Mul", "x", "x")),
    "reciprocal": _same("Reciprocal"),
    "pow": _same("Pow"),
    "abs": _same("Abs"),
    "sign": _same("Sign"),
    "maximum": _same("Max"),
    "minimum": _same("Min"),
    "clip": _clip,
    "matmul": _product,
    "vecdot": _inner,
    # Comparisons and logic.
    "equal": _compared("Equal"),
    "not_equal": _not_equal,
    "less": _compared("Less"),
    "less_equal": _compared("LessOrEqual"),
    "greater": _compared("Greater"),
    "greater_equal": _compared("GreaterOrEqual"),
    "logical_and": _logical("And"),
    "logical_or": _logical("Or"),
    "logical_xor": _logical("Xor"),
    "logical_not": _logical("Not"),
    "isnan": _of_float("IsNaN"),
    "isinf": _of_float("IsInf"),
    "isfinite": _is_finite,
    "where": _where,
    "astype": _cast,
    # Rounding.
    "floor": _same("Floor"),
    "ceil": _same("Ceil"),
    "round": _same("Round"),
    "trunc": _written(("Abs", "x"), ("Floor", "#0"), ("Sign", "x"), ("Mul", "#1", "#2")),
    # Roots, exponentials and logarithms.
    "sqrt": _same("Sqrt"),
    "hypot": _written(("Mul", "x", "x"), ("Mul", "y", "y"), ("Add", "#0", "#1"), ("Sqrt", "#2")),
    "exp": _same("Exp"),
    "expm1": _written(("Exp", "x"), ("Sub", "#0", 1)),
    "log": _same("Log"),
    "log1p": _written(("Add", "x", 1), ("Log", "#0")),
    "log2": _written(("Log", "x"), ("Mul", "#0", 1 / math.log(2))),
    "log10": _written(("Log", "x"), ("Mul", "#0", 1 / math.log(10))),
    "logaddexp": _written(
        ("Max", "x", "y"),
        ("Sub", "x", "y"),
        ("Abs", "#1"),
        ("Neg", "#2"),
        ("Exp", "#3"),
        ("Add", "#4", 1),
        ("Log", "#5"),
        ("Add", "#0", "#6"),
    ),
    "erf": _same("Erf"),
    "sin": _same("Sin"),
    "cos": _same("Cos"),
    "tan": _same("Tan"),
    "asin": _same("Asin"),
    "acos": _same("Acos"),
    "atan": _same("Atan"),
    "sinh": _same("Sinh"),
    "cosh": _same("Cosh"),
    "tanh": _same("Tanh"),
    "asinh": _same("Asinh"),
    "acosh": _same("Acosh"),
    "atanh": _same("Atanh"),
    # Sums and the like.
    "sum": _reduced("ReduceSum"),
    "mean": _reduced("ReduceMean"),
    "max": _reduced("ReduceMax"),
    "min": _reduced("ReduceMin"),
    "prod": _reduced("ReduceProd"),
    "var": _variance,
    "std": lambda n: str(n.graph.add("Sqrt", _variance(n))),
    "argmax": _index_of("ArgMax"),
    "argmin": _index_of("ArgMin"),
    "cumulative_sum": _summed,
    # Shapes and parts.
    "reshape": _reshape,
    "broadcast_to": _broadcast,
    "expand_dims": _with_axes("Unsqueeze"),
    "squeeze": _with_axes("Squeeze"),
    "permute_dims": _transposed(lambda n, rank: list(n.argument(1, "axes"))),
    "matrix_transpose": _transposed(lambda n, rank: [*range(rank - 2), rank - 1, rank - 2]),
    "moveaxis": _transposed(_axes_moved),
    "concat": _joined,
    "stack": _stacked,
    "getitem": _part,
    "take": _taken,
    "embedding": _looked_up,
    "flip": _flipped,
}
"""By the names of the standard. A new operation is one more row."""


def add_program(graph: Graph, program: Program, inputs: list[str]) -> list[str]:
    """Add a program to a graph and return the names of its outputs.

    Args:
        graph: where it goes.
        program: of `xpnet.export.network.network_of`.
        inputs: names of the values that it is given; the first has a row for each row of the batch.

    Raises:
        ConfigError: an operation that cannot be exported; the message names it and its layer.
    """
    program = with_parts_of_erf(program, ("float64",))
    dtypes = {n: value.dtype for n, value in program.values.items()}
    found, inside = matches(program, dtypes)
    names = dict(zip(program.inputs, inputs, strict=True))
    graph.rows = inputs[0]
    for operation in program.operations:
        (number,) = operation.results
        if number in found:
            names[number] = _matched(graph, found[number], names, dtypes[number])
        elif number not in inside:
            row = OPERATIONS.get(operation.name)
            if row is None:
                raise cannot(operation, "has no counterpart in ONNX")
            names[number] = row(_nodes(graph, operation, names, program))
    return [names[x.number] for x in program.outputs]


def _nodes(graph: Graph, operation: Operation, names: dict[int, str], program: Program) -> Nodes:
    given: list[str | None] = []
    dtypes: list[str | None] = []
    shapes: list[tuple[int, ...] | None] = []
    for x in operation.operands:
        array = isinstance(x, (np.ndarray, np.generic))
        known = program.values[x.number] if type(x) is Ref else np.asarray(x) if array else None
        given.append(names[x.number] if type(x) is Ref else graph.constant(x) if array else None)
        dtypes.append(None if known is None else str(known.dtype))
        shapes.append(None if known is None else tuple(known.shape))
    made = program.values[operation.results[0]]
    return Nodes(graph, operation, given, dtypes, shapes, made.dtype, made.shape)


def _matched(graph: Graph, match: Match, names: dict[int, str], dtype: str) -> str:
    """Add the node of a pattern."""
    found = match.found
    x = names[found["x"].number]
    if match.pattern.op == SCALED:
        factor = found["scale"].astype(np.float64) / found["deviation"]
        product = graph.add("Mul", x, graph.constant(factor, dtype))
        return str(graph.add("Add", product, graph.constant(found["shift"] - found["mean"] * factor, dtype)))
    constants = [graph.constant(value, dtype) for value in found.values() if isinstance(value, np.ndarray)]
    return str(graph.add(match.pattern.op, x, *constants, **match.pattern.attributes(found)))
