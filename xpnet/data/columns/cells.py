"""Cells of columns: checked, read as numbers, and named in messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.notations import MISSING, MOSTLY, Notation
from xpnet.errors import DataError, use
from xpnet.text import shown

if TYPE_CHECKING:
    import polars

__all__ = [
    "EXACT",
    "PLAIN",
    "beyond_exact",
    "check_type",
    "is_temporal",
    "is_text",
    "named_cells",
    "numbers",
    "other_cells",
    "shortened",
    "text_among",
    "text_of",
]

PLAIN = Notation()
"""The notation of numbers without any marks but the decimal point."""

EXACT = 2**53
"""Beyond it float64 does not tell neighbouring whole numbers apart."""

_WHOLE = re.compile("[+-]?[0-9]+")
_MOST_CELLS = 5
_FEW_TEXTS = 4  # cells of text among others that are never too many to be taken for missing


def is_text(series: polars.Series) -> bool:
    """Return whether the cells are text."""
    pl = import_polars()
    return isinstance(series.dtype, (pl.String, pl.Categorical, pl.Enum))


def is_temporal(series: polars.Series) -> bool:
    """Return whether the cells are dates, moments or times of a day."""
    pl = import_polars()
    return isinstance(series.dtype, (pl.Date, pl.Time, pl.Datetime))


def text_of(series: polars.Series) -> polars.Series:
    """Return cells of text, or of categories, as text."""
    pl = import_polars()
    return series if series.dtype == pl.String else series.cast(pl.String)


def check_type(series: polars.Series) -> None:
    """Raise a `DataError` unless the cells are numbers, text, booleans or durations."""
    pl = import_polars()
    dtype = series.dtype
    if not (dtype.is_numeric() or is_text(series) or isinstance(dtype, (pl.Boolean, pl.Null, pl.Duration))):
        raise DataError(
            f"column '{series.name}' holds {series.dtype} values; expected numbers, text, booleans, dates or "
            f"times: convert it, or leave it out with {use('drop', series.name)}"
        )


def numbers(series: polars.Series, rows: np.ndarray, notation: Notation = PLAIN) -> np.ndarray:
    """Return cells as float64, with NaN where there is no number; booleans are 0 and 1, durations
    seconds.

    Args:
        series: numbers, booleans, durations or text.
        rows: their numbers in the table, counted from 0, for messages.
        notation: that of text.

    Raises:
        DataError: cells of another type.
    """
    pl = import_polars()
    dtype = series.dtype
    if isinstance(dtype, pl.Float64) and not notation.percent:
        return series.to_numpy() if series.null_count() == 0 else series.fill_null(np.nan).to_numpy()
    check_type(series)
    if dtype == pl.Duration:
        seconds = series.dt.total_microseconds().cast(pl.Float64) / 1e6
        return seconds.fill_null(np.nan).to_numpy()
    if is_text(series) or (dtype.is_numeric() and notation.percent):
        return notation.read(series)
    return series.cast(pl.Float64, strict=False).to_numpy()


def beyond_exact(series: polars.Series, cells: np.ndarray) -> dict[int, int]:
    """Return the whole numbers of a column that are 2**53 or more, or below, by their places.

    Args:
        series: the column.
        cells: what was read of it as float64.

    >>> import polars
    >>> beyond_exact(polars.Series([1, 2**53 + 1]), np.asarray([1.0, 2.0**53]))
    {1: 9007199254740993}
    """
    found: dict[int, int] = {}
    if series.dtype.is_integer() or is_text(series):
        for place in np.flatnonzero(np.isfinite(cells) & (np.abs(cells) >= EXACT)).tolist():
            digits = str(series[place]).strip()
            if _WHOLE.fullmatch(digits):
                found[place] = int(digits)
    return found


def other_cells(faults: np.ndarray) -> str:
    """Return how many faults there are besides the first one, in brackets; nothing if there is no other."""
    others = int(np.count_nonzero(faults)) - 1
    return f" ({others:,} more such {'cell' if others == 1 else 'cells'})" if others else ""


def named_cells(series: Any, faults: np.ndarray, rows: np.ndarray) -> str:
    """Return the rows and contents of cells: the first few, and how many more there are.

    >>> import polars
    >>> named_cells(polars.Series(["a", "1", "b"]), np.asarray([True, False, True]), np.arange(3))
    "row 1 'a', row 3 'b'"
    """
    places = np.flatnonzero(faults)
    told = [f"row {rows[place] + 1} {_shown(series[int(place)])}" for place in places[:_MOST_CELLS]]
    more = len(places) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def text_among(
    series: polars.Series, gone: np.ndarray, rows: np.ndarray
) -> tuple[int, int, str, bool] | None:
    """Return what text is among cells of another kind; None if there is none.

    Args:
        series: the column, of text.
        gone: which cells hold nothing of the kind, (rows,) bool; those in `MISSING` are no text.
        rows: the numbers of the cells in their table.

    Returns:
        How many there are, among how many cells, their places and contents in words, and whether they are too
        many to be taken for missing.
    """
    words = text_of(series).str.strip_chars()
    text = gone & (words.is_not_null() & ~words.is_in(MISSING)).to_numpy()
    found, there = int(np.count_nonzero(text)), len(series) - series.null_count()
    if not found:
        return None
    too_many = found > max(_FEW_TEXTS, there - MOSTLY * there) or (found == there and found > 1)
    return found, there, named_cells(series, text, rows), too_many


def _shown(value: Any) -> str:
    return f"'{shown(value, 40)}'" if isinstance(value, str) else f"{value}"


def shortened(values: Sequence[Any], most: int = 20) -> str:
    """Return values as a list in words, of many the first ones.

    >>> shortened([1, 2, 3], 2)
    '1, 2, ... (3 in all)'
    """
    listed = ", ".join(repr(value) for value in values[:most])
    return f"{listed}, ... ({len(values)} in all)" if len(values) > most else listed
