"""Batches of indexing: values taken out of each example, put into it, added up where they came from.

An index without arrays goes behind the axis of the batch. One with arrays, which libraries combine with
slices in their own ways, is applied to the *places* of an example's entries, 0, 1, 2 ...; then entries are
taken by their places.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.autodiff.rules.batching import Call
from xpnet.backends import dtype_name
from xpnet.backends.namespaces import placement
from xpnet.errors import RecordError

__all__ = [
    "assign",
    "embedding",
    "embedding_transpose",
    "getitem",
    "last_written",
    "place",
    "take",
    "take_along_axis",
    "take_along_axis_transpose",
    "take_transpose",
]


# --- Indices -----------------------------------------------------------------------------------------


def _parts(index: Any, ndim: int) -> tuple[Any, ...]:
    """Return the parts of an index, with slices for an ellipsis and for the axes that it does not name."""
    parts = index if isinstance(index, tuple) else (index,)
    named = sum(
        len(part.shape) if _is_mask(part) else 1 for part in parts if part is not None and part is not ...
    )
    rest = (slice(None),) * (ndim - named)
    at = next((i for i, part in enumerate(parts) if part is ...), None)
    return (*parts, *rest) if at is None else (*parts[:at], *rest, *parts[at + 1 :])


def _is_array(part: Any) -> bool:
    return isinstance(part, list) or hasattr(part, "shape")


def _has_arrays(index: Any) -> bool:
    return any(map(_is_array, index)) if isinstance(index, tuple) else _is_array(index)


def _is_mask(part: Any) -> bool:
    return hasattr(part, "shape") and dtype_name(part) == "bool"


def _is_mapped(call: Call, position: int) -> bool:
    known = call.mapped[position]
    return any(known) if isinstance(known, tuple) else known


def _behind(index: Any) -> tuple[Any, ...]:
    """Return an index without arrays for the examples of a batch."""
    return (slice(None), *(index if isinstance(index, tuple) else (index,)))


def _by_index(call: Call, position: int, x: Any, index: Any) -> Any:
    """Return ``x[index]`` for an ``x`` that is the same for all examples; mapped if the index is."""
    xp, known = call.xp, call.mapped[position]
    if not _is_mapped(call, position):
        return xp.getitem(x, index)
    given, mapped = (index, known) if isinstance(index, tuple) else ((index,), (known,))
    given = tuple(xp.asarray(part, **placement(x)) if isinstance(part, list) else part for part in given)
    if any(m and _is_mask(part) for part, m in zip(given, mapped, strict=True)):
        raise RecordError(
            f"{call.name}: expected an index that takes equally many entries of all examples, found a mapped "
            "mask; use xp.where(mask, x, 0), or loop over the examples in place of vmap"
        )
    ndim = max(
        1 if _is_mask(part) else len(part.shape) - m
        for part, m in zip(given, mapped, strict=True)
        if hasattr(part, "shape")
    )
    given = tuple(call.widened(part, ndim) if m else part for part, m in zip(given, mapped, strict=True))
    out = xp.getitem(x, given)
    return call.moved(out, _front(xp, _parts(given, len(x.shape))), 0)


def _front(xp: Any, parts: tuple[Any, ...]) -> int:
    """Return the axis of a result at which those of the index arrays begin.

    It is where the first array stands, or 0 if slices are between them. Numbers count as arrays, but for
    PyTorch.
    """
    numbers_count = "torch" not in xp.__name__
    kept = [part for part in parts if numbers_count or not isinstance(part, int)]
    found = [i for i, part in enumerate(kept) if _is_array(part) or isinstance(part, int)]
    is_one_block = found[-1] - found[0] == len(found) - 1
    return found[0] if is_one_block else 0


# --- Places ------------------------------------------------------------------------------------------


def _numbers(call: Call, count: int, x: Any) -> Any:
    return call.xp.arange(count, **placement(x))


def _places(call: Call, position: int, index: Any, shape: tuple[int, ...], x: Any) -> Any:
    """Return the places that an index takes of an example of ``shape``; mapped if the index is."""
    numbers = call.xp.reshape(_numbers(call, math.prod(shape), x), shape)
    return _by_index(call, position, numbers, index)


def _in_batch(call: Call, places: Any, count: int) -> Any:
    """Return mapped places among ``count`` as places in all examples one after another, flattened."""
    start = call.xp.reshape(_numbers(call, call.size, places) * count, (call.size, 1))
    return call.xp.reshape(call.xp.add(call.flat(places), start), (-1,))


def _rows(call: Call, x: Any, places: Any, mapped: bool, axis: int) -> Any:
    """Return the entries of mapped ``x`` at places along an axis of its examples."""
    xp, (size, *shape) = call.xp, x.shape
    kind = places.shape[1:] if mapped else places.shape
    if not mapped:
        taken = xp.take(x, xp.reshape(places, (-1,)), axis=axis + 1)
        return xp.reshape(taken, (size, *shape[:axis], *kind, *shape[axis + 1 :]))
    count, others = shape[axis], (*shape[:axis], *shape[axis + 1 :])
    rows = xp.reshape(call.moved(x, axis + 1, 1), (size * count, *others))
    taken = xp.take(rows, _in_batch(call, places, count), axis=0)
    taken = xp.reshape(taken, (size, math.prod(kind), *others))
    return xp.reshape(call.moved(taken, 1, axis + 1), (size, *shape[:axis], *kind, *shape[axis + 1 :]))


def _rows_transpose(call: Call, g: Any, places: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """Return the transpose of :func:`_rows` for mapped places, of examples of ``shape``."""
    xp, (size, count) = call.xp, places.shape
    others = (*shape[:axis], *shape[axis + 1 :])
    rows = xp.reshape(call.moved(g, axis + 1, 1), (size * count, *others))
    added = xp.take_transpose(rows, _in_batch(call, places, shape[axis]), 0, (size * shape[axis], *others))
    return call.moved(xp.reshape(added, (size, shape[axis], *others)), 1, axis + 1)


# --- x[index] and its transpose ----------------------------------------------------------------------


def getitem(call: Call, x: Any, index: Any) -> Any:
    """Return ``x[index]`` of each example."""
    if not _has_arrays(index):
        return call.function(x, _behind(index))
    if not call.mapped[0]:
        return _by_index(call, 1, x, index)
    shape, mapped = x.shape[1:], _is_mapped(call, 1)
    parts = _parts(index, len(shape))
    whole = [i for i, part in enumerate(parts) if not _is_slice_of_all(part)]
    if len(whole) == 1 and not _is_mask(parts[whole[0]]):  # rows, say: the axis alone has places
        (axis,) = whole
        alone = Call(call.name, call.function, call.xp, call.size, (False, mapped))
        places = _places(alone, 1, parts[axis], (shape[axis],), x)
        return _rows(call, x, places, mapped, axis)
    return _rows(call, call.flat(x), _places(call, 1, index, shape, x), mapped, 0)


def _is_slice_of_all(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def place(call: Call, g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    """Return zeros with ``g`` added at the index of each example."""
    if not _has_arrays(index):
        return call.function(g, _behind(index), (call.size, *shape))
    xp, flat, size = call.xp, call.flat(call.spread(0, g)), math.prod(shape)
    places = _places(call, 1, index, shape, g)
    if _is_mapped(call, 1):
        out = _rows_transpose(call, flat, call.flat(places), 0, (size,))
    else:
        out = xp.take_transpose(flat, xp.reshape(places, (-1,)), 1, (call.size, size))
    return xp.reshape(out, (call.size, *shape))


# --- Values along an axis ----------------------------------------------------------------------------


def take(call: Call, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    """Take values along an axis of each example."""
    xp, axis = call.xp, _taken_axis(call, axis, call.ndim(0, x))
    if not call.mapped[1]:
        return call.function(x, indices, axis=axis + 1)
    kind = indices.shape[1:]
    if call.mapped[0]:
        return _rows(call, x, _known_places(call, indices, x.shape[axis + 1]), True, axis)
    taken = call.function(x, xp.reshape(indices, (-1,)), axis=axis)
    taken = xp.reshape(taken, (*x.shape[:axis], call.size, *kind, *x.shape[axis + 1 :]))
    return call.moved(taken, axis, 0)


def _taken_axis(call: Call, axis: int | None, ndim: int) -> int:
    """Return the axis of an example, not negative; it may be left out where there is only one."""
    if axis is None and ndim != 1:
        raise RecordError(
            f"{call.name}: expected axis= for examples with {ndim} axes, found none; the mapped axis does "
            "not count"
        )
    return call.axis(axis or 0, ndim) % (ndim + 1) - 1


def _known_places(call: Call, indices: Any, count: int) -> Any:
    """Return mapped indices as places: none of them negative, or among another example's."""
    found = call.xp.take(_numbers(call, count, indices), call.xp.reshape(indices, (-1,)), axis=0)
    return call.xp.reshape(found, indices.shape)


