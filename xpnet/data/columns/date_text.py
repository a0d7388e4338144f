"""Dates and times written as text: the form of a column found out, and its cells read as moments.

A form is unambiguous, or a cell settles it, or it is declared:

- ``2021-04-03``, ``2021/4/3``, ``2021.04.03``, ``2021-04``: year, month and day;
- ``3.4.2021``: with points, the day comes first;
- ``03/04/2021`` and ``03-04-2021``: a day above 12 in any cell says whether days or months come first;
  without one, ``dayfirst`` has to;
- ``3 Apr 2021``, ``3-Apr-21``, ``April 3, 2021``, ``Apr 2021``: with the (English) name of the month.

A time may follow (``14:05``, ``14:05:59.5``, ``2:05 PM``), and a zone (``Z``, ``+02:00``); a time alone is
one of a day. Moments are in UTC; what has no zone is taken as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.columns.cells import text_of
from xpnet.data.notations import MISSING, MOSTLY
from xpnet.errors import DataError, use

if TYPE_CHECKING:
    import polars

__all__ = ["FORMS", "FormOfDates", "form_of", "pattern_of_form", "read_dates", "several_forms"]

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
_DAY, _MONTH = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?", rf"(?P<month>{_LONG})\.?"
_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,? )?"
_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}(?:[.,][0-9]{1,9})?))?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?"
)
_ZONE = r"(?: ?(?P<zone>z|utc|gmt|[+-][0-9]{2}:?[0-9]{2}))?"
_DATES = {
    "year-month-day": r"(?P<year>[0-9]{4})[-/.](?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})",
    "year-month": r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])",
    "day.month.year": r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\." + _YEAR,
    "day/month/year": r"(?P<day>[0-9]{1,2})[-/](?P<month>[0-9]{1,2})[-/]" + _YEAR,
    "month/day/year": r"(?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})[-/.]" + _YEAR,
    "day Month year": rf"{_DAY}[-/. ]+{_MONTH}[-/., ]+{_YEAR}",
    "Month day year": rf"{_MONTH}[-/. ]+{_DAY},?[-/ ]+{_YEAR}",
    "Month year": rf"{_MONTH}[-/., ]+(?P<year>[0-9]{{4}})",
}  # fmt: skip
_PATTERNS = {
    **{form: f"^(?i:{_WEEKDAY}{date}(?:(?:t|,? +){_TIME}{_ZONE})?)$" for form, date in _DATES.items()},
    "hour:minute": f"^(?i:{_TIME}{_ZONE})$",
}
_PYTHON = {form: re.compile(pattern) for form, pattern in _PATTERNS.items()}

FORMS = tuple(_PATTERNS)
"""The forms that dates and times may have."""


def pattern_of_form(form: str) -> str:
    """Return the regular expression of the texts of a form, with a group for each part of the date."""
    return _PATTERNS[form]


_LOOKED_AT = 30  # distinct cells that say whether a closer look is worth it
_FEWEST = 4  # distinct cells of which dates of several forms are no chance
_MICROSECONDS = 1_000_000
_PIVOT = 2000


@dataclass(frozen=True)
class FormOfDates:
    """How the dates of a column of text are written.

    Attributes:
        form: one of `FORMS`.
        why: what shows it.
        zones: whether cells have a zone.
        doubts: what else was taken in one of two ways, and an example.
    """

    form: str
    why: str
    zones: bool = False
    doubts: tuple[tuple[str, str], ...] = ()


def form_of(series: polars.Series, *, dayfirst: bool | None = None) -> FormOfDates | None:
    """Return how the dates or times in a column of text are written; None if less than 80 % of it are any.

    Raises:
        DataError: days and months could be either, or cells have both orders.

    Example:
        >>> import polars
        >>> form_of(polars.Series(["3/4/2021", "25/4/2021"])).form
        'day/month/year'
        >>> form_of(polars.Series("when", ["3/4/2021", "5/4/2021"]))
        Traceback (most recent call last):
        ...
        xpnet.errors.DataError: column 'when' holds dates that can be read in two ways: '3/4/2021' as 3 April
        2021 (dayfirst=True) or 4 March 2021 (dayfirst=False), and no cell has a day above 12; say which
    """
    cells = text_of(series).drop_nulls()
    looked_at = [
        cell.strip() for cell in cells.head(10 * _LOOKED_AT).unique(maintain_order=True).head(_LOOKED_AT)
    ]
    if not looked_at:
        return None
    likely = [
        form
        for form, pattern in _PYTHON.items()
        if 2 * sum(pattern.match(cell) is not None for cell in looked_at) >= len(looked_at)
    ]
    if not likely:
        return None
    cells = cells.str.strip_chars()
    cells = cells.filter(~cells.is_in(MISSING)).unique(maintain_order=True)
    fits = {form: cells.str.contains(_PATTERNS[form]) for form in likely}
    fits = {form: mask for form, mask in fits.items() if mask.sum() >= MOSTLY * len(cells)}
    if not fits:
        return None
    if "day/month/year" in fits:
        form, why = _order(series.name, cells.filter(fits["day/month/year"]), dayfirst)
    elif "day.month.year" in fits:
        form, why = _order_with_points(cells.filter(fits["day.month.year"]), dayfirst)
    else:
        form, why = next(iter(fits)), ""
        if form == "year-month" and _are_seasons(cells):
            return None
    read = read_dates(cells, form)
    if np.count_nonzero(~np.isnat(read)) < MOSTLY * len(cells):
        return None
    parts = cells.str.extract_groups(_PATTERNS[form]).struct.unnest()
    zones = bool(parts["zone"].is_not_null().any())
    return FormOfDates(form, why, zones, tuple(_doubts(cells, parts, read)))


def _doubts(cells: polars.Series, parts: polars.DataFrame, read: np.ndarray) -> Iterator[tuple[str, str]]:
    """Yield what could be meant otherwise: centuries that are not written, and halves of a day."""
    known = ~np.isnat(read)
    if "year" in parts.columns:
        short = known & (parts["year"].str.len_chars() == 2).fill_null(False).to_numpy()
        years = read[short].astype("datetime64[Y]").astype(np.int64) + 1970
        if short.any() and years.min() < _PIVOT <= years.max():
            cell = cells[int(np.flatnonzero(short)[np.argmax(years)])]
            yield (
                f"has years of two digits, which are taken for {years.min()} to {years.max()}",
                f"'{cell}' is in {years.max()}; write years with four digits",
            )
    named, timed = parts["half"].is_not_null().to_numpy(), known & parts["hour"].is_not_null().to_numpy()
    plain = timed & ~named & (parts["hour"].cast(int).fill_null(0) <= 12).to_numpy()
    if (timed & named).any() and plain.any():
        yield (
            "has times with AM or PM, and others without, which are taken for those of 24 hours",
            f"'{cells[int(np.argmax(plain))]}' beside '{cells[int(np.argmax(timed & named))]}'",
        )


def several_forms(series: polars.Series) -> tuple[str, str] | None:
    """Return two cells of a column of text whose cells are dates of different forms; None for other columns.

    >>> import polars
    >>> several_forms(polars.Series(["2021-04-03", "5.4.2021", "2021-04-08", "9.4.2021"]))
    ('2021-04-03', '5.4.2021')
    """
    if series.dtype != import_polars().String:
        return None
    cells = series.drop_nulls().head(10 * _LOOKED_AT).str.strip_chars().unique(maintain_order=True)
    looked_at = [cell for cell in cells.head(_LOOKED_AT) if cell not in MISSING]
    examples: dict[str, str] = {}
    found = 0
    for cell in looked_at:
        form = next((form for form, pattern in _PYTHON.items() if pattern.match(cell)), None)
        if form is not None:
            found += 1
            examples.setdefault(form, cell)
    if len(examples) < 2 or len(looked_at) < _FEWEST or found < MOSTLY * len(looked_at):
        return None
    one, other, *_ = examples.values()
    return one, other


def _are_seasons(cells: polars.Series) -> bool:
    """Whether cells such as 2010-11 are years and the next ones, and not months."""
    pairs = [(int(cell[:4]), int(cell[5:7])) for cell in cells if re.fullmatch(r"[0-9]{4}-[0-9]{2}", cell)]
    return all((year + 1) % 100 == other for year, other in pairs)


def _order(name: str, cells: polars.Series, dayfirst: bool | None) -> tuple[str, str]:
    """Return whether days or months come first, and why."""
    parts = cells.str.extract_groups(_PATTERNS["day/month/year"]).struct.unnest()
    first, second = (parts[n].cast(int).to_numpy() for n in ("day", "month"))
    days, months = first > 12, second > 12
    if days.any() and months.any():
        raise DataError(
            f"column '{name}' holds dates in two orders: '{cells[int(np.argmax(days))]}' has its day first, "
            f"'{cells[int(np.argmax(months))]}' its month; write all of them in one"
        )
    if months.any() or days.any():
        settles = cells[int(np.argmax(days if days.any() else months))]
        if dayfirst is not None and dayfirst != bool(days.any()):
            raise DataError(
                f"column '{name}' holds the date '{settles}', which cannot be read with "
                f"{use('dayfirst', dayfirst)}; leave that out, or correct the cell"
            )
    # a year of two digits may come first as well, where all parts could be one
    years = parts["year"]
    short = years.str.len_chars() == 2
    if short.all() and dayfirst is None and not months.any():
        could_be_years = bool((parts["day"].str.len_chars() == 2).all())
        if could_be_years and years.cast(int).max() <= 31:  # type: ignore[operator]
            raise DataError(
                f"column '{name}' holds dates that can be read in several ways, such as '{cells[0]}': the "
                "year may be the first or the last part; write years with four digits, or use "
                f"{use('dayfirst', True)} or {use('dayfirst', False)} if they come last"
            )
    if days.any():
        return "day/month/year", f"'{settles}' can only have its day first"
    if months.any():
        return "month/day/year", f"'{settles}' can only have its month first"
    if dayfirst is not None:
        return ("day/month/year" if dayfirst else "month/day/year"), f"declared: {use('dayfirst', dayfirst)}"
    differs = first != second
    if not differs.any():
        return "day/month/year", "day and month are the same in all cells"
    cell = cells[int(np.argmax(differs))]
    one, other = (np.datetime_as_string(read_dates(cells, form)[int(np.argmax(differs))], "D")
                  for form in ("day/month/year", "month/day/year"))  # fmt: skip
    raise DataError(
        f"column '{name}' holds dates that can be read in two ways: '{cell}' as {_in_words(one)} "
        f"({use('dayfirst', True)}) or {_in_words(other)} ({use('dayfirst', False)}), and no cell has a day "
        "above 12; say which"
    )


def _in_words(day: str) -> str:
    """Return an ISO date in words.

    >>> _in_words("2021-04-03")
    '3 April 2021'
    """
    months = (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November", "December",
    )  # fmt: skip
    year, month, number = day.split("-")
    return f"{int(number)} {months[int(month) - 1]} {year}"


def _order_with_points(cells: polars.Series, dayfirst: bool | None) -> tuple[str, str]:
    parts = cells.str.extract_groups(_PATTERNS["day.month.year"]).struct.unnest()
    first, second = (parts[name].cast(int).to_numpy() for name in ("day", "month"))
    if (second > 12).any() and not (first > 12).any():
        return "month/day/year", f"'{cells[int(np.argmax(second > 12))]}' can only have its month first"
    if dayfirst is False and not (first > 12).any():
        return "month/day/year", f"declared: {use('dayfirst', dayfirst)}"
    return "day.month.year", "with points, days come first"


def read_dates(series: polars.Series, form: str) -> np.ndarray:
    """Return moments (rows,), datetime64 in microseconds and UTC; NaT where a cell has none of this form.

    >>> import polars
    >>> cells = polars.Series(["2021-04-03T12:00:00+02:00", "soon", "2021-02-30"])
    >>> read_dates(cells, "year-month-day").tolist()
    [datetime.datetime(2021, 4, 3, 10, 0), None, None]
    """
    pl = import_polars()
    texts = text_of(series).str.strip_chars()
    parts = texts.str.extract_groups(_PATTERNS[form]).struct.unnest()
    matched = parts.select(pl.any_horizontal(pl.all().is_not_null())).to_series().to_numpy()

    def whole(name: str, default: int) -> np.ndarray:
        if name not in parts.columns:
            return np.full(len(texts), default)
        return parts[name].cast(pl.Int64, strict=False).fill_null(default).to_numpy()

    year, day, hour, minute = whole("year", 1970), whole("day", 1), whole("hour", 0), whole("minute", 0)
    if "year" in parts.columns:  # of two digits: 69 is 1969, 68 is 2068, as POSIX has it
        short = (parts["year"].str.len_chars() == 2).fill_null(False).to_numpy()
        year = np.where(short, np.where(year < 69, year + 2000, year + 1900), year)
    if "Month" in form:
        names = parts["month"].str.to_lowercase().str.head(3)
        numbers = names.replace_strict(list(_NAMES), range(1, 13), default=0, return_dtype=pl.Int64)
        month = numbers.fill_null(0).to_numpy()
    else:
        month = whole("month", 1)
    half = parts["half"].str.to_lowercase().fill_null("")
    afternoon, named = (half == "p").to_numpy(), (half != "").to_numpy()
    sensible = matched & (month >= 1) & (month <= 12) & (day >= 1) & (minute < 60)
    sensible &= np.where(named, (hour >= 1) & (hour <= 12), hour < 24)
    hour = np.where(named, hour % 12 + 12 * afternoon, hour)
    second = parts["second"].str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    seconds = second.fill_null(0.0).to_numpy()
    sensible &= seconds < 61
    months = (year - 1970) * 12 + np.where(sensible, month, 1) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1)
    sensible &= days.astype("datetime64[M]") == months.astype("datetime64[M]")  # there is such a day
    offset = (hour * 60 + minute - _offset(parts["zone"])) * 60 * _MICROSECONDS
    offset = offset + np.rint(seconds * _MICROSECONDS).astype(np.int64)
    moments = days.astype("datetime64[us]") + offset.astype("timedelta64[us]")
    return np.where(sensible, moments, np.datetime64("NaT", "us"))


def _offset(zones: polars.Series) -> np.ndarray:
    """Return how many minutes zones are ahead of UTC."""
    pl = import_polars()
    parts = zones.str.extract_groups(
        r"^(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})$"
    ).struct.unnest()
    minutes = parts.select(pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64)).to_series()
    sign = np.where((parts["sign"] == "-").fill_null(False).to_numpy(), -1, 1)
    return sign * minutes.fill_null(0).to_numpy()
