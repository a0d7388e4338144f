"""Sparse matrices as index arrays and values, on any backend, and the sparsity that users give."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.autodiff.tracer import plain_value
from xpnet.backends import array_namespace, backend_of, host
from xpnet.backends.lacking import extended
from xpnet.errors import RecordError
from xpnet.extras import require

__all__ = ["SparseMatrix", "read_sparsity"]


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A sparse matrix: entries in the order of their rows, and in each row of their columns.

    To transforms, `vmap` and ``xpnet.compile`` it is a container of its values. Those of a batch have further
    axes before the last one.

    Attributes:
        rows, columns: index arrays of NumPy, (entries,).
        values: array of any library, (..., entries); some of them may be zero.
        shape: (rows, columns) of the matrix.

    Example:
        >>> import numpy as np
        >>> SparseMatrix(np.asarray([0, 1]), np.asarray([1, 0]), np.asarray([2.0, 3.0]), (2, 2)).todense()
        array([[0., 2.],
               [3., 0.]])
    """

    rows: np.ndarray
    columns: np.ndarray
    values: Any
    shape: tuple[int, int]

    def todense(self) -> Any:
        """Return the matrix as an array of the library of its values, (..., rows, columns)."""
        xp = array_namespace(self.values)
        xp = xp if hasattr(xp, "take_transpose") else extended(xp)
        (m, n), beside = self.shape, tuple(self.values.shape[:-1])
        places = backend_of(plain_value(self.values)).asarray(self.rows * n + self.columns)
        dense = xp.take_transpose(self.values, places, len(beside), (*beside, m * n))
        return xp.reshape(dense, (*beside, m, n))

    def to_scipy(self) -> Any:
        """Return the matrix as a ``scipy.sparse.csr_array`` on the host.

        Raises:
            MissingExtraError: SciPy is not installed.
        """
        require("scipy", extra="sparse")
        import scipy.sparse

        return scipy.sparse.csr_array((host(self.values), (self.rows, self.columns)), shape=self.shape)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"SparseMatrix({size}, {len(self.rows)} entries of {self.values.dtype})"

    def __leaves__(self) -> list[Any]:
        return [self.values]

    def __rebuild__(self, leaves: list[Any]) -> SparseMatrix:
        return dataclasses.replace(self, values=leaves[0])


def read_sparsity(
    name: str, given: Any, shape: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return rows, columns and shape of a given sparsity, sorted and without repetitions.

    ``given`` is a matrix of truth values (or numbers, of which those other than zero count), an array of
    scipy.sparse, whose stored entries count, a `SparseMatrix`, or a pair of index arrays for ``shape``.
    """
    if hasattr(given, "tocoo"):
        given = given.tocoo()
        rows, columns, found = host(given.row), host(given.col), tuple(given.shape)
    elif hasattr(given, "rows") and hasattr(given, "columns"):
        rows, columns, found = given.rows, given.columns, given.shape
    elif isinstance(given, tuple) and len(given) == 2:
        if shape is None:
            raise RecordError(f"{name}: expected the shape= of the matrix beside index arrays, found none")
        rows, columns = (np.asarray(host(x) if hasattr(x, "shape") else x) for x in given)
        found = shape
    else:
        dense = np.asarray(host(given) if hasattr(given, "shape") else given)
        if dense.ndim != 2:
            raise RecordError(
                f"{name}: expected the sparsity as a matrix of truth values, a sparse array of SciPy or a "
                f"pair (rows, columns) of index arrays, found {type(given).__name__} of shape {dense.shape}"
            )
        (rows, columns), found = np.nonzero(dense), dense.shape
    if shape is not None and tuple(found) != tuple(shape):
        raise RecordError(f"{name}: expected the sparsity of a matrix of shape {tuple(shape)}, found {found}")
    m, n = found
    whole = rows.dtype.kind in "iu" and columns.dtype.kind in "iu"
    if rows.ndim != 1 or rows.shape != columns.shape or not (whole or not len(rows)):
        raise RecordError(
            f"{name}: expected rows and columns of the sparsity as two arrays of equally many whole numbers, "
            f"found shapes {rows.shape} and {columns.shape} of {rows.dtype} and {columns.dtype}"
        )
    for what, index, size in (("row", rows, m), ("column", columns, n)):
        if len(index) and not 0 <= index.min() <= index.max() < size:
            wrong = index.min() if index.min() < 0 else index.max()
            raise RecordError(
                f"{name}: expected {what}s of the sparsity from 0 to {size - 1}, found {int(wrong)}"
            )
    keys = np.unique(rows.astype(np.int64) * n + columns)
    return *np.divmod(keys, max(n, 1)), (int(m), int(n))
