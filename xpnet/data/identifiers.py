"""Columns that name rows instead of describing them: identifiers, which a model would learn by heart."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data.columns.cells import EXACT, is_text, text_of
from xpnet.data.notations import MOSTLY
from xpnet.text import shown

if TYPE_CHECKING:
    import polars

__all__ = ["identifier", "is_named_identifier"]

_FEWEST = 5  # rows from which unique text, or numbers that count the rows, are no chance
_FEWEST_NUMBERS = 10  # rows from which unique whole numbers under such a name are none
_NEARLY, _SMALL_TABLE = 0.9, 50  # share of distinct texts, and rows from which it says something

# Names of identifiers: whole ones, and ends of others. "index" and "number" may end names of measurements.
_WHOLE = re.compile(
    r"^(|_?id|ids|uu?id|guid|index|idx|rownames?|rows?|row[ _.-]?(id|no|nr|num|number|names?)|unnamed.*|"
    r"level_0|no\.?|nr\.?|num|number|#|key|pk|obs|observation|record|serial|case)$",
    re.IGNORECASE,
)
_END = re.compile(r"([ _.-](id|uu?id|guid|key|no|nr)|[a-z](ID|Id|UUID|Uuid))$")
# Names under which numbers that count the rows are likely to be a measurement.
_MEASURED = re.compile(
    r"time|date|day|week|month|quarter|year|hour|minute|second|epoch|step|^t$|^x0?$|age$", re.IGNORECASE
)


# Decimal numbers with something before or after them that is no part of a known notation.
_WITH_NUMBER = r"^\D{0,5}[0-9]+[.,][0-9]+\D{0,8}$"


def is_named_identifier(name: str) -> bool:
    """Return whether a column has the name of an identifier.

    >>> [is_named_identifier(name) for name in ("id", "customer_id", "PassengerId", "paid", "price index")]
    [True, True, True, False, False]
    """
    return bool(_WHOLE.match(name.strip()) or _END.search(name.strip()))


def identifier(series: polars.Series, rows: np.ndarray, *, first: bool) -> tuple[str, str, bool] | None:
    """Return why a column identifies rows, as the end of a decision; None if it does not.

    - Text of which each row has its own is an identifier; so is text that is nearly so (90 % of more than 50
      rows), such as names.
    - Whole numbers that count the rows from 0 or 1 are one in the first column of a table, or under the name
      of an identifier. Elsewhere, and under a name of times, they may be a measurement.
    - Whole numbers of which each row has its own are one under the name of an identifier, or if they are too
      large for float64.

    Args:
        series: the training cells.
        rows: their numbers in the table, counted from 0.
        first: whether it is the table's first column.

    Returns:
        What it is, what shows it, and whether it could be meant otherwise.
    """
    n = len(series)
    if n < _FEWEST or series.null_count() == n:
        return None
    if not series.dtype.is_numeric():
        return _of_text(text_of(series)) if is_text(series) else None
    if series.null_count():
        return None
    named = is_named_identifier(series.name)
    integers = series.dtype.is_integer()
    large = (integers or named) and _size(series) > EXACT and _mostly_large(series)
    if not (named or first or large):
        return None
    if large and integers:
        unique = series.n_unique() == n
        return ("an identifier", "each row has its own large whole number", False) if unique else None
    if large:
        return "an identifier", "large numbers, of which the last digits may be lost", True
    numbers = series.cast(float, strict=False).to_numpy()
    if not np.all(numbers == np.floor(numbers)):
        return None
    start = numbers[0] - rows[0]
    counts = start in (0.0, 1.0) and bool(np.all(numbers - rows == start))
    if counts and (named or not _MEASURED.search(series.name)):
        return "a count of the rows", f"it counts them from {start:.0f}", False
    if named and n >= _FEWEST_NUMBERS and len(np.unique(numbers)) == n:
        return "an identifier", f"whole numbers, another one in each of {n:,} rows", False
    return None


def _of_text(cells: polars.Series) -> tuple[str, str, bool] | None:
    n = len(cells) - cells.null_count()
    distinct = cells.n_unique() - (n < len(cells))
    if n >= _FEWEST and distinct == n:
        there = cells.rename("").drop_nulls()
        why = f"each of {n:,} cells has a text of its own"
        if there.str.contains(_WITH_NUMBER).mean() >= MOSTLY:  # type: ignore[operator]
            why += f", such as '{shown(there[0], 40)}': if they are numbers, remove all other characters"
            return "an identifier", why, True
        return "an identifier", why, False
    if n > _SMALL_TABLE and distinct >= _NEARLY * n:
        return "free text", f"{distinct:,} texts in {n:,} cells", True
    return None


def _mostly_large(series: polars.Series) -> bool:
    return bool(np.mean(np.abs(series.cast(float).to_numpy()) > EXACT) > 0.5)


def _size(series: polars.Series) -> int:
    low, high = series.min(), series.max()
    bounds: list[Any] = [0 if bound is None else bound for bound in (low, high)]
    return max(abs(int(bound)) for bound in bounds if abs(bound) < math.inf)
