"""Notations of numbers, found out or declared: ``1,234.5``, ``1.234,5``, ``1 234``, ``12 %``, ``$5``.

What a reasonable reader could take in two ways is not guessed: `notation_of` stops and names both readings.
A column is in the one notation that reads all of its cells that are numbers in any. Its rules:

1. A cell that one reading alone takes decides for its column: in ``1,234.5`` and ``1,234,567`` the comma
   parts thousands; in ``12,5``, ``0,123`` and ``1234,567`` it is the decimal mark, for no group is short,
   begins with a zero or follows more than three digits.
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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.numerals import (
    CODES,
    GROUPS,
    MARKS,
    MISSING,
    MOSTLY,
    SIGNS,
    candidates,
    group_mark,
    is_code,
    normal,
    normalized,
    number_of,
    parts_of,
    pattern_of,
    same_currency,
    spellings,
)
from xpnet.data.shapes import Shapes, shapes_of
from xpnet.data.stacks import stacks
from xpnet.errors import ConfigError, DataError, use

if TYPE_CHECKING:
    import polars

__all__ = [
    "CODES",
    "MISSING",
    "MOSTLY",
    "Notation",
    "check_marks",
    "decimal_of",
    "has_fractions",
    "marks_of",
    "notation_of",
    "unit_of",
]

_UNIT = re.compile(rf"[{SIGNS}]?\s*[0-9][0-9.,'\s]*?\s*([^\W\d_][^\d]{{0,15}}|[°µ/²³][^\d]{{0,15}})$")


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
            (rows,) float64: of ``12 %`` 12.0, of ``(5)`` -5.0; NaN where a cell is missing, or no number of
            this notation. Of a column in per cent, a cell without the sign is no number unless it is 0.

        Raises:
            DataError: the notation is in per cent and the column of plain numbers, which may be meant
                otherwise.
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
        found = self._read_plain(texts)
        odd = texts.is_not_null() & found.is_null()
        if odd.any():
            found = found.zip_with(~odd, self._read_dressed(texts.set(~odd, None)))
        return found.fill_null(np.nan).to_numpy(writable=True)

    def number(self, cell: str) -> float | None:
        """Return the number in one cell; None if it is none of this notation.

        >>> Notation(thousands=",", currency="$").number("-$1,234.50")
        -1234.5
        """
        text = normal(cell.strip())
        if self.thousands not in ("", *GROUPS):
            text = text.replace(self.thousands, "'")
        number, parts = number_of(text, self.decimal, self.thousands), parts_of(text)
        if not number or parts is None or (parts["sign"] == "(" and not self.parentheses):
            return None
        dress = "%" if self.percent else same_currency(self.currency)
        if same_currency(parts["dress"]) != dress and (parts["dress"] or (self.percent and float(number))):
            return None
        return -float(number) if parts["sign"] in ("-", "(") else float(number)

    def _read_plain(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that are digits with a decimal point; null for others."""
        pl = import_polars()
        if self.percent:
            return pl.select(pl.when(texts.str.contains(r"^0+([.,]0*)?$")).then(0.0)).to_series()
        if self.decimal == "." and not self.thousands:
            return texts.cast(pl.Float64, strict=False)
        pattern = f"^[+-]?(?:{pattern_of(self.decimal, self.thousands)}|(?i:inf|infinity))$"
        return self._cast(texts.set(~texts.str.contains(pattern), None))

    def _cast(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that have the notation's marks, and nothing more."""
        pl = import_polars()
        if self.thousands:
            texts = texts.str.replace_all(group_mark(self.thousands), "", literal=True)
        return texts.str.replace(self.decimal, ".", literal=True).cast(pl.Float64, strict=False)

    def _read_dressed(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that may have marks and signs; null for others."""
        odd = texts.str.len_bytes() > texts.str.len_chars()
        if odd.any():
            texts = texts.zip_with(~odd, normalized(texts))
        if self.thousands not in ("", *GROUPS):
            texts = texts.str.replace_all(self.thousands, "'", literal=True)
        texts = texts.set(~texts.str.contains(_dressed(self)), None)
        negative = texts.str.contains(r"^[^0-9]*[-(]").fill_null(False)
        if dress := _dress(self):
            texts = texts.str.replace(dress, "")
        value = self._cast(texts.str.strip_chars(" \t\n\r\f\v+-()%"))
        return value.zip_with(~negative, -value)

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


def _dress(notation: Notation) -> str:
    """Return the pattern of what stands at numbers of a notation; empty if nothing does."""
    names = ["%"] if notation.percent else spellings(notation.currency) if notation.currency else []
    return "|".join(map(re.escape, sorted(names, key=len, reverse=True)))


@functools.lru_cache(64)
def _dressed(notation: Notation) -> str:
    """Return the pattern of numbers of a notation with its signs, in normalized text."""
    forms, dress = [] if notation.percent else [r"[+-]?\s*N"], _dress(notation)
    if notation.parentheses and not notation.percent:
        forms += [r"\(\s*N\s*\)"]
    if dress:
        forms += [r"(?:[+-]?\s*D|D\s*[+-]?)\s*N", r"[+-]?\s*N\s*D"]
    if dress and notation.parentheses:
        forms += [r"D\s*\(\s*N\s*\)", r"\(\s*D\s*N\s*\)", r"\(\s*N\s*D\s*\)", r"\(\s*N\s*\)\s*D"]
    number = pattern_of(notation.decimal, notation.thousands)
    return f"^(?:{'|'.join(forms)})$".replace("N", number).replace("D", f"(?:{dress})")


def check_marks(decimal: str | None, thousands: str | None) -> tuple[str | None, str | None]:
    """Return declared marks: a point or comma between thousands says which the decimal mark is.

    Raises:
        ConfigError: they are no marks, or the same one.

    >>> check_marks(None, ".")
    (',', '.')
    """
    if decimal is not None and decimal not in MARKS:
        raise ConfigError(f"decimal: expected '.' or ',', found {decimal!r}")
    if thousands is None:
        return decimal, None
    if len(thousands) > 1 or (thousands and not re.fullmatch(r"[^\w+\-()%]|_", thousands)):
        raise ConfigError(f"thousands: expected one mark such as ',' or '.', found {thousands!r}")
    if thousands == decimal:
        raise ConfigError(f"decimal and thousands: expected two different marks, found {decimal!r} for both")
    thousands = " " if thousands.isspace() else thousands.replace("’", "'")
    if decimal is None and thousands in MARKS:
        decimal = "," if thousands == "." else "."
    return decimal, thousands


def notation_of(
    series: polars.Series,
    *,
    decimal: str | None = None,
    thousands: str | None = None,
    shapes: Shapes | None = None,
) -> Notation | None:
    """Return the one notation in which (nearly) all cells of a column of text are numbers.

    Args:
        series: the column; one of numbers is in plain notation.
        decimal: the decimal mark, "." or ",": declared, or else that of the table (`Table.decimal`,
            `decimal_of`);
            None: found out from the column alone.
        thousands: what parts groups of three digits, declared; "": nothing does. None: found out.
        shapes: those of the column, where they are known.

    Returns:
        The notation; None if it is a column of text: less than 80 % (`MOSTLY`) of its cells are numbers in
        any notation, or one has a leading zero.

    Raises:
        DataError: cells could be read in two ways, or no notation, or none with the declared marks, reads
            all.
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
    shapes = shapes or shapes_of([series], thousands)[0]
    if not shapes.numbers:
        return None
    known = dict.fromkeys([*candidates(thousands), *candidates(None)])
    reads = {marks: {shape for shape in shapes.numbers if number_of(shape, *marks)} for marks in known}
    numbers = {shape for read in reads.values() for shape in read}
    if not numbers or sum(shapes.numbers[shape] for shape in numbers) < MOSTLY * shapes.cells:
        return None
    if any(map(is_code, numbers)):
        return None
    currencies = _check_dress(shapes, numbers)
    allowed = {m: reads[m] for m in candidates(thousands) if decimal in (None, m[0])}
    complete = [marks for marks, read in allowed.items() if read == numbers]
    if not complete:
        raise DataError(_mixed(shapes, reads, allowed, numbers))
    first = complete[0]
    for other in complete[1:]:
        differing = [shape for shape in numbers if number_of(shape, *first) != number_of(shape, *other)]
        if differing:
            raise DataError(_two_ways(shapes, differing, first, other))
    return Notation(
        *first,
        percent=any("%" in shape for shape in numbers),
        currency=min(currencies, default=""),
        parentheses=any("(" in shape for shape in numbers),
    )


def decimal_of(frame: polars.DataFrame, shapes: Collection[Shapes] | None = None) -> str | None:
    """Return the decimal mark that the columns of a table show; None if they show none, or both.

    A column of decimal numbers was read from text with points. (Files that hold numbers as such say nothing
    about text, but whoever wrote them did.)

    Args:
        frame: the table.
        shapes: those of its columns of text, where they are known.

    >>> import polars
    >>> decimal_of(polars.DataFrame({"a": ["12,5 %", "3,25 %"], "b": ["1.234", "2.345"]}))
    ','
    """
    columns = frame.get_columns()
    if shapes is None:
        shapes = shapes_of([column for column in columns if column.dtype == import_polars().String])
    shown = marks_of([column for column in columns if column.dtype.is_float()], shapes)
    return shown.pop() if len(shown) == 1 else None


def marks_of(floats: Sequence[polars.Series], texts: Collection[Shapes]) -> set[str]:
    """Return the decimal marks that columns of a table show: none, one or both; see `decimal_of`."""
    shown = {"."} if has_fractions(floats) else set()
    for text in texts:
        shapes = {shape for shape in text.numbers if not is_code(shape)}
        reads = {m: {shape for shape in shapes if number_of(shape, *m)} for m in candidates(None)}
        complete = {marks[0] for marks, read in reads.items() if read == shapes}
        if shapes and set().union(*reads.values()) == shapes and len(complete) < 2:
            shown |= complete or set(MARKS)  # or the column mixes both
    return shown


def has_fractions(floats: Sequence[polars.Series]) -> bool:
    """Whether columns of decimal numbers are not of whole ones alone."""
    return any(bool((cells % 1 != 0).any()) for _, cells in stacks([c.cast(float) for c in floats]))


def unit_of(series: polars.Series, shapes: Shapes | None = None) -> tuple[str, str] | None:
    """Return the unit that nearly all cells of a column of text end with, and the first such cell.

    >>> import polars
    >>> unit_of(polars.Series(["5 kg", "7.5 kg", None]))
    ('kg', '5 kg')
    """
    shapes = shapes or shapes_of([series])[0]
    found: dict[str, list[str]] = {}
    for shape in shapes.counts:
        if match := _UNIT.match(shape):
            found.setdefault(match[1].strip(), []).append(shape)
    counts = {unit: sum(shapes.counts[shape] for shape in found[unit]) for unit in found}
    if not counts or sum(counts.values()) < MOSTLY * shapes.cells or shapes.numbers:
        return None
    unit = max(sorted(counts), key=lambda name: counts[name])
    return unit, next(iter(shapes.examples(found[unit]).values()))


def _check_dress(shapes: Shapes, numbers: Collection[str]) -> set[str]:
    """Return the currency of a column whose shapes of numbers have one notation."""
    parts = {shape: parts_of(shape) or {} for shape in numbers}
    kinds = [
        (
            "per cent and without '%'",
            lambda p: p["dress"] == "%",
            lambda p: not p["dress"] and p["number"] != "0",
        ),
        ("parentheses and with a minus sign", lambda p: p["sign"] == "(", lambda p: p["sign"] == "-"),
        ("'%' and with a currency", lambda p: p["dress"] == "%", lambda p: p["dress"] not in ("", "%")),
    ]
    for what, *tests in kinds:
        first, second = ([s for s, part in parts.items() if test(part)] for test in tests)
        if first and second:
            one, other = (next(iter(shapes.examples(some).values())) for some in (first, second))
            raise DataError(
                f"column '{shapes.series.name}' has numbers with {what}: '{one}' and '{other}'; "
                "write all its cells in one way"
            )
    dressed = {shape: part["dress"] for shape, part in parts.items() if part["dress"] not in ("", "%")}
    if len(set(map(same_currency, dressed.values()))) > 1:
        examples = shapes.examples(dressed)
        firsts = {same_currency(dressed[shape]): examples[shape] for shape in reversed(examples)}
        one, another, *_ = reversed(firsts.values())
        raise DataError(
            f"column '{shapes.series.name}' has amounts in several currencies: '{one}' and '{another}'; "
            "convert them to one, or give the currency a column of its own"
        )
    return set(dressed.values())


def _two_ways(
    shapes: Shapes, differing: Collection[str], one: tuple[str, str], other: tuple[str, str]
) -> str:
    """Return the message about a column that has two readings."""
    cell = next(iter(shapes.examples(differing).values()))
    ways = [f"as {_value(cell, marks)} ({_declared(cell, marks)})" for marks in (one, other)]
    return (
        f"column '{shapes.series.name}' can be read in two ways: '{cell}' {' or '.join(ways)}; "
        f"say which: {use('decimal', one[0])} or {use('decimal', other[0])}"
    )


def _mixed(
    shapes: Shapes,
    reads: Mapping[tuple[str, str], set[str]],
    allowed: Mapping[tuple[str, str], set[str]],
    numbers: set[str],
) -> str:
    """Return the message about a column whose numbers have no notation in common."""
    name, counts, examples = shapes.series.name, shapes.numbers, shapes.examples(numbers)

    def cells(marks: tuple[str, str]) -> int:
        return sum(counts[shape] for shape in reads[marks])

    best = max(allowed, key=cells)
    odd = max((shape for shape in examples if shape not in reads[best]), key=lambda shape: counts[shape])
    cell = examples[odd]
    others = [marks for marks in reads if odd in reads[marks]]
    other = max(others, key=cells)
    said = f"{_value(cell, other)} ({_declared(cell, other)})"
    if not any(odd in read for read in allowed.values()):
        return (
            f"column '{name}' holds '{cell}', which is no number with {use('decimal', best[0])}"
            f"{' and ' + use('thousands', best[1]) if best[1] else ''}: it can be read as {said}; "
            "correct it, or what was declared"
        )
    usual = next(s for s in [*sorted(reads[best] - reads[other]), *sorted(reads[best])] if s in numbers)
    example = examples[usual]
    return (
        f"column '{name}' mixes two notations of numbers: '{example}' can be read as "
        f"{_value(example, best)} ({_declared(example, best)}), '{cell}' as {said}; "
        "write all its cells in one of them"
    )


def _value(cell: str, marks: tuple[str, str]) -> str:
    text = normal(cell) if marks[1] in ("", *GROUPS) else normal(cell).replace(marks[1], "'")
    parts = parts_of(text) or {"sign": ""}
    return f"{'-' if parts['sign'] in ('-', '(') else ''}{number_of(text, *marks)}"


def _declared(cell: str, marks: tuple[str, str]) -> str:
    used = marks[1] and _value(cell, marks) != _value(cell, (marks[0], ""))
    return use("decimal", marks[0]) + (f", {use('thousands', marks[1])}" if used else "")
