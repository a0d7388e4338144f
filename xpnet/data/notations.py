"""Notations of numbers: ``1,234.50``, ``1.234,5``, ``1 234``, ``12 %``, ``$5``, ``(5)``; found out, or declared.

What a reasonable reader could take in two ways is not guessed: `notation_of` stops and names both readings.
A column is in the one notation that reads all of its cells that are numbers in any. Its rules:

1. A cell that one reading alone takes decides for its column: in ``1,234.5`` and ``1,234,567`` the comma parts
   thousands; in ``12,5``, ``0,123`` and ``1234,567`` it is the decimal mark, for no group is short, begins with
   a zero or follows more than three digits.
2. Where all cells could be either, such as ``1,234`` beside ``987`` or ``15.353``, the column itself has no
   evidence: decimals of a fixed width look the same. The declared decimal mark decides, or that of the table
   (`decimal_of`): a table has one. A file separated by commas has points. Without it: a `DataError`.
3. Blanks of any kind and apostrophes part thousands alone, so ``1 234`` and ``1'234`` have one reading.
4. One cell with a leading zero (``00501``, not ``0`` or ``0.5``) makes a column of codes, which are text.
5. ``12 %`` beside ``0.5``, ``$5`` beside ``€5``, ``(5)`` beside ``-5``: a `DataError`, as for two marks.
6. Other letters behind a number are units, which are not dropped: such a column is text, see `unit_of`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars

__all__ = [
    "CODES",
    "MISSING",
    "MOSTLY",
    "Notation",
    "check_marks",
    "decimal_of",
    "marks_of",
    "notation_of",
    "unit_of",
]

MISSING = ("", "NA", "N/A", "NaN", "NAN", "nan", "null", "Null", "NULL", "?")
"""Cells that count as missing, once the blanks around them are gone."""

MOSTLY = 0.8
"""Text is taken for numbers if this share of its cells or more are numbers of some notation."""

CODES = r"^[+-]?0[0-9]+([.,][0-9]*)?$"
"""Pattern of cells with a leading zero, which make a column one of codes: text."""

_SIGNS = "+\\-\u2212\u2013\uff0d"  # minus signs as typesetters write them, and the dash taken for one
_MARKS = (".", ",")
_GROUPS = (",", ".", " ", "'")
_CURRENCY = (
    r"(?:US|CA|AU|NZ|HK|[ACRS])?\$|[€£¥₹₽₩₪₫₺₴₦฿₨]|kr\.?|Kč|zł|Ft|Fr\.?|Rs\.?|SFr\.?|"
    "AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN|MYR|NGN|"
    "NOK|NZD|PEN|PHP|PKR|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_SAME_CURRENCY = {"€": "EUR", "£": "GBP", "US$": "USD", "Kč": "CZK", "zł": "PLN", "Fr": "CHF", "SFr": "CHF"}

# What any notation may look like; which one it is, and whether it is one, `_PARTS` and `_number` say.
_ROUGH = (
    rf"^[\s(%{_SIGNS}]*(?:{_CURRENCY})?[\s(%{_SIGNS}]*"
    rf"(?:[0-9]|[.,][0-9])[0-9\s.,'’]*(?:[eE][+-]?[0-9]+)?[\s%)]*(?:{_CURRENCY})?[\s)]*$"
)
_PARTS = (
    rf"^(?P<outer>{_CURRENCY})?\s*(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>{_CURRENCY}|%)?\s*(?P<inner>[+-])?\s*"
    r"(?P<number>[0-9.,][0-9.,'\s]*?(?:[eE][+-]?[0-9]+)?)\s*"
    rf"(?P<after>{_CURRENCY}|%)?\s*(?P<close>\))?\s*(?P<last>{_CURRENCY}|%)?$"
)
_UNIT = rf"^[{_SIGNS}]?\s*[0-9][0-9.,'\s]*?\s*([^0-9\s.,'(){_SIGNS}][^0-9]*|\pL[^\s]*)$"


@dataclass(frozen=True)
class Notation:
    """The notation of a column's numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: what parts groups of three digits; " " stands for blanks of any kind, "" for nothing.
        percent: a per cent sign stands at the numbers.
        currency: the sign or code that stands at (some of) the numbers; "": none.
        parentheses: ``(5)`` is -5.

    Example:
        >>> import polars
        >>> Notation(thousands=",", currency="$").read(polars.Series(["$1,234.50", "-$2", "1.234,5", None]))
        array([1234.5,   -2. ,     nan,     nan])
        >>> print(Notation(",", "."))
        numbers with ',' as decimal mark and '.' between thousands
    """

    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    currency: str = ""
    parentheses: bool = False

    def __str__(self) -> str:
        """Return the notation in words."""
        marks = []
        if self.decimal != ".":
            marks.append(f"'{self.decimal}' as decimal mark")
        if self.thousands:
            marks.append(f"{'blanks' if self.thousands == ' ' else repr(self.thousands)} between thousands")
        if self.currency:
            marks.append(f"'{self.currency}'")
        if self.percent:
            marks.append("'%'")
        if self.parentheses:
            marks.append("negative ones in parentheses")
        if not marks:
            return "plain numbers"
        return f"numbers with {', '.join(marks[:-1])}{' and ' if len(marks) > 1 else ''}{marks[-1]}"

    def read(self, series: polars.Series) -> np.ndarray:
        """Return the numbers of a column.

        Args:
            series: (rows,) text; or numbers, which are taken as they are.

        Returns:
            (rows,) float64: of ``12 %`` 12.0, of ``(5)`` -5.0; NaN where a cell is missing, or no number of this
            notation. Of a column in per cent, a cell without the sign is no number unless it is 0.

        Raises:
            DataError: the notation is in per cent and the column of plain numbers, which may be meant otherwise.
        """
        pl = import_polars()
        if series.dtype not in (pl.String, pl.Categorical, pl.Enum):
            numbers = series.cast(pl.Float64).to_numpy(writable=True)
            if self.percent and np.any(np.nan_to_num(numbers) != 0):
                raise DataError(
                    f"column '{series.name}' is in per cent ('12 %') where the model was trained, and here "
                    "of plain numbers, of which 0.12 may mean 0.12 % or 12 %; write it with '%'"
                )
            return numbers
        texts = series.cast(pl.String).str.strip_chars()
        numbers = self._read_plain(texts)
        odd = texts.is_not_null() & numbers.is_null()
        if odd.any():
            numbers = numbers.zip_with(~odd, self._read_dressed(texts.set(~odd, None)))
        return numbers.fill_null(np.nan).to_numpy(writable=True)

    def _read_plain(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that are digits with a decimal point; null for others."""
        pl = import_polars()
        if self.percent:
            return pl.select(pl.when(texts.str.contains(r"^0+([.,]0*)?$")).then(0.0)).to_series()
        if self.decimal == ".":
            return texts.cast(pl.Float64, strict=False)
        return texts.set(texts.str.contains(".", literal=True), None).cast(pl.Float64, strict=False)

    def _read_dressed(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that may have marks and signs; null for cells that are no such number."""
        pl = import_polars()
        parts = _normalized(texts, self.thousands).str.extract_groups(_PARTS).struct.unnest()
        sign = pl.col("sign").fill_null("") + pl.col("inner").fill_null("")
        dress = pl.concat_str("outer", "before", "after", "last", ignore_nulls=True)
        bracketed = pl.col("open").is_not_null()
        fits = (sign.str.len_chars() <= 1) & (bracketed == pl.col("close").is_not_null())
        fits &= ~(bracketed & (sign != "")) & (bracketed.not_() | pl.lit(self.parentheses))
        if self.percent:
            fits &= dress == "%"
        else:
            fits &= dress.is_in(["", *_spellings(self.currency)])
        number = pl.col("number")
        fits &= number.str.contains(f"^(?:{_pattern(self.decimal, self.thousands)})$")
        if self.thousands:
            number = number.str.replace_all(_group(self.thousands), "", literal=True)
        value = number.str.replace(self.decimal, ".", literal=True).cast(pl.Float64, strict=False)
        negative = bracketed | (sign == "-")
        return parts.select(pl.when(fits).then(pl.when(negative).then(-value).otherwise(value))).to_series()

    def to_json(self) -> dict[str, Any]:
        """Return the notation as JSON values."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "percent": self.percent,
            "currency": self.currency,
            "parentheses": self.parentheses,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Notation:
        """Return the notation that `to_json` described; whatever is wrong raises KeyError or ValueError."""
        notation = cls(**{name: data[name] for name in cls.__dataclass_fields__})
        texts = (notation.decimal, notation.thousands, notation.currency)
        flags = (notation.percent, notation.parentheses)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(f, bool) for f in flags):
            raise ValueError(f"a notation of numbers is {dict(data)!r}")
        if check_marks(notation.decimal, notation.thousands) != (notation.decimal, notation.thousands):
            raise ValueError(f"a notation of numbers has the marks {texts[:2]!r}")
        return notation


