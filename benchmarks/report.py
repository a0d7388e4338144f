"""Results as tables, for a terminal or in Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from benchmarks.results import MEASURES, Result, Run
from benchmarks.targets import FLOOR, Verdict
from benchmarks.works import WORKS

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
    for measure in MEASURES:
        for optimizer in run.optimizers(measure):
            found = run.of(measure, optimizer)
            title = f"{MEASURES[measure]}; {optimizer}"
            if measure == "first":
                made.append(_first(found, title))
            elif measure == "memory":
                made.append(_summary(found, title, lambda result: _figure(result.median)))
                made[-1].rows.append(["formula", *(_formula(row) for row in found.values())])
            elif spread:
                made += [_spread(work, row, title) for work, row in found.items()]
            else:
                made.append(_summary(found, f"{title}; median and quartiles", _median_and_quartiles))
                made += _ratios(found, title)
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


def _summary(found: dict[str, dict[str, Result]], title: str, cell: Callable[[Result], str]) -> Table:
    """Return contestants in rows and works in columns."""
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [[name, *(cell(row[name]) if name in row else "–" for row in found.values())] for name in names]
    return Table(title, ["", *found], rows)


def _ratios(found: dict[str, dict[str, Result]], title: str) -> list[Table]:
    """Return medians in units of the floor's and of xpnet's."""
    made = []
    for base in (FLOOR, f"{FLOOR} (cuBLAS)", "xpnet"):
        units = {work: row[base].median for work, row in found.items() if base in row and len(row) > 1}
        if units:

            def ratio(result: Result, units: dict[str, float] = units) -> str:
                return f"{result.median / units[result.work]:.2f}"

            rows = {work: row for work, row in found.items() if work in units}
            made.append(_summary(rows, f"{title}; in units of {base}", ratio))
    return made


def _spread(work: str, row: dict[str, Result], title: str) -> Table:
    floor = next((row[name].median for name in row if name.startswith(FLOOR)), None)
    ours = row["xpnet"].median if "xpnet" in row else None
    rows = []
    for name, result in row.items():
        low, high = result.quartiles
        figures = [result.median, low, high, min(result.values), max(result.values)]
        ratios = ["–" if base is None else f"{result.median / base:.2f}" for base in (floor, ours)]
        rows.append([name, *map(_figure, figures), *ratios, result.note])
    header = ["", "median", "quartile", "quartile", "min", "max", "/ products", "/ xpnet", ""]
    return Table(f"{WORKS.get(work, work)}: {title}", header, rows)


def _first(found: dict[str, dict[str, Result]], title: str) -> Table:
    header = [
        "",
        "import, build",
        "first epoch",
        "later",
        "first - later",
        "worst later",
        "first, filled cache",
    ]
    rows = []
    for work, row in found.items():
        for name, result in row.items():
            d = result.details
            figures = [d["build"], d["first"], d["later"], d["first"] - d["later"], d["worst"]]
            kept = f"{d['first_again']:.3f}" if "first_again" in d else "–"
            rows.append([f"{work}: {name}", *(f"{x:.3f}" for x in figures), kept])
    return Table(title, header, rows)


def _formula(row: dict[str, Result]) -> str:
    return _figure(next(iter(row.values())).details["formula"])


def _median_and_quartiles(result: Result) -> str:
    low, high = result.quartiles
    return f"{_figure(result.median)} ({_figure(low)}–{_figure(high)})"


def _figure(x: float) -> str:
    """Return three digits, or all before the point: 0.0123, 1.23, 12.3, 123, 12,345."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"
