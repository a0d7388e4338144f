"""What was measured, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.benchmarks.report import Table as Shown
from scripts.benchmarks.tables.catalogue import GROUPS, TABLES
from scripts.benchmarks.tables.results import (
    Fit,
    common,
    errors_by_table,
    standard_error,
    summaries,
)

__all__ = ["in_words", "markdown", "write_into"]

_TITLES = {"classification": "Classification: 1 - accuracy, %", "regression": "Regression: 1 - R², %"}


def markdown(fits: Sequence[Fit], contestants: Sequence[str], tables: Sequence[str]) -> str:
    """Return the errors of contestants by table, and their summaries, for each group and task."""
    made = []
    for group, names in GROUPS.items():
        for task, title in _TITLES.items():
            chosen = [name for name in names if name in tables and TABLES[name].task == task]
            found = [fit for fit in fits if fit.contestant in contestants and fit.table in chosen]
            if found:
                made.append(f"### {title}; {group} tables")
                made += [_summary(of, what).markdown() for what, of in _comparable(found)]
                made.append(_by_table(found, contestants).markdown())
    return "\n\n".join([*made, _versions(fits, contestants)]) + "\n"


def _versions(fits: Sequence[Fit], contestants: Sequence[str]) -> str:
    of = {name: sorted({fit.version for fit in fits if fit.contestant == name}) for name in contestants}
    return "Versions: " + "; ".join(f"{name} {', '.join(found)}" for name, found in of.items() if found) + "."


def _comparable(fits: Sequence[Fit]) -> Iterator[tuple[str, list[Fit]]]:
    """Yield fits of contestants on the same splits: of those that have all, and of everybody."""
    everybody = list(dict.fromkeys(fit.contestant for fit in fits))
    places = {fit.place for fit in fits}
    whole = [name for name in everybody if {f.place for f in fits if f.contestant == name} == places]
    if len(whole) > 1:
        yield "All splits", common(fits, whole)
    if len(whole) < len(everybody) and (shared := common(fits, everybody)):
        yield "Splits that all have", shared


def _summary(fits: Sequence[Fit], what: str) -> Shown:
    title = f"{what}: {len({fit.place for fit in fits})}, of {len({fit.table for fit in fits})} tables."
    rows = []
    for one in summaries(fits):
        low, high = one.interval
        fit, predict = (f"{wall:.3g} ({cpu:.3g})" for wall, cpu in one.times)
        cells = [f"{100 * one.mean:.2f}", f"{one.rank:.2f} ({low:.1f} to {high:.1f})"]
        rows.append([one.contestant, *cells, fit, predict])
    header = ["shifted geometric mean", "mean rank (95 %)", "fit, s (processor)", "predict, s (processor)"]
    return Shown(title, ["contestant", *header], rows)


def _by_table(fits: Sequence[Fit], contestants: Sequence[str]) -> Shown:
    errors = errors_by_table(fits)
    shown = [name for name in contestants if name in errors]
    most = max(len(of) for by in errors.values() for of in by.values())
    rows = []
    for table in (table for table in TABLES.values() if any(fit.table == table.name for fit in fits)):
        found = [errors[name].get(table.name, []) for name in shown]
        least = min((statistics.fmean(of) for of in found if of), default=None)
        cells = [in_words(of) + (f" ({len(of)})" if 0 < len(of) < most else "") for of in found]
        cells = [
            f"**{cell}**" if of and statistics.fmean(of) == least else cell
            for cell, of in zip(cells, found, strict=True)
        ]
        rows.append([table.name, f"{table.rows:,}", f"{table.columns} ({table.categories})", *cells])
    title = f"Means and standard errors of {most} splits, or of as many as are in brackets."
    return Shown(title, ["table", "rows", "columns (categories)", *shown], rows)


def in_words(errors: Sequence[float]) -> str:
    """Return the mean of errors and its standard error, in percent.

    >>> in_words([0.09, 0.11]), in_words([0.5]), in_words([])
    ('10.0 ± 1.0', '50.0', '–')
    """
    if not errors:
        return "–"
    mean = f"{100 * statistics.fmean(errors):.1f}"
    return f"{mean} ± {100 * standard_error(errors):.1f}" if len(errors) > 1 else mean


def write_into(page: Path, name: str, made: str) -> None:
    """Replace what is between the marks ``<!-- name -->`` and ``<!-- end -->`` of a page."""
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found:
        raise SystemExit(f"{page}: expected a line {begin}, found none")
    page.write_text(f"{head}{begin}\n{made}{end}{rest.partition(end)[2]}", encoding="utf-8")
