"""Code generation for a matrix product: calls of the BLAS, or loops if it is tiny."""

from __future__ import annotations

import itertools

from xpnet.program.lowerings.gemm import lead, matrices
from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.partition import Section, cut, most
from xpnet.program.passes.aliasing import View

__all__ = ["product"]

_TINY = 512  # products of two numbers, up to which loops are faster than the BLAS
_FLAGS = {False: 111, True: 112}  # of cblas: as it is, transposed
_TILE = 4, 16  # rows and columns of the result that the BLAS's kernels compute at once


def product(a: View, b: View, c: View, *, gemm: bool, zero: str, one: str, parts: int) -> Section | None:
    """Return the code of C = A B; None if it can be neither a call nor a loop.

    Args:
        a: vector or matrix.
        b: vector or matrix.
        c: their product, C-contiguous.
        gemm: whether there is a BLAS.
        zero: name of the number.
        one: name of the number.
        parts: into how many parts the product may be cut.
    """
    a, b, c = matrices(a, b, c)
    (rows, inner), columns = a.shape, b.shape[1]
    size = rows * inner * columns
    if size <= (_TINY if gemm else 8 * _TINY):
        return Section(_loops(a, b, c, zero))
    left, right = lead(a), lead(b)
    if not gemm or left is None or right is None:
        return None

    def call(m: str, n: str, *moves: str) -> str:
        moved = [f"moved({pointer(x)}, {by}{x.first})" for x, by in zip((a, b, c), moves, strict=True)]
        return (
            f"gemm(gemm{c.dtype[-2:]}, {_FLAGS[left[0]]}, {_FLAGS[right[0]]}, {m}, {n}, {inner}, {one}, "
            f"{moved[0]}, {left[1]}, {moved[1]}, {right[1]}, {moved[2]}, {columns})"
        )

    height, width = _tiles(rows, columns, parts)
    down, across = -(-rows // height), -(-columns // width)
    lines: list[str] = []
    moves, sizes = ["", "", ""], [str(rows), str(columns)]
    if down > 1:
        lines.append(f"top = part{f' // {across}' * (across > 1)} * {height}")
        sizes[0] = most(height, rows, "top")
        moves = [f"top * {a.strides[0]} + ", "", f"top * {columns} + "]
    if across > 1:
        lines.append(f"left = part{f' % {across}' * (down > 1)} * {width}")
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


def _loops(a: View, b: View, c: View, zero: str) -> list[str]:
    def at(x: View, i: str, j: str) -> str:
        return f"{pointer(x)}[{i} * {x.strides[0]} + {j} * {x.strides[1]} + {x.first}]"

    return [
        f"for i in range({a.shape[0]}):",
        f"    for j in range({b.shape[1]}):",
        f"        s = {zero}",
        f"        for k in range({a.shape[1]}):",
        f"            s = s + {at(a, 'i', 'k')} * {at(b, 'k', 'j')}",
        f"        {at(c, 'i', 'j')} = s",
    ]
