"""Rules of indexing: taking values out, and putting cotangents back where they came from."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules import batched_indexing as batched
from xpnet.autodiff.rules.rule import View, compound, constant, fit, linear, rule

__all__: list[str] = []

# x[index]; ``place`` is its transpose, zeros of x's shape with g added at the index.
rule(
    "getitem",
    lambda xp, g, out, x, index: xp.place(g, index, x.shape),
    push=lambda xp, tangents, out, x, index: xp.getitem(tangents[0], index),
    view=View(lambda xp, part, x, index: xp.assign(x, index, part)),
    batch=batched.getitem,
    indexed=True,
)
linear(
    "place",
    lambda xp, g, out, x, index, shape: xp.getitem(g, index),
    batch=batched.place,
    indexed=True,
)

# Values along an axis; the transposes add up what was taken more than once.
linear(
    "take",
    lambda xp, g, out, x, indices, axis=None: xp.take_transpose(g, indices, axis, x.shape),
    batch=batched.take,
)
linear(
    "take_transpose",
    lambda xp, g, out, x, indices, axis, shape: xp.take(g, indices, axis=axis),
    batch=batched.take_transpose,
)
linear(
    "take_along_axis",
    lambda xp, g, out, x, indices, axis=-1: xp.take_along_axis_transpose(g, indices, axis, x.shape),
    batch=batched.take_along_axis,
)
linear(
    "take_along_axis_transpose",
    lambda xp, g, out, x, indices, axis, shape: xp.take_along_axis(g, indices, axis=axis),
    batch=batched.take_along_axis_transpose,
)


@compound(
    "embedding",
    lambda xp, g, out, table, codes: xp.embedding_transpose(g, codes, table.shape[0]),
    push=lambda xp, tangents, out, table, codes: xp.embedding(tangents[0], codes),
    batch=batched.embedding,
)
def _embedding(xp: Any, table: Any, codes: Any) -> Any:
    """Rows of a table (rows, size) for codes (...), as (..., size); zeros for codes that are no row."""
    return xp.embedding(table, codes)


linear(
    "embedding_transpose",
    lambda xp, g, out, x, codes, rows: xp.embedding(g, codes),
    batch=batched.embedding_transpose,
)


# --- Assignment: x[index] = value, as a new array ----------------------------------------------------


def _pull_assigned_array(xp: Any, g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    return xp.assign(g, index, 0)  # what was overwritten has no influence


def _pull_assigned_value(xp: Any, g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    """Take the cotangent out where the value went; of several for one place, the one that stays has it."""
    if not value.shape and getattr(index, "dtype", None) == xp.bool:  # however many places the mask has
        return fit(
            xp,
            xp.keep(g, xp.reshape(index, (*index.shape, *(1,) * (len(x.shape) - len(index.shape))))),
            value,
        )
    taken = xp.getitem(g, index)
    if _may_repeat(xp, index):
        taken = xp.keep(taken, xp.last_written(x, index))
    more = len(value.shape) - len(taken.shape)  # leading axes of size one, which assignment allows
    return fit(xp, xp.reshape(taken, (1,) * more + tuple(taken.shape)) if more > 0 else taken, value)


def _may_repeat(xp: Any, index: Any) -> bool:
    """True where an index may name one place twice: with integer arrays or lists in it."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list) or (getattr(p, "shape", ()) and p.dtype != xp.bool) for p in parts)


def _push_assigned(xp: Any, tangents: list[Any], out: Any, x: Any, index: Any, value: Any) -> Any:
    dx = xp.zeros_like(x) if tangents[0] is None else tangents[0]
    return xp.assign(dx, index, 0 if tangents[2] is None else tangents[2])


rule(
    "assign",
    _pull_assigned_array,
    None,
    _pull_assigned_value,
    push=_push_assigned,
    batch=batched.assign,
    indexed=True,
)
constant("last_written", batch=batched.last_written, indexed=True)
