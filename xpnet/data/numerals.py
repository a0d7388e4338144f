"""Numerals: the shapes of cells that may be numbers, and the numbers in them for a pair of marks."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars

__all__ = [
    "CODES",
    "GROUPS",
    "INFINITE",
    "LONGEST",
    "MARKS",
    "MISSING",
    "MOSTLY",
    "ROUGH",
    "SIGNS",
    "candidates",
    "group_mark",
    "is_code",
    "normal",
    "normalized",
    "number_of",
    "parts_of",
    "pattern_of",
    "same_currency",
    "shape_of",
    "spellings",
]

MISSING = ("", "NA", "N/A", "NaN", "NAN", "nan", "null", "Null", "NULL", "?", "n/a", "#N/A", "<NA>", "NaT")
"""Cells that count as missing, once the blanks around them are gone."""

MOSTLY = 0.8
"""Text is taken for numbers if this share of its cells or more are numbers of some notation."""

CODES = r"^[+-]?0[0-9]+([.,][0-9]*)?$"
"""Pattern of cells with a leading zero, which make a column one of codes: text."""

_MINUSES = "\u2212\u2013\uff0d"  # as typesetters write them, and the dash taken for one
SIGNS = rf"+\-{_MINUSES}"
MARKS = (".", ",")
GROUPS = (",", ".", " ", "'")
LONGEST = 64  # characters of a number
_CURRENCY = (
    r"(?:US|CA|AU|NZ|HK|[ACRS])?\$|[€£¥₹₽₩₪₫₺₴₦฿₨]|kr\.?|Kč|zł|Ft|Fr\.?|Rs\.?|SFr\.?|"
    "AED|ARS|AUD|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN|MYR|NGN|"
    "NOK|NZD|PEN|PHP|PKR|PLN|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR"
)
_ABBREVIATED = ("kr", "Fr", "Rs", "SFr")
_SAME_CURRENCY = {"€": "EUR", "£": "GBP", "US$": "USD", "Kč": "CZK", "zł": "PLN", "Fr": "CHF", "SFr": "CHF"}

# What any notation may look like; which one it is, and whether it is one, `PARTS` and `number_of` say.
ROUGH = (
    rf"^[\s(%{SIGNS}]*(?:{_CURRENCY})?[\s(%{SIGNS}]*"
    rf"(?:[0-9]|[.,][0-9])[0-9\s.,'’]*(?:[eE][+-]?[0-9]+)?[kKM]?[\s%)\-{_MINUSES}]*"
    rf"(?:{_CURRENCY})?[\s)\-{_MINUSES}]*$"
)
PARTS = (
    rf"^(?P<outer>{_CURRENCY})?\s*(?P<open>\()?\s*(?P<sign>[+-])?\s*"
    rf"(?P<before>{_CURRENCY}|%)?\s*(?P<inner>[+-])?\s*"
    r"(?P<number>[0-9.,][0-9.,'\s]*?(?:[eE][+-]?[0-9]+)?)(?P<scale>[kKM])?\s*(?P<behind>-)?\s*"
    rf"(?P<after>{_CURRENCY}|%)?\s*(?P<close>\))?\s*(?P<last>{_CURRENCY}|%)?\s*(?P<end>-)?$"
)


INFINITE = re.compile(rf"^[{SIGNS}]?(?i:inf|infinity)$")
_SPACE, _MINUS, _FIRST = re.compile(r"\s"), re.compile(f"[{_MINUSES}]"), re.compile("^([^0-9.,]*)0")
_DIGITS = {**dict.fromkeys(map(ord, "0123456789"), "9"), 0: "0"}


def group_mark(thousands: str) -> str:
    """Return what stands for a mark between thousands in normalized text."""
    return thousands if thousands in ("", *GROUPS) else "'"


def normal(text: str) -> str:
    """Return a cell with one kind of blank, minus sign and apostrophe."""
    return _SPACE.sub(" ", _MINUS.sub("-", text)).replace("’", "'")


def normalized(texts: polars.Series) -> polars.Series:
    """Return what `normal` makes of cells."""
    texts = texts.str.replace_all(r"\s", " ").str.replace_all(f"[{_MINUSES}]", "-")
    return texts.str.replace_all("’", "'", literal=True)


def shape_of(cell: str, thousands: str | None = None) -> str:
    """Return a cell with 9 for each digit but a first one that is 0; with an apostrophe for an unusual mark.

    >>> shape_of("$0,152.30"), shape_of("1_234", "_")
    ('$0,999.99', "9'999")
    """
    text = cell if cell.isascii() else normal(cell)
    if thousands and thousands not in GROUPS:
        text = text.replace(thousands, "'")
    return _FIRST.sub("\\1\0", text).translate(_DIGITS)


def candidates(thousands: str | None) -> list[tuple[str, str]]:
    """Return pairs of marks, decimal and thousands, the plainest first."""
    groups = ("", *GROUPS) if thousands is None else (thousands,)
    return [(decimal, group) for decimal in MARKS for group in groups if group != decimal]


def is_code(shape: str) -> bool:
    """Whether a shape begins with a zero before another digit."""
    return re.search("(?<![0-9.,])0[0-9]", shape) is not None


@functools.lru_cache(None)
def pattern_of(decimal: str, thousands: str) -> str:
    """Return the pattern of a number in normalized text."""
    mark, group = re.escape(decimal), re.escape(group_mark(thousands))
    whole = "[0-9]+"
    if thousands:
        whole += f"|[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+"
    if thousands == ",":
        whole += "|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"  # of India: 12,34,567
    return f"(?:(?:{whole})(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"


@functools.lru_cache(4096)
def parts_of(text: str) -> dict[str, str] | None:
    """Return the parts of a normalized cell or its shape that make a number; None if it can be none.

    >>> parts_of("1.5k €"), parts_of("7-")["sign"]
    ({'number': '1.5', 'sign': '', 'dress': '€', 'scale': 'k'}, 'behind')
    """
    found = re.match(PARTS, text)
    if not found:
        return None
    parts = {name: part or "" for name, part in found.groupdict().items()}
    marks = [parts[name] for name in ("outer", "before", "after", "last")]
    behind = "behind" if parts["behind"] or parts["end"] else ""
    signs = [parts[name] for name in ("sign", "inner", "open", "behind", "end") if parts[name]]
    if bool(parts["open"]) != bool(parts["close"]) or len(signs) > 1 or sum(map(bool, marks)) > 1:
        return None
    sign = behind or "".join(signs)
    return {"number": parts["number"], "sign": sign, "dress": "".join(marks), "scale": parts["scale"]}


def number_of(text: str, decimal: str, thousands: str) -> str:
    """Return the number of a normalized cell or its shape, without its sign; empty if it is none."""
    parts = parts_of(text)
    if parts is None or not re.fullmatch(pattern_of(decimal, thousands), parts["number"]):
        return ""
    number = parts["number"].replace(group_mark(thousands), "") if thousands else parts["number"]
    return number.replace(decimal, ".")


def same_currency(text: str) -> str:
    """Return one name of a currency that has several.

    >>> same_currency("€"), same_currency("EUR"), same_currency("Fr.")
    ('EUR', 'EUR', 'CHF')
    """
    return _SAME_CURRENCY.get(text.rstrip("."), text.rstrip("."))


def spellings(currency: str) -> list[str]:
    """Return how a currency is written, abbreviations with and without a point."""
    plain = currency.rstrip(".")
    names = {
        plain,
        same_currency(plain),
        *(n for n in _SAME_CURRENCY if same_currency(n) == same_currency(plain)),
    }
    return [
        spelled for name in names for spelled in ((name, f"{name}.") if name in _ABBREVIATED else (name,))
    ]
