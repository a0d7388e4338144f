"""The writing of copies, and of the gathering of rows."""

from __future__ import annotations

import math

from xpnet.program.lowerings.numba.loops import Place
from xpnet.program.lowerings.numba.shares import Section, cut, most

__all__ = ["copied", "gathered", "whole"]


def whole(pointer: str, offset: int, shape: tuple[int, ...]) -> Place:
    """Return the place of a C-contiguous array."""
    strides = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    return Place(pointer, offset, shape, tuple(strides))


def copied(target: Place, given: Place) -> list[str]:
    """Return code that copies one array over another."""
    if target == given or 0 in given.shape:
        return []
    return _nested(given.shape, f"{_entry(target)} = {_entry(given)}")


def gathered(target: Place, given: Place, rows: Place, name: str, parts: int) -> Section:
    """Return code that copies the rows with some numbers; ``name`` is for a row's number."""

    def row(x: Place, first: str) -> str:
        return _entry(Place(x.pointer, x.offset, x.shape[1:], x.strides[1:]), f"{first} * {x.strides[0]}")

    count = rows.shape[0]
    each = max(1, cut(count, parts))
    parts = max(1, -(-count // each))
    lines, goes = [], str(count)
    if parts > 1:
        lines, goes = [f"low = share * {each}"], f"low, low + {most(each, count, 'low')}"
    lines += [
        f"for i in range({goes}):",
        f"    {name} = np.int64({rows.pointer}[i * {rows.strides[0]} + {rows.offset}])",
        f"    if {name} < 0:",
        f"        {name} += {given.shape[0]}",
        f"    if {name} < 0 or {name} >= {given.shape[0]}:",
        '        raise IndexError("take: an index is out of bounds")',
        *_nested(given.shape[1:], f"{row(target, 'i')} = {row(given, name)}", 1),
    ]
    return Section(lines, parts)


def _entry(place: Place, first: str = "") -> str:
    terms = [f"j{k} * {s}" for k, (n, s) in enumerate(zip(place.shape, place.strides, strict=True)) if n != 1]
    terms = [t.removesuffix(" * 1") for t in terms] + [str(place.offset)]
    return f"{place.pointer}[{' + '.join([first, *terms] if first else terms)}]"


def _nested(shape: tuple[int, ...], line: str, by: int = 0) -> list[str]:
    lines = []
    for k, n in enumerate(shape):
        if n != 1:
            lines.append("    " * by + f"for j{k} in range({n}):")
            by += 1
    return [*lines, "    " * by + line]
