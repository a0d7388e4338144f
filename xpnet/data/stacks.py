"""Columns stacked into one: a call of polars takes long, and hardly longer for the cells of many columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars

if TYPE_CHECKING:
    import polars

__all__ = ["counted", "counts_of", "stacks"]

_CELLS = 2**20  # of a stack; a column that has more is one for itself


def stacks(columns: Sequence[Any]) -> Iterator[tuple[Sequence[Any], Any]]:
    """Yield columns of one type and length, as many at a time as have a million cells, with all their cells.

    Args:
        columns: series of polars, or arrays (rows,).

    Yields:
        Some of the columns; of series, their cells in one without a name, column after column; of arrays, an
        array (columns, rows).

    >>> import polars
    >>> [cells.to_list() for _, cells in stacks([polars.Series([1, 2]), polars.Series([3, 4])])]
    [[1, 2, 3, 4]]
    """
    many = max(1, _CELLS // max(1, len(columns[0]))) if columns else 1
    for start in range(0, len(columns), many):
        some = columns[start : start + many]
        if isinstance(some[0], np.ndarray):
            yield some, np.stack(some) if len(some) > 1 else some[0][None]
        else:  # without the name of a column, which polars may take for a pattern
            yield some, import_polars().concat(some, rechunk=True).rename("")


def counted(mask: polars.Series, columns: int) -> np.ndarray:
    """Return for each column of a stack how many of its cells are true, (columns,) int64."""
    return np.count_nonzero(mask.fill_null(False).to_numpy().reshape(columns, -1), axis=1)


def counts_of(series: polars.Series) -> dict[Any, int]:
    """Return the different cells of a column, None for missing ones, and how many each are; in any order.

    Methods of polars such as ``unique`` are queries, which take twenty times as long where cells are few.

    >>> import polars
    >>> sorted(counts_of(polars.Series(["b", "a", "b"])).items())
    [('a', 1), ('b', 2)]
    """
    if not len(series):
        return {}
    values, counts = series.rename("").value_counts().get_columns()
    return dict(zip(values.to_list(), counts.to_list(), strict=True))
