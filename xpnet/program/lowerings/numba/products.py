"""Code generation for matrix products: calls of the BLAS, or loops if they are tiny."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from xpnet.program.lowerings.gemm import lead, matrices
from xpnet.program.lowerings.numba.elements import pointer
from xpnet.program.lowerings.numba.partition import Section, cut, most
from xpnet.program.passes.aliasing import View, c_order

__all__ = ["product"]

_TINY = 512  # products of two numbers, up to which loops are faster than the BLAS
_FLAGS = {False: 111, True: 112}  # of cblas: as it is, transposed
_TILE = 4, 16  # rows and columns of the result that the BLAS's kernels compute at once


def product(a: View, b: View, c: View, *, gemm: bool, zero: str, one: str, parts: int) -> Section | None:
    """Return the code of C = A B; None if it can be neither a call nor a loop.

    Args:
        a: vector or matrix, or a stack of matrices.
        b: vector or matrix, or a stack of matrices.
        c: their product; its matrices are C-contiguous.
        gemm: whether there is a BLAS.
        zero: name of the number.
        one: name of the number.
        parts: into how many parts the product may be cut.
    """
    if max(len(a.shape), len(b.shape)) > 2:
        return _of_stacks(a, b, c, gemm=gemm, zero=zero, one=one, parts=parts)
    a, b, c = matrices(a, b, c)
    (rows, _), columns = a.shape, b.shape[1]
    if _is_tiny(a, b, gemm):
        return Section(_loops(a, b, c, zero))
    call = _caller(a, b, c, one) if gemm else None
    if call is None:
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
    return Section([*lines, call(*sizes, *moves)], down * across)


def _is_tiny(a: View, b: View, gemm: bool) -> bool:
    return a.size * b.shape[1] <= (_TINY if gemm else 8 * _TINY)


def _caller(a: View, b: View, c: View, one: str) -> Callable[..., str] | None:
    """Return the call of the BLAS for m rows and n columns, with pointers moved; None if it cannot."""
    left, right = lead(a), lead(b)
    if left is None or right is None:
        return None

    def call(m: str, n: str, *moves: str) -> str:
        moved = [f"moved({pointer(x)}, {by}{x.first})" for x, by in zip((a, b, c), moves, strict=True)]
        return (
            f"gemm(gemm{c.dtype[-2:]}, {_FLAGS[left[0]]}, {_FLAGS[right[0]]}, {m}, {n}, {a.shape[1]}, {one}, "
            f"{moved[0]}, {left[1]}, {moved[1]}, {right[1]}, {moved[2]}, {c.shape[1]})"
        )

    return call


def _of_stacks(a: View, b: View, c: View, *, gemm: bool, zero: str, one: str, parts: int) -> Section | None:
    """Return the code of the products of the matrices in stacks, one after another."""
    if min(len(a.shape), len(b.shape)) < 2 or c.strides[-2:] != c_order(c.shape[-2:]):
        return None
    *stack, rows, columns = c.shape
    moves = []
    for x in (a, b, c):
        missing = len(stack) + 2 - len(x.shape)
        ways = [0] * missing + [s if n > 1 else 0 for n, s in zip(x.shape[:-2], x.strides[:-2], strict=True)]
        moves.append("".join(f"m{k} * {way} + " for k, way in enumerate(ways) if way))
    a, b, c = (dataclasses.replace(x, shape=x.shape[-2:], strides=x.strides[-2:]) for x in (a, b, c))
    if _is_tiny(a, b, gemm):
        lines = _loops(a, b, c, zero, moves)
    else:
        call = _caller(a, b, c, one) if gemm else None
        if call is None:
            return None
        lines = [call(str(rows), str(columns), *moves)]
    each = max(1, cut(stack[0], parts))
    parts = -(-stack[0] // each)
    for k in reversed(range(len(stack))):
        goes = f"low, low + {most(each, stack[0], 'low')}" if k == 0 and parts > 1 else str(stack[k])
        lines = [f"for m{k} in range({goes}):", *(f"    {line}" for line in lines)]
    return Section([f"low = part * {each}", *lines] if parts > 1 else lines, parts)


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
    by = dict(zip("abc", moves, strict=True))

    def at(name: str, x: View, i: str, j: str) -> str:
        return f"{pointer(x)}[{by[name]}{i} * {x.strides[0]} + {j} * {x.strides[1]} + {x.first}]"

    return [
        f"for i in range({a.shape[0]}):",
        f"    for j in range({b.shape[1]}):",
        f"        s = {zero}",
        f"        for k in range({a.shape[1]}):",
        f"            s = s + {at('a', a, 'i', 'k')} * {at('b', b, 'k', 'j')}",
        f"        {at('c', c, 'i', 'j')} = s",
    ]
