"""Shapes of the cells of columns of text: how they are written, whatever their digits are."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.numerals import GROUPS, INFINITE, LONGEST, MISSING, MOSTLY, ROUGH, normalized, shape_of
from xpnet.data.stacks import counted, counts_of, stacks

if TYPE_CHECKING:
    import polars

__all__ = ["Shapes", "shapes_of"]

_MOST = 1000  # shapes, of which most cells must be if the column is one of numbers
_AT_ONCE = 2**20  # cells, of at most 64 characters
_NINES = bytes.maketrans(b"012345678", b"9" * 9)
_ZERO = "\0"  # stands for a first digit that is 0 while the others are replaced


@functools.lru_cache(2**16)
def _may_be_number(shape: str) -> bool:
    return re.match(ROUGH, shape) is not None


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of the cells of a column of text.

    A shape is a cell without the blanks around it, with 9 for each digit but a first one that is 0: there are
    few, of however many cells.

    Attributes:
        series: the column.
        cells: how many of its cells are there.
        digits: how many of these have a digit, or are infinite.
        counts: the shapes, and how many cells have each; none where less than 80 % (`MOSTLY`) of the cells
            have a digit or are infinite.
        thousands: the mark between thousands that is declared.
    """

    series: polars.Series
    cells: int
    digits: int
    counts: dict[str, int]
    thousands: str | None = None

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Those of ``counts`` that may be numbers; none if less than 80 % (`MOSTLY`) of the cells may be."""
        usual = sorted(self.counts.values(), reverse=True)[:_MOST]
        if sum(usual) < MOSTLY * self.cells:
            return {}
        found: dict[str, int] = {}
        for shape, count in self.counts.items():
            if INFINITE.match(shape):
                found["9"] = found.get("9", 0) + count
            elif _may_be_number(shape):
                found[shape] = found.get(shape, 0) + count
        return found if sum(found.values()) >= MOSTLY * self.cells else {}

    def examples(self, shapes: Collection[str]) -> dict[str, str]:
        """Return the first cell of each of some shapes, in the order of the column."""
        found: dict[str, str] = {}
        for cell in self.series.drop_nulls().to_list():
            shape = shape_of(cell.strip(), self.thousands)
            shape = "9" if INFINITE.match(shape) else shape
            if shape in shapes and shape not in found:
                found[shape] = cell.strip()
                if len(found) == len(shapes):
                    break
        return found


def shapes_of(columns: Sequence[polars.Series], thousands: str | None = None) -> list[Shapes]:
    """Return the shapes of columns of text, all of the same length."""
    pl = import_polars()
    found: list[Shapes] = []
    for some, cells in stacks([column.cast(pl.String) for column in columns]):
        texts = cells.str.strip_chars()
        texts = texts.set(texts.is_in(MISSING), None)
        there = counted(texts.is_not_null(), len(some))
        digits = counted(texts.str.contains(f"[0-9]|{INFINITE.pattern}"), len(some))
        likely, rows = (digits >= MOSTLY * there) & (there > 0), len(some[0])
        if not likely.all():
            texts = texts.filter(pl.Series(np.repeat(likely, rows)))
        shaped, place = _shaped(texts, thousands), 0
        for column, count, number, looked_at in zip(some, there, digits, likely, strict=True):
            counts: dict[str, int] = {}
            if looked_at:
                counts = counts_of(shaped.slice(place, rows))
                counts = {shape.replace(_ZERO, "0"): n for shape, n in counts.items() if shape is not None}
                place += rows
            found.append(Shapes(column, int(count), int(number), counts, thousands))
    return found


def _shaped(texts: polars.Series, thousands: str | None) -> polars.Series:
    """Return the shapes of cells, null for very long ones, with `_ZERO` for a first digit that is 0."""
    texts = texts.set(texts.str.len_chars() > LONGEST, None)
    odd = texts.str.len_bytes() > texts.str.len_chars()
    if odd.any():
        texts = texts.zip_with(~odd, normalized(texts))
    if thousands and thousands not in GROUPS:
        texts = texts.str.replace_all(thousands, "'", literal=True)
    gone = texts.is_null()
    texts = texts.fill_null("").str.replace("^([^0-9.,]*)0", "${1}" + _ZERO)
    return _nines(texts.str.replace_all("\n", " ", literal=True)).set(gone, None)


def _nines(texts: polars.Series) -> polars.Series:
    """Return cells, in which there are no line breaks, with 9 for each digit."""
    pl = import_polars()
    made = [pl.Series([], dtype=pl.String)]
    for start in range(0, len(texts), _AT_ONCE):
        # all as one text: a pattern would be looked for in each of them, which takes three times as long
        joined = texts.slice(start, _AT_ONCE).str.join("\n").item().encode().translate(_NINES)
        made.append(pl.Series([joined.decode()]).str.split("\n").explode())
    return pl.concat(made)
