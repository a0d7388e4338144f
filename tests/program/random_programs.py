"""Random programs on whole numbers in float64, where every order of adding up gives the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpnet.backends.lacking import keep
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["Builder", "inputs_of", "random_program"]

_SHAPES = [(4, 3), (3,), (4, 1), (4,), (), (1, 3), (4, 4), (2, 4, 3), (1,), (12,)]
_UNARY = ["negative", "abs", "square", "floor", "logical_not", "isnan"]
_BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "less", "greater_equal", "equal"]


class Builder:
    """Writes a program, computing as it goes; for functions that recording takes apart, too."""

    def __init__(self, *inputs: np.ndarray):
        self.arrays = list(inputs)
        self._inputs = tuple(range(len(inputs)))
        self._operations: list[Operation] = []

    def apply(self, name: str, *operands: Any, **options: Any) -> Ref:
        """Add an operation and return its result."""
        function = keep if name == "keep" else (lambda x, i: x[i]) if name == "getitem" else getattr(xp, name)
        out = function(*(self.arrays[x.number] if type(x) is Ref else x for x in operands), **options)
        self.arrays.append(np.asarray(out))
        number = len(self.arrays) - 1
        self._operations.append(Operation(name, operands, options, (number,), function))
        return Ref(number)

    def program(self, *outputs: Any) -> Program:
        """Return the program with these outputs."""
        values = {n: Value(x.shape, x.dtype.name, x.dtype) for n, x in enumerate(self.arrays)}
        return Program(self._inputs, tuple(self._operations), outputs, values, xp)


def inputs_of(draw: np.random.Generator, shapes: Sequence[tuple[int, ...]] = _SHAPES) -> list[np.ndarray]:
    """Return arrays for `random_program`."""
    return [draw.integers(-4, 5, size=shape).astype(np.float64) for shape in shapes]


def random_program(
    seed: int, length: int = 25, shapes: Sequence[tuple[int, ...]] = _SHAPES
) -> tuple[Program, list[np.ndarray]]:
    """Return a program and arrays for it."""
    draw = np.random.default_rng(seed)
    given = inputs_of(draw, shapes)
    builder = Builder(*given)
    for _ in range(length):
        n = int(draw.integers(max(0, len(builder.arrays) - 12), len(builder.arrays)))
        _step(builder, Ref(n), draw)
    count = int(draw.integers(1, 6))
    made = range(len(given), len(builder.arrays))
    outputs = [Ref(int(n)) for n in draw.choice(made, size=min(count, len(made)), replace=False)]
    return builder.program(*outputs, Ref(len(builder.arrays) - 1)), given


def _step(builder: Builder, x: Ref, draw: np.random.Generator) -> None:
    array = builder.arrays[x.number]
    if array.dtype == np.bool_:
        if draw.random() < 0.5:
            builder.apply("astype", x, np.dtype("float64"))
        else:
            _where(builder, x, draw)
        return
    kind = draw.choice(
        ["unary", "binary", "binary", "binary", "reduce", "reduce", "shape", "matmul", "number"]
    )
    if kind == "unary":
        small = builder.apply("maximum", builder.apply("minimum", x, 50.0), -50.0)
        builder.apply(str(draw.choice(_UNARY)), small)
    elif kind == "number":
        builder.apply(str(draw.choice(_BINARY[:5])), x, float(draw.integers(-2, 3)))
    elif kind == "reduce":
        axes = [None, *range(-array.ndim, array.ndim)]
        if array.ndim > 2:
            axes.append((0, 1))
        name = str(draw.choice(["sum", "sum", "max", "min"]))
        builder.apply(name, x, axis=axes[int(draw.integers(len(axes)))], keepdims=bool(draw.integers(2)))
    elif kind == "shape":
        _shape(builder, x, draw)
    else:
        _two(builder, x, draw, kind)


def _two(builder: Builder, x: Ref, draw: np.random.Generator, kind: str) -> None:
    array = builder.arrays[x.number]
    for n in draw.permutation(len(builder.arrays)):
        other = builder.arrays[n]
        if other.dtype != array.dtype:
            continue
        if kind == "matmul":
            if array.ndim == other.ndim == 2 and array.shape[1] == other.shape[0]:
                x = builder.apply("minimum", builder.apply("maximum", x, -9.0), 9.0)
                y = builder.apply("minimum", builder.apply("maximum", Ref(int(n)), -9.0), 9.0)
                builder.apply("matmul", x, y)
                return
            continue
        try:
            shape = np.broadcast_shapes(array.shape, other.shape)
        except ValueError:
            continue
        if len(shape) <= 3:
            x = builder.apply("minimum", builder.apply("maximum", x, -99.0), 99.0)
            builder.apply(str(draw.choice(_BINARY)), x, Ref(int(n)))
            return


def _shape(builder: Builder, x: Ref, draw: np.random.Generator) -> None:
    array = builder.arrays[x.number]
    choice = int(draw.integers(4))
    if choice == 0:
        builder.apply("reshape", x, (-1,))
    elif choice == 1 and array.ndim == 2:
        builder.apply("matrix_transpose", x)
    elif choice == 2 and array.ndim:
        builder.apply("getitem", x, slice(0, max(1, array.shape[0] - 1)))
    else:
        builder.apply("expand_dims", x, axis=int(draw.integers(-array.ndim - 1, array.ndim + 1)))


def _where(builder: Builder, mask: Ref, draw: np.random.Generator) -> None:
    shape = builder.arrays[mask.number].shape
    same = [n for n, a in enumerate(builder.arrays) if a.shape == shape and a.dtype == np.float64]
    if not same:
        builder.apply("astype", mask, np.dtype("float64"))
    elif draw.random() < 0.5:
        builder.apply("keep", Ref(int(draw.choice(same))), mask)
    else:
        builder.apply("where", mask, Ref(int(draw.choice(same))), Ref(int(draw.choice(same))))
