"""A table by its name or from its file, with its target columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from xpnet.data.builtin import BUILTIN
from xpnet.data.tables import EXTENSIONS, Table, read_table, suggest_file
from xpnet.errors import DataError, suggest

__all__ = ["listed", "load", "with_target"]

_TARGET_NAMES = ("target", "label", "class", "y")


def load(name_or_path: str | os.PathLike[str], *, target: str | Sequence[str] | None = None) -> Table:
    """Return a built-in table, or read one from a file.

    Args:
        name_or_path: a name of `BUILTIN` (digits, two-gaussians, spirals, xor, sine; they win over files of
            that name), or the path of a file that `read_table` reads.
        target: name of the column to be predicted, or names of several, as `listed` takes them. Without it:
            that of the built-in table, and for a file the one column called target, label, class or y (in any
            case).

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
    if not _may_be_there(path):
        raise DataError(f"there is no built-in table and no file '{name}'{_suggestion(path)}")
    table = Table(read_table(path), None, name)
    return with_target(table, target)


def with_target(table: Table, target: str | Sequence[str] | None = None) -> Table:
    """Return a table with its target columns, chosen or guessed as by `load`."""
    return Table(table.frame, _chosen(table, target) if target else _guessed(table), table.name)


def _may_be_there(path: Path) -> bool:
    """Whether there is a file, or something else than its absence keeps it from being read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        pass
    return True


def _suggestion(path: Path) -> str:
    if not path.suffix or path.suffix.lower() not in EXTENSIONS:
        hint = suggest(path, BUILTIN)
        if hint.startswith("; did you mean"):
            return hint
    return suggest_file(path) or f"; built-in tables: {', '.join(BUILTIN)}"


def listed(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns; ``a,b`` means two of them where both are columns and ``a,b`` is none.

    >>> listed(["a,b", "c", "a"], ["a", "b", "c"])
    ('a', 'b', 'c')
    """
    found: list[str] = []
    for name in names:
        parts = [part.strip() for part in name.split(",")]
        found += parts if name not in columns and all(part in columns for part in parts) else [name]
    return tuple(dict.fromkeys(found))


def _chosen(table: Table, target: str | Sequence[str]) -> str | tuple[str, ...]:
    columns = table.frame.columns
    targets = listed([target] if isinstance(target, str) else target, columns)
    for name in targets:
        if name not in columns:
            raise DataError(f"'{table.name}' has no column '{name}'{suggest(name, columns)}")
    return targets[0] if len(targets) == 1 else targets


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
