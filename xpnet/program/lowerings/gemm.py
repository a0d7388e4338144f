"""Matrix products for a BLAS: matrices, transposed or not, with their leading dimensions."""

from __future__ import annotations

import dataclasses

from xpnet.program.passes.aliasing import View
from xpnet.program.program import Operation, Ref, Value

__all__ = ["is_product", "is_stack", "lead", "matrices", "matrix_of"]


def is_product(operation: Operation, values: dict[int, Value], *, of_stacks: bool = False) -> bool:
    """True for a product of two matrices or vectors that a BLAS has; or one of several in stacks of them."""
    if operation.name != "matmul":
        return False
    given = [values[x.number] if type(x) is Ref else Value.of(x) for x in operation.operands]
    dtypes = {v.dtype for v in (*given, values[operation.results[0]])}
    return (
        len(dtypes) == 1 and dtypes <= {"float32", "float64"}
        and all(len(v.shape) > 0 and (of_stacks or len(v.shape) <= 2) and v.size for v in given)
        and all(n < 2**31 for v in given for n in v.shape)
    )  # fmt: skip


def is_stack(operation: Operation, values: dict[int, Value]) -> bool:
    """True for products of two stacks of matrices, one by one, or of a stack with one matrix."""
    ranks = [len(values[x.number].shape) for x in operation.operands if type(x) is Ref]
    return sorted(ranks) in ([2, 3], [3, 3]) and is_product(operation, values, of_stacks=True)


def matrix_of(x: View) -> tuple[View, int]:
    """Return the first matrix of a stack, and how many entries on the next one is; 0 if there is none."""
    if len(x.shape) == 2:
        return x, 0
    one = dataclasses.replace(x, shape=x.shape[1:], strides=x.strides[1:])
    return one, x.strides[0] if x.shape[0] > 1 else 0


def matrices(a: View, b: View, out: View) -> tuple[View, View, View]:
    """Return the factors and the result of a product with vectors as rows and columns."""
    if len(a.shape) == 1:
        a, out = a.with_axis(0), out.with_axis(0)
    if len(b.shape) == 1:
        b, out = b.with_axis(1), out.with_axis(len(out.shape))
    return a, b, out


def lead(x: View) -> tuple[bool, int] | None:
    """Return whether a matrix is stored transposed, and its leading dimension; None if it has none."""
    (rows, columns), (s, t) = x.shape, x.strides
    if (t == 1 or columns == 1) and (s >= columns or rows == 1):
        return False, max(s, columns)
    if (s == 1 or rows == 1) and (t >= rows or columns == 1):
        return True, max(t, rows)
    return None
