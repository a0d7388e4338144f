"""Results as tables, for a terminal or in Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from scripts.benchmarks.results import MEASURES, Result, Run
from scripts.benchmarks.targets import FLOORS, Verdict
from scripts.benchmarks.works import WORKS

__all__ = ["Table", "describe_machine", "tables", "verdict_table"]


@dataclasses.dataclass
class Table:
    """Rows of cells under a header; the first column is to the left, all others to the right."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def plain(self) -> str:
        """Return the table for a terminal."""
        rows = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.header))]
        lines = []
        for first, *others in rows:
            cells = [first.ljust(widths[0]), *(x.rjust(w) for x, w in zip(others, widths[1:], strict=True))]
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join([self.title, *lines])

    def markdown(self) -> str:
        """Return the table in Markdown, the title above it."""
        rows = [self.header, ["---"] + ["--:"] * (len(self.header) - 1), *self.rows]
        lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
        return "\n".join([self.title, "", *lines])


def tables(run: Run, *, spread: bool) -> list[Table]:
    """Return all tables of a run.

    Args:
        run: what was found.
        spread: a table for each work with all contestants' spread, in place of summaries over the works.
    """
    made = []
    for measure, title in MEASURES.items():
        optimizers = run.optimizers(measure)
        timed = measure in ("steps", "epochs")
        if timed and not spread and len(optimizers) > 1:
            for work in run.of(measure):
                columns = {name: run.of(measure, name).get(work, {}) for name in optimizers}
                made += _summaries(columns, f"{title}; {WORKS.get(work, work)}")
            continue
        for optimizer in optimizers:
            found, named = run.of(measure, optimizer), f"{title}; {optimizer}"
            if measure == "first":
                made.append(_first(found, named))
            elif measure == "memory":
                made.append(_memory(found, named))
            elif spread:
                made += [_spread(row, f"{WORKS.get(work, work)}: {named}") for work, row in found.items()]
            else:
                made += _summaries(found, named)
    if run.imports:
        rows = [[what, _figure(milliseconds)] for what, milliseconds in run.imports.items()]
        made.append(Table("importing in a fresh process, with the start of Python", ["", "ms"], rows))
    if run.absent:
        made.append(Table("not measured", ["", "reason"], [[name, why] for name, why in run.absent.items()]))
    return made


def verdict_table(found: list[Verdict]) -> Table:
    """Return the targets beside what was found."""
    words = {True: "met", False: "NOT MET", None: "not measured"}
    rows = [[v.text, v.wanted, "–" if v.found is None else f"{v.found:.2f}", words[v.met]] for v in found]
    count = sum(v.met is True for v in found)
    title = f"targets: {count} of {len(found)} met, {sum(v.met is None for v in found)} not measured"
    return Table(title, ["", "wanted", "found", ""], rows)


def describe_machine(run: Run) -> str:
    """Return one paragraph on where the run took place."""
    where = run.machine
    threads = f"{where['threads']} thread" + ("s" if where["threads"] > 1 else "")
    device = "" if where["device"] == "cpu" else f"{where['device']}; "
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    return (
        f"{where['date']}: {device}{where['processor']}, {threads} for everybody; {where['system']}, Python "
        f"{where['python']}, {packages}. BLAS: {'; '.join(where['kernels'])}."
    )


Columns = dict[str, dict[str, Result]]  # by what heads a column, and contestant


def _summary(columns: Columns, title: str, cell: Callable[[Result, dict[str, Result]], str]) -> Table:
    """Return a row for each contestant, with cells made from its result and all of the column."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [
        [name, *(cell(column[name], column) if name in column else "–" for column in columns.values())]
        for name in names
    ]
    return Table(title, ["", *columns], rows)


def _summaries(columns: Columns, title: str) -> list[Table]:
    """Return medians, and the same in units of the floor's and of xpnet's."""
    made = [_summary(columns, f"{title}; median (quartiles)", lambda result, column: _spread_of(result))]
    for base in (*FLOORS, "xpnet"):
        based = {name: column for name, column in columns.items() if base in column and len(column) > 1}
        if based:

            def ratio(result: Result, column: dict[str, Result], base: str = base) -> str:
                return f"{result.median / column[base].median:.2f}"

            made.append(_summary(based, f"{title}; in units of {base}", ratio))
    return made


def _memory(columns: Columns, title: str) -> Table:
    table = _summary(columns, title, lambda result, column: _figure(result.median))
    formulas = [next(iter(column.values())).details["formula"] for column in columns.values()]
    table.rows.append(["formula", *map(_figure, formulas)])
    return table


def _spread(row: dict[str, Result], title: str) -> Table:
    bases = [name for name in (*FLOORS, "xpnet") if name in row]
    rows = []
    for name, result in row.items():
        figures = [result.median, *result.quartiles, min(result.values), max(result.values)]
        ratios = [f"{result.median / row[base].median:.2f}" for base in bases]
        rows.append([name, *map(_figure, figures), *ratios, result.note])
    header = ["", "median", "quartile", "quartile", "min", "max", *(f"/ {base}" for base in bases), ""]
    return Table(title, header, rows)


def _first(found: dict[str, dict[str, Result]], title: str) -> Table:
    header = ["", "build", "first epoch", "later", "first - later", "worst later", "first, filled cache"]
    rows = []
    for work, row in found.items():
        for name, result in row.items():
            d = result.details
            figures = [d["build"], d["first"], d["later"], d["first"] - d["later"], d["worst"]]
            kept = f"{d['first_again']:.3f}" if "first_again" in d else "–"
            rows.append([f"{work}: {name}", *(f"{x:.3f}" for x in figures), kept])
    return Table(title, header, rows)


def _spread_of(result: Result) -> str:
    low, high = result.quartiles
    return f"{_figure(result.median)} ({_figure(low)}–{_figure(high)})"


def _figure(x: float) -> str:
    """Return three digits, or all before the point: 0.0123, 1.23, 12.3, 123, 12,345."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"
