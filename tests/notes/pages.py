"""Tables of the documentation, read back and compared with what comes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.experiments.report import as_markdown

__all__ = ["DOCS", "assert_shown", "tables_of"]

DOCS = Path(__file__).parents[2] / "docs"


def tables_of(page: Path) -> list[list[list[str]]]:
    """Return the tables of a Markdown page, as lists of lines of cells, without the rulers."""
    found = re.findall(r"(?:^\|.*\|\n)+", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [[_cells(line) for line in table.splitlines() if set(line) - set("|- ")] for table in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]


def assert_shown(page: Path, table: Sequence[Sequence[str]]) -> None:
    """Assert that the page has this table, its numbers within 5 % or 1.5 points."""
    cells = [cell for line in table for cell in line]
    for shown in tables_of(page):
        others = [cell for line in shown for cell in line]
        if len(others) == len(cells) and all(map(_same, others, cells)):
            return
    pytest.fail(f"{page.name} lacks this table; run scripts/homework:\n{as_markdown(table)}")


def _same(shown: str, found: str) -> bool:
    if shown == found:
        return True
    if shown.endswith(" %") and found.endswith(" %"):
        return abs(float(shown[:-2]) - float(found[:-2])) <= 1.5
    try:
        return float(shown) == pytest.approx(float(found), rel=0.05)
    except ValueError:
        return False