def check_marks(decimal: str | None, thousands: str | None) -> tuple[str | None, str | None]:
    """Return declared marks: a point or comma between thousands says which the decimal mark is.

    Raises:
        ConfigError: they are no marks, or the same one.

    >>> check_marks(None, ".")
    (',', '.')
    """
    if decimal is not None and decimal not in _MARKS:
        raise ConfigError(f"decimal: expected '.' or ',', found {decimal!r}")
    if thousands is None:
        return decimal, None
    if len(thousands) > 1 or (thousands and not re.fullmatch(r"[^\w+\-()%]|_", thousands)):
        raise ConfigError(f"thousands: expected one mark such as ',' or '.', found {thousands!r}")
    if thousands == decimal:
        raise ConfigError(f"decimal and thousands: expected two different marks, found {decimal!r} for both")
    thousands = " " if thousands.isspace() else thousands.replace("’", "'")
    if decimal is None and thousands in _MARKS:
        decimal = "," if thousands == "." else "."
    return decimal, thousands


def notation_of(
    series: polars.Series, *, decimal: str | None = None, thousands: str | None = None
) -> Notation | None:
    """Return the one notation in which (nearly) all cells of a column of text are numbers.

    Args:
        series: the column; one of numbers is in plain notation.
        decimal: the decimal mark, "." or ",": declared, or else that of the table (`Table.decimal`, `decimal_of`);
            None: found out from the column alone.
        thousands: what parts groups of three digits, declared; "": nothing does. None: found out.

    Returns:
        The notation; None if it is a column of text: less than 80 % (`MOSTLY`) of its cells are numbers in any
        notation, or one has a leading zero.

    Raises:
        DataError: cells could be read in two ways, or no notation, or none with the declared marks, reads all.
        ConfigError: a declared mark cannot be one.

    Example:
        >>> import polars
        >>> notation_of(polars.Series(["1.234,5", "987"]))
        Notation(decimal=',', thousands='.', percent=False, currency='', parentheses=False)
        >>> notation_of(polars.Series("price", ["15.353", "987"]))
        Traceback (most recent call last):
            ...
        xpnet.errors.DataError: column 'price' can be read in two ways: '15.353' as 15.353 (decimal='.') or
        as 15353 (decimal=',', thousands='.'); say which: decimal='.' or decimal=','
    """
    decimal, thousands = check_marks(decimal, thousands)
    if series.dtype.is_numeric():
        return Notation()
    shapes = _shapes(series, thousands)
    known = dict.fromkeys([*_candidates(thousands), *_candidates(None)])
    reads = {marks: {shape for shape in shapes if _number(shape, *marks)} for marks in known}
    numbers = {shape for read in reads.values() for shape in read}
    if not numbers or sum(shapes[shape][1] for shape in numbers) < MOSTLY * len(_cells(series)):
        return None
    if any(re.search("(?<![0-9.,])0[0-9]", shape) for shape in numbers):
        return None
    currencies = _check_dress(series.name, {shape: shapes[shape][0] for shape in numbers})
    allowed = {m: reads[m] for m in _candidates(thousands) if decimal in (None, m[0])}
    complete = [marks for marks, read in allowed.items() if read == numbers]
    if not complete:
        raise DataError(_mixed(series.name, shapes, reads, allowed, numbers))
    first = complete[0]
    for other in complete[1:]:
        for shape in sorted(numbers):
            if _number(shape, *first) != _number(shape, *other):
                raise DataError(_two_ways(series.name, shapes[shape][0], first, other))
    return Notation(
        *first,
        percent=any("%" in shape for shape in numbers),
        currency=min(currencies, default=""),
        parentheses=any("(" in shape for shape in numbers),
    )


