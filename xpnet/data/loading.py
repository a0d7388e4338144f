"""A table by its name or from its file, together with what is to be predicted."""

from __future__ import annotations

import os
from pathlib import Path

from xpnet.data.builtin import BUILTIN
from xpnet.data.tables import EXTENSIONS, Table, read_table, suggest_file
from xpnet.errors import DataError, suggest

__all__ = ["load"]

_TARGET_NAMES = ("target", "label", "class", "y")


def load(name_or_path: str | os.PathLike[str], *, target: str | None = None) -> Table:
    """Return a built-in table, or read one from a file.

    Args:
        name_or_path: a name of `BUILTIN` (digits, two-gaussians, spirals, xor, sine; they win over files of
            that name), or the path of a file that `read_table` reads.
        target: name of the column to be predicted. Without it: that of the built-in table, and for a file the
            one column called target, label, class or y (in any case).

    Raises:
        DataError: no such name or file, or no such target, or the target cannot be guessed.
        ConfigError: polars is not installed.

    Example:
        >>> table = load("sine")
        >>> table.target, table.frame.shape
        ('y', (1000, 2))
    """
    name = os.fspath(name_or_path)
    if name in BUILTIN:
        table = BUILTIN[name]()
        return Table(table.frame, _chosen(table, target), name) if target else table
    path = Path(name)
    if not path.exists():
        raise DataError(f"there is no built-in table and no file '{name}'{_suggestion(path)}")
    table = Table(read_table(path), None, name)
    return Table(table.frame, _chosen(table, target) if target else _guessed(table), name)


def _suggestion(path: Path) -> str:
    if not path.suffix or path.suffix.lower() not in EXTENSIONS:
        hint = suggest(path, BUILTIN)
        if hint.startswith("; did you mean"):
            return hint
    return suggest_file(path) or f"; built-in tables: {', '.join(BUILTIN)}"


def _chosen(table: Table, target: str) -> str:
    if target not in table.frame.columns:
        raise DataError(f"'{table.name}' has no column '{target}'{suggest(target, table.frame.columns)}")
    return target


def _guessed(table: Table) -> str:
    columns = table.frame.columns
    likely = [column for column in columns if column.casefold() in _TARGET_NAMES]
    if len(likely) == 1:
        return likely[0]
    found = "several columns look like it" if likely else f"no column is called {', '.join(_TARGET_NAMES)}"
    shown = ", ".join(f"'{column}'" for column in columns[:50]) + (", ..." if len(columns) > 50 else "")
    raise DataError(
        f"'{table.name}': which column is to be predicted? {found}; say --target NAME; columns: {shown}"
    )
