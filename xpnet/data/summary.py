"""Summary of a table: what each column is, what was decided about it, and advice."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data.columns import Categorical, Column, Dates, Encoding, Reading
from xpnet.data.columns.dates import is_temporal
from xpnet.data.decisions import Decision
from xpnet.data.findings import Findings
from xpnet.data.fitting import Choices, Fitted, fit_columns
from xpnet.data.leakage import Baseline, Leakage, advise_of_balance, baseline_of
from xpnet.data.loading import open_named
from xpnet.data.parts import arrangement, told_of_groups
from xpnet.data.rows import filtered
from xpnet.data.stacks import counts_of
from xpnet.data.tables import Table
from xpnet.errors import Words
from xpnet.text import count, shown

if TYPE_CHECKING:
    import polars

__all__ = ["ColumnSummary", "Summary", "summarize", "summarize_fitted"]

_EXAMPLES, _LOOKED_AT = 5, 1000
_MOST_LINES = 200  # columns of which a printed summary tells
_WIDEST = 46  # characters of a name, a range or examples that are printed
_MOST_DECISIONS = 50


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """What a column of a table is.

    Attributes:
        name: the column.
        role: "feature", "target", "left out", or "" where it cannot be used as it is.
        kind: "numbers", "categories", "dates"; "text" or the type of cells that are left out.
        missing: how many cells are missing.
        categories: how many there are; None for other kinds.
        examples: some of its cells: of categories the most frequent ones.
        low, high: the range of numbers or dates; None for categories.
        features: how many features it gives.
        decided: what was decided about it, beyond its kind.
        why: the reasons.
    """

    name: str
    role: str
    kind: str
    missing: int
    categories: int | None
    examples: tuple[Any, ...]
    low: Any
    high: Any
    features: int
    decided: str = ""
    why: str = ""

    @property
    def taken(self) -> str:
        """What a training takes it as, in words."""
        if self.role == "feature":
            return count(self.features, "feature")
        return self.role or "cannot be used"

    @property
    def values(self) -> str:
        """Its range or its categories, in words."""
        if self.categories is not None:
            more = ", ..." if self.categories > len(self.examples) else ""
            return f"{self.categories:,}: {', '.join(map(str, self.examples))}{more}"
        if self.low is None:
            return ", ".join(map(str, self.examples))
        low, high = (
            f"{bound:.6g}" if isinstance(bound, float) else str(bound) for bound in (self.low, self.high)
        )
        return low if low == high else f"{low} to {high}"

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        described = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**described, "examples": list(self.examples)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ColumnSummary:
        """Return the summary that `to_json` gave."""
        return cls(**{**data, "examples": tuple(data["examples"])})


@dataclass(frozen=True)
class Summary:
    """Summary of a table; ``str()`` is a page of text.

    Attributes:
        name: what the table is called.
        rows: how many it has.
        target: the target columns.
        task: "classification" or "regression"; "" without target.
        columns: a summary of each column, in the table's order.
        advice: what was decided and what is worth a look, warnings first.
        problems: what stops a training, each with its remedy.
        baseline: what a prediction without features reaches, of each target.
    """

    name: str
    rows: int
    target: tuple[str, ...]
    task: str
    columns: tuple[ColumnSummary, ...]
    advice: tuple[Decision, ...]
    problems: tuple[Words, ...]
    baseline: tuple[Baseline, ...]

    def __str__(self) -> str:
        """Return a table of the columns, the advice, the problems and the baseline."""
        return self.page()

    def page(self, worded: Callable[[Words], object] = str) -> str:
        """Return the same in the words of a face of xpnet.

        Args:
            worded: gives a message its words, by default those of Python.
        """
        told = f"{self.name}: {self.rows:,} rows, {len(self.columns):,} columns"
        if self.target:
            told += f"; target {', '.join(self.target)}" + (f" ({self.task})" if self.task else "")
        lines = [told, "", *_lines(self.columns[:_MOST_LINES])]
        if len(self.columns) > _MOST_LINES:
            lines.append(f" ... and {len(self.columns) - _MOST_LINES:,} more columns")
        warnings = [decision for decision in self.advice if decision.warning]
        others = [decision for decision in self.advice if not decision.warning]
        for heading, listed in (
            ("problems, which stop a training", [Words(getattr(one, "text", one)) for one in self.problems]),
            ("worth a look", [Words(one.text) for one in warnings]),
            ("decided", [Words(one.text) for one in others]),
        ):
            if listed:
                lines += ["", heading]
                numbered = heading.startswith("problems")
                for number, one in enumerate(listed[:_MOST_DECISIONS], 1):
                    lines.append(f" {f'{number}.' if numbered else '-'} {shown(worded(one), 1000)}")
                if len(listed) > _MOST_DECISIONS:
                    lines.append(f" ... and {len(listed) - _MOST_DECISIONS:,} more")
        if self.baseline:
            lines += ["", "without features", *(f" - {one}" for one in self.baseline)]
        return "\n".join(lines)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """Return the summary that `to_json` gave."""
        return cls(
            name=data["name"],
            rows=data["rows"],
            target=tuple(data["target"]),
            task=data["task"],
            columns=tuple(ColumnSummary.from_json(column) for column in data["columns"]),
            advice=tuple(Decision(**decision) for decision in data["advice"]),
            problems=tuple(data["problems"]),
            baseline=tuple(Baseline(**one) for one in data["baseline"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {
            "name": self.name,
            "rows": self.rows,
            "target": list(self.target),
            "task": self.task,
            "columns": [column.to_json() for column in self.columns],
            "advice": [decision.to_json() for decision in self.advice],
            "problems": [str(problem) for problem in self.problems],
            "baseline": [one.to_json() for one in self.baseline],
        }


def summarize(
    table: Table | polars.DataFrame | str | os.PathLike[str],
    target: str | Sequence[str] | None = None,
    *,
    task: str = "auto",
    missing: str = "impute",
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    use: Sequence[str] = (),
    decimal: str | None = None,
    thousands: str | None = None,
    dayfirst: bool | None = None,
    scaling: str = "standard",
    one_hot: str = "plain",
    one_hot_up_to: int | None = None,
    split_by: str | None = None,
    group: str | None = None,
) -> Summary:
    """Return what the columns of a table are, how a training would take them, and what is worth a look.

    Problems that would stop a training are listed, not raised.

    Args:
        table: a polars DataFrame, the path of a file that `open_table` reads, a built-in table's name, or
            what `open_table` returned.
        target: the column to be predicted, or several; None: none (of a built-in table, its own).
        task, missing, categorical, drop, use, decimal, thousands, dayfirst: as for `Encoder.fit`.
        scaling, one_hot, one_hot_up_to: likewise.
        split_by, group: the column in whose order a training splits the rows, or whose groups it keeps
            together; no feature is suspected of telling the target because it is one of these.

    Raises:
        DataError: the file cannot be read, or has no column of one of the names.

    Example:
        >>> import polars
        >>> sizes = [1.5, 2.0, None, 3.5, 1.0, 0.5]
        >>> frame = polars.DataFrame({"id": range(1, 7), "size": sizes, "y": [0, 1] * 3})
        >>> print(summarize(frame, "y"))
        table: 6 rows, 3 columns; target y (classification)
        <BLANKLINE>
         column  kind        values      missing  taken as
         id      numbers     1 to 6            0  left out
         size    numbers     0.5 to 3.5        1  2 features
         y       categories  2: 0, 1           0  target
        <BLANKLINE>
        decided
         - column 'id' left out as a count of the rows: it counts them from 1; use='id' keeps it
         - column 'size' has missing cells, which take the training median, with a feature that says so: 1 of
           6 training rows; the median is 1.5
        <BLANKLINE>
        without features
         - always predicting the class 0 of 'y' gives an accuracy of 50.00 %
    """
    opened = _opened(table, decimal, thousands)
    frame, target = opened.frame, target or opened.target
    targets = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target or ()))
    reading = Reading(decimal or opened.decimal, thousands, dayfirst)
    named = (*categorical, *use, *drop)
    groups = told_of_groups(frame, group, named)
    dropped = (*drop, *(told.column for told in groups if told.column))
    encoding = Encoding(scaling, one_hot, one_hot_up_to)
    choices = Choices(task, missing, tuple(categorical), dropped, tuple(use), reading, encoding)
    fitted = fit_columns(frame, targets, choices)
    with fitted.findings.collecting():
        arrangement(frame, targets, split_by=split_by, group=group, reading=reading)
    fitted.left_out.update(dict.fromkeys(dropped, ""))
    decisions = (*opened.decisions, *groups, *fitted.findings.decisions)
    return _summary(opened.name, frame, fitted, targets, decisions, drop, (split_by, group))


def summarize_fitted(
    frame: polars.DataFrame,
    columns: Sequence[Column],
    targets: Sequence[Column],
    decisions: Sequence[Decision],
    *,
    name: str,
    task: str,
    drop: Sequence[str] = (),
    unsuspected: Sequence[str | None] = (),
) -> Summary:
    """Return the summary of a table as a training has taken it.

    Args:
        frame: the table, with all rows.
        columns: the fitted columns that are features.
        targets: the fitted target columns.
        decisions: what was decided.
        name: of the table.
        task: "classification" or "regression".
        drop: columns that were left out as asked.
        unsuspected: columns by which the rows were split.
    """
    fitted = Fitted(
        Findings(), {column.name: column for column in columns}, {one.name: one for one in targets}, task=task
    )
    taken = {*fitted.columns, *fitted.targets}
    fitted.left_out = {column: "" for column in frame.columns if column not in taken}
    return _summary(name, frame, fitted, tuple(fitted.targets), decisions, drop, unsuspected)


def _summary(
    name: str,
    frame: polars.DataFrame,
    fitted: Fitted,
    targets: tuple[str, ...],
    decisions: Sequence[Decision],
    drop: Sequence[str],
    unsuspected: Sequence[str | None],
) -> Summary:
    """Return the summary of a table with columns that were fitted; cells that were not read then are now."""
    every, findings, by_column = np.arange(frame.height), Findings(), _by_column(decisions)

    def cells_of(column: Column, series: polars.Series) -> Any:
        found = fitted.read.get(column.name)
        return column.read(series, every) if found is None else found

    known = {target.name: cells_of(target, frame[target.name]) for target in fitted.targets.values()}
    there = np.ones(frame.height, dtype=bool)
    for target in fitted.targets.values():
        cells = known[target.name]
        there &= target.codes(cells) >= 0 if isinstance(target, Categorical) else ~target.gone(cells)
    present = [(target, filtered(known[target.name], there)) for target in fitted.targets.values()]
    search = Leakage(present, len(fitted.columns))
    described = []
    for series in frame.get_columns():
        feature = fitted.columns.get(series.name)
        column = fitted.targets.get(series.name, feature)
        cells = known.get(series.name)
        if cells is None and column is not None:
            cells = cells_of(column, series)
        if feature is not None and search.targets and series.name not in unsuspected:
            search.look(feature, filtered(cells, there), findings)
        role = "target" if series.name in targets else "" if feature is None else "feature"
        if series.name in fitted.left_out:
            role = "left out"
        features = 0 if feature is None else len(feature.feature_names)
        content = _content(series, column, cells)
        described.append(_described(series.name, role, features, by_column, drop, content))
    for target, cells in present:
        advise_of_balance(target, cells, findings)
    advice = _warnings_first((*decisions, *findings.decisions))
    problems = tuple(problem.words for problem in fitted.findings.problems)
    baseline = tuple(baseline_of(target, cells) for target, cells in present)
    return Summary(name, frame.height, targets, fitted.task, tuple(described), advice, problems, baseline)


def _by_column(decisions: Sequence[Decision]) -> dict[str | None, list[Decision]]:
    found: dict[str | None, list[Decision]] = {}
    for decision in decisions:
        found.setdefault(decision.column, []).append(decision)
    return found


def _warnings_first(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    return tuple(sorted(decisions, key=lambda decision: not decision.warning))


def _described(
    name: str,
    role: str,
    features: int,
    decisions: Mapping[str | None, Sequence[Decision]],
    drop: Sequence[str],
    content: Mapping[str, Any],
) -> ColumnSummary:
    """Return the summary of a column with what was decided about it, in the words of Python."""
    own = [decision.to_json() for decision in decisions.get(name, ())]
    decided = "left out as asked" if name in drop else "; ".join(one["what"] for one in own)
    why = "; ".join(one["why"] for one in own if one["why"])
    return ColumnSummary(name, role, features=features, decided=decided, why=why, **content)


def _opened(table: Any, decimal: str | None, thousands: str | None) -> Table:
    if isinstance(table, Table):
        return table
    if isinstance(table, (str, os.PathLike)):
        return open_named(table, decimal=decimal, thousands=thousands)
    return Table(table, None, "table")


def _content(series: polars.Series, column: Column | None, cells: Any) -> dict[str, Any]:
    """Return kind, missing, categories, examples, low and high of a column.

    Args:
        series: the column.
        column: as it was fitted; None if it was not.
        cells: those that it has read.
    """
    if column is None or cells is None:
        return _unread(series)
    missing = int(np.count_nonzero(column.gone(cells)))
    told: dict[str, Any] = {"missing": missing, "categories": None, "low": None, "high": None, "examples": ()}
    if isinstance(column, Categorical):
        counts = {value: count for value, count in counts_of(cells).items() if value is not None}
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[:_EXAMPLES]
        classes = len(column.categories)
        return told | {"kind": "categories", "categories": classes, "examples": tuple(map(_plain, frequent))}
    present = cells[~column.gone(cells)] if missing else cells
    told["examples"] = tuple(_first(series))
    if isinstance(column, Dates):
        low, high = (
            str(np.datetime64(bound, "s")).replace("T", " ") for bound in (present.min(), present.max())
        )
        return told | {
            "kind": "dates",
            "low": low.removesuffix(" 00:00:00"),
            "high": high.removesuffix(" 00:00:00"),
        }
    finite = present[np.isfinite(present)]
    if not len(finite):
        return told | {"kind": "numbers"}
    return told | {"kind": "numbers", "low": float(finite.min()), "high": float(finite.max())}


def _unread(series: polars.Series) -> dict[str, Any]:
    """Return the same of a column that is left out or cannot be read."""
    told: dict[str, Any] = {"missing": series.null_count(), "categories": None, "low": None, "high": None}
    told["examples"] = tuple(_first(series))
    if series.dtype.is_numeric():
        low, high = series.min(), series.max()
        if low is not None:
            told |= {"low": float(low), "high": float(high)}  # type: ignore[arg-type]
        return told | {"kind": "numbers"}
    kind = "dates" if is_temporal(series) else "text" if str(series.dtype) == "String" else str(series.dtype)
    return told | {"kind": kind}


def _first(series: polars.Series) -> list[Any]:
    """Return some of the cells, each once."""
    there = series.rename("").drop_nulls() if series.null_count() else series
    found: list[Any] = []
    for cell in there.head(_LOOKED_AT).to_list():
        if cell not in found:
            found.append(cell)
            if len(found) == _EXAMPLES:
                break
    return list(map(_plain, found))


def _plain(value: Any) -> Any:
    """Return a cell as a value of JSON."""
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _lines(columns: Sequence[ColumnSummary]) -> list[str]:
    rows = [("column", "kind", "values", "missing", "taken as")]
    rows += [
        (shown(c.name, _WIDEST), c.kind, shown(c.values, _WIDEST), f"{c.missing:,}", c.taken) for c in columns
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    return [
        f" {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:>{widths[3]}}  "
        f"{row[4]}"
        for row in rows
    ]