def decimal_of(frame: polars.DataFrame) -> str | None:
    """Return the decimal mark that the columns of a table show; None if they show none, or both.

    A column of decimal numbers was read from text with points. (Files that hold numbers as such say nothing
    about text, but whoever wrote them did.)

    >>> import polars
    >>> decimal_of(polars.DataFrame({"a": ["12,5 %", "3,25 %"], "b": ["1.234", "2.345"]}))
    ','
    """
    shown = marks_of(frame)
    return shown.pop() if len(shown) == 1 else None


def marks_of(frame: polars.DataFrame) -> set[str]:
    """Return the decimal marks that the columns of a table show: none, one or both; see `decimal_of`."""
    pl = import_polars()
    floats = pl.DataFrame([c for c in frame.get_columns() if c.dtype.is_float()])
    shown = {"."} if floats.width and any(floats.select((pl.all() % 1 != 0).any()).row(0)) else set()
    # of one expression over all columns: a call for each of 100,000 would be slow
    texts = pl.DataFrame([c for c in frame.get_columns() if c.dtype == pl.String])
    if texts.width:
        rough = texts.select((pl.all().str.contains(_ROUGH) | pl.all().is_null()).mean()).row(0)
        texts = texts[:, [index for index, share in enumerate(rough) if (share or 0) >= MOSTLY]]
    for series in texts.get_columns():
        for shape in _shapes(series):
            marks = {decimal for decimal, group in _candidates(None) if _number(shape, decimal, group)}
            shown |= marks if len(marks) == 1 else set()
    return shown


