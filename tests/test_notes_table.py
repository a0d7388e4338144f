"""The table of the lecture notes' sentences: whatever it names exists, and whatever shows them is named."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from xpnet.runs.settings import setting_fields

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "notes.md").read_text(encoding="utf-8")
HEADER = ["section", "says", "in xpnet", "shown by"]
ROWS = [
    cells
    for line in PAGE.splitlines()
    if line.startswith("|") and not set(line) <= set("|- ")
    for cells in [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]]
    if cells != HEADER
]


def _named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@functools.cache
def _functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def _find(name: str) -> Any:
    """Return what a dotted name stands for: as much of it as there is is a module, the rest attributes."""
    pieces = name.split(".")
    for end in range(len(pieces), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(pieces[:end]))
        except ModuleNotFoundError:
            continue
        for piece in pieces[end:]:
            found = getattr(found, piece)
        return found
    raise ModuleNotFoundError(name)


def test_every_row_has_all_cells():
    assert len(ROWS) > 120
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        assert _named(row[2]), row
        assert _named(row[3]), row
    assert PAGE.count("| " + " | ".join(HEADER) + " |") == 5


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in _named(row[2])}))
def test_what_is_said_to_be_in_xpnet_is_there(name):
    if name.startswith("--"):
        assert name[2:] in {field.key for field in setting_fields().values()}
        return
    dotted, _, argument = name.removesuffix("=)").partition("(")
    found = _find(dotted)
    if argument:
        assert argument in inspect.signature(found).parameters


@pytest.mark.parametrize("test", sorted({test for row in ROWS for test in _named(row[3])}))
def test_what_is_said_to_show_it_is_a_test(test):
    path, _, function = test.partition("::")
    assert function.startswith("test_")
    assert function in _functions(path)


def test_corrections_are_derived():
    """Each note with a correction in its table has one below, and the other way round."""
    tables = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    marked = {part[5:8] for part in tables if part.startswith("Note ") and "*Corrected:*" in part}
    derived = set(re.findall(r"^- \*\*(00\d), ", PAGE, flags=re.MULTILINE))
    assert marked == derived == {"000", "001", "002", "003", "004"}


def test_every_test_of_the_notes_is_in_the_table():
    """But for those that look at the experiments themselves, their pages and pictures."""
    named = {test for row in ROWS for test in _named(row[3])}
    beside = {"test_the_best_line_is_found", "test_full_batches_have_no_better_rate"}
    for path in sorted((ROOT / "tests" / "notes").glob("test_*.py")):
        for function in _functions(f"tests/notes/{path.name}"):
            if function.startswith("test_") and "page" not in function and "picture" not in function:
                assert f"tests/notes/{path.name}::{function}" in named or function in beside, function