def take_transpose(call: Call, g: Any, indices: Any, axis: int | None, shape: tuple[int, ...]) -> Any:
    """Add values up where ``take`` took them along an axis of each example."""
    axis = _taken_axis(call, axis, len(shape))
    g = call.spread(0, g)
    if not call.mapped[1]:
        return call.function(g, indices, axis + 1, (call.size, *shape))
    return _rows_transpose(call, g, call.flat(_known_places(call, indices, shape[axis])), axis, shape)


def take_along_axis(call: Call, x: Any, indices: Any, *, axis: int = -1) -> Any:
    """Take other values along an axis for each place of each example."""
    ndim = call.ndim(0, x)
    return call.function(call.spread(0, x), call.spread(1, indices), axis=call.axis(axis, ndim))


def take_along_axis_transpose(call: Call, g: Any, indices: Any, axis: int, shape: tuple[int, ...]) -> Any:
    """Add values up where ``take_along_axis`` took them."""
    axis = call.axis(axis, len(shape))
    return call.function(call.spread(0, g), call.spread(1, indices), axis, (call.size, *shape))


def embedding(call: Call, table: Any, codes: Any) -> Any:
    """Take rows of each example's table, for codes that are the same for all or for each its own."""
    xp = call.xp
    if not call.mapped[0]:
        return call.function(table, codes)
    size, rows, width = table.shape
    if call.mapped[1]:
        return call.function(xp.reshape(table, (size * rows, width)), _own_codes(call, codes, rows))
    found = call.function(xp.reshape(xp.moveaxis(table, 0, 1), (rows, size * width)), codes)
    return xp.moveaxis(xp.reshape(found, (*codes.shape, size, width)), -2, 0)


