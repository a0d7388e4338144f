"""Colourings of sparse matrices: which columns, or rows, share one product with the matrix.

Columns of one colour have no nonzero in a common row: their sum, one product J v, shows all of them. Rows do
so with products Jᵀ u. A few full rows spoil the columns' colours; they get products of their own. Of a
symmetric matrix each entry is needed once only, which takes fewer colours still.

Sources: A. Curtis, M. Powell and J. Reid, "On the estimation of sparse Jacobian matrices", IMA Journal of
Applied Mathematics 13 (1974); A. Gebremedhin, F. Manne and A. Pothen, "What color is your Jacobian? Graph
coloring for computing derivatives", SIAM Review 47 (2005).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.autodiff.sparse.matrix import read_sparsity
from xpnet.errors import RecordError, suggest

__all__ = ["Colouring", "colouring"]

_MODES = ["auto", "forward", "reverse", "symmetric"]
_MEETINGS = 2**20  # of columns in rows, for which the best order is looked for: about a second


@dataclass(frozen=True, eq=False)
class Colouring:
    """Groups of columns and rows of a sparse matrix, and where its entries are in their products.

    Attributes:
        shape: of the matrix.
        rows, columns: of its entries, row by row.
        column_colours: for each column the number of the product J v that it is in, -1 for none.
        row_colours: for each row the number of the product Jᵀ u that it is in, -1 for none.
        sources: for each entry its place among the entries of all products J v, one after the other, and
            then of all products Jᵀ u.
    """

    shape: tuple[int, int]
    rows: np.ndarray
    columns: np.ndarray
    column_colours: np.ndarray
    row_colours: np.ndarray
    sources: np.ndarray

    @property
    def forward_passes(self) -> int:
        """How many products J v there are."""
        return int(self.column_colours.max(initial=-1)) + 1

    @property
    def reverse_passes(self) -> int:
        """How many products Jᵀ u there are."""
        return int(self.row_colours.max(initial=-1)) + 1

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return (
            f"Colouring({size}, {len(self.rows)} entries: {self.forward_passes} forward and "
            f"{self.reverse_passes} reverse passes)"
        )


def colouring(sparsity: Any, mode: str = "auto", *, shape: tuple[int, int] | None = None) -> Colouring:
    """Return groups of columns or rows of a sparse matrix, each of which takes one product to know.

    Greedy colourings are found in several orders; the one with the fewest groups is returned. No colouring
    of columns has fewer than the fullest row has entries.

    Args:
        sparsity: where entries may be other than zero: a boolean matrix, a sparse array of SciPy, a
            `SparseMatrix`, or a pair (rows, columns) of index arrays.
        mode: ``"forward"``, of columns; ``"reverse"``, of rows; ``"auto"``, of either, or of the fullest of
            one and the other's remains; ``"symmetric"``, of a symmetric matrix (star colouring), where an
            entry given on one side of the diagonal counts on both.
        shape: of the matrix, for index arrays.

    Raises:
        RecordError: an unknown mode; indices outside of the shape; no square for ``"symmetric"``.

    Example:
        >>> import numpy as np
        >>> from xpnet import autodiff
        >>> autodiff.colouring(np.tri(9, k=1) - np.tri(9, k=-2))  # tridiagonal
        Colouring(9 x 9, 25 entries: 3 forward and 0 reverse passes)
    """
    if mode not in _MODES:
        raise RecordError(
            f"colouring: expected a mode among {', '.join(map(repr, _MODES))}, found {mode!r}"
            f"{suggest(mode, _MODES)}"
        )
    rows, columns, shape = read_sparsity("colouring", sparsity, shape)
    if mode == "symmetric":
        return _symmetric(rows, columns, shape)
    found = []
    if mode != "reverse":
        found += [_by_columns(rows, columns, shape, full) for full in _full_rows(rows, shape[0], mode)]
    if mode != "forward":
        order = np.lexsort((rows, columns))
        turned = columns[order], rows[order], (shape[1], shape[0])
        found += [
            _transposed(_by_columns(*turned, full), order) for full in _full_rows(turned[0], shape[1], mode)
        ]
    return min(found, key=lambda known: known.forward_passes + known.reverse_passes)


def _full_rows(rows: np.ndarray, size: int, mode: str) -> list[np.ndarray]:
    """Return sets of rows that may get products of their own: none, and those fuller than the others."""
    none = np.zeros(size, dtype=bool)
    if mode != "auto" or not len(rows):
        return [none]
    counts = np.bincount(rows, minlength=size)
    falling = np.sort(counts)[::-1]
    # Worth a try where many entries go with few rows: before a count that is half of the last one.
    ends = [k for k in range(1, min(size, int(falling[0]))) if 2 * falling[k] <= falling[k - 1]]
    return [none, *(counts > falling[k] for k in ends)]


# --- Columns, and full rows by themselves ------------------------------------------------------------


def _by_columns(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], full: np.ndarray) -> Colouring:
    """Return a colouring of the columns but for the rows that are ``full``, which have their own colours."""
    m, n = shape
    own = full[rows]
    row_colours = _greedy(columns[own], rows[own], n, m)
    column_colours = _greedy(rows[~own], columns[~own], m, n)
    pushed = column_colours[columns] * m + rows
    pulled = (int(column_colours.max(initial=-1)) + 1) * m + row_colours[rows] * n + columns
    return Colouring(shape, rows, columns, column_colours, row_colours, np.where(own, pulled, pushed))


def _transposed(known: Colouring, order: np.ndarray) -> Colouring:
    """Return the colouring of Jᵀ as that of J, whose entries come in another order."""
    m, n = known.shape
    pushed, pulled = known.forward_passes * m, known.reverse_passes * n
    sources = np.empty_like(known.sources)
    sources[order] = np.where(known.sources < pushed, known.sources + pulled, known.sources - pushed)
    rows, columns = np.empty_like(known.rows), np.empty_like(known.rows)
    rows[order], columns[order] = known.columns, known.rows
    return Colouring((n, m), rows, columns, known.row_colours, known.column_colours, sources)


def _greedy(rows: np.ndarray, columns: np.ndarray, m: int, n: int) -> np.ndarray:
    """Return colours of the columns such that no two of one colour share a row; -1 for empty columns."""
    of_columns, of_rows = _lists(columns, rows, n), _lists(rows, columns, m)
    fullest = max(map(len, of_rows), default=0)
    best: list[int] = []
    for order in (_natural, _largest_first, _smallest_last):
        if not best or max(best, default=0) >= fullest:  # fewer colours there cannot be
            found = _coloured(order(of_columns, of_rows), of_columns, m)
            best = min(best or found, found, key=lambda colours: max(colours, default=-1))
    return np.asarray(best, dtype=np.int64)


def _natural(of_columns: list[list[int]], of_rows: list[list[int]]) -> Iterable[int]:
    return range(len(of_columns))


def _degrees(of_columns: list[list[int]], of_rows: list[list[int]]) -> list[int]:
    """Return how often each column meets others in its rows."""
    return [sum(len(of_rows[i]) - 1 for i in rows) for rows in of_columns]


def _largest_first(of_columns: list[list[int]], of_rows: list[list[int]]) -> Iterable[int]:
    degrees = _degrees(of_columns, of_rows)
    return sorted(range(len(of_columns)), key=lambda j: -degrees[j])


def _smallest_last(of_columns: list[list[int]], of_rows: list[list[int]]) -> Iterable[int]:
    """Return the columns such that each meets the fewest of those before it."""
    if sum(len(columns) ** 2 for columns in of_rows) > _MEETINGS:
        return range(len(of_columns))
    degrees, order = _degrees(of_columns, of_rows), []
    waiting = [(degree, j) for j, degree in enumerate(degrees)]
    heapq.heapify(waiting)
    left = [True] * len(of_columns)
    while waiting:
        degree, j = heapq.heappop(waiting)
        if not left[j] or degree != degrees[j]:
            continue  # it was put in again with a smaller degree
        left[j] = False
        order.append(j)
        for k in itertools.chain.from_iterable(of_rows[i] for i in of_columns[j]):
            if left[k]:
                degrees[k] -= 1
                heapq.heappush(waiting, (degrees[k], k))
    return reversed(order)


def _coloured(order: Iterable[int], of_columns: list[list[int]], m: int) -> list[int]:
    """Give each column the first colour that none of its rows has; colours are bits of whole numbers."""
    used, found = [0] * m, [-1] * len(of_columns)
    for j in order:
        taken = 0
        for i in of_columns[j]:
            taken |= used[i]
        first = ~taken & (taken + 1)
        for i in of_columns[j]:
            used[i] |= first
        if of_columns[j]:
            found[j] = first.bit_length() - 1
    return found


def _lists(keys: np.ndarray, values: np.ndarray, count: int) -> list[list[int]]:
    """Return for each key below ``count`` the list of its values."""
    ends = np.cumsum(np.bincount(keys, minlength=count))
    parts = np.split(values[np.argsort(keys, kind="stable")], ends)
    return [part.tolist() for part in parts[:count]]


# --- Symmetric matrices ------------------------------------------------------------------------------


def _symmetric(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> Colouring:
    """Return a star colouring: neighbours differ, and on no path of four are there two colours only.

    Then of an entry's two places in the products, by its row and by its column, one is its alone.
    """
    n = shape[0]
    if shape[1] != n:
        raise RecordError(f"colouring: expected a square matrix for the mode 'symmetric', found {shape}")
    keys = np.unique(np.concatenate((rows * n + columns, columns * n + rows)))
    rows, columns = np.divmod(keys, max(n, 1))
    apart = rows != columns
    neighbours = _lists(rows[apart], columns[apart], n)
    orders = [range(n), np.argsort([-len(known) for known in neighbours], kind="stable").tolist()]
    found = [np.asarray(_star(order, neighbours), dtype=np.int64) for order in orders]
    found.append(_greedy(rows, columns, n, n))
    colours = min(found, key=lambda colours: colours.max(initial=-1))
    colours[np.bincount(rows, minlength=n) == 0] = -1
    # an entry (i, j) is in the product of j's colour alone if no other neighbour of i has that colour
    pairs = rows * (colours.max(initial=0) + 1) + colours[columns]
    _, place, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    alone = counts[place] == 1
    sources = np.where(alone, colours[columns] * n + rows, colours[rows] * n + columns)
    return Colouring(shape, rows, columns, colours, np.full(n, -1), sources)


def _star(order: Iterable[int], neighbours: list[list[int]]) -> list[int]:
    """Return a greedy star colouring of a graph; colours are bits of whole numbers.

    A vertex may have no colour of a neighbour w; none that a neighbour of w has, as long as w has no colour
    or if that neighbour has another neighbour of w's colour.
    """
    n = len(neighbours)
    bits, seen, barred = [0] * n, [0] * n, [0] * n  # own; of neighbours; for neighbours, as just said
    holders: list[dict[int, int]] = [{} for _ in range(n)]  # for each colour the first neighbour that has it
    for v in order:
        taken = 0
        for w in neighbours[v]:
            taken |= bits[w] | barred[w] if bits[w] else seen[w]
        bits[v] = bit = ~taken & (taken + 1)
        for x in neighbours[v]:
            first = holders[x].setdefault(bit, v)
            if first != v:  # x has two neighbours of this colour
                barred[first] |= bits[x]
                barred[v] |= bits[x]
            seen[x] |= bit
    return [bit.bit_length() - 1 for bit in bits]
