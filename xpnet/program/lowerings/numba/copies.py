"""Code generation for copies, gathers of rows, and sums of them."""

from __future__ import annotations

import dataclasses

from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.partition import Section, cut, most
from xpnet.program.passes.aliasing import View

__all__ = ["added_up", "copied", "gathered"]


def copied(target: View, given: View) -> list[str]:
    """Return code that copies one array over another."""
    if target == given or 0 in given.shape:
        return []
    return _nested(given.shape, f"{_entry(target)} = {_entry(given)}")


def gathered(target: View, given: View, rows: View, name: str, parts: int) -> Section:
    """Return code that copies the rows with some numbers; ``name`` is for a row's number."""

    def row(x: View, first: str) -> str:
        of_row = dataclasses.replace(x, shape=x.shape[1:], strides=x.strides[1:])
        return _entry(of_row, f"{first} * {x.strides[0]}")

    count = rows.shape[0]
    each = max(1, cut(count, parts))
    parts = max(1, -(-count // each))
    lines, goes = [], str(count)
    if parts > 1:
        lines, goes = [f"low = part * {each}"], f"low, low + {most(each, count, 'low')}"
    lines += [
        f"for i in range({goes}):",
        f"    {name} = np.int64({pointer(rows)}[i * {rows.strides[0]} + {rows.first}])",
        f"    if {name} < 0:",
        f"        {name} += {given.shape[0]}",
        f"    if {name} < 0 or {name} >= {given.shape[0]}:",
        '        raise IndexError("take: an index is out of bounds")',
        *_nested(given.shape[1:], f"{row(target, 'i')} = {row(given, name)}", 1),
    ]
    return Section(lines, parts)


def added_up(result: View, given: View, axis: int, zero: str) -> Section:
    """Return code that adds up over an axis, row by row of what lies behind it."""
    kept = len(result.shape) == len(given.shape)
    shape = (*given.shape[:axis], 1, *given.shape[axis + 1 :])
    ways = result.strides if kept else (*result.strides[:axis], 0, *result.strides[axis:])
    total = _entry(dataclasses.replace(result, shape=shape, strides=ways))
    row = (*(1,) * (axis + 1), *given.shape[axis + 1 :])
    lines = [*_nested(row, f"{total} = {zero}"), f"for j{axis} in range({given.shape[axis]}):"]
    lines += _nested(row, f"{total} = {total} + {_entry(given)}", 1)
    for k in reversed(range(axis)):
        if given.shape[k] != 1:
            lines = [f"for j{k} in range({given.shape[k]}):", *(f"    {line}" for line in lines)]
    return Section(lines)


def _entry(view: View, first: str = "") -> str:
    terms = [f"j{k} * {s}" for k, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if n != 1]
    terms = [t.removesuffix(" * 1") for t in terms] + [str(view.first)]
    return f"{pointer(view)}[{' + '.join([first, *terms] if first else terms)}]"


def _nested(shape: tuple[int, ...], line: str, by: int = 0) -> list[str]:
    lines = []
    for k, n in enumerate(shape):
        if n != 1:
            lines.append("    " * by + f"for j{k} in range({n}):")
            by += 1
    return [*lines, "    " * by + line]
