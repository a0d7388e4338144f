"""Types of columns of text: whole numbers, decimal numbers, booleans, or text, by what all cells are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.data.decisions import Decision
from xpnet.data.notations import CODES, has_fractions, marks_of, units_of
from xpnet.data.shapes import Shapes, shapes_of
from xpnet.data.stacks import counted, stacks

if TYPE_CHECKING:
    import polars

__all__ = ["typed"]

_GROUPED = r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$|^[^.]*$"  # a decimal point, or one between thousands
_MOST_TOLD = 20  # columns of which a decision tells

_Step = Callable[["polars.Series"], "polars.Series"]  # of one cell at a time


class _Columns:
    """Columns of text that are read step by step, each step over all that are left."""

    def __init__(self, frame: polars.DataFrame, text: Collection[str]):
        self.found = dict(zip(frame.columns, frame.get_columns(), strict=True))
        self.missing = {name: column.null_count() for name, column in self.found.items()}
        self.left = [n for n in self.found if n not in text and self.missing[n] < frame.height]

    def holding(self, names: list[str], test: _Step, *, some: bool = False) -> list[str]:
        """Return the columns for all of whose cells a test is true, or for some of them."""
        holding: list[str] = []
        for columns, cells in stacks([self.found[name] for name in names]):
            true = counted(test(cells), len(columns))
            enough = 1 if some else [len(c) - self.missing[c.name] for c in columns]
            holding += [column.name for column, is_so in zip(columns, true >= enough, strict=True) if is_so]
        return holding

    def read(self, names: list[str], step: _Step) -> None:
        """Take what a step makes of columns where it reads each cell."""
        done, start = set[str](), 0
        for columns, cells in stacks([self.found[name] for name in names]):
            made, rows = step(cells), len(columns[0])
            read = counted(made.is_not_null(), len(columns)).tolist()
            some, start = names[start : start + len(columns)], start + len(columns)
            for place, (name, count) in enumerate(zip(some, read, strict=True)):
                if count == rows - self.missing[name]:
                    self.found[name] = made.slice(place * rows, rows).rename(name)
                    done.add(name)
        self.left = [name for name in self.left if name not in done]


def typed(
    frame: polars.DataFrame, text: Collection[str], *, separator: str, decimal: str | None
) -> tuple[polars.DataFrame, str | None, list[Decision]]:
    """Return a table of text with its columns in the types that all of their cells have.

    A column is of whole numbers, else of decimal numbers with a point, else of booleans (true/false in any
    case); otherwise it is text, also where its cells are numbers of another notation (`notation_of`). Numbers
    with a leading zero are codes: text. So are numbers whose point may part thousands, such as ``15.353``: if
    all numbers of the column are so, and other columns have decimal commas, or semicolons separate the cells,
    as where such commas are usual, and no other column shows decimal points. In a file separated by commas, a
    point is the decimal mark unless another one is declared.

    Args:
        frame: columns of text.
        text: names of columns that stay text.
        separator: of the cells.
        decimal: the decimal mark of the file, where it is declared.

    Returns:
        The table; the decimal mark that it shows, or None; what was decided.
    """
    pl = import_polars()
    columns = _Columns(frame, text)
    decisions = _set_codes_aside(columns)
    columns.read(columns.left, lambda cells: cells.cast(pl.Int64, strict=False))
    # 128 bits keep whole numbers exact that 64 bits cannot hold; longer ones stay text: float64 changes them
    digits = set(columns.holding(columns.left, lambda cells: cells.str.contains(r"^[+-]?[0-9]+$")))
    columns.read([n for n in columns.left if n in digits], lambda cells: cells.cast(pl.Int128, strict=False))
    others = [name for name in columns.left if name not in digits]
    decisions += _powers(columns, others)
    points: list[str] = []
    unclear: list[str] = []
    if separator == "," and decimal is None:
        columns.read(others, _decimals)
    else:
        pointed = columns.holding(others, lambda cells: _decimals(cells).is_not_null())
        points = columns.holding(pointed, lambda cells: cells.str.contains(".", literal=True), some=True)
        unclear = columns.holding(points, lambda cells: cells.str.contains(_GROUPED))
        aside = set({",": points, ".": []}.get(decimal or "", unclear))
        columns.read([name for name in pointed if name not in aside], _decimals)
    booleans = columns.holding(columns.left, lambda cells: cells.str.to_lowercase().is_in(["true", "false"]))
    columns.read(booleans, lambda cells: cells.str.to_lowercase() == "true")
    known = digits | set(points)
    rest = shapes_of([columns.found[name] for name in columns.left if name not in known])
    floats = [column for column in columns.found.values() if column.dtype == pl.Float64]
    marks = marks_of([], rest)
    if len(points) > len(unclear) or (marks and separator == "," and has_fractions(floats)):
        marks.add(".")
    if decimal is None and unclear and (marks == {"."} or not (marks or separator == ";")):
        columns.read(unclear, _decimals)
        if separator == ";":
            why = "so are those of other columns"
            decisions += [Decision(name, "read with decimal points", why) for name in unclear[:_MOST_TOLD]]
    shown = next(iter(marks)) if len(marks) == 1 else "." if separator == "," and not marks else None
    first, *further = columns.found.values()
    return first.to_frame().hstack(further), decimal or shown, [*decisions, *_units(rest)]


def _decimals(cells: polars.Series) -> polars.Series:
    return cells.cast(import_polars().Float64, strict=False)


def _powers(columns: _Columns, names: list[str]) -> list[Decision]:
    """Return warnings about numbers such as 1E5, which may be codes where no number has a point or a sign."""
    some = columns.holding(names, lambda cells: cells.str.contains("^[0-9]+[eE][0-9]+$"), some=True)
    decisions = []
    for name in columns.holding(some, lambda cells: cells.str.contains("^[0-9]+(?:[eE][0-9]+)?$")):
        cells = columns.found[name].rename("")
        cell = cells.filter(cells.str.contains("[eE]"))[0]
        why = f"'{cell}' is {float(cell):.15g}; if these are codes, write them with another letter"
        decisions.append(Decision(name, "read as powers of ten", why, warning=True))
    return decisions[:_MOST_TOLD]


def _set_codes_aside(columns: _Columns) -> list[Decision]:
    """Leave columns with leading zeros as text, and return what was decided."""
    codes = columns.holding(columns.left, lambda cells: cells.str.contains(CODES), some=True)
    codes = columns.holding(codes, lambda cells: cells.str.contains(r"^[+-]?[0-9.,]+$"))
    decisions: list[Decision] = []
    for name in codes[:_MOST_TOLD]:
        cells = columns.found[name].rename("")
        example = cells.filter(cells.str.contains(CODES))[0]
        decisions.append(Decision(name, "kept as text", f"leading zeros, such as '{example}', make it codes"))
    coded = set(codes)
    columns.left = [name for name in columns.left if name not in coded]
    return decisions


def _units(rest: Sequence[Shapes]) -> list[Decision]:
    """Return hints about columns of text whose cells are numbers with a unit."""
    decisions: list[Decision] = []
    for shapes in rest:
        units = units_of(shapes)
        if not units or len(decisions) == _MOST_TOLD:
            continue
        unit, cells = next(iter(units)), ", ".join(f"'{cell}'" for cell in units.values())
        why = f"its cells are numbers with the unit '{unit}', such as {cells}; remove it for numbers"
        if len(units) > 1:
            why = f"its cells are numbers with several units, such as {cells}; for numbers, convert them"
        decisions.append(Decision(shapes.series.name, "kept as text", why, warning=True))
    return decisions
