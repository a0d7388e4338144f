"""Batches of products and of linear systems: one product, of matrices where a factor is the same for all."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules.batching import Call

__all__ = ["matmul", "solve", "tensordot"]


def matmul(call: Call, x: Any, y: Any) -> Any:
    """Multiply the examples' matrices, of which vectors are rows on the left and columns on the right."""
    left, right = call.ndim(0, x), call.ndim(1, y)
    call.check_ndim(left, 1)
    call.check_ndim(right, 1)
    x = call.xp.expand_dims(x, axis=-2) if left == 1 else x
    y = call.xp.expand_dims(y, axis=-1) if right == 1 else y
    out = _matrices(call, x, y)
    shape = out.shape[: len(out.shape) - 2]
    rows, columns = out.shape[-2:]
    if left > 1 and right > 1:
        return out
    return call.xp.reshape(out, (*shape, *((rows,) if left > 1 else ()), *((columns,) if right > 1 else ())))


def _matrices(call: Call, x: Any, y: Any) -> Any:
    xp, (of_x, of_y) = call.xp, call.mapped
    if of_x and not of_y and len(y.shape) == 2:
        return _by_one_matrix(xp, call.function, x, y)
    if of_y and not of_x and len(x.shape) == 2 and y.shape[-1] == 1:  # of more columns it would take copies
        turned = _by_one_matrix(xp, call.function, xp.matrix_transpose(y), xp.matrix_transpose(x))
        return xp.matrix_transpose(turned)
    ndim = max(call.ndim(0, x), call.ndim(1, y))
    x, y = (call.widened(z, ndim) if m else z for z, m in zip((x, y), call.mapped, strict=True))
    return xp.multiply(x, y) if x.shape[-1] == y.shape[-2] == 1 else call.function(x, y)


def _by_one_matrix(xp: Any, product: Callable[..., Any], x: Any, matrix: Any) -> Any:
    """Return a stack of matrices times one matrix: all their rows in one product."""
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    return xp.reshape(product(rows, matrix), (*x.shape[:-1], matrix.shape[-1]))


def tensordot(call: Call, x: Any, y: Any, *, axes: Any = 2) -> Any:
    """Sum over axes of the examples; of two mapped arrays as a product of stacks of matrices."""
    xp, m, n = call.xp, call.ndim(0, x), call.ndim(1, y)
    if isinstance(axes, int):
        axes = range(m - axes, m), range(axes)
    summed = [a % m for a in axes[0]], [a % n for a in axes[1]]
    free = [[a for a in range(k) if a not in s] for k, s in zip((m, n), summed, strict=True)]
    if not all(call.mapped):
        axes = tuple([a + bool(mapped) for a in s] for s, mapped in zip(summed, call.mapped, strict=True))
        out = call.function(x, y, axes=axes)
        return out if call.mapped[0] else xp.moveaxis(out, len(free[0]), 0)

    def as_matrix(z: Any, rows: list[int], columns: list[int]) -> Any:
        z = xp.permute_dims(z, (0, *(a + 1 for a in (*rows, *columns))))
        sizes = z.shape[1:]
        count = len(rows)
        return xp.reshape(z, (call.size, math.prod(sizes[:count]), math.prod(sizes[count:])))

    out = xp.matmul(as_matrix(x, free[0], summed[0]), as_matrix(y, summed[1], free[1]))
    kept = [z.shape[a + 1] for z, f in zip((x, y), free, strict=True) for a in f]
    return xp.reshape(out, (call.size, *kept))


def solve(call: Call, matrix: Any, right: Any) -> Any:
    """Solve with the columns of all examples together where the matrix is the same for all."""
    xp, is_vector = call.xp, call.ndim(1, right) == 1
    right = xp.expand_dims(right, axis=-1) if is_vector else right
    if not call.mapped[0] and len(matrix.shape) == 2:
        columns = xp.moveaxis(right, -2, 0)
        out = call.function(matrix, xp.reshape(columns, (columns.shape[0], math.prod(columns.shape[1:]))))
        out = xp.moveaxis(xp.reshape(out, columns.shape), 0, -2)
        out = xp.reshape(out, out.shape, copy=True)  # the columns of an example together
    else:
        ndim = max(call.ndim(0, matrix), len(right.shape) - bool(call.mapped[1]))
        matrix, right = (
            call.widened(z, ndim) if m else z for z, m in zip((matrix, right), call.mapped, strict=True)
        )
        out = call.function(matrix, right)
    return xp.reshape(out, out.shape[:-1]) if is_vector else out
