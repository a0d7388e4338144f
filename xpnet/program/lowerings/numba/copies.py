"""Code generation for what moves entries: copies, gathers, tables of vectors, sums of rows."""

from __future__ import annotations

import dataclasses

from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.functions import FAR
from xpnet.program.lowerings.numba.loops import indented
from xpnet.program.lowerings.numba.partition import Section, cut, most
from xpnet.program.passes.aliasing import View

__all__ = ["added_up", "copied", "filled", "gathered", "in_blocks", "looked_up", "summed"]

_BLOCK = 512  # entries


def copied(target: View, given: View) -> list[str]:
    """Return code that copies one array over another."""
    if target == given or 0 in given.shape:
        return []
    return _nested(given.shape, [f"{_entry(target)} = {_entry(given)}"])


def filled(target: View, number: str) -> list[str]:
    """Return code that fills an array with a number."""
    return _nested(target.shape, [f"{_entry(target)} = {number}"])


def gathered(target: View, given: View, rows: View, name: str, parts: int, axis: int = 0) -> Section:
    """Return code that copies the entries with some numbers along an axis; ``name`` is for a number."""

    def of_one(x: View, number: str) -> str:
        kept = [k for k in range(len(x.shape)) if k != axis]
        shape, strides = (tuple(values[k] for k in kept) for values in (x.shape, x.strides))
        return _entry(dataclasses.replace(x, shape=shape, strides=strides), f"{number} * {x.strides[axis]}")

    count, size = rows.shape[0], given.shape[axis]
    each = max(1, cut(count, parts))
    parts = max(1, -(-count // each))
    lines, goes = [], str(count)
    if parts > 1:
        lines, goes = [f"low = part * {each}"], f"low, low + {most(each, count, 'low')}"
    others = (*given.shape[:axis], *given.shape[axis + 1 :])
    lines += [
        f"for i in range({goes}):",
        f"    {name} = np.int64({pointer(rows)}[i * {rows.strides[0]} + {rows.first}])",
        f"    if {name} < 0:",
        f"        {name} += {size}",
        f"    if {name} < 0 or {name} >= {size}:",
        '        raise IndexError("take: an index is out of bounds")',
        *indented(_nested(others, [f"{of_one(target, 'i')} = {of_one(given, name)}"])),
    ]
    return Section(lines, parts)


def looked_up(target: View, table: View, codes: View, name: str, zero: str) -> list[str]:
    """Return code that copies rows of a table for codes (...).

    Args:
        target: for the rows, (..., size).
        table: (rows, size).
        codes: numbers of rows.
        name: for the number of a row.
        zero: name of the number 0, for codes that are no row.
    """
    (rows, size), axis, entry = table.shape, len(codes.shape), _entry(target)
    known = _along(axis, size, f"{entry} = {_cell(table, name, axis)}")
    unknown = _along(axis, size, f"{entry} = {zero}")
    return _nested(codes.shape, [*_if_known(codes, rows, name, known), "else:", *indented(unknown)])


def added_up(target: View, given: View, codes: View, name: str, zero: str) -> list[str]:
    """Return code that adds up vectors (..., size) in the rows of their codes; names as for `looked_up`."""
    (rows, size), axis = target.shape, len(codes.shape)
    cell = _cell(target, name, axis)
    add = _along(axis, size, f"{cell} = {cell} + {_entry(given)}")
    return [*filled(target, zero), *_nested(codes.shape, _if_known(codes, rows, name, add))]


def _if_known(codes: View, rows: int, name: str, lines: list[str]) -> list[str]:
    """Return lines that are for codes that are a row; of NaN neither comparison holds."""
    return [
        f"{name} = {_entry(codes)}",
        f"if {name} >= 0 and {name} < {rows}:",
        f"    {name}_row = np.int64({name})",
        *indented(lines),
    ]


def _cell(table: View, name: str, axis: int) -> str:
    """Return an entry of the row of a code; the loop over its entries is that of an axis."""
    row = dataclasses.replace(
        table, shape=(1,) * axis + table.shape[1:], strides=(0,) * axis + table.strides[1:]
    )
    return _entry(row, f"{name}_row * {table.strides[0]}")


def summed(target: View, given: View, axis: int, zero: str) -> list[str]:
    """Return code that sums along an axis before the last, of which ``target`` has one entry."""
    entry = _entry(target)
    before, behind = given.shape[:axis], (1,) * (axis + 1) + given.shape[axis + 1 :]
    start = _nested(behind, [f"{entry} = {zero}"])
    add = _along(axis, given.shape[axis], *_nested(behind, [f"{entry} = {entry} + {_entry(given)}"]))
    return _nested(before, [*start, *add])


def in_blocks(function: str, target: View, given: View, parts: int) -> Section:
    """Return code of a function that is the C library's in blocks with large entries; both C-contiguous."""
    size, dtype = target.size, target.dtype
    blocks = -(-size // _BLOCK)
    each = cut(blocks, parts)
    parts = -(-blocks // each)
    head, goes = [], str(blocks)
    if parts > 1:
        head, goes = [f"low = part * {each}"], f"low, low + {most(each, blocks, 'low')}"
    x, y = (f"{pointer(v)}[i + {v.first}]" for v in (given, target))
    lines = [
        f"start = block * {_BLOCK}",
        f"stop = min(start + {_BLOCK}, {size})",
        f"far = np.{dtype}(0.0)",
        "for i in range(start, stop):",
        f"    far = largest(far, abs({x}))",
        f"if far < {FAR}:",
        "    for i in range(start, stop):",
        f"        {y} = {function}_{dtype}({x})",
        "else:",
        "    for i in range(start, stop):",
        f"        {y} = np.{dtype}(math.{function}({x}))",
    ]
    return Section([*head, f"for block in range({goes}):", *indented(lines)], parts)


def _along(axis: int, size: int, *lines: str) -> list[str]:
    """Return a loop over an axis."""
    return [*lines] if size == 1 else [f"for j{axis} in range({size}):", *indented([*lines])]


def _entry(view: View, first: str = "") -> str:
    terms = [f"j{k} * {s}" for k, (n, s) in enumerate(zip(view.shape, view.strides, strict=True)) if n != 1]
    terms = [t.removesuffix(" * 1") for t in terms] + [str(view.first)]
    return f"{pointer(view)}[{' + '.join([first, *terms] if first else terms)}]"


def _nested(shape: tuple[int, ...], lines: list[str]) -> list[str]:
    """Return loops over the axes of a shape around some lines."""
    for axis in reversed(range(len(shape))):
        lines = _along(axis, shape[axis], *lines)
    return lines