def unit_of(series: polars.Series) -> tuple[str, str] | None:
    """Return the unit that nearly all cells of a column of text end with, and the first such cell.

    >>> import polars
    >>> unit_of(polars.Series(["5 kg", "7.5 kg", None]))
    ('kg', '5 kg')
    """
    cells = series.drop_nulls()
    units = cells.str.strip_chars().str.extract(_UNIT)
    if not len(cells) or units.null_count() > (1 - MOSTLY) * len(cells):
        return None
    return units.drop_nulls().mode().sort()[0].strip(), cells.filter(units.is_not_null())[0]


def _cells(series: polars.Series) -> polars.Series:
    """Return the cells of a column of text that are there, without blanks around them."""
    pl = import_polars()
    if series.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return pl.Series(series.name, [], dtype=pl.String)
    cells = series.cast(pl.String).str.strip_chars().drop_nulls()
    return cells.filter(~cells.is_in(MISSING))


def _group(thousands: str) -> str:
    """Return what stands for a mark between thousands in normalized text."""
    return thousands if thousands in ("", *_GROUPS) else "'"


def _normalized(texts: polars.Series, thousands: str | None) -> polars.Series:
    """Return cells with one kind of blank, minus sign and apostrophe."""
    if thousands and thousands not in _GROUPS:
        texts = texts.str.replace_all(thousands, "'", literal=True)
    texts = texts.str.replace_all(r"\s", " ").str.replace_all(f"[{_SIGNS[3:]}]", "-")
    return texts.str.replace_all("’", "'", literal=True)


