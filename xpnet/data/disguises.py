"""Numbers in disguise: categories that a reader takes for numbers, and numbers that mean something else."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.data.findings import Findings
from xpnet.data.numerals import CODES, MOSTLY
from xpnet.data.shapes import Shapes
from xpnet.text import shown

__all__ = ["advise_of_disguised", "advise_of_numbers"]

_NUMBER = r"[+-]?(?:[0-9]+(?:[.,' ][0-9]+)*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
_MARKS = r"[<>≤≥≈~=*'\"“”‘’„«»`´†‡§!?±]{1,3}"
_MARKED = re.compile(
    rf"^(?:{_MARKS}\s*{_NUMBER}\s*(?:{_MARKS})?|{_NUMBER}\s*{_MARKS}|{_NUMBER}[kKM]|{_NUMBER}\s*(?:±|\+/?-|\()\s*{_NUMBER}\)?)$"
)
_PLAIN, _CODE = re.compile(rf"^{_NUMBER}$"), re.compile(CODES)
_HALF = 0.5
_FEWEST = 5  # different numbers among categories that are no chance
_STANDS_FOR_NONE = {sign * float(9 * (10**n - 1) // 9) for n in range(2, 8) for sign in (1, -1)}
_FAR = 3.0  # times the range of the other cells, at which such a number stands alone


def advise_of_disguised(shapes: Shapes, categories: Sequence[Any], findings: Findings) -> None:
    """Note text that is taken for categories although most cells are numbers, or are but for some marks.

    Args:
        shapes: of the column.
        categories: what its cells are.
        findings: takes note.
    """
    name = shapes.series.name
    other_digits = [
        text for text in categories if not text.isascii() and _PLAIN.match(_with_usual_digits(text))
    ]
    if len(other_digits) > _HALF * len(categories):
        findings.decide(
            name,
            "is taken as categories though its cells are numbers in other digits",
            f"such as {other_digits[0]!r}; write them with 0 to 9 for numbers",
            warning=True,
        )
    if shapes.digits < _HALF * shapes.cells or any(map(_CODE.match, categories)):
        return
    marked = [shape for shape in shapes.counts if _MARKED.match(shape) and not _PLAIN.match(shape)]
    numbers = [shape for shape in shapes.counts if _PLAIN.match(shape)]
    found = sum(shapes.counts[shape] for shape in (*marked, *numbers))
    if marked and found >= MOSTLY * shapes.cells:
        cells = ", ".join(repr(shown(cell, 40)) for cell in shapes.examples(marked[:2]).values())
        findings.decide(
            name,
            "is taken as categories though its cells are numbers with other characters",
            f"such as {cells}; remove these for numbers",
            warning=True,
        )
        return
    plain = [category for category in categories if _PLAIN.match(category)]
    others = [category for category in categories if not _PLAIN.match(category)]
    if others and len(plain) >= max(_FEWEST, _HALF * len(categories)):
        listed = ", ".join(repr(shown(other, 40)) for other in others[:3])
        findings.decide(
            name,
            "is taken as categories though many of its cells are numbers",
            f"others are {listed}; for numbers, leave such cells empty",
            warning=True,
        )


def _with_usual_digits(text: str) -> str:
    return "".join(str(unicodedata.decimal(letter, letter)) for letter in text)


def advise_of_numbers(name: str, cells: np.ndarray, low: float, high: float, findings: Findings) -> None:
    """Note numbers that may be dates, or of which one may stand for missing cells.

    Args:
        name: the column.
        cells: its numbers, (rows,) float64, NaN where they are missing.
        low, high: the smallest and the largest one.
        findings: takes note.
    """
    if low >= 19_000_101 and high <= 21_001_231 and _are_dates(cells):
        findings.decide(
            name,
            "is taken as numbers, which may be dates",
            f"such as {cells[np.isfinite(cells)][0]:.0f}; write them as 2021-04-03 if they are",
            warning=True,
        )
    for number in {low, high} & _STANDS_FOR_NONE:
        others = cells[np.isfinite(cells) & (cells != number)]
        count = int(np.count_nonzero(cells == number))
        if count < 2 or others.size < count:
            continue
        nearest, range_of = float(np.min(np.abs(others - number))), float(np.ptp(others))
        if nearest > _FAR * range_of:
            findings.decide(
                name,
                "has a number that may stand for missing cells",
                f"{number:.15g} in {count:,} cells, far from the others; leave such cells empty if it does",
                warning=True,
                cells=count,
            )


def _are_dates(cells: np.ndarray) -> bool:
    """Whether all numbers are dates written as 20210403, several of them different."""
    found = np.unique(cells[np.isfinite(cells)])
    if len(found) < _FEWEST or np.any(found != np.floor(found)):
        return False
    try:
        for number in found.astype(np.int64).tolist():
            datetime.date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return True
