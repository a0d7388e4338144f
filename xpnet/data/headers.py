"""Names of columns in the header of a table: used once, and given where they lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpnet.data.decisions import Decision

if TYPE_CHECKING:
    import polars

__all__ = ["named", "told_of_repeats", "twice", "without_hollow"]

_PLACED = "named by its place"


def named(names: Sequence[str]) -> tuple[list[str], list[Decision]]:
    """Return names with those that lack, but that of the first column, replaced by the column's place.

    >>> named(["", "a", ""])[0]
    ['', 'a', 'column_3']
    """
    given, found, decisions = set(names), list(names), []
    for place, name in enumerate(names, start=1):
        if place > 1 and not name:
            new = f"column_{place}"
            while new in given:
                new += "_"
            given.add(new)
            found[place - 1] = new
            decisions.append(Decision(new, _PLACED, "it has no name in the header"))
    return found, decisions


def without_hollow(
    frame: polars.DataFrame, decisions: Sequence[Decision]
) -> tuple[polars.DataFrame, list[Decision]]:
    """Return a table without the columns that `named` has named and that have no cell, and what was done."""
    placed = {d.column for d in decisions if d.what == _PLACED and d.column is not None}
    hollow = {name for name in placed if frame[name].null_count() == frame.height}
    told = [
        Decision(d.column, "left out", "it has neither a name nor a cell") if d.column in hollow else d
        for d in decisions
    ]
    return frame.drop(hollow), told


def twice(names: Sequence[str]) -> str:
    """Return what is to be said about names that are used more than once; empty if there are none."""
    found = [f"'{name}'" for name, count in Counter(names).items() if name and count > 1]
    if not found:
        return ""
    return f"column names used more than once: {', '.join(found)}; rename them (is the first line a header?)"


def told_of_repeats(places: Sequence[int], what: str) -> list[Decision]:
    """Return that lines that repeat the header were left out; nothing if there are none.

    Args:
        places: their numbers in the file.
        what: these are the numbers of: "line" or "row".
    """
    if not places:
        return []
    many = f"{len(places)} {what}s that repeat" if len(places) > 1 else f"a {what} that repeats"
    where = f"({what} {places[0]}{' and others' if len(places) > 1 else ''})"
    why = "it names the columns, as where files were joined"
    return [Decision(None, f"read without {many} the header {where}", why, warning=True)]
