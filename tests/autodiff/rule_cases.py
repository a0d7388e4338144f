"""The table of rules under test: for each rule, functions of array code and points away from kinks.

A case runs with any namespace: xpnet's traced arrays, plain arrays of every backend, and tensors of
PyTorch or JAX, whose own derivatives are the outside truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support import draw
from xpnet.autodiff import functions

__all__ = ["BINARY", "CASES", "CONSTANTS", "UNARY", "Case"]

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Case:
    """One function under one rule.

    Attributes:
        rule: name of the rule.
        label: tells apart the cases of one rule.
        function: ``function(xp, *args, *constants)``.
        args: float64 arrays to differentiate with respect to.
        constants: integer or boolean arrays passed behind them.
        torch: the same function of PyTorch tensors where it is written otherwise; None: by ``function``.
        peers: libraries that have the function with the same derivative.
        lacking: what a library, or one device such as "array_api_strict:no_x64", lacks to run the case.
    """

    rule: str
    label: str
    function: Callable[..., Any]
    args: tuple[np.ndarray, ...]
    constants: tuple[np.ndarray, ...] = ()
    torch: Callable[..., Any] | None = None
    peers: tuple[str, ...] = ("torch", "jax")
    lacking: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.rule}-{self.label}"


CASES: list[Case] = []


def _case(
    rule: str,
    label: str,
    function: Callable[..., Any],
    *shapes: tuple[int, ...],
    ranges: Range | tuple[Range, ...] = (-1.5, 1.5),
    constants: tuple[np.ndarray, ...] = (),
    **options: Any,
) -> None:
    spread = ranges if isinstance(ranges[0], tuple) else (ranges,) * len(shapes)
    args = tuple(
        draw(7 + i, shape, *limits) for i, (shape, limits) in enumerate(zip(shapes, spread, strict=True))
    )
    CASES.append(Case(rule, label, function, args, constants, **options))


def _named(name: str) -> Callable[..., Any]:
    return lambda xp, *args: getattr(xp, name)(*args)


# --- Elementwise functions: where their arguments are drawn ------------------------------------------

UNARY: dict[str, Range] = {
    "positive": (-1.5, 1.5), "negative": (-1.5, 1.5), "square": (-1.5, 1.5), "abs": (0.3, 1.5),
    "reciprocal": (0.5, 2.0), "sqrt": (0.5, 2.0), "exp": (-1.5, 1.5), "expm1": (-1.5, 1.5),
    "log": (0.5, 2.0), "log1p": (-0.5, 2.0), "log2": (0.5, 2.0), "log10": (0.5, 2.0),
    "sin": (-3.0, 3.0), "cos": (-3.0, 3.0), "tan": (-1.2, 1.2), "asin": (-0.8, 0.8), "acos": (-0.8, 0.8),
    "atan": (-2.0, 2.0), "sinh": (-1.5, 1.5), "cosh": (-1.5, 1.5), "tanh": (-1.5, 1.5),
    "asinh": (-2.0, 2.0), "acosh": (1.3, 3.0), "atanh": (-0.8, 0.8),
}  # fmt: skip
BINARY: dict[str, tuple[Range, Range]] = {
    "add": ((-1.5, 1.5), (-1.5, 1.5)), "subtract": ((-1.5, 1.5), (-1.5, 1.5)),
    "multiply": ((-1.5, 1.5), (-1.5, 1.5)), "divide": ((-1.5, 1.5), (0.5, 2.0)),
    "pow": ((0.5, 2.0), (-1.5, 2.5)), "remainder": ((3.1, 3.9), (1.1, 1.4)),
    "hypot": ((-1.5, 1.5), (0.5, 2.0)),
    "copysign": ((0.5, 1.5), (0.5, 1.5)), "logaddexp": ((-1.5, 1.5), (-1.5, 1.5)),
    "atan2": ((-1.5, 1.5), (0.5, 2.0)), "maximum": ((-1.5, 1.5), (-1.5, 1.5)),
    "minimum": ((-1.5, 1.5), (-1.5, 1.5)),
}  # fmt: skip

for _name, _range in UNARY.items():
    _case(_name, "matrix", _named(_name), (3, 4), ranges=_range)
for _name, (_left, _right) in BINARY.items():
    _function = _named(_name)
    _case(_name, "same-shape", _function, (3, 4), (3, 4), ranges=(_left, _right))
    _case(_name, "broadcast", _function, (3, 1), (4,), ranges=(_left, _right))
    _case(_name, "0-d-left", _function, (), (1, 3), ranges=(_left, _right))
    _case(_name, "0-d-right", _function, (2, 1), (), ranges=(_left, _right))
_case("abs", "negative", _named("abs"), (3, 4), ranges=(-1.5, -0.3))
_case("copysign", "negative", lambda xp, x, y: xp.copysign(-x, -y), (3,), (3,), ranges=(0.5, 1.5))
_case("remainder", "negative", _named("remainder"), (3,), (3,), ranges=((-3.9, -3.1), (1.1, 1.4)))
for _exponent in (0, 1, 2, 3, -1, 0.5):
    _case("pow", f"to-the-{_exponent}", lambda xp, x, e=_exponent: x**e, (3,), ranges=(0.5, 2.0))
_case("pow", "of-2", lambda xp, x: 2.0**x, (3,))
_case("pow", "negative-base", lambda xp, x: x**3 + x**2, (3,), ranges=(-2.0, -0.5))

_MIXED = np.asarray([[True, False, True, False], [False, True, True, False], [True, True, False, False]])
_case("where", "same-shape", lambda xp, x, y, c: xp.where(c, x, y), (3, 4), (3, 4), constants=(_MIXED,))
_case("where", "broadcast", lambda xp, x, y, c: xp.where(c, x, y), (3, 1), (4,), constants=(_MIXED,))
_case(
    "where",
    "scalars",
    lambda xp, x, c: xp.where(c, x, 1.0) + xp.where(c, 2.0, x),
    (3, 4),
    constants=(_MIXED,),
)
_case("clip", "numbers", lambda xp, x: xp.clip(x, min=-0.5, max=0.5), (3, 4))
_case("clip", "below", lambda xp, x: xp.clip(x, min=0.1), (3, 4))
_case("clip", "above", lambda xp, x: xp.clip(x, max=0.1), (3, 4))
_case("clip", "arrays", lambda xp, x, y, z: xp.clip(x, y, z), (3, 4), (4,), (4,),
      ranges=((-2.0, 2.0), (-1.0, -0.5), (0.5, 1.0)))  # fmt: skip
_case("astype", "same", lambda xp, x: xp.astype(x * x, x.dtype), (3,))

# --- Compound functions ------------------------------------------------------------------------------

_f = functions
_case("relu", "matrix", lambda xp, x: _f.relu(x), (3, 4), torch=lambda t, x: t.relu(x))
_case("sigmoid", "matrix", lambda xp, x: _f.sigmoid(x), (3, 4), torch=lambda t, x: t.sigmoid(x))
_case(
    "softplus", "matrix", lambda xp, x: _f.softplus(x), (3, 4), torch=lambda t, x: t.nn.functional.softplus(x)
)
_case("mish", "matrix", lambda xp, x: _f.mish(x), (3, 4), torch=lambda t, x: t.nn.functional.mish(x))
_case("bell", "matrix", lambda xp, x: xp.bell(x), (3, 4), torch=lambda t, x: t.sigmoid(x) * t.sigmoid(-x),
      peers=("torch",))  # fmt: skip
_case("erf", "matrix", lambda xp, x: _f.erf(x), (3, 4), torch=lambda t, x: t.erf(x))
_case("erf", "far-out", lambda xp, x: _f.erf(x), (3, 4), ranges=(2.0, 5.0), torch=lambda t, x: t.erf(x))
_case("affine", "batch", lambda xp, x, w, b: _f.affine(x, w, b), (5, 3), (3, 2), (2,),
      torch=lambda t, x, w, b: t.nn.functional.linear(x, w.T, b))  # fmt: skip
_case("affine", "one-row", lambda xp, x, w, b: _f.affine(x, w, b), (1, 3), (3, 1), (1,))
_case("affine", "x-twice", lambda xp, x, b: _f.affine(x, x, b), (3, 3), (3,))
_case("logsumexp", "matrix", lambda xp, x: _f.logsumexp(x), (3, 4), torch=lambda t, x: t.logsumexp(x, -1))
_case("logsumexp", "vector", lambda xp, x: _f.logsumexp(x), (4,))
_case(
    "log_softmax", "matrix", lambda xp, x: _f.log_softmax(x), (3, 4), torch=lambda t, x: t.log_softmax(x, -1)
)
_case("softmax", "matrix", lambda xp, x: _f.softmax(x), (3, 4), torch=lambda t, x: t.softmax(x, -1))
_case(
    "logistic_loss",
    "same-shape",
    lambda xp, z, t: _f.logistic_loss(z, t),
    (3, 4),
    (3, 4),
    ranges=(0.1, 0.9),
    torch=lambda t, z, y: t.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none"),
)
_case("cross_entropy", "matrix", lambda xp, z, t: _f.cross_entropy(z, t), (3, 4), (3, 4), ranges=(0.1, 0.9),
      torch=lambda t, z, y: -t.sum(y * t.log_softmax(z, -1), -1))  # fmt: skip
_case(
    "cross_entropy",
    "one-target-row",
    lambda xp, z, t: _f.cross_entropy(z, t),
    (3, 4),
    (4,),
    ranges=(0.1, 0.9),
)
_case(
    "cross_entropy",
    "rows-that-sum-to-1",
    lambda xp, z, t: _f.cross_entropy(z, t / xp.sum(t, axis=-1, keepdims=True), normalized=True),
    (3, 4),
    (3, 4),
    ranges=(0.1, 0.9),
)

# --- Reductions --------------------------------------------------------------------------------------

for _name in ("sum", "mean", "max", "min", "var", "std"):
    for _label, _options in {
        "all": {}, "axis": {"axis": 0}, "last-axis-kept": {"axis": -1, "keepdims": True},
        "two-axes": {"axis": (0, 2)},
        "all-kept": {"keepdims": True},
    }.items():  # fmt: skip
        _peers = ("jax",) if _name in ("max", "min") and "axes" in _label else ("torch", "jax")
        _case(
            _name, _label, lambda xp, x, n=_name, o=_options: getattr(xp, n)(x, **o), (3, 4, 2), peers=_peers
        )
_case("sum", "size-one", lambda xp, x: xp.sum(x, axis=(0, 2)), (1, 3, 1))
_case("var", "unbiased", lambda xp, x: xp.var(x, axis=0, correction=1), (5, 2))
_case("std", "unbiased", lambda xp, x: xp.std(x, axis=0, correction=1), (5, 2))

# --- Matrix functions --------------------------------------------------------------------------------

for _label, _shapes in {
    "matrices": ((3, 4), (4, 2)), "matrix-vector": ((3, 4), (4,)), "vector-matrix": ((4,), (4, 2)),
    "vectors": ((4,), (4,)), "stacks": ((2, 3, 4), (2, 4, 2)), "broadcast-stacks": ((2, 1, 3, 4), (5, 4, 2)),
    "stack-vector": ((2, 3, 4), (4,)), "vector-stack": ((4,), (2, 4, 3)), "size-one": ((1, 1), (1, 3)),
}.items():  # fmt: skip
    _case("matmul", _label, lambda xp, x, y: xp.matmul(x, y), *_shapes)
_case("matmul", "operator", lambda xp, x, y: x @ y, (3, 4), (4, 2))
_case("matrix_transpose", "stack", lambda xp, x: xp.matrix_transpose(x), (2, 3, 4))
_case("matrix_transpose", "attributes", lambda xp, x: x.T @ x.mT, (3, 3))
_case("vecdot", "same-shape", lambda xp, x, y: xp.vecdot(x, y), (3, 4), (3, 4))
_case("vecdot", "broadcast", lambda xp, x, y: xp.vecdot(x, y, axis=-1), (3, 4), (4,))

# --- Shapes and indices ------------------------------------------------------------------------------

_case("reshape", "flat", lambda xp, x: xp.reshape(x, (-1,)) * 2, (3, 4))
_case("reshape", "by-name", lambda xp, x: xp.reshape(x, shape=(2, 6)), (3, 4))
_case("expand_dims", "middle", lambda xp, x: xp.expand_dims(x, axis=1), (3, 4))
_case("expand_dims", "positional", lambda xp, x: xp.expand_dims(x, -1), (3,))
_case("squeeze", "one", lambda xp, x: xp.squeeze(x, axis=1), (3, 1, 2))
_case("squeeze", "positional", lambda xp, x: xp.squeeze(x, 0), (1, 2))
_case("broadcast_to", "more-axes", lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), (3, 1))
_case("broadcast_to", "by-name", lambda xp, x: xp.broadcast_to(x, shape=(2, 3)), ())
_case("flip", "all", lambda xp, x: xp.flip(x), (3, 4))
_case("flip", "axis", lambda xp, x: xp.flip(x, axis=1), (3, 4))
_case("moveaxis", "one", lambda xp, x: xp.moveaxis(x, 0, 2), (2, 3, 4))
_case("permute_dims", "cycle", lambda xp, x: xp.permute_dims(x, (2, 0, 1)), (2, 3, 4))
_case("permute_dims", "by-name", lambda xp, x: xp.permute_dims(x, axes=(1, 0)), (2, 3))
_case("roll", "flat", lambda xp, x: xp.roll(x, 2), (3, 4))
_case("roll", "axes", lambda xp, x: xp.roll(x, (1, -2), axis=(0, 1)), (3, 4))
_case("concat", "axis", lambda xp, x, y: xp.concat([x, y, x], axis=1), (3, 4), (3, 2))
_case("concat", "rows", lambda xp, x, y: xp.concat([x, y]), (3, 4), (1, 4))
_case("concat", "flat", lambda xp, x, y: xp.concat([x, y], axis=None), (3, 4), (2,))
_case("concat", "beside-plain", lambda xp, x: xp.concat([xp.zeros_like(x), x], axis=0), (3,))
_case("stack", "axis", lambda xp, x, y: xp.stack([x, y], axis=-1), (3, 4), (3, 4))
_case("stack", "tuple", lambda xp, x: xp.stack((x, xp.ones_like(x), x)), (3,))
_MASK = np.asarray([[True, False, True], [False, False, True]])
_INDEX = np.asarray([2, 0, 2])  # an index twice: its cotangents add up
_case("getitem", "slices", lambda xp, x: x[1:, ::2], (3, 4))
_case("getitem", "number", lambda xp, x: x[1, :], (3, 4))
_case("getitem", "backwards", lambda xp, x: x[::-1, -1], (3, 4), peers=("jax",),
      lacking={"torch": "no slices with negative steps"})  # fmt: skip
_case("getitem", "new-axis", lambda xp, x: x[:, None, ...], (3, 4))
_case("getitem", "indices", lambda xp, x, i: x[i, :], (3, 4), constants=(_INDEX,),
      lacking={"array_api_strict": "the standard mixes no index arrays with slices"})  # fmt: skip
_case(
    "getitem", "index-pairs", lambda xp, x, i, j: x[i, j], (3, 4), constants=(_INDEX, np.asarray([1, 3, 1]))
)
_case("getitem", "mask", lambda xp, x, m: x[m], (3, 4), constants=(_MIXED,), peers=("torch",),
      lacking={"jax": "a mask's result has no fixed shape"})  # fmt: skip
_case("getitem", "mask-of-vector", lambda xp, x, m: x[m], (4,), constants=(_MIXED[0],), peers=("torch",),
      lacking={"jax": "a mask's result has no fixed shape"})  # fmt: skip
_case("getitem", "indices-of-vector", lambda xp, x, i: x[i], (3,), constants=(_INDEX,))
_CODES = np.asarray([[2, -1, 0], [2, 3, 2]])  # of which -1 and 3 are no rows of a table of three
_case("embedding", "codes", lambda xp, x, i: functions.embedding(x * x, i), (3, 2), constants=(_CODES,),
      torch=lambda t, x: t.cat([x * x, x[:1] * 0])[t.tensor(_CODES) % 4])  # fmt: skip
_case("take", "rows", lambda xp, x, i: xp.take(x, i, axis=0), (3, 4), constants=(_INDEX,))
_case("take", "last-axis", lambda xp, x, i: xp.take(x, i, axis=-1), (2, 3), constants=(_INDEX,))
_case("take", "vector", lambda xp, x, i: xp.take(x, i), (3,), constants=(_INDEX,), peers=("torch",))


_case("keep", "some", lambda xp, x, m: xp.keep(x * x, m), (2, 3), constants=(_MASK,))
_case("to_device", "same", lambda xp, x: xp.to_device(x * x, x.device) * 2, (3,), peers=(),
      lacking={"jax": "arrays under jit are on no device"})  # fmt: skip
_case("place", "slice", lambda xp, x: xp.place(x, (slice(1, 3),), (4,)) * 2, (2,))
_case("place", "indices", lambda xp, x, i: xp.place(x * x, i, (4,)), (3,), constants=(_INDEX,))


class _Pair:
    """Stands for a layout: a vector of five values read as a matrix (2, 2) and a number."""

    @staticmethod
    def views(flat: Any) -> tuple[Any, Any]:
        xp = functions.array_namespace(flat)
        return xp.reshape(flat[:4], (2, 2)), flat[4]


_case("unpack", "both", lambda xp, x: _sum_of(xp, functions.unpack(x, _Pair)), (5,), peers=("torch",))
_case("unpack", "second", lambda xp, x: functions.unpack(x, _Pair)[1] * 3, (5,), peers=("torch",))


def _sum_of(xp: Any, parts: Any) -> Any:
    return xp.sin(parts[0]) * parts[1]


# --- Functions whose derivative is zero or whose result is not floating ------------------------------


def _whole(xp: Any, x: Any) -> Any:
    return xp.astype(x * 4, xp.int32)


CONSTANTS: dict[str, Callable[..., Any]] = {
    **{name: _named(name) for name in (
        "signbit", "ceil", "floor", "round", "trunc", "isfinite", "isinf", "isnan")},
    **{name: lambda xp, x, n=name: getattr(xp, n)(x, 0.5 * x) for name in (
        "floor_divide", "nextafter", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
    **{name: lambda xp, x, n=name: getattr(xp, n)(x > 0, x > 0.5) for name in (
        "logical_and", "logical_or", "logical_xor")},
    "logical_not": lambda xp, x: xp.logical_not(x > 0),
    **{name: lambda xp, x, n=name: getattr(xp, n)(_whole(xp, x), _whole(xp, x * 0) + 1) for name in (
        "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")},
    "bitwise_invert": lambda xp, x: xp.bitwise_invert(_whole(xp, x)),
    **{name: _named(name) for name in ("all", "any", "argmax", "argmin", "count_nonzero")},
    **{name: _named(name) for name in ("ones_like", "zeros_like")},
    "empty_like": lambda xp, x: xp.zeros_like(xp.empty_like(x)),  # its values are whatever memory held
    "result_type": lambda xp, x: xp.zeros(2, dtype=xp.result_type(x, x)),
    "can_cast": lambda xp, x: xp.asarray(xp.can_cast(x.dtype, x.dtype)),
    "stop_gradient": lambda xp, x: functions.stop_gradient(x),
}  # fmt: skip
