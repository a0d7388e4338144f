"""Rules under test: shapes, joining, repetition, indexing, assignment, sorting and sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.autodiff.rule_cases import Case
from tests.support import draw
from xpnet.autodiff.namespaces import Namespace
from xpnet.backends.lacking import extended

__all__ = ["CASES", "CONSTANTS"]

CASES: list[Case] = []


def _case(
    rule: str,
    label: str,
    function: Callable[..., Any],
    *shapes: tuple[int, ...],
    constants: tuple[Any, ...] = (),
    **options: Any,
) -> None:
    args = tuple(draw(7 + i, shape) for i, shape in enumerate(shapes))
    CASES.append(Case(rule, label, function, args, tuple(map(np.asarray, constants)), **options))


_NO_MASK = {"jax": "while it compiles, shapes may not depend on values"}
_NO_WRITE = {"array_api_strict": "the standard assigns to no integer arrays"}
_NO_MIX = {"array_api_strict": "the standard mixes no index arrays with slices"}

# --- Shapes ------------------------------------------------------------------------------------------

_case("reshape", "copied", lambda xp, x: xp.reshape(x * x, (4, 3), copy=True), (3, 4), peers=("jax",))
_case("reshape", "0-d", lambda xp, x: xp.reshape(x, (1, 1)) + xp.reshape(x * x, ()), (1,))
_case("expand_dims", "0-d", lambda xp, x: xp.expand_dims(x * x, axis=0), ())
_case("expand_dims", "two-axes", lambda xp, x: xp.expand_dims(x * x, axis=(-1, 1)), (2, 3),
      peers=("jax",))  # fmt: skip
_case("squeeze", "two-axes", lambda xp, x: xp.squeeze(x * x, axis=(0, -1)), (1, 3, 1))
_case("broadcast_to", "size-one", lambda xp, x: xp.broadcast_to(x * x, (2, 1, 3)), (1, 1, 3))
_case("flip", "two-axes", lambda xp, x: xp.flip(x, axis=(0, -1)), (2, 3, 2))
_case("moveaxis", "two", lambda xp, x: xp.moveaxis(x, (0, -1), (1, 0)), (2, 3, 4))
_case("permute_dims", "negative", lambda xp, x: xp.permute_dims(x, (-1, 0, -2)), (2, 3, 4),
      peers=("torch",), lacking={"jax": "no negative axes"})  # fmt: skip
_case("roll", "one-axis", lambda xp, x: xp.roll(x, -1, axis=-1), (3, 4))
_case("roll", "one-shift", lambda xp, x: xp.roll(x, (1, 1), axis=(0, 1)), (3, 4))
_case("tril", "below", lambda xp, x: xp.tril(x * x, k=-1), (2, 3, 4))
_case("tril", "main", lambda xp, x: xp.tril(x), (3, 3))
_case("triu", "above", lambda xp, x: xp.triu(x * x, k=1), (2, 3, 4))
_case("triu", "main", lambda xp, x: xp.triu(x), (3, 3))


def _product(xp: Any, parts: Any) -> Any:
    first, *others = parts
    for other in others:
        first = xp.multiply(first, other)
    return first


_case("broadcast_arrays", "two", lambda xp, x, y: _product(xp, xp.broadcast_arrays(x, y)), (3, 1), (4,))
_case("broadcast_arrays", "unused", lambda xp, x, y: xp.broadcast_arrays(x, y)[1] * 2, (3, 1), ())
_case("meshgrid", "xy", lambda xp, x, y: _product(xp, xp.meshgrid(x, y)), (3,), (4,))
_case(
    "meshgrid",
    "ij",
    lambda xp, x, y, z: _product(xp, xp.meshgrid(x, y, z, indexing="ij")),
    (2,),
    (1,),
    (3,),
)
_case("meshgrid", "unused", lambda xp, x, y, z: xp.meshgrid(x, y, z)[0] * x[0], (2,), (4,), (3,))
_case("meshgrid", "one", lambda xp, x: xp.meshgrid(x * x)[0], (3,))

# --- Joining, splitting, repetition ------------------------------------------------------------------

_case("concat", "negative-axis", lambda xp, x, y: xp.concat([x, y * y], axis=-2), (2, 1, 3), (2, 3, 3))
_case("concat", "empty-pieces", lambda xp, x, y: xp.concat((x[:0, :], y, x[:0, :])), (2, 3), (1, 3))
_case("stack", "0-d", lambda xp, x, y: xp.stack([x, y * y, x]), (), ())
_case("unstack", "all", lambda xp, x: _product(xp, xp.unstack(x)), (3, 2))
_case("unstack", "unused", lambda xp, x: xp.unstack(x, axis=-1)[1] ** 2, (2, 3))
_case("unstack", "vector", lambda xp, x: xp.unstack(x)[0] * xp.unstack(x)[2], (3,))
_case("repeat", "flat", lambda xp, x: xp.repeat(x * x, 3), (2, 2))
_case("repeat", "axis", lambda xp, x: xp.repeat(x, 2, axis=-1), (2, 3))
_case("repeat", "no-times", lambda xp, x: xp.concat([x, xp.repeat(x, 0, axis=0)]), (2, 3))
_case("repeat", "array", lambda xp, x, n: xp.repeat(x * x, n, axis=1), (2, 3), constants=([2, 0, 3],),
      peers=("torch",), lacking=_NO_MASK)  # fmt: skip
_case("repeat", "array-flat", lambda xp, x, n: xp.repeat(x, n), (2, 2), constants=([2, 0, 1, 1],),
      peers=("torch",), lacking=_NO_MASK)  # fmt: skip
_case("tile", "more-axes", lambda xp, x: xp.tile(x * x, (2, 1, 3)), (3, 2))
_case("tile", "fewer-axes", lambda xp, x: xp.tile(x, (2,)), (3, 2))
_case("tile", "0-d", lambda xp, x: xp.tile(x * x, (2, 2)), ())
_case("diff", "last-axis", lambda xp, x: xp.diff(x * x), (2, 4))
_case("diff", "twice", lambda xp, x: xp.diff(x, n=2, axis=0), (4, 2))
_case(
    "diff", "with-ends", lambda xp, x, y, z: xp.diff(x, axis=0, prepend=y, append=z), (2, 3), (1, 3), (2, 3)
)
_case("diff", "end-alone", lambda xp, x, y: xp.diff(x, append=y * y), (3,), (1,))
_case("full", "shape", lambda xp, x: xp.full((2, 3), x * x), (), peers=("jax",))
_case("full", "number", lambda xp, x: xp.full(3, x, dtype=x.dtype), (), peers=("jax",))
_case("full_like", "both", lambda xp, x, y: x * xp.full_like(x, y), (2, 3), (), peers=("jax",))
_case("full_like", "plain", lambda xp, x: x * xp.full_like(x, 2.0), (3,))

# --- Indexing ----------------------------------------------------------------------------------------

_ROWS, _COLUMNS = np.asarray([[2], [0]]), np.asarray([[1, -1, 1]])
_case("getitem", "negative", lambda xp, x: x[-1, -2:] * x[0, -3:-1], (3, 4))
_case("getitem", "one-entry", lambda xp, x: x[1, -1] * x[1, 2], (3, 4))
_case("getitem", "ellipsis", lambda xp, x: x[..., 1] ** 2, (2, 3, 2))
_case("getitem", "all", lambda xp, x: x[...] * x[:, :], (2, 3))
_case("getitem", "0-d", lambda xp, x: x[()] * x[..., None], ())
_case("getitem", "empty", lambda xp, x: xp.sum(x[1:1, :]) + x[0, 0], (2, 3))
_case("getitem", "broadcast-indices", lambda xp, x, i, j: x[i, j] ** 2, (3, 4), constants=(_ROWS, _COLUMNS))
_case("getitem", "indices-and-number", lambda xp, x, i: x[i, 1] ** 2, (3, 4), constants=([2, 0, 2],))
_case("getitem", "indices-and-slice", lambda xp, x, i: x[i, 1:] ** 2, (3, 4), constants=([2, 0, 2],),
      lacking=_NO_MIX)  # fmt: skip
_case("getitem", "indices-apart", lambda xp, x, i, j: x[i, :, j] ** 2, (3, 2, 4),
      constants=([2, 0, 2], [1, 1, 1]), lacking=_NO_MIX)  # fmt: skip
_case("getitem", "0-d-index", lambda xp, x, i: x[i, ...] ** 2, (3, 4), constants=(2,), lacking=_NO_MIX)
_case("getitem", "mask-of-rows", lambda xp, x, m: x[m, :] ** 2, (3, 2), constants=([True, False, True],),
      peers=("torch",), lacking=_NO_MASK | {"array_api_strict": "a mask is the whole index"})  # fmt: skip
_case("take", "square", lambda xp, x, i: xp.take(x * x, i, axis=1), (2, 3, 2), constants=([-1, 0, -1],),
      peers=("torch",))  # fmt: skip
_PLACES = [[0, 2, 2, 1], [1, 1, 1, 1]]
_case("take_along_axis", "rows", lambda xp, x, i: xp.take_along_axis(x * x, i, axis=0), (3, 4),
      constants=(_PLACES,), torch=lambda t, x: t.take_along_dim(x * x, t.tensor(_PLACES), 0))  # fmt: skip
_case("take_along_axis", "last", lambda xp, x, i: xp.take_along_axis(x * x, i), (2, 3),
      constants=(_PLACES,), torch=lambda t, x: t.take_along_dim(x * x, t.tensor(_PLACES), 1))  # fmt: skip
_case("embedding_transpose", "rows", lambda xp, x, i: xp.embedding_transpose(x * x, i, 3), (2, 3, 2),
      constants=([[2, -1, 0], [2, 3, 2]],))  # fmt: skip
_case("take_transpose", "rows", lambda xp, x, i: xp.take_transpose(x * x, i, 0, (4, 2)), (3, 2),
      constants=([2, 0, 2],))  # fmt: skip
_case(
    "take_along_axis_transpose",
    "columns",
    lambda xp, x, i: xp.take_along_axis_transpose(x * x, i, -1, (2, 3)),
    (2, 4),
    constants=(_PLACES,),
)
_case("place", "new-axis", lambda xp, x: xp.place(x * x, (None, slice(0, 2), 1), (3, 2)), (1, 2))
_case("place", "mask", lambda xp, x, m: xp.place(x * x, m, (2, 2)), (3,),
      constants=([[True, False], [True, True]],), peers=("torch",), lacking=_NO_MASK)  # fmt: skip

# --- Assignment --------------------------------------------------------------------------------------


def _assigned(index: Any = None) -> Callable[..., Any]:
    """Return the function of x, v and perhaps an index array that assigns v² to a copy of x²."""
    return lambda xp, x, v, *more: xp.assign(x * x, more[0] if more else index, v * v)


def _torch_assigned(index: Any) -> Callable[..., Any]:
    def run(torch: Any, x: Any, v: Any) -> Any:
        y = x * x
        y[torch.tensor(index) if isinstance(index, (list, np.ndarray)) else index] = v * v
        return y

    return run


for _label, _index, _shape in (
    ("number", (1, ...), (4,)),
    ("slice", (slice(0, 2), slice(None, None, 2)), (2, 2)),
    ("backwards", (slice(None), slice(-1, None)), (3, 1)),
    ("broadcast", (..., slice(1, 3)), (3, 1)),
    ("0-d", (slice(None), 1), ()),
    ("everything", ..., (3, 4)),
):
    _case("assign", _label, _assigned(_index), (3, 4), _shape, torch=_torch_assigned(_index))
_case("assign", "leading-ones", _assigned((1, ...)), (3, 4), (1, 1, 4), torch=_torch_assigned((1, ...)),
      peers=("torch",), lacking={"jax": "values have no more axes than their places"})  # fmt: skip
_MASK = np.asarray([[True, False, True], [False, False, True]])
for _label, _shape in (("mask", (3,)), ("mask-0-d", ())):
    _case("assign", _label, _assigned(), (2, 3), _shape, constants=(_MASK,), torch=_torch_assigned(_MASK),
          peers=("torch",), lacking=_NO_MASK)  # fmt: skip
_case("assign", "indices", _assigned(), (3, 4), (2, 4), constants=([2, 0],), torch=_torch_assigned([2, 0]),
      lacking=_NO_WRITE)  # fmt: skip
_case("assign", "twice", _assigned(), (3,), (4,), constants=([2, 0, 2, 0],), lacking=_NO_WRITE,
      peers=("jax",))  # fmt: skip  # PyTorch gives cotangents to values that were overwritten too
_case("assign", "same-array", lambda xp, x: xp.assign(x, (0, ...), x[1, :] * x[0, :]), (2, 3),
      peers=("jax",))  # fmt: skip

# --- Sorting and sets --------------------------------------------------------------------------------

_NO_ORDER = {"array_api_strict:no_x64": "indices are int64, which the device lacks"}
_case("sort", "last-axis", lambda xp, x: xp.sort(x * x), (2, 4), lacking=_NO_ORDER)
_case("sort", "axis", lambda xp, x: xp.sort(x, axis=0, stable=False), (4, 2), lacking=_NO_ORDER)
_case(
    "sort", "descending", lambda xp, x: xp.sort(x * x, axis=1, descending=True), (2, 4, 2), lacking=_NO_ORDER
)


def _ascending(xp: Any, values: Any) -> Any:
    """Return ``values`` in an order of their own: the standard leaves that of unique values open."""
    return xp.sort(values) ** 2


_NO_SET = _NO_MASK | _NO_ORDER
_case("unique_values", "matrix", lambda xp, x: _ascending(xp, xp.unique_values(x)), (2, 3),
      peers=(), lacking=_NO_SET)  # fmt: skip
for _name in ("unique_all", "unique_counts", "unique_inverse"):
    _case(_name, "matrix", lambda xp, x, n=_name: _ascending(xp, getattr(xp, n)(x).values), (2, 3), peers=(),
          lacking=_NO_SET | {"torch": "not implemented"} if _name == "unique_all" else _NO_SET)  # fmt: skip


# --- Functions without a derivative ------------------------------------------------------------------


def _flat(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (-1,))


def _whole(xp: Any, x: Any) -> Any:
    return xp.astype(_flat(xp, x) * 3, xp.int32)


def _last_written(xp: Any, x: Any) -> Any:
    space = xp if isinstance(xp, Namespace) else extended(xp)
    return space.last_written(_flat(xp, x), slice(0, 2))


CONSTANTS: dict[str, Callable[..., Any]] = {
    "argsort": lambda xp, x: xp.argsort(x, descending=True),
    "finfo": lambda xp, x: xp.asarray(xp.finfo(x.dtype).bits),
    "isin": lambda xp, x: xp.isin(_whole(xp, x), _whole(xp, x)[:2] + 1),
    "last_written": _last_written,
    "nonzero": lambda xp, x: xp.nonzero(x > 0.5)[1],
    "searchsorted": lambda xp, x: xp.searchsorted(xp.sort(_flat(xp, x)), _flat(xp, x), side="right"),
}
