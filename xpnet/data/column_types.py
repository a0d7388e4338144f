"""Types of columns of text: whole numbers, decimal numbers, booleans, or text, by what all cells are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from xpnet.data._packages import import_polars
from xpnet.data.decisions import Decision
from xpnet.data.notations import CODES, marks_of, unit_of

if TYPE_CHECKING:
    import polars

__all__ = ["typed"]

_GROUPED = r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$"  # a decimal point, or one between thousands


class _Columns:
    """Columns of text that are read step by step; each step is one expression over all that are left.

    A call for each of 100,000 columns would be slow.
    """

    def __init__(self, frame: polars.DataFrame, text: Collection[str]):
        self.found = dict(zip(frame.columns, frame.get_columns(), strict=True))
        self.missing = {name: column.null_count() for name, column in self.found.items()}
        self.left = [n for n in self.found if n not in text and self.missing[n] < frame.height]

    def made(self, names: Collection[str], expression: polars.Expr) -> list[polars.Series]:
        """Return what the expression makes of columns."""
        if not names:
            return []
        # of columns, not of names, some of which an expression would take for patterns
        pl = import_polars()
        return pl.DataFrame([self.found[name] for name in names]).select(expression).get_columns()

    def holding(self, names: list[str], expression: polars.Expr) -> list[str]:
        """Return the columns for which an expression, which gives one value for each, is true."""
        made = self.made(names, expression)
        return [name for name, value in zip(names, made, strict=True) if value[0]]

    def read(self, names: list[str], expression: polars.Expr) -> None:
        """Take what the expression makes of columns where it reads each cell."""
        made = dict(zip(names, self.made(names, expression), strict=True))
        whole = {name: column for name, column in made.items() if column.null_count() == self.missing[name]}
        self.found.update(whole)
        self.left = [name for name in self.left if name not in whole]


def typed(
    frame: polars.DataFrame, text: Collection[str], *, separator: str, decimal: str | None, zeros: bool = True
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
        zeros: whether some cell may begin with a zero before another digit.

    Returns:
        The table; the decimal mark that it shows, or None; what was decided.
    """
    pl = import_polars()
    columns, cells = _Columns(frame, text), pl.all()
    decisions = _set_codes_aside(columns) if zeros else []
    columns.read(columns.left, cells.cast(pl.Int64, strict=False))
    # 128 bits keep whole numbers exact that 64 bits cannot hold; longer ones stay text: float64 changes them
    digits = set(columns.holding(columns.left, cells.str.contains(r"^[+-]?[0-9]+$").all()))
    columns.read([name for name in columns.left if name in digits], cells.cast(pl.Int128, strict=False))
    others = [name for name in columns.left if name not in digits]
    points: list[str] = []
    unclear: list[str] = []
    if separator == "," and decimal is None:
        columns.read(others, cells.cast(pl.Float64, strict=False))
    else:
        numbers = cells.cast(pl.Float64, strict=False)
        pointed = columns.holding(others, (numbers.is_not_null() | cells.is_null()).all())
        points = columns.holding(pointed, cells.str.contains(".", literal=True).any())
        grouped = cells.str.contains(_GROUPED) | ~cells.str.contains(".", literal=True)
        unclear = columns.holding(points, grouped.all())
        aside = {",": points, ".": []}.get(decimal or "", unclear)
        left = set(pointed) - set(aside)
        columns.read([name for name in pointed if name in left], numbers)
    booleans = columns.holding(columns.left, cells.str.to_lowercase().is_in(["true", "false"]).all())
    columns.read(booleans, cells.str.to_lowercase() == "true")
    known = digits | set(points)
    rest = _with_digits(pl.DataFrame([columns.found[name] for name in columns.left if name not in known]))
    marks = marks_of(rest)
    if len(points) > len(unclear) or (marks and separator == "," and _has_fractions(columns.found)):
        marks.add(".")
    if decimal is None and unclear and (marks == {"."} or not (marks or separator == ";")):
        columns.read(unclear, cells.cast(pl.Float64, strict=False))
        if separator == ";":
            why = "so are those of other columns"
            decisions += [Decision(name, "read with decimal points", why) for name in unclear[:_MOST_TOLD]]
    shown = next(iter(marks)) if len(marks) == 1 else "." if separator == "," and not marks else None
    return pl.DataFrame(columns.found), decimal or shown, [*decisions, *_units(rest)]


def _set_codes_aside(columns: _Columns) -> list[Decision]:
    """Leave columns with leading zeros as text, and return what was decided."""
    pl = import_polars()
    codes = columns.holding(columns.left, pl.all().str.contains(CODES).any())
    codes = columns.holding(codes, pl.all().str.contains(r"^[+-]?[0-9.,]+$").all())
    decisions: list[Decision] = []
    for name in codes[:_MOST_TOLD]:
        series = columns.found[name]
        example = series.filter(series.str.contains(CODES))[0]
        decisions.append(Decision(name, "kept as text", f"leading zeros, such as '{example}', make it codes"))
    coded = set(codes)
    columns.left = [name for name in columns.left if name not in coded]
    return decisions


def _has_fractions(columns: Mapping[str, polars.Series]) -> bool:
    """Whether a column of decimal numbers is not of whole ones alone."""
    pl = import_polars()
    floats = pl.DataFrame([column for column in columns.values() if column.dtype.is_float()])
    return bool(floats.width) and any(floats.select((pl.all() % 1 != 0).any()).row(0))


def _with_digits(frame: polars.DataFrame) -> polars.DataFrame:
    """Return the columns of text of which most cells have a digit."""
    pl = import_polars()
    if not frame.width:
        return frame
    shares = frame.select(pl.all().str.contains("[0-9]").mean()).row(0)
    return frame[:, [place for place, share in enumerate(shares) if share and share > 0.5]]


_MOST_TOLD = 20  # columns of which a decision tells
_MOST_TRIED = 2000  # columns of text that are looked at for units


def _units(rest: polars.DataFrame) -> list[Decision]:
    """Return hints about columns of text whose cells are numbers with a unit."""
    decisions: list[Decision] = []
    for series in rest[:, :_MOST_TRIED].get_columns():
        unit = unit_of(series)
        if unit and len(decisions) < _MOST_TOLD:
            why = f"its cells are numbers with the unit '{unit[0]}', such as '{unit[1]}'"
            decisions.append(Decision(series.name, "kept as text", f"{why}; remove it for numbers", True))
    return decisions
