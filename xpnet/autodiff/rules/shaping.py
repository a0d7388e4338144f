"""Rules of the functions that rearrange values: each pull is the inverse rearrangement."""

from __future__ import annotations

from typing import Any

from xpnet.autodiff.rules.rule import compound, constant, fit, linear, rule

__all__: list[str] = []

linear("reshape", lambda xp, g, out, x, *shape, **options: xp.reshape(g, x.shape))
linear("expand_dims", lambda xp, g, out, x, *axis, **options: xp.reshape(g, x.shape))
linear("squeeze", lambda xp, g, out, x, *axis, **options: xp.reshape(g, x.shape))
linear("broadcast_to", lambda xp, g, out, x, *shape, **options: fit(xp, g, x))
linear("flip", lambda xp, g, out, x, *, axis=None: xp.flip(g, axis=axis))
linear(
    "moveaxis",
    lambda xp, g, out, x, source, destination: xp.moveaxis(g, destination, source),
)


def _pull_permuted(xp: Any, g: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return xp.permute_dims(g, tuple(inverse))


linear("permute_dims", _pull_permuted)


def _pull_rolled(xp: Any, g: Any, out: Any, x: Any, shift: Any, *, axis: Any = None) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return xp.roll(g, back, axis=axis)


linear("roll", _pull_rolled)


def _pull_concat(position: int, xp: Any, g: Any, out: Any, *arrays: Any, axis: int | None = 0) -> Any:
    if axis is None:
        sizes = [_size(a) for a in arrays]
        start = sum(sizes[:position])
        return xp.reshape(g[start : start + sizes[position]], arrays[position].shape)
    start = sum(a.shape[axis] for a in arrays[:position])
    part = slice(start, start + arrays[position].shape[axis])
    return g[(slice(None),) * (axis % len(g.shape)) + (part, ...)]


def _push_concat(xp: Any, tangents: list[Any], out: Any, *arrays: Any, axis: int | None = 0) -> Any:
    filled = [xp.zeros_like(a) if t is None else t for t, a in zip(tangents, arrays, strict=True)]
    return xp.concat(filled, axis=axis)


def _pull_stack(position: int, xp: Any, g: Any, out: Any, *arrays: Any, axis: int = 0) -> Any:
    return g[(slice(None),) * (axis % len(g.shape)) + (position, ...)]


def _push_stack(xp: Any, tangents: list[Any], out: Any, *arrays: Any, axis: int = 0) -> Any:
    filled = [xp.zeros_like(a) if t is None else t for t, a in zip(tangents, arrays, strict=True)]
    return xp.stack(filled, axis=axis)


rule("concat", _pull_concat, push=_push_concat, variadic=True)
rule("stack", _pull_stack, push=_push_stack, variadic=True)


def _size(x: Any) -> int:
    size = 1
    for n in x.shape:
        size *= n
    return size


def _pull_unpack(xp: Any, g: list[Any], out: Any, flat: Any, layout: Any) -> Any:
    parts = []
    for c, view in zip(g, out, strict=True):
        c = xp.zeros_like(view) if c is None else c
        parts.append(c if len(c.shape) == 1 else xp.reshape(c, (-1,)))
    return xp.concat(parts)


@compound("unpack", _pull_unpack, push=lambda xp, t, out, flat, layout: layout.views(t[0]), many=True)
def unpack(xp: Any, flat: Any, layout: Any) -> tuple[Any, ...]:
    """Return the named views inside a flat vector; the cotangent is the flat vector of theirs."""
    return layout.views(flat)


linear("to_device", lambda xp, g, out, x, device: xp.to_device(g, x.device))

constant("empty_like", "full_like", "ones_like", "zeros_like", "result_type", "can_cast")
