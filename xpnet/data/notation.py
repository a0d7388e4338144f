"""Notation of a column's numbers: how its text is read."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.numerals import (
    GROUPS,
    MARKS,
    group_mark,
    normal,
    normalized,
    number_of,
    parts_of,
    pattern_of,
    same_currency,
    spellings,
)
from xpnet.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars

__all__ = ["Notation", "check_marks"]

_SCALES = {"": "", "k": "e3", "K": "e3", "M": "e6"}


@dataclass(frozen=True)
class Notation:
    """The notation of a column's numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: what parts groups of three digits; " " stands for blanks of any kind, "" for nothing.
        percent: a per cent sign stands at the numbers.
        currency: the sign or code that stands at (some of) the numbers; "": none.
        parentheses: ``(5)`` is -5.
        behind: ``5-`` is -5.
        scaled: ``5k`` is 5000, ``1.2M`` 1200000, and no cell but 0 is without such a letter.

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
    behind: bool = False
    scaled: bool = False

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
        if self.behind:
            marks.append("the minus sign behind")
        if self.scaled:
            marks.append("'k' for thousands or 'M' for millions")
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
        if not number or parts is None or not self._may_have(parts, float(number)):
            return None
        value = float(f"{number}{_SCALES[parts['scale']]}")
        return value if parts["sign"] in ("", "+") else -value

    def _may_have(self, parts: Mapping[str, str], number: float) -> bool:
        """Whether a number may have the sign, the dress and the letter that stand at it."""
        if (parts["sign"] == "(" and not self.parentheses) or (parts["sign"] == "behind" and not self.behind):
            return False
        if bool(parts["scale"]) != self.scaled and (parts["scale"] or number):
            return False
        dress = "%" if self.percent else same_currency(self.currency)
        return same_currency(parts["dress"]) == dress or not (parts["dress"] or (self.percent and number))

    def _read_plain(self, texts: polars.Series) -> polars.Series:
        """Return the numbers of cells that are digits with a decimal point; null for others."""
        pl = import_polars()
        if self.percent or self.scaled:
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
        negative = texts.str.contains(r"^[^0-9]*[-(]|[0-9.,kKM]\s*-|-$").fill_null(False)
        if dress := _dress(self):
            texts = texts.str.replace(dress, "")
        texts = texts.str.strip_chars(" \t\n\r\f\v+-()%")
        if self.scaled:
            texts = texts.str.replace("[kK]$", _SCALES["k"]).str.replace("M$", _SCALES["M"])
        value = self._cast(texts)
        return value.zip_with(~negative, -value)

    def to_json(self) -> dict[str, Any]:
        """Return the notation as JSON values."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "percent": self.percent,
            "currency": self.currency,
            "parentheses": self.parentheses,
            **({"behind": True} if self.behind else {}),
            **({"scaled": True} if self.scaled else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Notation:
        """Return the notation that `to_json` described; whatever is wrong raises KeyError or ValueError."""
        newer = {"behind": False, "scaled": False}
        notation = cls(**{name: {**newer, **data}[name] for name in cls.__dataclass_fields__})
        texts = (notation.decimal, notation.thousands, notation.currency)
        flags = (notation.percent, notation.parentheses, notation.behind, notation.scaled)
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
    if notation.behind and not notation.percent:
        forms += [r"N\s*-"]
    if dress:
        forms += [r"(?:[+-]?\s*D|D\s*[+-]?)\s*N", r"[+-]?\s*N\s*D"]
    if dress and notation.parentheses:
        forms += [r"D\s*\(\s*N\s*\)", r"\(\s*D\s*N\s*\)", r"\(\s*N\s*D\s*\)", r"\(\s*N\s*\)\s*D"]
    if dress and notation.behind:
        forms += [r"D\s*N\s*-", r"N\s*-\s*D", r"N\s*D\s*-"]
    number = pattern_of(notation.decimal, notation.thousands) + ("[kKM]" if notation.scaled else "")
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
