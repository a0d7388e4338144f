"""Odd rows of tables that come from people: a first line that is no header, and last rows that are totals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.decisions import Decision
from xpnet.data.stacks import stacks

if TYPE_CHECKING:
    import polars

__all__ = ["doubts_of_header", "doubts_of_totals", "hint_of_names"]

_NUMBER = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+(e[-+]?[0-9]+)?", re.IGNORECASE)
_PLACED = re.compile(r"column_[0-9]+")  # names of columns that have none
_TOTAL = (
    r"(?i)^(grand |sub-? ?)?(totals?|sum|mean|average|avg\.?|summe|gesamt(summe)?|mittelwert|durchschnitt|"
    r"somme|moyenne|suma|media|promedio|totale|totaal|итого|合計|总计)( .{0,20})?:?$"
)
_FEWEST = 5  # rows above a total
_MOST_LOOKED_AT = 3  # last rows that are looked at: notes may stand below a total
_MOST_NAMED = 3
_MOST_COLUMNS = 1000


def hint_of_names(columns: Sequence[str]) -> str:
    """Return what is odd about the names of columns, to end a message; empty if nothing is.

    >>> hint_of_names(["a,b"])
    '; each of its lines is quoted as a whole: remove the quotes at its ends'
    """
    first = columns[0] if columns else ""
    if len(columns) == 1 and any(separator in first for separator in ",;\t|"):
        return "; each of its lines is quoted as a whole: remove the quotes at its ends"
    if len(columns) == 1 and (len(first.split()) > 1 or re.search(r"\w[:^]+\w", first)):
        return "; part the columns with commas, semicolons, tabs or bars: it has one only"
    if len(columns) > 1 and (first.startswith("#") or all(_PLACED.fullmatch(name) for name in columns[1:])):
        return "; is its first line a title? remove the lines above the one that names the columns"
    if columns and all(_NUMBER.fullmatch(name) for name in columns):
        return "; its first line holds numbers: put one with the names of the columns before it"
    return ""


def doubts_of_header(names: Sequence[str], frame: polars.DataFrame) -> list[Decision]:
    """Return a warning if the first line of a file may be no header: its names look like cells.

    Args:
        names: of the columns, in the order of the first line.
        frame: what stands below.
    """
    numbers = [float(name.replace(",", ".")) for name in names if name and _NUMBER.fullmatch(name)]
    # places, years, limits of classes
    ascending = len(numbers) == len(names) and numbers in [list(range(k, k + len(names))) for k in (0, 1)]
    ascending |= all(1800 <= number <= 2100 and number == int(number) for number in numbers)
    ascending |= len(numbers) > 4 and bool(np.all(np.diff(numbers) > 0))
    why = ""
    if numbers and not ascending:
        name = next(name for name in names if _NUMBER.fullmatch(name))
        why = f"it holds numbers, such as '{name}'"
    else:
        columns = frame[:, :_MOST_COLUMNS].get_columns()
        texts = [column for column in columns if column.dtype == import_polars().String]
        same = list(_held_by_their_columns(texts))
        if len(same) > 1 and 2 * len(same) >= len(texts):
            why = f"column '{same[0]}' holds '{same[0]}' as well, and so do others their names"
    if not why:
        return []
    what = "read with its first line as the names of the columns"
    return [Decision(None, what, f"{why}: if it is a row, put a line of names before it", warning=True)]


def _held_by_their_columns(texts: Sequence[polars.Series]) -> Iterator[str]:
    """Yield the names of columns of text of which a cell is the column's name."""
    pl = import_polars()
    for some, cells in stacks(texts):
        names = pl.Series([column.name for column in some], dtype=pl.String)
        held = cells == names.gather(np.repeat(np.arange(len(some)), len(some[0])))
        found = held.fill_null(False).to_numpy().reshape(len(some), -1).any(axis=1)
        yield from (some[place].name for place in np.flatnonzero(found).tolist())


def doubts_of_totals(frame: polars.DataFrame) -> list[Decision]:
    """Return a warning if a last row may be a total: it says so, or holds the sums of the rows above.

    >>> import polars
    >>> doubts_of_totals(polars.DataFrame({"shop": [*"abcdef", "Total"]}))[0].why
    "'Total' in column 'shop'; if it is no row like the others, remove it"
    """
    pl = import_polars()
    if frame.height <= _FEWEST:
        return []
    frame = frame[:, :_MOST_COLUMNS]
    last = frame.tail(_MOST_LOOKED_AT)
    signs: list[str] = []
    row = frame.height
    for some, cells in stacks([column for column in last.get_columns() if column.dtype == pl.String]):
        found = cells.str.contains(_TOTAL).fill_null(False).to_numpy()
        for place in np.flatnonzero(found).tolist():
            column, within = some[place // last.height], place % last.height
            above = frame[column.name].head(frame.height - last.height)
            if not (above == column[within]).any():
                signs.append(f"'{column[within]}' in column '{column.name}'")
                row = min(row, frame.height - last.height + within + 1)
    if row == frame.height:
        summed, others = _summed(frame)
        if len(summed) > others or (summed and signs):
            listed = ", ".join(f"'{name}'" for name in summed[:_MOST_NAMED])
            more = f" and {len(summed) - _MOST_NAMED:,} more" if len(summed) > _MOST_NAMED else ""
            signs.append(f"the sums of the rows above in {listed}{more}")
    if not signs:
        return []
    why = f"{', '.join(signs[:_MOST_NAMED])}; if it is no row like the others, remove it"
    return [Decision(None, f"read with row {row:,}, which may be a total", why, warning=True)]


def _summed(frame: polars.DataFrame) -> tuple[list[str], int]:
    """Return the columns of numbers whose last cell is the sum of those above, and the number of others."""
    summed: list[str] = []
    others = 0
    columns = [c.cast(float) for c in frame.get_columns() if c.dtype.is_numeric() and c[-1] is not None]
    for some, cells in stacks(columns):
        block = cells.fill_null(0.0).fill_nan(0.0).to_numpy().reshape(len(some), -1)
        above, last = block[:, :-1], block[:, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            equal = np.abs(above.sum(axis=1) - last) <= 1e-9 * np.abs(above).sum(axis=1)
        equal &= np.count_nonzero(above, axis=1) > 2  # of zeros any zero is the sum
        summed += [column.name for column, is_sum in zip(some, equal, strict=True) if is_sum]
        others += int(np.count_nonzero(~equal))
    return summed, others
