"""Rules of indexing: taking values out, and putting cotangents back where they came from."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.rule import linear, rule
from xpnet.backends.lacking import pick

__all__: list[str] = []

# x[index]; ``place`` is its transpose, zeros of x's shape with g added at the index.
rule(
    "getitem",
    lambda xp, g, out, x, index: xp.place(g, index, x.shape),
    push=lambda xp, tangents, out, x, index: tangents[0][index],
)
linear("place", lambda xp, g, out, x, index, shape: pick(xp, g, index))


def _along(axis: int | None, ndim: int, indices: Any) -> tuple[Any, ...]:
    return (slice(None),) * ((axis or 0) % ndim) + (indices,)  # the axis of a vector may be left out


linear(
    "take",
    lambda xp, g, out, x, indices, *, axis=None: xp.place(g, _along(axis, len(x.shape), indices), x.shape),
)