def _shapes(series: polars.Series, thousands: str | None = None) -> dict[str, tuple[str, int]]:
    """Return the shapes of the cells that may be numbers, each with the first such cell and their count.

    A shape is a cell with 9 for each digit but a first one that is 0: there are few, of however many cells. If
    most cells are no numbers, there are none.
    """
    pl = import_polars()
    cells = _cells(series)
    texts = _normalized(cells, thousands).str.replace(r"^[+-]?(?i:inf|infinity)$", "9")
    rough = texts.str.contains(_ROUGH)
    if rough.sum() < MOSTLY * len(cells):
        return {}
    marked = texts.str.replace("^([^0-9.,]*)0", "${1}z").str.replace_all("[0-9]", "9")
    shapes = marked.str.replace("z", "0", literal=True)
    table = pl.DataFrame({"shape": shapes, "cell": cells}).filter(rough)
    found = table.group_by("shape", maintain_order=True).agg(pl.col("cell").first(), pl.len().alias("count"))
    return {shape: (cell, count) for shape, cell, count in found.iter_rows()}


def _candidates(thousands: str | None) -> list[tuple[str, str]]:
    """Return pairs of marks, decimal and thousands, the plainest first."""
    groups = ("", *_GROUPS) if thousands is None else (thousands,)
    return [(decimal, group) for decimal in _MARKS for group in groups if group != decimal]


@functools.lru_cache(None)
def _pattern(decimal: str, thousands: str) -> str:
    """Return the pattern of a number in normalized text."""
    mark, group = re.escape(decimal), re.escape(_group(thousands))
    whole = "[0-9]+"
    if thousands:
        whole += f"|[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+"
    if thousands == ",":
        whole += "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"  # of India: 12,34,567
    return f"(?:(?:{whole})(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"


@functools.lru_cache(4096)
def _parts(text: str) -> dict[str, str] | None:
    """Return the parts of a normalized cell or its shape that make a number; None if it can be none."""
    found = re.match(_PARTS, text)
    if not found:
        return None
    parts = {name: part or "" for name, part in found.groupdict().items()}
    signs, marks = parts["sign"] + parts["inner"], [parts[n] for n in ("outer", "before", "after", "last")]
    if bool(parts["open"]) != bool(parts["close"]) or len(signs) + bool(parts["open"]) > 1:
        return None
    if sum(map(bool, marks)) > 1:
        return None
    return {"number": parts["number"], "sign": signs or parts["open"], "dress": "".join(marks)}


def _number(text: str, decimal: str, thousands: str) -> str:
    """Return the number of a normalized cell or its shape, without its sign; empty if it is none."""
    parts = _parts(text)
    if parts is None or not re.fullmatch(_pattern(decimal, thousands), parts["number"]):
        return ""
    number = parts["number"].replace(_group(thousands), "") if thousands else parts["number"]
    return number.replace(decimal, ".")


def _currency(text: str) -> str:
    """Return one name of a currency that has several.

    >>> _currency("€"), _currency("EUR"), _currency("Fr.")
    ('EUR', 'EUR', 'CHF')
    """
    return _SAME_CURRENCY.get(text.rstrip("."), text.rstrip("."))


def _spellings(currency: str) -> list[str]:
    """Return how a currency is written, with and without a point."""
    names = [currency.rstrip("."), *(n for n in _SAME_CURRENCY if _currency(n) == _currency(currency))]
    return [spelled for name in (*names, _currency(currency)) if name for spelled in (name, f"{name}.")]


