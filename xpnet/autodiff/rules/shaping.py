"""Rules of the functions that rearrange, repeat and make arrays: each pull is the inverse rearrangement."""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.batching import Call, along_axis, last_axes, reduction, shaped_by_values
from xpnet.autodiff.rules.rule import (
    View,
    along,
    cast,
    composed,
    compound,
    constant,
    fit,
    linear,
    rearranged,
    rule,
)
from xpnet.backends.namespaces import placement

__all__: list[str] = []


# --- Shapes ------------------------------------------------------------------------------------------


def _push_reshaped(
    xp: Any, tangents: list[Any], out: Any, x: Any, shape: Any, *, copy: bool | None = None
) -> Any:
    return xp.reshape(tangents[0], out.shape)  # without copy=False: the tangent may lie otherwise in memory


def _pull_reshaped(xp: Any, g: Any, out: Any, x: Any, shape: Any, *, copy: bool | None = None) -> Any:
    return xp.reshape(g, x.shape)


def _pull_along_axis(xp: Any, g: Any, out: Any, x: Any, axis: Any = 0) -> Any:
    return xp.reshape(g, x.shape)


def _pull_flipped(xp: Any, g: Any, out: Any, x: Any, axis: Any = None) -> Any:
    return xp.flip(g, axis=axis)


def _pull_moved(xp: Any, g: Any, out: Any, x: Any, source: Any, destination: Any) -> Any:
    return xp.moveaxis(g, destination, source)


def _batch_reshaped(call: Call, x: Any, shape: Any, **options: Any) -> Any:
    known = math.prod(n for n in shape if n != -1)
    size = math.prod(x.shape[1:]) // known if known else 0  # -1 is unknown where there are no examples
    return call.function(x, (call.size, *(size if n == -1 else n for n in shape)), **options)


def _batch_expanded(call: Call, x: Any, axis: Any = 0) -> Any:
    new = len(axis) if isinstance(axis, (tuple, list)) else 1
    return call.function(x, axis=call.axis(axis, len(x.shape) - 1 + new))


def _batch_squeezed(call: Call, x: Any, axis: Any) -> Any:
    return call.function(x, axis=call.axis(axis, len(x.shape) - 1))


def _batch_broadcast(call: Call, x: Any, shape: Any) -> Any:
    return call.function(call.widened(x, len(shape)), (call.size, *shape))


def _batch_moved(call: Call, x: Any, source: Any, destination: Any) -> Any:
    ndim = len(x.shape) - 1
    return call.function(x, call.axis(source, ndim), call.axis(destination, ndim))


rule(
    "reshape",
    _pull_reshaped,
    push=_push_reshaped,
    view=rearranged(_pull_reshaped),
    batch=_batch_reshaped,
)
linear("expand_dims", _pull_along_axis, view=rearranged(_pull_along_axis), batch=_batch_expanded)
linear("squeeze", _pull_along_axis, view=rearranged(_pull_along_axis), batch=_batch_squeezed)
linear(
    "broadcast_to",
    lambda xp, g, out, x, *shape, **options: fit(xp, g, x),
    view=View(None),
    batch=_batch_broadcast,
)
linear("flip", _pull_flipped, view=rearranged(_pull_flipped), batch=reduction)
linear("moveaxis", _pull_moved, view=rearranged(_pull_moved), batch=_batch_moved)


