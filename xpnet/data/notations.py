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
5. ``12 %`` beside ``0.5``, ``$5`` beside ``€5``, ``(5)`` or ``5-`` beside ``-5``: a `DataError`, as for two
   marks.
6. ``5-`` is -5, unless a cell of the column is written ``5+``, as grades are. ``5k`` and ``1.2M`` are
   thousands and millions where all cells are so, but zeros.
7. Other letters behind a number are units, which are not dropped: such a column is text, see `unit_of`. So is
   one of addresses (``192.168.100.101``) or of telephone numbers (``+49 301 234``) alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.data.notation import Notation, check_marks
from xpnet.data.numerals import (
    CODES,
    GROUPS,
    MARKS,
    MISSING,
    MOSTLY,
    SIGNS,
    candidates,
    is_code,
    normal,
    number_of,
    parts_of,
    same_currency,
)
from xpnet.data.shapes import Shapes, shapes_of
from xpnet.data.stacks import stacks
from xpnet.errors import DataError, use

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
    "units_of",
]

_NAMES = (  # of things, where all cells of a column are so: addresses of the Internet, telephone numbers
    re.compile(r"[0-9]{3}(?:\.[0-9]{3}){3}"),
    re.compile(r"\+[0-9]+(?: [0-9]+)+"),
)
_PLUS_BEHIND = re.compile(r"^[0-9][0-9.,]*\s*\+$")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_MOST_UNITS = 3  # that are told
_UNIT = re.compile(rf"[{SIGNS}]?\s*[0-9][0-9.,'\s]*?\s*([^\W\d_][^\d]{{0,15}}|[°µ/²³][^\d]{{0,15}})$")


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
        >>> print(notation_of(polars.Series(["1.234,5", "987"])))
        numbers with ',' as decimal mark and '.' between thousands
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
    parts = {shape: parts_of(shape) or {} for shape in numbers}
    if _mixes_scales(numbers):  # 500 beside 5k may be 500 or 500,000
        numbers = {shape for shape in numbers if not parts[shape]["scale"]}
        reads = {marks: read & numbers for marks, read in reads.items()}
    if not numbers or sum(shapes.numbers[shape] for shape in numbers) < MOSTLY * shapes.cells:
        return None
    if any(map(is_code, numbers)) or _are_names(numbers):
        return None
    behind = any(parts[shape]["sign"] == "behind" for shape in numbers)
    if behind and any(map(_PLUS_BEHIND.match, shapes.counts)):
        return None
    currencies = _check_dress(shapes, {shape: parts[shape] for shape in numbers})
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
        behind=behind,
        scaled=any(parts[shape]["scale"] for shape in numbers),
    )


def _are_names(numbers: Collection[str]) -> bool:
    """Whether all shapes are those of addresses or of telephone numbers."""
    return any(all(map(kind.fullmatch, numbers)) for kind in _NAMES)


def _mixes_scales(numbers: Collection[str]) -> bool:
    """Whether some shapes of numbers have a letter such as k, and others that are not 0 have none."""
    scaled = {
        bool(parts["scale"]) for shape in numbers if (parts := parts_of(shape)) and parts["number"] != "0"
    }
    return len(scaled) > 1


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
        if shapes and set().union(*reads.values()) == shapes and len(complete) < 2 and not _are_names(shapes):
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
    units = units_of(shapes or shapes_of([series])[0])
    return next(iter(units.items()), None)


def units_of(shapes: Shapes) -> dict[str, str]:
    """Return the units that nearly all cells of a column of text end with, each with the first such cell."""
    found: dict[str, list[str]] = {}
    for shape in shapes.counts:
        match = _UNIT.match(shape)
        if match and not _ORDINAL.match(match[1]):
            found.setdefault(match[1].strip(), []).append(shape)
    counts = {unit: sum(shapes.counts[shape] for shape in found[unit]) for unit in found}
    if not counts or sum(counts.values()) < MOSTLY * shapes.cells:
        return {}
    if shapes.numbers and not _mixes_scales(shapes.numbers):
        return {}
    usual = sorted(counts, key=lambda unit: (-counts[unit], unit))[:_MOST_UNITS]
    return {unit: next(iter(shapes.examples(found[unit]).values())) for unit in usual}


def _check_dress(shapes: Shapes, parts: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Return the currency of a column whose shapes of numbers, with their parts, have one notation."""
    kinds = [
        (
            "per cent and without '%'",
            lambda p: p["dress"] == "%",
            lambda p: not p["dress"] and p["number"] != "0",
        ),
        (
            "parentheses and with a minus sign",
            lambda p: p["sign"] == "(",
            lambda p: p["sign"] in ("-", "behind"),
        ),
        (
            "a minus sign before and behind them",
            lambda p: p["sign"] == "-",
            lambda p: p["sign"] == "behind",
        ),
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
    parts = parts_of(text) or {"sign": "", "scale": ""}
    return f"{'' if parts['sign'] in ('', '+') else '-'}{number_of(text, *marks)}{parts['scale']}"


def _declared(cell: str, marks: tuple[str, str]) -> str:
    used = marks[1] and _value(cell, marks) != _value(cell, (marks[0], ""))
    return use("decimal", marks[0]) + (f", {use('thousands', marks[1])}" if used else "")