def _check_dress(name: str, numbers: Mapping[str, str]) -> set[str]:
    """Return the currency of a column whose shapes of numbers, with an example of each, have one notation."""
    parts = {cell: _parts(shape) or {} for shape, cell in numbers.items()}
    kinds = [
        (
            "per cent and without '%'",
            lambda p: p["dress"] == "%",
            lambda p: not p["dress"] and p["number"] != "0",
        ),
        ("parentheses and with a minus sign", lambda p: p["sign"] == "(", lambda p: p["sign"] == "-"),
        ("'%' and with a currency", lambda p: p["dress"] == "%", lambda p: p["dress"] not in ("", "%")),
    ]
    for what, one, another in kinds:
        first, second = ([cell for cell, part in parts.items() if is_one(part)] for is_one in (one, another))
        if first and second:
            raise DataError(
                f"column '{name}' has numbers with {what}: '{first[0]}' and '{second[0]}'; "
                "write all its cells in one way"
            )
    found: dict[str, str] = {}
    for cell, part in parts.items():
        if part["dress"] not in ("", "%"):
            found.setdefault(_currency(part["dress"]), cell)
    if len(found) > 1:
        cells = " and ".join(f"'{cell}'" for cell in list(found.values())[:2])
        raise DataError(
            f"column '{name}' has amounts in several currencies: {cells}; convert them to one, "
            "or give the currency a column of its own"
        )
    return {part["dress"] for part in parts.values() if part["dress"] not in ("", "%")}


def _two_ways(name: str, cell: str, one: tuple[str, str], other: tuple[str, str]) -> str:
    """Return the message about a column that has two readings."""
    ways = [f"as {_value(cell, marks)} ({_declared(cell, marks)})" for marks in (one, other)]
    return (
        f"column '{name}' can be read in two ways: '{cell}' {' or '.join(ways)}; "
        f"say which: decimal='{one[0]}' or decimal='{other[0]}'"
    )


def _mixed(
    name: str,
    shapes: Mapping[str, tuple[str, int]],
    reads: Mapping[tuple[str, str], set[str]],
    allowed: Mapping[tuple[str, str], set[str]],
    numbers: set[str],
) -> str:
    """Return the message about a column whose numbers have no notation in common."""

    def cells(marks: tuple[str, str]) -> int:
        return sum(shapes[shape][1] for shape in reads[marks])

    best = max(allowed, key=cells)
    odd = max(numbers - reads[best], key=lambda shape: shapes[shape][1])
    cell = shapes[odd][0]
    others = [marks for marks in reads if odd in reads[marks]]
    other = max(others, key=cells)
    said = f"{_value(cell, other)} ({_declared(cell, other)})"
    if not any(odd in read for read in allowed.values()):
        return (
            f"column '{name}' holds '{cell}', which is no number with decimal='{best[0]}'"
            f"{f' and thousands={best[1]!r}' if best[1] else ''}: it can be read as {said}; "
            "correct it, or what was declared"
        )
    usual = next(s for s in [*sorted(reads[best] - reads[other]), *sorted(reads[best])] if s in numbers)
    example = shapes[usual][0]
    return (
        f"column '{name}' mixes two notations of numbers: '{example}' can be read as "
        f"{_value(example, best)} ({_declared(example, best)}), '{cell}' as {said}; "
        "write all its cells in one of them"
    )


def _value(cell: str, marks: tuple[str, str]) -> str:
    pl = import_polars()
    text = _normalized(pl.Series([cell]).str.strip_chars(), marks[1])[0]
    parts = _parts(text) or {"sign": ""}
    return f"{'-' if parts['sign'] in ('-', '(') else ''}{_number(text, *marks)}"


def _declared(cell: str, marks: tuple[str, str]) -> str:
    used = marks[1] and _value(cell, marks) != _value(cell, (marks[0], ""))
    return f"decimal='{marks[0]}'" + (f", thousands={marks[1]!r}" if used else "")