def _pull_permuted(xp: Any, g: Any, out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return xp.permute_dims(g, tuple(inverse))


def _batch_permuted(call: Call, x: Any, axes: tuple[int, ...]) -> Any:
    return call.function(x, (0, *(a % len(x.shape) for a in call.axis(axes, len(x.shape) - 1))))


linear("permute_dims", _pull_permuted, view=rearranged(_pull_permuted), batch=_batch_permuted)


def _pull_rolled(xp: Any, g: Any, out: Any, x: Any, shift: Any, axis: Any = None) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift
    return xp.roll(g, back, axis=axis)


linear("roll", _pull_rolled, batch=along_axis(None, restored=True))
linear("tril", lambda xp, g, out, x, k=0: xp.tril(g, k=k), batch=last_axes(2))
linear("triu", lambda xp, g, out, x, k=0: xp.triu(g, k=k), batch=last_axes(2))


@composed("broadcast_arrays", view=View(None, each=True))
def _broadcast_arrays(xp: Any, *arrays: Any) -> tuple[Any, ...]:
    shape = _broadcast_shape(*(x.shape for x in arrays))
    return tuple(xp.broadcast_to(x, shape) for x in arrays)


def _broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    ndim = max(map(len, shapes))
    columns = zip(*((1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes), strict=True)
    # of sizes 1 and n the result has n, also for n = 0; broadcast_to refuses what does not fit
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in columns)


@composed("meshgrid")
def _meshgrid(xp: Any, *arrays: Any, indexing: str = "xy") -> tuple[Any, ...]:
    """Spread the i-th vector along axis i; ``"xy"`` exchanges the first two axes."""
    ndim = len(arrays)
    axes = [1, 0, *range(2, ndim)] if indexing == "xy" and ndim > 1 else list(range(ndim))
    parts = [
        xp.reshape(x, tuple(-1 if axis == i else 1 for i in range(ndim)))
        for x, axis in zip(arrays, axes, strict=True)
    ]
    return _broadcast_arrays(xp, *parts)


# --- Joining and splitting ---------------------------------------------------------------------------


def _pull_concat(position: int, xp: Any, g: Any, out: Any, *arrays: Any, axis: int | None = 0) -> Any:
    sizes = [math.prod(x.shape) if axis is None else x.shape[axis] for x in arrays]
    # of an empty last piece too, the slice starts within the axis: the standard knows no other slices
    start = min(sum(sizes[:position]), max(sum(sizes) - 1, 0))
    part = g[along(g, axis or 0, slice(start, start + sizes[position]))]
    x = arrays[position]
    return cast(xp, xp.reshape(part, x.shape) if axis is None else part, x.dtype)


def _push_concat(xp: Any, tangents: list[Any], out: Any, *arrays: Any, axis: int | None = 0) -> Any:
    return xp.concat(_filled(xp, tangents, arrays), axis=axis)


def _pull_stack(position: int, xp: Any, g: Any, out: Any, *arrays: Any, axis: int = 0) -> Any:
    return cast(xp, g[along(g, axis, position)], arrays[position].dtype)


def _push_stack(xp: Any, tangents: list[Any], out: Any, *arrays: Any, axis: int = 0) -> Any:
    return xp.stack(_filled(xp, tangents, arrays), axis=axis)


def _filled(xp: Any, parts: list[Any], arrays: tuple[Any, ...]) -> list[Any]:
    """Return the tangents or cotangents of ``arrays`` with zeros for None."""
    return [xp.zeros_like(x) if part is None else part for part, x in zip(parts, arrays, strict=True)]


def _batch_concat(call: Call, *arrays: Any, axis: int | None = 0) -> Any:
    arrays = tuple(call.spread(i, x) for i, x in enumerate(arrays))
    if axis is None:
        return call.function(*map(call.flat, arrays), axis=1)
    return call.function(*arrays, axis=call.axis(axis, len(arrays[0].shape) - 1))


def _batch_stack(call: Call, *arrays: Any, axis: int = 0) -> Any:
    arrays = tuple(call.spread(i, x) for i, x in enumerate(arrays))
    return call.function(*arrays, axis=call.axis(axis, len(arrays[0].shape)))


rule("concat", _pull_concat, push=_push_concat, variadic=True, batch=_batch_concat)
rule("stack", _pull_stack, push=_push_stack, variadic=True, batch=_batch_stack)


def _put_unstacked(xp: Any, part: Any, number: int, x: Any, axis: int = 0) -> Any:
    return xp.assign(x, along(x, axis, number), part)


rule(
    "unstack",
    lambda xp, g, out, x, axis=0: xp.stack(_filled(xp, g, out), axis=axis),
    view=View(_put_unstacked),
    push=lambda xp, tangents, out, x, axis=0: xp.unstack(tangents[0], axis=axis),
    many=True,
    batch=along_axis(0),
)


def _pull_unpack(xp: Any, g: list[Any], out: Any, flat: Any, layout: Any) -> Any:
    return xp.concat([c if len(c.shape) == 1 else xp.reshape(c, (-1,)) for c in _filled(xp, g, out)])


def _put_unpacked(xp: Any, part: Any, number: int, flat: Any, layout: Any) -> Any:
    parts = [*layout.views(flat)]
    parts[number] = part
    return xp.concat([xp.reshape(c, (-1,)) for c in parts])


@compound(
    "unpack",
    _pull_unpack,
    push=lambda xp, t, out, flat, layout: layout.views(t[0]),
    many=True,
    view=View(_put_unpacked),
)
def unpack(xp: Any, flat: Any, layout: Any) -> tuple[Any, ...]:
    """Return the named views inside a flat vector; the cotangent is the flat vector of theirs."""
    return layout.views(flat)


# --- Repetition: the cotangents of copies add up -----------------------------------------------------


def _pull_repeated(xp: Any, g: Any, out: Any, x: Any, repeats: Any, axis: int | None = None) -> Any:
    shape = (math.prod(x.shape),) if axis is None or not x.shape else tuple(x.shape)
    along = 0 if axis is None else axis % len(shape)
    if not getattr(repeats, "shape", ()):
        repeats = int(repeats)
        copies = xp.reshape(g, (*shape[: along + 1], repeats, *shape[along + 1 :]))
        return xp.reshape(xp.sum(copies, axis=along + 1), x.shape)
    source = xp.repeat(xp.arange(shape[along], **placement(x)), repeats)  # where each entry came from
    return xp.reshape(xp.take_transpose(g, source, along, shape), x.shape)


def _pull_tiled(xp: Any, g: Any, out: Any, x: Any, repetitions: Any) -> Any:
    times = tuple(repetitions) if isinstance(repetitions, (tuple, list)) else (int(repetitions),)
    ndim = max(len(times), len(x.shape))
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    copies = xp.reshape(g, tuple(n for pair in zip(times, shape, strict=True) for n in pair))
    return xp.reshape(xp.sum(copies, axis=tuple(range(0, 2 * ndim, 2))), x.shape)


def _batch_repeated(call: Call, x: Any, repeats: Any, *, axis: int | None = None) -> Any:
    if call.mapped[1]:
        shaped_by_values(call)
    return along_axis(None)(call, x, repeats, axis=axis)


def _batch_tiled(call: Call, x: Any, repetitions: Any) -> Any:
    call.check_alone()
    times = tuple(repetitions) if isinstance(repetitions, (tuple, list)) else (int(repetitions),)
    x = call.widened(x, len(times))
    return call.function(x, (1,) * (len(x.shape) - len(times)) + times)


linear("repeat", _pull_repeated, batch=_batch_repeated)
linear("tile", _pull_tiled, batch=_batch_tiled)


# --- Differences -------------------------------------------------------------------------------------


@composed("diff")
def _diff(xp: Any, x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """x[1:] - x[:-1] along an axis, n times."""
    if n == 0:
        return x
    pieces = [piece for piece in (prepend, x, append) if piece is not None]
    x = xp.concat(pieces, axis=axis) if len(pieces) > 1 else x
    for _ in range(n):
        size = x.shape[axis]
        later = slice(1, size) if size > 1 else slice(0, 0)
        earlier = slice(0, size - 1) if size > 1 else slice(0, 0)
        x = x[along(x, axis, later)] - x[along(x, axis, earlier)]
    return x


# --- Arrays like another, and what they are ----------------------------------------------------------


@composed("full")
def _full(xp: Any, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    made = xp.broadcast_to(fill_value, (shape,) if isinstance(shape, int) else shape)
    made = made if device is None else made.to_device(device)
    return made if dtype is None else xp.astype(made, dtype)


def _batch_full_like(call: Call, x: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    if any(call.mapped[1:]):
        x = call.spread(0, x)
        fill_value = call.xp.broadcast_to(call.widened(fill_value, len(x.shape) - 1), x.shape)
    return call.function(x, fill_value, dtype=dtype, device=device)


@composed("full_like", batch=_batch_full_like)
def _full_like(xp: Any, x: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    if hasattr(fill_value, "shape"):
        return _full(xp, x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, device=device)
    return xp.full_like(xp.stop_gradient(x), fill_value, dtype=dtype, device=device)


linear("to_device", lambda xp, g, out, x, device: xp.to_device(g, x.device), batch=last_axes(0))

constant("empty_like", "ones_like", "zeros_like", "result_type", "can_cast", "finfo")
