"""A table by its name or from its file, with its target columns."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from xpnet.data.builtin import BUILTIN
from xpnet.data.formats import EXTENSIONS, named_packing
from xpnet.data.indices import UNNAMED
from xpnet.data.oddities import hint_of_names
from xpnet.data.sources import STDIN
from xpnet.data.tables import Table, open_table, suggest_file
from xpnet.errors import DataError, Word, suggest, use

__all__ = ["listed", "load", "open_named", "with_target"]

_TARGET_NAMES = ("target", "label", "class", "y")


def load(
    name_or_path: str | os.PathLike[str],
    *,
    target: str | Sequence[str] | None = None,
    text: Collection[str] = (),
    decimal: str | None = None,
    thousands: str | None = None,
    format: str | None = None,
) -> Table:
    """Return a built-in table, or read one from a file.

    Args:
        name_or_path: a name of `BUILTIN` (digits, two-gaussians, spirals, xor, sine; they win over files of
            that name), or the path of a file that `open_table` reads; "-" is the standard input.
        target: name of the column to be predicted, or names of several, as `listed` takes them. Without it:
            that of the built-in table, and for a file the one column called target, label, class or y (in any
            case).
        text: see `open_table`, as for the rest.
        decimal: the decimal mark of numbers in text, "." or ","; None: found out.
        thousands: the mark between their thousands; None: found out.
        format: of the file; None: by its extension or content.

    Returns:
        The table, with what was decided in reading it (`Table.decisions`).

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
    if name != STDIN and not _may_be_there(path):
        raise DataError(f"there is no built-in table and no file '{name}'{_suggestion(path)}")
    targets = () if target is None else (target,) if isinstance(target, str) else target
    needed = tuple(name or UNNAMED for name in targets)
    table = open_table(path, text=text, decimal=decimal, thousands=thousands, format=format, needed=needed)
    return with_target(table, targets)


def open_named(
    name_or_path: str | os.PathLike[str], *, decimal: str | None = None, thousands: str | None = None
) -> Table:
    """Return a built-in table with its target, or that of a file without one, as `open_table` does."""
    name = os.fspath(name_or_path)
    return BUILTIN[name]() if name in BUILTIN else open_table(name, decimal=decimal, thousands=thousands)


def with_target(table: Table, target: str | Sequence[str] | None = None) -> Table:
    """Return a table with its target columns, chosen or guessed as by `load`."""
    return dataclasses.replace(table, target=_chosen(table, target) if target else _guessed(table))


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
    if not named_packing(path.name)[1].lower().endswith(EXTENSIONS):
        hint = suggest(path, BUILTIN)
        if hint.startswith("; did you mean"):
            return hint
    return suggest_file(path) or f"; built-in tables: {', '.join(BUILTIN)}"


def listed(names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns; ``a,b`` means two of them where both are columns and ``a,b`` is none.

    The empty name means the column that had none in its file: `UNNAMED`.

    >>> listed(["a,b", "c", "a", ""], ["a", "b", "c"])
    ('a', 'b', 'c', 'unnamed')
    """
    found: list[str] = []
    for name in names:
        parts = [part.strip() for part in name.split(",")]
        found += parts if name not in columns and all(part in columns for part in parts) else [name]
    return tuple(dict.fromkeys(name if name or "" in columns else UNNAMED for name in found))


def _chosen(table: Table, target: str | Sequence[str]) -> str | tuple[str, ...]:
    columns = table.frame.columns
    targets = listed([target] if isinstance(target, str) else target, columns)
    for name in targets:
        if name not in columns:
            raise DataError(
                f"'{table.name}' has no column '{name}'{suggest(name, columns)}{hint_of_names(columns)}"
            )
    return targets[0] if len(targets) == 1 else targets


def _guessed(table: Table) -> str:
    columns = table.frame.columns
    likely = [column for column in columns if column.casefold() in _TARGET_NAMES]
    if len(likely) == 1:
        return likely[0]
    found = "several columns look like it" if likely else f"no column is called {', '.join(_TARGET_NAMES)}"
    shown = ", ".join(f"'{column}'" for column in columns[:50]) + (", ..." if len(columns) > 50 else "")
    raise DataError(
        f"'{table.name}': which column is to be predicted? {found}; name it with "
        f"{use('target', Word('NAME'))}; columns: {shown}{hint_of_names(columns)}"
    )
