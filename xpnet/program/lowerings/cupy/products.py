"""Matrix products: what the BLAS is called with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from xpnet.program.lowerings.cupy.places import Place
from xpnet.program.program import Operation, Ref, Value

__all__ = ["Product", "is_product", "lead", "product"]


@dataclass(frozen=True)
class Product:
    """One call of the BLAS, which counts by columns: C = A B in its terms, with the places' addresses."""

    dtype: str
    turned: tuple[bool, bool]
    sizes: tuple[int, int, int]
    places: tuple[Place, Place, Place]
    leads: tuple[int, int, int]


def is_product(operation: Operation, values: dict[int, Value]) -> bool:
    """True for a product of two matrices or vectors that the BLAS has."""
    if operation.name != "matmul":
        return False
    given = [values[x.number] if type(x) is Ref else Value.of(x) for x in operation.operands]
    dtypes = {v.dtype for v in (*given, values[operation.results[0]])}
    return (
        len(dtypes) == 1 and dtypes <= {"float32", "float64"}
        and all(0 < len(v.shape) <= 2 and v.size for v in given)
        and all(n < 2**31 for v in given for n in v.shape)
    )  # fmt: skip


def product(a: Place, b: Place, out: Place) -> Product | None:
    """Return the call for out = a b; None if a factor has no axis whose entries are neighbours.

    By columns, the memory of a matrix is its transpose. So the transposed equation is what is asked for:
    its first factor is ``b``.
    """
    if len(a.shape) == 1:
        a, out = _with_axis(a, 0), _with_axis(out, 0)
    if len(b.shape) == 1:
        b, out = _with_axis(b, 1), _with_axis(out, len(out.shape))
    left, right = lead(a), lead(b)
    if left is None or right is None:
        return None
    (rows, inner), columns = a.shape, b.shape[1]
    return Product(
        a.dtype, (right[0], left[0]), (columns, rows, inner), (b, a, out), (right[1], left[1], columns)
    )


def lead(x: Place) -> tuple[bool, int] | None:
    """Return whether a matrix is stored transposed, and the distance of its lines; None if it has none."""
    (rows, columns), (s, t) = x.shape, x.strides
    if (t == 1 or columns == 1) and (s >= columns or rows == 1):
        return False, max(s, columns)
    if (s == 1 or rows == 1) and (t >= rows or columns == 1):
        return True, max(t, rows)
    return None


def _with_axis(x: Place, axis: int) -> Place:
    shape, strides = list(x.shape), list(x.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 1)
    return dataclasses.replace(x, shape=tuple(shape), strides=tuple(strides))
