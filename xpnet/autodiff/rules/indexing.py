"""Rules of indexing: taking values out, and putting cotangents back where they came from."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.rule import fit, linear, rule
from xpnet.backends.lacking import pick

__all__: list[str] = []

# x[index]; ``place`` is its transpose, zeros of x's shape with g added at the index.
rule(
    "getitem",
    lambda xp, g, out, x, index: xp.place(g, index, x.shape),
    push=lambda xp, tangents, out, x, index: tangents[0][index],
)
linear("place", lambda xp, g, out, x, index, shape: pick(xp, g, index))


def _pull_assigned_array(xp: Any, g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    return xp.assign(g, index, 0)


def _pull_assigned_value(xp: Any, g: Any, out: Any, x: Any, index: Any, value: Any) -> Any:
    picked = pick(xp, g, index)
    more = len(value.shape) - len(picked.shape)  # leading axes of size one, which assignment allows
    return fit(xp, xp.reshape(picked, (1,) * more + picked.shape) if more > 0 else picked, value)


def _push_assigned(xp: Any, tangents: list[Any], out: Any, x: Any, index: Any, value: Any) -> Any:
    dx = xp.zeros_like(x) if tangents[0] is None else tangents[0]
    return xp.assign(dx, index, 0 if tangents[2] is None else tangents[2])


# x[index] = value, as a new array.
rule("assign", _pull_assigned_array, None, _pull_assigned_value, push=_push_assigned)


def _along(axis: int | None, ndim: int, indices: Any) -> tuple[Any, ...]:
    return (slice(None),) * ((axis or 0) % ndim) + (indices,)  # the axis of a vector may be left out


linear(
    "take",
    lambda xp, g, out, x, indices, *, axis=None: xp.place(g, _along(axis, len(x.shape), indices), x.shape),
)
