"""Code generation for matrix products: calls of the BLAS, or loops if it is tiny."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from xpnet.program.lowerings.gemm import lead, matrices, matrix_of
from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.partition import Section, cut, most
from xpnet.program.passes.aliasing import View

__all__ = ["product", "stacked"]

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
    (rows, _), columns = a.shape, b.shape[1]
    if _is_tiny(a, b, gemm):
        return Section(_loops(a, b, c, zero))
    if not _can_call(a, b, gemm):
        return None
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
    return Section([*lines, _call(a, b, c, one, sizes, moves)], down * across)


def stacked(a: View, b: View, c: View, *, gemm: bool, zero: str, one: str, parts: int) -> Section | None:
    """Return the code of the products of two stacks of matrices, one after another; else as `product`."""
    (one_a, step_a), (one_b, step_b), (one_c, step_c) = map(matrix_of, (a, b, c))
    moves = [f"i * {step} + " for step in (step_a, step_b, step_c)]
    if _is_tiny(one_a, one_b, gemm):
        lines = _loops(one_a, one_b, one_c, zero, moves)
    elif _can_call(one_a, one_b, gemm):
        lines = [_call(one_a, one_b, one_c, one, [str(n) for n in one_c.shape], moves)]
    else:
        return None
    count = c.shape[0]
    each = cut(count, parts)
    parts = -(-count // each)
    head, goes = [], str(count)
    if parts > 1:
        head, goes = [f"low = part * {each}"], f"low, low + {most(each, count, 'low')}"
    return Section([*head, f"for i in range({goes}):", *(f"    {line}" for line in lines)], parts)


def _is_tiny(a: View, b: View, gemm: bool) -> bool:
    return a.size * b.shape[1] <= (_TINY if gemm else 8 * _TINY)


def _can_call(a: View, b: View, gemm: bool) -> bool:
    return gemm and lead(a) is not None and lead(b) is not None


def _call(a: View, b: View, c: View, one: str, sizes: Sequence[str], moves: Sequence[str]) -> str:
    """Return the call of the BLAS for parts of these sizes, that begin ``moves`` further."""
    left, right = lead(a), lead(b)
    assert left is not None
    assert right is not None
    moved = [f"moved({pointer(x)}, {by}{x.first})" for x, by in zip((a, b, c), moves, strict=True)]
    return (
        f"gemm(gemm{c.dtype[-2:]}, {_FLAGS[left[0]]}, {_FLAGS[right[0]]}, {sizes[0]}, {sizes[1]}, "
        f"{a.shape[1]}, {one}, {moved[0]}, {left[1]}, {moved[1]}, {right[1]}, {moved[2]}, {c.shape[1]})"
    )


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


def _loops(a: View, b: View, c: View, zero: str, moves: Sequence[str] = ("", "", "")) -> list[str]:
    def at(x: View, i: str, j: str) -> str:
        by = moves[next(k for k, one in enumerate((a, b, c)) if one is x)]
        return f"{pointer(x)}[{by}{i} * {x.strides[0]} + {j} * {x.strides[1]} + {x.first}]"

    return [
        f"for r in range({a.shape[0]}):",
        f"    for j in range({b.shape[1]}):",
        f"        s = {zero}",
        f"        for k in range({a.shape[1]}):",
        f"            s = s + {at(a, 'r', 'k')} * {at(b, 'k', 'j')}",
        f"        {at(c, 'r', 'j')} = s",
    ]
