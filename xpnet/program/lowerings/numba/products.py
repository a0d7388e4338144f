"""The writing of a matrix product: calls of the BLAS, or loops if it is tiny."""

from __future__ import annotations

import itertools

from xpnet.program.lowerings.numba.loops import Place
from xpnet.program.lowerings.numba.shares import Section, cut, most

__all__ = ["product"]

_TINY = 512  # products of two numbers, up to which loops are faster than the BLAS
_TILE = 4, 16  # rows and columns of the result that the BLAS's kernels compute at once


def product(
    a: Place, b: Place, c: Place, dtype: str, *, gemm: bool, zero: str, one: str, parts: int
) -> Section | None:
    """Return the code of C = A B; None if it can be neither a call nor a loop.

    Args:
        a: vector or matrix.
        b: vector or matrix.
        c: their product, C-contiguous.
        dtype: of all of them.
        gemm: whether there is a BLAS.
        zero: name of the number.
        one: name of the number.
        parts: into how many parts the product may be cut.
    """
    a, b, c = _matrices(a, b, c)
    if any(len(x.shape) != 2 for x in (a, b, c)):
        return None
    (rows, inner), columns = a.shape, b.shape[1]
    size = rows * inner * columns
    if not size:
        return None
    if size <= (_TINY if gemm else 8 * _TINY):
        return Section(_loops(a, b, c, zero))
    left, right = _lead(a), _lead(b)
    if not gemm or left is None or right is None:
        return None

    def call(m: str, n: str, *moves: str) -> str:
        moved = [f"moved({x.pointer}, {by}{x.offset})" for x, by in zip((a, b, c), moves, strict=True)]
        return (
            f"gemm(gemm{dtype[-2:]}, {left[0]}, {right[0]}, {m}, {n}, {inner}, {one}, "
            f"{moved[0]}, {left[1]}, {moved[1]}, {right[1]}, {moved[2]}, {columns})"
        )

    height, width = _tiles(rows, columns, parts)
    down, across = -(-rows // height), -(-columns // width)
    lines: list[str] = []
    moves, sizes = ["", "", ""], [str(rows), str(columns)]
    if down > 1:
        lines.append(f"top = share{f' // {across}' * (across > 1)} * {height}")
        sizes[0] = most(height, rows, "top")
        moves = [f"top * {a.strides[0]} + ", "", f"top * {columns} + "]
    if across > 1:
        lines.append(f"left = share{f' % {across}' * (down > 1)} * {width}")
        sizes[1] = most(width, columns, "left")
        moves = [moves[0], f"left * {b.strides[1]} + ", f"{moves[2]}left + "]
    return Section([*lines, call(*sizes, *moves)], down * across)


def _tiles(rows: int, columns: int, parts: int) -> tuple[int, int]:
    """Return rows and columns of each part of the result.

    Every part goes through its rows of A and its columns of B, and brings them into the kernel's order: the
    fewer there are of these in all, the better.
    """
    found = []
    for down, across in itertools.product(range(1, parts + 1), repeat=2):
        height, width = cut(rows, down, _TILE[0]), cut(columns, across, _TILE[1])
        made = -(-rows // height) * -(-columns // width)
        if made <= parts:
            found.append((height * width, height + width, height, width))
    return min(found)[2:]


def _matrices(a: Place, b: Place, c: Place) -> tuple[Place, Place, Place]:
    """Return the factors and the result of a product with vectors as rows and columns."""
    if len(a.shape) == 1:
        a, c = _with_axis(a, 0), _with_axis(c, 0)
    if len(b.shape) == 1:
        b, c = _with_axis(b, 1), _with_axis(c, 1)
    return a, b, c


def _with_axis(x: Place, axis: int) -> Place:
    shape, strides = list(x.shape), list(x.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 1 if axis else x.shape[0])
    return Place(x.pointer, x.offset, tuple(shape), tuple(strides))


def _lead(x: Place) -> tuple[int, int] | None:
    """Return the BLAS's flag for a matrix (111: as it is, 112: transposed) and its leading dimension."""
    (rows, columns), (s, t) = x.shape, x.strides
    if (t == 1 or columns == 1) and (s >= columns or rows == 1):
        return 111, max(s, columns)
    if (s == 1 or rows == 1) and (t >= rows or columns == 1):
        return 112, max(t, rows)
    return None


def _loops(a: Place, b: Place, c: Place, zero: str) -> list[str]:
    def at(x: Place, i: str, j: str) -> str:
        return f"{x.pointer}[{i} * {x.strides[0]} + {j} * {x.strides[1]} + {x.offset}]"

    return [
        f"for i in range({a.shape[0]}):",
        f"    for j in range({b.shape[1]}):",
        f"        s = {zero}",
        f"        for k in range({a.shape[1]}):",
        f"            s = s + {at(a, 'i', 'k')} * {at(b, 'k', 'j')}",
        f"        {at(c, 'i', 'j')} = s",
    ]
