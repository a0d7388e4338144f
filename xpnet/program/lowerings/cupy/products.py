"""Matrix products: the arguments of the BLAS."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xpnet.program.lowerings.gemm import lead, matrices, matrix_of
from xpnet.program.passes.aliasing import View

__all__ = ["Product", "product"]


@dataclass(frozen=True)
class Product:
    """One call of the BLAS, which counts by columns: C = A B in its terms, with the views' addresses.

    For stacks of matrices it says how many there are, and how many entries they are apart.
    """

    dtype: str
    turned: tuple[bool, bool]
    sizes: tuple[int, int, int]
    views: tuple[View, View, View]
    leads: tuple[int, int, int]
    count: int = 1
    apart: tuple[int, int, int] = (0, 0, 0)


def product(a: View, b: View, out: View) -> Product | None:
    """Return the call for out = a b; None if a factor has no axis whose entries are neighbours.

    By columns, the memory of a matrix is its transpose. So the transposed equation is what is asked for:
    its first factor is ``b``.
    """
    if len(out.shape) == 3:
        (one_a, step_a), (one_b, step_b), (one_out, step_out) = map(matrix_of, (a, b, out))
        made, apart = product(one_a, one_b, one_out), (step_b, step_a, step_out)
        return None if made is None else replace(made, views=(b, a, out), count=out.shape[0], apart=apart)
    a, b, out = matrices(a, b, out)
    left, right = lead(a), lead(b)
    if left is None or right is None:
        return None
    (rows, inner), columns = a.shape, b.shape[1]
    return Product(
        a.dtype, (right[0], left[0]), (columns, rows, inner), (b, a, out), (right[1], left[1], columns)
    )
