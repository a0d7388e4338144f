"""Rules of indexing: taking values out, and putting cotangents back where they came from."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.rule import linear, rule

__all__: list[str] = []

# x[index]; ``place`` is its transpose, zeros of x's shape with g added at the index.
rule(
    "getitem",
    lambda xp, g, out, x, index: xp.place(g, index, x.shape),
    push=lambda xp, tangents, out, x, index: tangents[0][index],
)
linear("place", lambda xp, g, out, x, index, shape: g[index])


def _along(axis: int, ndim: int, indices: Any) -> tuple[Any, ...]:
    return (slice(None),) * (axis % ndim) + (indices,)


linear(
    "take",
    lambda xp, g, out, x, indices, *, axis=0: xp.place(g, _along(axis, len(x.shape), indices), x.shape),
)
