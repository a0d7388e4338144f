"""Section of a report about the table: what its columns are, and what was decided about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet.data import ColumnSummary
from xpnet.runs.report.contents import Contents
from xpnet.runs.report.elements import Html, section, table, tag
from xpnet.text import shown

__all__ = ["columns"]

_MOST_COLUMNS, _MOST_DECISIONS = 100, 100
_WIDEST = 80  # characters of a name, a range or examples


def columns(contents: Contents) -> Html | None:
    """Return the section with the summary of each column and the decisions; None where nothing is known."""
    summary, decisions = contents.summary, contents.results.get("decisions", ())
    if summary is None and not decisions:
        return None
    return section(
        "columns",
        "Columns and decisions",
        _decisions(decisions),
        "" if summary is None else _table(summary.columns, summary.rows),
    )


def _table(found: tuple[ColumnSummary, ...], rows: int) -> Html:
    """Return a table of the columns; one of many is folded, and of very many some are left out."""
    cells = [
        (shown(column.name, _WIDEST), column.kind, shown(column.values, _WIDEST), f"{column.missing:,}",
         column.taken)
        for column in found[:_MOST_COLUMNS]
    ]  # fmt: skip
    told = f"{len(found):,}" if len(found) <= _MOST_COLUMNS else f"{_MOST_COLUMNS} of {len(found):,}"
    caption = f"The columns of the table ({told}) in its {rows:,} rows; columns.json has more"
    made = table(caption, ("column", "kind", "values", "missing", "taken as"), cells)
    if len(found) <= 30:
        return made
    return tag("details", tag("summary", f"The {len(found):,} columns of the table"), made)


def _decisions(found: list[Mapping[str, Any]]) -> Html | str:
    """Return the decisions as a list, warnings first and marked."""
    ordered = sorted(found, key=lambda one: not one["warning"])
    items = [_decision(one) for one in ordered[:_MOST_DECISIONS]]
    if not items:
        return ""
    left = len(ordered) - len(items)
    if left:
        items.append(tag("li", f"and {left:,} more, which results.json has"))
    return tag("ul", *items, class_="decisions")


def _decision(one: Mapping[str, Any]) -> Html:
    column, why = one["column"], one["why"]
    return tag(
        "li",
        tag("span", "warning", class_="mark") if one["warning"] else "",
        " " if one["warning"] else "",
        "" if column is None else tag("code", shown(column, _WIDEST)),
        f"{'' if column is None else ' '}{one['what']}",
        tag("span", f": {why}", class_="why") if why else "",
    )
