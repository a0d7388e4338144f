"""What a column is: numbers, categories, or dates."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.data.columns.categorical import Categorical, cells_of
from xpnet.data.columns.cells import PLAIN, check_type, is_text
from xpnet.data.columns.date_text import form_of, several_forms
from xpnet.data.columns.dates import Dates, is_temporal
from xpnet.data.columns.numeric import Numeric
from xpnet.data.findings import Findings
from xpnet.data.notations import CODES, Notation, decimal_of, notation_of
from xpnet.data.shapes import Shapes, shapes_of
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = [
    "UNDECLARED",
    "Column",
    "Reading",
    "choose",
    "dates_of",
    "number_notation",
    "reading_of",
    "tell_notation",
]

Column = Numeric | Categorical | Dates

_CODE = re.compile(CODES)
_GROUPED = re.compile(r"[+-]?9{1,3}(?:\.9{3})+")  # shapes of numbers whose point may part thousands


@dataclass(frozen=True)
class Reading:
    """What is declared about text in a table.

    Attributes:
        decimal: the decimal mark, "." or ","; None: found out.
        thousands: the mark between thousands; None: found out.
        dayfirst: whether 3/4/2021 is the 3rd of April; None: found out, or asked for.
    """

    decimal: str | None = None
    thousands: str | None = None
    dayfirst: bool | None = None


UNDECLARED = Reading()
"""Nothing is declared."""


def reading_of(
    frame: polars.DataFrame, reading: Reading = UNDECLARED, shapes: Collection[Shapes] | None = None
) -> Reading:
    """Return a reading with the decimal mark that the columns of a table show, if none is declared.

    Args:
        frame: the table.
        reading: what is declared.
        shapes: those of its columns of text, where they are known.
    """
    if reading.decimal is not None or reading.thousands is not None:
        return reading
    if not (any(map(is_text, frame.get_columns())) if shapes is None else shapes):
        return reading
    return dataclasses.replace(reading, decimal=decimal_of(frame, shapes))


def number_notation(series: polars.Series, reading: Reading, shapes: Shapes | None = None) -> Notation | None:
    """Return the notation of a column of numbers; None if it holds something else.

    Text is numbers where at least 80 % (`MOSTLY`) of the cells that are there can be read as numbers of one
    notation, and none has a leading zero as codes have.

    Args:
        series: the column.
        reading: what is declared about text.
        shapes: those of the column, where they are known.

    Raises:
        DataError: the cells can be read in two ways, or are of a type that cannot be encoded.
    """
    if not is_text(series):
        check_type(series)
        return PLAIN
    if series.null_count() == len(series):
        return PLAIN
    if series.dtype != import_polars().String:  # declared to be categories
        return None
    shapes = shapes or shapes_of([series], reading.thousands)[0]
    if any(map(_CODE.match, shapes.counts)):
        return None
    return notation_of(series, decimal=reading.decimal, thousands=reading.thousands, shapes=shapes)


def dates_of(series: polars.Series, reading: Reading, findings: Findings) -> Dates | None:
    """Return the column of dates, times or moments that the cells are, not yet fitted; None for others.

    Raises:
        DataError: days and months could be either.
    """
    pl = import_polars()
    if is_temporal(series):
        zone = getattr(series.dtype, "time_zone", None)
        if zone not in (None, "UTC"):
            findings.decide(series.name, "is converted to UTC", f"its times are those of {zone}")
        return Dates(series.name)
    if series.dtype != pl.String:
        return None
    found = form_of(series, dayfirst=reading.dayfirst)
    if found is None:
        return None
    findings.decide(series.name, f"read as dates and times of the form {found.form}", found.why)
    for what, why in found.doubts:
        findings.decide(series.name, what, why, warning=True)
    if found.zones:
        findings.decide(series.name, "is converted to UTC", "its times have zones; one without counts as UTC")
    return Dates(series.name, found.form)


def choose(
    series: polars.Series,
    findings: Findings,
    reading: Reading,
    shapes: Shapes | None = None,
    *,
    categorical: bool = False,
) -> Column:
    """Return the column that the training cells are, not yet fitted.

    Columns of numbers and of booleans are numbers unless ``categorical`` declares otherwise; text is numbers,
    dates, or else categories.

    Raises:
        DataError: the cells are of a type that cannot be encoded, such as lists, or can be read in two ways.
    """
    if categorical:
        return Categorical(series.name, cells_of(series))
    if series.dtype.is_numeric():
        return Numeric(series.name)
    if not is_temporal(series):
        if is_text(series):
            shapes = shapes or shapes_of([series], reading.thousands)[0]
            if shapes.cells and not shapes.digits:  # which numbers and dates have
                return Categorical(series.name, cells_of(series))
        notation = number_notation(series, reading, shapes)
        if notation is not None:
            if isinstance(series.dtype, import_polars().Duration):
                findings.decide(series.name, "holds durations, which are taken as seconds")
            tell_notation(series, notation, shapes, findings)
            return Numeric(series.name, notation=notation, boolean=series.dtype == import_polars().Boolean)
    dates = dates_of(series, reading, findings)
    forms = several_forms(series) if dates is None else None
    if forms:
        raise DataError(
            f"column '{series.name}' holds dates in several forms, such as '{forms[0]}' and '{forms[1]}': "
            f"write all of them in one, take them as categories with {use('categorical', series.name)}, or "
            f"leave the column out with {use('drop', series.name)}"
        )
    return dates or Categorical(series.name, cells_of(series))


def tell_notation(
    series: polars.Series, notation: Notation, shapes: Shapes | None, findings: Findings
) -> None:
    """Note the notation of a column of text, if its numbers are not written plainly, or could be others."""
    if notation != PLAIN:
        findings.decide(series.name, f"read as {notation}", example_of(series, notation))
    elif shapes is not None and shapes.numbers and all(map(_GROUPED.fullmatch, shapes.numbers)):
        cell = next(iter(shapes.examples(shapes.numbers).values()))
        why = f"'{cell}' is {float(cell):.15g}, as the decimal mark is a point elsewhere, or declared"
        findings.decide(series.name, "read with decimal points", why)


def example_of(series: polars.Series, notation: Notation) -> str:
    """Return the first cell that plain notation would not read, and its number."""
    for cell in series.head(1000).to_list():
        number = None if cell is None else notation.number(str(cell))
        if number is not None and number != PLAIN.number(str(cell)):
            return f"'{cell}' is {number:.15g}"
    return ""
