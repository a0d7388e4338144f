"""First columns without a name, as R and pandas write them: the numbers or names of the rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data.decisions import Decision

if TYPE_CHECKING:
    import polars

__all__ = ["UNNAMED", "without_index"]

UNNAMED = "unnamed"
"""Name given to a first column that has none."""

_PANDAS = (
    "Unnamed: 0",
    "__index_level_0__",
)  # of one that was read without a name, and in Parquet and Feather


def without_index(
    frame: polars.DataFrame, needed: Collection[str] = ()
) -> tuple[polars.DataFrame, list[Decision]]:
    """Return a table with its unnamed column named `UNNAMED`, or left out if it counts the rows.

    Args:
        frame: the table; its unnamed column has the name "", or one that pandas gives.
        needed: names of columns that are not left out.

    Returns:
        The table, and what was done.

    >>> import polars
    >>> table, told = without_index(polars.DataFrame({"": [1, 2], "a": [0.5, 1.5]}))
    >>> table.columns, str(told[0])
    (['a'], "column 'unnamed' left out: it has no name and counts the rows from 1")
    """
    decisions = []
    for name in ("", *_PANDAS):
        if name not in frame.columns or (name == _PANDAS[0] and frame.columns[0] != name):
            continue
        start, given = _start(frame[name]), name or _free(frame.columns)
        if not name and frame.width > 1 and frame[name].null_count() == frame.height:
            frame = frame.drop(name)
            decisions.append(Decision(given, "left out", "it has neither a name nor a cell"))
            continue
        why = "it has no name" if not name else "pandas gives this name to one without"
        if start is not None and given not in needed and frame.width > 1:
            frame = frame.drop(name)
            why = f"{why} and counts the rows from {start}" if not name else f"{why}, and it counts the rows"
            decisions.append(Decision(given, "left out", why))
        elif not name:
            frame = frame.rename({name: given})
            decisions.append(Decision(given, "named so", "it has no name in the file"))
    return frame, decisions


def _free(names: list[str]) -> str:
    name = UNNAMED
    while name in names:
        name += "_"
    return name


def _start(series: polars.Series) -> int | None:
    """Return 0 or 1 if a column counts the rows from there; else None."""
    whole = series.dtype.is_integer() or (series.dtype.is_float() and series.is_finite().all())
    if not whole or series.null_count() or not len(series) or series[0] not in (0, 1):
        return None
    first = int(series[0])
    return first if np.array_equal(series.to_numpy(), np.arange(first, first + len(series))) else None