def embedding_transpose(call: Call, g: Any, codes: Any, rows: int) -> Any:
    """Add up what belongs to the rows of each example's table."""
    xp, width, g = call.xp, g.shape[-1], call.spread(0, g)
    if call.mapped[1]:
        found = call.function(g, _own_codes(call, codes, rows), call.size * rows)
        return xp.reshape(found, (call.size, rows, width))
    g = xp.reshape(xp.moveaxis(g, 0, -2), (*codes.shape, call.size * width))
    return xp.moveaxis(xp.reshape(call.function(g, codes, rows), (rows, call.size, width)), 1, 0)


def _own_codes(call: Call, codes: Any, rows: int) -> Any:
    """Return mapped codes as those of one table that has all examples' rows; -1 for unknown ones."""
    xp = call.xp
    first = _numbers(call, call.size, codes) * rows  # whole numbers: floats may not tell so many rows apart
    first = xp.reshape(first, (call.size, *(1,) * (len(codes.shape) - 1)))
    known = xp.logical_and(codes >= 0, codes < rows)
    own = xp.astype(xp.where(known, codes, xp.zeros_like(codes)), first.dtype) + first
    return xp.where(known, own, xp.zeros_like(own) - 1)


# --- Assignment --------------------------------------------------------------------------------------


def assign(call: Call, x: Any, index: Any, value: Any) -> Any:
    """Return each example with ``value`` at the index."""
    xp, shape = call.xp, x.shape[1:] if call.mapped[0] else x.shape
    if not call.mapped[0]:  # no broadcast array, whose copy NumPy would lay out with the examples last
        x = xp.tile(x, (call.size, *(1,) * len(shape)))
    if _is_mask(index) and not getattr(value, "shape", ())[int(call.mapped[2]) :]:
        return _assign_by_mask(call, x, index, value)
    if not _has_arrays(index):
        parts = index if isinstance(index, tuple) else (index,)
        ndim = len(_parts(index, len(shape))) - sum(isinstance(part, int) for part in parts)
        return call.function(x, _behind(index), _with_ndim(call, value, ndim))
    places = _places(call, 1, index, shape, x)
    kind = places.shape[1:] if _is_mapped(call, 1) else places.shape
    if hasattr(value, "shape"):
        value = call.flat(xp.broadcast_to(_with_ndim(call, value, len(kind)), (call.size, *kind)))
    if not _is_mapped(call, 1):
        out = call.function(call.flat(x), (slice(None), xp.reshape(places, (-1,))), value)
    else:
        value = xp.reshape(value, (-1,)) if hasattr(value, "shape") else value
        out = call.function(xp.reshape(x, (-1,)), _in_batch(call, places, math.prod(shape)), value)
    return xp.reshape(out, x.shape)


def _assign_by_mask(call: Call, x: Any, mask: Any, value: Any) -> Any:
    """Assign one number to the places of each example where its mask is True, however many they are."""
    xp, mapped = call.xp, call.mapped
    behind = len(x.shape) - 1 - call.ndim(1, mask)
    mask = xp.reshape(mask, (*mask.shape, *(1,) * behind))
    out = xp.where(mask, call.widened(value, len(x.shape) - 1) if mapped[2] else value, x)
    return out if out.dtype == x.dtype else xp.astype(out, x.dtype)


def _with_ndim(call: Call, value: Any, ndim: int) -> Any:
    """Return a value to assign to places with ``ndim`` axes; further axes, of size one, are dropped."""
    if not hasattr(value, "shape"):
        return value
    if call.mapped[2] and call.ndim(2, value) < ndim:
        return call.widened(value, ndim)
    more = call.ndim(2, value) - ndim
    if more <= 0:
        return value
    kept = value.shape[more + 1 :] if call.mapped[2] else value.shape[more:]
    return call.xp.reshape(value, (call.size, *kept) if call.mapped[2] else kept)


def last_written(call: Call, x: Any, index: Any) -> Any:
    """Return which values of an assignment to each example remain."""
    xp, shape = call.xp, x.shape[1:] if call.mapped[0] else x.shape
    size = math.prod(shape)
    if not _is_mapped(call, 1):
        left = call.function(xp.reshape(_numbers(call, size, x), shape), index)
        return xp.broadcast_to(left, (call.size, *left.shape))
    places = _places(call, 1, index, shape, x)
    left = call.function(_numbers(call, call.size * size, x), _in_batch(call, places, size))
    return xp.reshape(left, places.shape)
