"""Random programs: functions of the standard on arrays of all kinds of shapes and dtypes.

Of *whole* programs all floating-point values are whole numbers, infinite or NaN, and small enough that every
order of adding up gives the same bits, also in float32: what lowerings make of them can be compared exactly.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from xpnet.backends.lacking import extended
from xpnet.program.program import Operation, Program, Ref, Value

__all__ = ["SHAPES", "Builder", "Writer", "random_donations", "random_program", "random_step"]

SHAPES = [
    (4, 3), (3,), (4, 1), (4,), (), (1, 3), (4, 4), (2, 4, 3), (1,), (12,), (3, 4), (0, 3), (4, 0), (0,),
    (9, 20), (20, 9), (300,), (2, 1, 3),
]  # fmt: skip
_DTYPES = ["float64"] * 4 + ["float32"] * 4 + [
    "int64", "int32", "int8", "uint64", "uint32", "uint8", "bool", "bool", "complex128", "complex64",
]  # fmt: skip
_SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0]

_COMPARISONS = ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]
_ARITHMETIC = ["add", "subtract", "multiply", "maximum", "minimum"]
_UNARY = {
    "f": ["negative", "abs", "square", "sign", "floor", "ceil", "trunc", "isnan", "isinf", "isfinite"],
    "i": ["negative", "abs", "square", "sign", "bitwise_invert"],
    "u": ["square", "bitwise_invert"],
    "b": ["logical_not"],
    "c": ["negative", "conj", "real", "real", "imag", "imag"],
}
_BITWISE = ["bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder"]
_BINARY = {
    "f": _ARITHMETIC * 2 + _COMPARISONS,
    "i": _ARITHMETIC + _COMPARISONS + _BITWISE,
    "u": _ARITHMETIC + _COMPARISONS + _BITWISE,
    "b": ["logical_and", "logical_or", "logical_xor", "equal", "not_equal"],
    "c": ["add", "subtract", "multiply", "equal", "not_equal"],
}
_REDUCTIONS = {
    "f": ["sum", "sum", "sum", "max", "min", "prod", "argmax", "argmin", "cumulative_sum", "any"],
    "i": ["sum", "sum", "max", "min", "prod", "argmax", "any"],
    "u": ["sum", "sum", "max", "min", "argmin", "all"],
    "b": ["sum", "any", "all"],
    "c": ["sum", "sum", "any"],
}
# Whose results are no whole numbers, or depend on the signs of zeros.
_ANY_UNARY = {
    "f": ["exp", "log", "log1p", "expm1", "sqrt", "tanh", "sin", "reciprocal", "erf", "signbit", "round"],
    "c": ["abs", "exp", "sqrt", "square", "sign", "tanh"],
}
_ANY_BINARY = ["divide", "divide", "pow", "hypot", "atan2", "logaddexp", "copysign", "remainder"]
_ANY_REDUCTIONS = ["mean", "var", "std"]
_MIXED = {
    ("float32", "float64"),
    ("int32", "int64"),
    ("int8", "int32"),
    ("uint8", "int32"),
    ("uint8", "uint32"),
}

# As recording writes them down: the arrays of a list as operands of their own.
_FUNCTIONS: dict[str, Any] = {
    "getitem": operator.getitem,
    "concat": lambda *arrays, **options: xp.concat(list(arrays), **options),
    "stack": lambda *arrays, **options: xp.stack(list(arrays), **options),
}
_EXACT = 2.0**10  # beyond this, values are brought back to at most 99


class Builder:
    """Writes a program, computing as it goes; for functions that recording takes apart, too."""

    def __init__(self, *inputs: np.ndarray):
        self.arrays = list(inputs)
        self._inputs = tuple(range(len(inputs)))
        self._operations: list[Operation] = []

    def apply(self, name: str, *operands: Any, **options: Any) -> Ref:
        """Add an operation and return its result."""
        return self.apply_many(name, *operands, **options)[0]

    def apply_many(self, name: str, *operands: Any, **options: Any) -> list[Ref]:
        """Add an operation that may have several results, and return these."""
        function = _FUNCTIONS.get(name) or operator.attrgetter(name)(extended(xp))
        out = function(*(self.arrays[x.number] if type(x) is Ref else x for x in operands), **options)
        many = isinstance(out, (list, tuple))
        first = len(self.arrays)
        self.arrays += [np.asarray(part) for part in (out if many else (out,))]
        results = tuple(range(first, len(self.arrays)))
        self._operations.append(Operation(name, operands, options, results, function, many))
        return [Ref(n) for n in results]

    def program(self, *outputs: Any) -> Program:
        """Return the program with these outputs."""
        values = {n: Value.of(x) for n, x in enumerate(self.arrays)}
        return Program(self._inputs, tuple(self._operations), outputs, values, xp)


def random_program(
    seed: int, length: int = 25, *, whole: bool = True, shapes: Sequence[tuple[int, ...]] = SHAPES
) -> tuple[Program, list[np.ndarray]]:
    """Return a program and arrays for it; of some whole programs all arrays are float64."""
    with np.errstate(all="ignore"):
        writer = Writer(np.random.default_rng(seed), whole, shapes)
        while len(writer.arrays) < writer.given + length:
            writer.step()
        return writer.builder.program(*writer.outputs()), writer.arrays[: writer.given]


def random_step(seed: int, length: int = 20, *, whole: bool = True) -> tuple[Program, list[np.ndarray], int]:
    """Return a program with a state, arrays for it, and how many of them are the state.

    The first of its inputs are the state, and the first of its outputs the state after a step.
    """
    with np.errstate(all="ignore"):
        draw = np.random.default_rng(seed)
        writer = Writer(draw, whole, SHAPES)
        while len(writer.arrays) < writer.given + length:
            writer.step()
        carried = int(draw.integers(1, writer.given - 2))
        state = [writer.renewed(Ref(n)) for n in range(carried)]
        return writer.builder.program(*state, *writer.outputs()), writer.arrays[: writer.given], carried


def random_donations(program: Program, seed: int) -> dict[int, int]:
    """Return donations, from outputs to inputs by position, of inputs that look like an output."""
    draw, donated = np.random.default_rng(seed), {}
    for source in draw.permutation(len(program.inputs)):
        value = program.values[program.inputs[source]]
        fitting = [
            i
            for i, x in enumerate(program.outputs)
            if type(x) is Ref and program.values[x.number] == value and i not in donated
        ]
        if fitting and draw.random() < 0.7:
            donated[int(draw.choice(fitting))] = int(source)
    return donated


class Writer:
    """Adds random operations to a program, and knows how large its floating-point values can be."""

    kinds = ("unary", "binary", "binary", "binary", "number", "reduce", "reduce", "reduce", "view", "view",
             "where", "where", "matmul", "joined", "gathered", "cast", "rare")  # fmt: skip

    def __init__(
        self,
        draw: np.random.Generator,
        whole: bool,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[str] = _DTYPES,
    ):
        self.draw, self.whole, self._dtypes = draw, whole, dtypes
        self._only = "float64" if whole and draw.random() < 0.3 else ""
        inputs = [self._input(shape) for shape in shapes if draw.random() < 0.75]
        inputs += [np.asarray(draw.integers(-3, 3, size=int(draw.integers(1, 6)))), self._input((4, 3))]
        self.given = len(inputs)
        self.builder = Builder(*inputs)
        self.arrays = self.builder.arrays
        self._rows = Ref(self.given - 2)
        self._bounds: dict[int, float] = {}

    def _input(self, shape: tuple[int, ...]) -> np.ndarray:
        dtype = self._only or str(self.draw.choice(self._dtypes))
        kind = np.dtype(dtype).kind
        if kind == "b":
            return np.asarray(self.draw.random(size=shape) < 0.5)
        if kind == "c":
            parts = self.draw.integers(-4, 5, size=(2, *shape))
            return np.asarray(parts[0] + 1j * parts[1]).astype(dtype)
        if kind == "f" and not self.whole:
            made = np.asarray(self.draw.normal(size=shape) * 2).astype(dtype)
        else:
            made = np.asarray(self.draw.integers(0 if kind == "u" else -4, 5, size=shape)).astype(dtype)
        if kind == "f" and made.size and self.draw.random() < 0.2:
            for x in self.draw.choice(_SPECIAL, size=2):
                made.reshape(-1)[int(self.draw.integers(made.size))] = x
        return made

    # --- values ---------------------------------------------------------------------------------------

    def _of(self, x: Ref) -> np.ndarray:
        return self.arrays[x.number]

    def _kind(self, x: Ref) -> str:
        return self._of(x).dtype.kind

    def _pick(self) -> Ref:
        """Return a value, more often one that was made lately."""
        n = len(self.arrays)
        first = max(0, n - 12) if self.draw.random() < 0.8 else 0
        return Ref(int(self.draw.integers(first, n)))

    def _find(self, fits: Any) -> Ref | None:
        """Return some value that fits."""
        for n in self.draw.permutation(len(self.arrays)):
            if fits(self.arrays[n]):
                return Ref(int(n))
        return None

    def _bound(self, x: Any) -> float:
        if type(x) is not Ref:
            return abs(float(x)) if isinstance(x, (int, float)) else 9.0
        dtype = self._of(x).dtype
        if dtype.kind == "b":
            return 1.0
        return self._bounds.get(x.number, 4.0 if dtype.kind in "fc" else float(np.iinfo(dtype).max))

    def _within(self, x: Ref, bound: float) -> Ref:
        """Return a floating value between -bound and bound, or NaN; of complex ones, the parts."""
        if not self.whole or self._kind(x) not in "fc" or self._bound(x) <= bound:
            return x
        if self._kind(x) == "c":
            x = self.builder.apply("subtract", x, x)
            self._bounds[x.number] = 0.0
            return x
        low = self.builder.apply("minimum", x, bound)
        made = self.builder.apply("maximum", low, -bound)
        self._bounds[low.number] = self._bound(x)
        self._bounds[made.number] = bound
        return made

    def _add(self, bound: float, name: str, *operands: Any, **options: Any) -> Ref:
        made = self.builder.apply(name, *operands, **options)
        self._bounds[made.number] = bound
        return self._within(made, 99.0) if bound > _EXACT else made

    # --- operations -----------------------------------------------------------------------------------

    def step(self) -> None:
        """Add one operation, or a few that belong together."""
        getattr(self, f"_step_{self.draw.choice(self.kinds)}")(self._pick())

    def _step_unary(self, x: Ref) -> None:
        kind, bound = self._kind(x), self._bound(x)
        names = _UNARY[kind] + ([] if self.whole else _ANY_UNARY.get(kind, []))
        name = str(self.draw.choice(names))
        if name == "square":
            x = self._within(x, 99.0)
            bound = self._bound(x) ** 2
        self._add(bound, name, x)

    def _step_number(self, x: Ref) -> None:
        kind = self._kind(x)
        if kind == "b":
            return
        number: Any = int(self.draw.integers(0 if kind == "u" else -2, 4))
        if kind == "f" and self.draw.random() < 0.7:
            number = float(number) if self.whole or self.draw.random() < 0.5 else float(self.draw.normal())
        x = self._within(x, 99.0)
        if kind == "f" and self.draw.random() < 0.2:
            self._add(self._bound(x) ** 2, "pow", x, 2 if self.whole else number)
        elif kind in "iu" and self.draw.random() < 0.2:
            self._add(0, str(self.draw.choice(["bitwise_left_shift", "bitwise_right_shift"])), x, 3)
        else:
            self._binary(x, number)

    def _step_binary(self, x: Ref) -> None:
        dtype, shape = self._of(x).dtype, self._of(x).shape
        mixed = self.draw.random() < 0.3

        def fits(other: np.ndarray) -> bool:
            pair = (str(dtype), str(other.dtype))
            same = dtype == other.dtype or (mixed and (pair in _MIXED or pair[::-1] in _MIXED))
            return same and _broadcastable(shape, other.shape)

        other = self._find(fits)
        if other is not None:
            self._binary(self._within(x, 99.0), self._within(other, 99.0))

    def _binary(self, x: Ref, y: Any) -> None:
        kind = self._kind(x)
        names = _BINARY[kind] + (_ANY_BINARY if kind == "f" and not self.whole else [])
        name = str(self.draw.choice(names))
        a, b = self._bound(x), self._bound(y) * (2 if kind == "c" else 1)
        bound = {"add": a + b, "subtract": a + b, "multiply": a * b}.get(name, max(a, b))
        operands = (x, y) if type(y) is Ref or self.draw.random() < 0.8 else (y, x)
        self._add(bound, name, *operands)

    def _step_reduce(self, x: Ref) -> None:
        array, kind = self._of(x), self._kind(x)
        names = _REDUCTIONS[kind] + (_ANY_REDUCTIONS if kind == "f" and not self.whole else [])
        name = str(self.draw.choice(names))
        axes: list[Any] = [None, *range(-array.ndim, array.ndim)]
        several = name not in ("argmax", "argmin", "cumulative_sum")
        if array.ndim > 1 and several:
            axes += [(0, 1), tuple(range(1, array.ndim))]
        axis = axes[int(self.draw.integers(len(axes)))]
        count = _count(array.shape, axis)
        if not count and name not in ("sum", "prod", "any", "all"):
            return
        if name == "cumulative_sum":
            if array.ndim:
                last = -1 if axis is None else axis
                self._add(self._bound(x) * array.size, name, self._within(x, 99.0), axis=last)
            return
        if name == "prod" and self.whole and kind == "f":
            if count > 16:
                return
            x = self._within(x, 2.0)
        elif name == "sum":
            x = self._within(x, 99.0)
        bound = {"sum": self._bound(x) * count, "prod": 2.0**16}.get(name, self._bound(x))
        self._add(bound, name, x, axis=axis, keepdims=bool(self.draw.integers(2)))

    def _step_view(self, x: Ref) -> None:
        array, draw = self._of(x), self.draw
        n, shape = array.ndim, array.shape
        choice, bound = int(draw.integers(9)), self._bound(x)
        if choice == 0:
            self._add(bound, "reshape", x, (-1,) if array.size else (0, 2))
        elif choice == 1 and n == 2:
            self._add(bound, "matrix_transpose", x)
        elif choice == 2 and n:
            self._add(bound, "permute_dims", x, tuple(int(i) for i in draw.permutation(n)))
        elif choice == 3 and n:
            self._add(bound, "flip", x, axis=int(draw.integers(n)))
        elif choice == 4 and 1 in shape:
            self._add(bound, "squeeze", x, axis=shape.index(1))
        elif choice == 5 and n < 3:
            grown = (2, *shape) if draw.random() < 0.5 else tuple(3 if k == 1 else k for k in shape)
            self._add(bound, "broadcast_to", x, grown)
        elif choice in (6, 7) and n:
            self._add(bound, "getitem", x, self._index(shape))
        elif n < 3:
            self._add(bound, "expand_dims", x, axis=int(draw.integers(-n - 1, n + 1)))

    def _index(self, shape: tuple[int, ...]) -> Any:
        if self.draw.random() < 0.1:
            return (Ellipsis, None)
        parts: list[Any] = []
        for k in shape[: int(self.draw.integers(1, len(shape) + 1))]:
            options: list[Any] = [slice(None), slice(0, max(1, k - 1)), slice(None, None, 2), slice(1, None)]
            options += [slice(None, None, -1), *([0, -1] if k else [])]
            parts.append(options[int(self.draw.integers(len(options)))])
        return parts[0] if len(parts) == 1 and self.draw.random() < 0.5 else tuple(parts)

    def _step_where(self, x: Ref) -> None:
        shape, dtype = self._of(x).shape, self._of(x).dtype
        mask = self._find(lambda a: a.dtype == np.bool_ and _broadcastable(a.shape, shape))
        if mask is None:
            return
        same = self._of(mask).shape == shape
        if dtype.kind == "f" and same and self.draw.random() < 0.5:
            self._add(self._bound(x), "keep", x, mask)
            return
        other: Any = self._find(lambda a: a.dtype == dtype and _broadcastable(a.shape, shape))
        if dtype.kind == "f" and self.draw.random() < 0.4:
            other = 0.0
        both = (x, other) if self.draw.random() < 0.5 else (other, x)
        try:
            self._add(max(self._bound(x), self._bound(other)), "where", mask, *both)
        except ValueError:  # three shapes that fit pairwise need not fit together
            return

    def _step_matmul(self, x: Ref) -> None:
        array = self._of(x)
        if not array.ndim or array.dtype.kind == "b":
            return

        def fits(other: np.ndarray) -> bool:
            inner = other.shape[-2 if other.ndim > 1 else -1] if other.ndim else None
            ranks = array.ndim < 3 or other.ndim < 3
            # Of a matrix and its own transpose OpenBLAS gives other bits at other addresses.
            apart = self.whole or not np.may_share_memory(array, other)
            return ranks and apart and other.dtype == array.dtype and inner == array.shape[-1]

        other = self._find(fits)
        if other is not None:
            a, b = self._within(x, 9.0), self._within(other, 9.0)
            self._add(2 * self._bound(a) * self._bound(b) * array.shape[-1], "matmul", a, b)

    def _step_joined(self, x: Ref) -> None:
        dtype, parts = self._of(x).dtype, [x]
        while len(parts) < 3:
            part = self._find(lambda a: a.dtype == dtype and a.size)
            if part is None:
                return
            parts.append(part)
        bound = max(map(self._bound, parts))
        if self.draw.random() < 0.3 and self._of(x).ndim < 3:
            self._add(bound, "stack", x, x, axis=int(self.draw.integers(self._of(x).ndim + 1)))
        elif self.draw.random() < 0.3 and self._of(x).ndim:
            self._add(bound, "concat", x, x, axis=-1)
        else:
            flat: list[Any] = [self._add(self._bound(part), "reshape", part, (-1,)) for part in parts]
            if self.draw.random() < 0.2:
                flat.append(np.arange(3).astype(dtype))
            self._add(max(bound, 9.0), "concat", *flat, axis=0)

    def _step_gathered(self, x: Ref) -> None:
        array, bound = self._of(x), self._bound(x)
        long = [axis for axis, k in enumerate(array.shape) if k >= 3]
        if not long:
            return
        axis = int(self.draw.choice(long))
        choice = int(self.draw.integers(3))
        if choice == 0 and axis == 0:
            self._add(bound, "getitem", x, self._rows)
        elif choice == 1:
            shape = list(array.shape)
            shape[axis] = self._of(self._rows).shape[0]
            if array.dtype.kind == "f" and (
                same := self._find(lambda a: a.shape == tuple(shape) and a.dtype == array.dtype)
            ):
                same = self._within(same, 99.0)
                self._add(8 * self._bound(same), "take_transpose", same, self._rows, axis, array.shape)
        else:
            self._add(bound, "take", x, self._rows, axis=axis)

    def _step_cast(self, x: Ref) -> None:
        kind = self._kind(x)
        targets = [d for d in dict.fromkeys(self._dtypes) if not self._only or d in (self._only, "bool")]
        targets = [d for d in targets if kind != "c" or np.dtype(d).kind == "c"]
        target = np.dtype(str(self.draw.choice(targets)))
        if kind == "f" and target.kind in "iu":
            finite = self.builder.apply("isfinite", x)
            x = self._add(self._bound(x), "where", finite, x, 0.0)
            x = self.builder.apply("maximum", self.builder.apply("minimum", x, 99.0), 0.0)
        bound = min(self._bound(x), 2.0**63) if target.kind in "fc" else 0.0
        self._add(bound, "astype", x, target)

    def _step_rare(self, x: Ref) -> None:
        array, bound = self._of(x), self._bound(x)
        if not array.ndim:
            return
        choice = int(self.draw.integers(6))
        if choice == 0:
            self._add(bound, "sort", x)
        elif choice == 1:
            self._add(bound, "roll", x, 1, axis=0)
        elif choice == 2 and 0 < array.shape[0] < 5:
            for part in self.builder.apply_many("unstack", x):
                self._bounds[part.number] = bound
        elif choice == 3 and array.shape[0] > 1:
            self._add(max(bound, 2.0), "assign", x, slice(0, 2), np.asarray(1, dtype=array.dtype))
        elif choice == 4 and array.dtype.kind == "f":
            self._add(bound, "place", x, slice(1, 1 + array.shape[0]), (array.shape[0] + 2, *array.shape[1:]))
        elif choice == 5:
            self._add(bound, "multiply" if array.dtype.kind == "f" else "equal", x, _constant(array))

    def renewed(self, x: Ref) -> Ref:
        """Return some value like an input, with entries no larger than an input has."""
        array = self._of(x)
        like = [n for n, a in enumerate(self.arrays) if (a.shape, a.dtype) == (array.shape, array.dtype)]
        return self._within(Ref(int(self.draw.choice(like))), 4.0)

    # --- results --------------------------------------------------------------------------------------

    def outputs(self) -> list[Any]:
        """Return some values, the last among them; perhaps an input, one of them twice, and a constant."""
        made = list(range(self.given, len(self.arrays)))
        count = min(len(made), int(self.draw.integers(2, 8)))
        chosen: list[Any] = [Ref(int(n)) for n in self.draw.choice(made, size=count, replace=False)]
        chosen.append(Ref(len(self.arrays) - 1))
        if self.draw.random() < 0.2:
            chosen.append(Ref(int(self.draw.integers(self.given))))
        if self.draw.random() < 0.2:
            chosen.append(chosen[0])
        if self.draw.random() < 0.1:
            chosen.append(np.arange(3.0))
        return chosen


def _constant(array: np.ndarray) -> np.ndarray:
    """Return an array of zeros and ones for the last dimension of ``array``."""
    return (np.arange(array.shape[-1]) % 2).astype(array.dtype)


def _count(shape: tuple[int, ...], axis: Any) -> int:
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod(shape[a] for a in axes)


def _broadcastable(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(a, b)) <= 3
    except ValueError:
        return False
