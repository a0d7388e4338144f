"""Columns of a table, chosen and fitted on its training rows, with all decisions and problems."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.columns import STANDARD, Categorical, Column, Encoding, Numeric, Reading, choose
from xpnet.data.columns.categorical import cells_of
from xpnet.data.columns.cells import PLAIN, is_text
from xpnet.data.columns.choice import UNDECLARED, number_notation, reading_of, tell_notation
from xpnet.data.columns.statistics import Statistics, statistics_of
from xpnet.data.disguises import advise_of_disguised, advise_of_numbers
from xpnet.data.duplicates import advise_of_categories, same_columns
from xpnet.data.findings import Findings, listed_names
from xpnet.data.frames import told_of_words, without_words
from xpnet.data.identifiers import identifier
from xpnet.data.oddities import hint_of_names
from xpnet.data.rows import choose_rows, part_of, read_columns, whole_columns
from xpnet.data.shapes import Shapes, shapes_of
from xpnet.data.stacks import counts_of, stacks
from xpnet.data.tasks import explain_task, infer_tasks, refuse_dates
from xpnet.errors import DataError, suggest, use

if TYPE_CHECKING:
    import polars

__all__ = ["Choices", "Fitted", "fit_columns"]

MOST_CATEGORIES = 1000  # one-hot
MOST_CODES = 100_000
_USELESS = ("empty", _MANY := "a column of too many categories")  # no setting keeps such a column
_SMALL_TABLE = 50  # rows up to which it is not suspicious that each has a class of its own


@dataclass(frozen=True)
class Choices:
    """What is declared about a table: see `xpnet.data.Encoder.fit`."""

    task: str = "auto"
    missing: str = "impute"
    categorical: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    use: tuple[str, ...] = ()
    reading: Reading = UNDECLARED
    encoding: Encoding = STANDARD
    clamp: bool = False


@dataclass
class Fitted:
    """What fitting found.

    Attributes:
        columns: fitted columns of features, by name.
        targets: fitted target columns, by name.
        left_out: columns that are no features, and why.
        read: the cells of fitted columns, of all rows.
        cells: the same, of the rows that are left.
        rows: the rows that are left, counted from 0.
        task: "classification" or "regression"; "" without target.
        findings: the decisions and problems.
    """

    findings: Findings
    columns: dict[str, Column] = field(default_factory=dict)
    targets: dict[str, Column] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    read: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, Any] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.arange(0))
    task: str = ""


def fit_columns(
    frame: polars.DataFrame,
    targets: Sequence[str],
    choices: Choices,
    rows: Sequence[int] | np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Fitted:
    """Return the columns of a table, fitted on rows of it; nothing is raised for what is wrong with cells.

    Args:
        frame: the table.
        targets: names of the columns to be predicted; none for a look at the columns alone.
        choices: what is declared.
        rows: the training rows, counted from 0; None takes all.
        sample_weight: weights of all rows of the table in means and deviations; None: they are equal.

    Raises:
        DataError: a name that the table does not have, or no rows.
    """
    names = _feature_names(frame.columns, targets, choices)
    part, numbers = part_of(frame, rows)
    if part.height == 0:
        raise DataError("there are no training rows")
    part, words = without_words(part)
    texts = [column for column in part.get_columns() if isinstance(column.dtype, import_polars().String)]
    found = shapes_of(texts, choices.reading.thousands)
    shapes = dict(zip([column.name for column in texts], found, strict=True))
    fitted = Fitted(Findings())
    reading = reading_of(part, choices.reading, found)
    _Fit(fitted, part, numbers, choices, reading, shapes, sample_weight).run(names, tuple(targets))
    for told in told_of_words(words, (*fitted.columns.values(), *fitted.targets.values())):
        fitted.findings.decide(told.column, told.what, told.why, warning=told.warning)
    return fitted


@dataclass
class _Fit:
    """The steps of a fit, on the training rows."""

    fitted: Fitted
    part: polars.DataFrame
    numbers: np.ndarray
    choices: Choices
    reading: Reading
    shapes: Mapping[str, Shapes]
    sample_weight: np.ndarray | None

    def run(self, names: Sequence[str], targets: Sequence[str]) -> None:
        fitted, findings = self.fitted, self.fitted.findings
        chosen_targets: dict[str, Column] = {}
        if targets:
            with findings.collecting():
                chosen_targets = self._choose_targets(targets)
        series = dict(zip(self.part.columns, self.part.get_columns(), strict=True))
        position = {name: place for place, name in enumerate(self.part.columns)}
        chosen: dict[str, Column] = {}
        for name in names:
            column = self._choose(series[name], first=position[name] == 0)
            if column is not None:
                chosen[name] = column
        self._keep_one(names, series, chosen)
        readers = {**chosen, **chosen_targets}
        read = read_columns(self.part, self.numbers, readers, findings)
        whole = whole_columns(readers, read)
        # before rows are left out: a missing cell of a column that is left out does not matter
        for name in [name for name in chosen if name in read]:
            with findings.collecting():
                if self._leave_out_read(chosen[name], read[name], whole):
                    del chosen[name], read[name]
        fitted.read = dict(read)
        cells, numbers = choose_rows(
            self.part, self.numbers, readers, read, self.choices.missing, chosen_targets, findings, whole
        )
        fitted.cells, fitted.rows = cells, numbers
        if not len(numbers):
            empty = [
                name
                for name in chosen_targets
                if name in read and chosen_targets[name].gone(read[name]).all()
            ]
            if empty and findings.problems:  # which say why no cell is there
                return
            if empty:
                findings.problems.append(
                    DataError(
                        f"target '{empty[0]}' is missing in all {self.part.height:,} training rows: nothing "
                        "to learn from; fill it in, or choose another target"
                    )
                )
                return
            findings.problems.append(
                DataError(
                    f"each of the {self.part.height} training rows has a bad cell: none is left to train on; "
                    f"use {use('missing', 'impute')}, or leave the columns with missing cells out"
                )
            )
            return
        weight = None if self.sample_weight is None else self.sample_weight[numbers]
        features = {name: cells[name] for name in chosen if name in whole}
        known = _statistics(features, self.choices.encoding.scaling, weight)
        for name, column in chosen.items():
            if name in cells:
                with findings.collecting():
                    told = known.get(name)
                    self._fit_feature(column, cells[name], numbers, weight, told, whole=name in whole)
        for name, target in chosen_targets.items():
            if name in cells:
                with findings.collecting():
                    self._fit_target(target, cells[name], numbers, weight)
        self._duplicates(targets)
        if not fitted.columns and not findings.problems and names:
            why = "; ".join(f"'{name}' {reason}" for name, reason in list(fitted.left_out.items())[:10])
            kept = [name for name in names if not fitted.left_out.get(name, "").startswith(_USELESS)]
            setting = "categorical" if kept and is_text(series[kept[0]]) else "use"
            helps = f"keep one with {use(setting, kept[0])}" if kept else "add columns"
            findings.problems.append(DataError(f"no column is left to predict from: {why}; {helps}"))

    # ---- which columns

    def _choose_targets(self, targets: Sequence[str]) -> dict[str, Column]:
        fitted, reading = self.fitted, self.reading
        task = self.choices.task
        for name in targets:
            refuse_dates(self.part[name], task, reading)
        fitted.task = infer_tasks(self.part, targets, reading) if task == "auto" else task
        chosen: dict[str, Column] = {}
        for name in targets:
            series = self.part[name]
            with fitted.findings.collecting():
                if fitted.task == "classification":
                    chosen[name] = Categorical(name, cells_of(series))
                else:
                    notation = number_notation(series, reading, self.shapes.get(name))
                    if notation is not None:
                        tell_notation(series, notation, self.shapes.get(name), fitted.findings)
                    if str(series.dtype).startswith("Duration"):
                        fitted.findings.decide(name, "holds durations, which are predicted as seconds")
                    chosen[name] = Numeric(name, notation=notation or PLAIN)
                decision = explain_task(series, task, reading)
                if decision is not None and task == "auto":
                    fitted.findings.decide(decision.column, decision.what, decision.why)
        return chosen

    def _leave_out(self, name: str, what: str, why: str, *, warning: bool = False) -> None:
        self.fitted.left_out[name] = f"{what}: {why}" if why else what
        self.fitted.findings.decide(name, f"left out as {what}", why, warning=warning)

    def _named(self, name: str) -> bool:
        return name in self.choices.use or name in self.choices.categorical

    def _choose(self, series: polars.Series, *, first: bool) -> Column | None:
        """Return what a column is; None if it is left out, for it holds nothing or identifies the rows."""
        name, findings = series.name, Findings()
        if series.null_count() == len(series) and self.choices.missing in ("impute", "mean"):
            self._leave_out(
                name, "empty", f"no training row has a value ({len(series):,} rows)", warning=True
            )
            return None
        column = None
        with findings.collecting():
            column = choose(
                series,
                findings,
                self.reading,
                self.shapes.get(name),
                categorical=name in self.choices.categorical,
            )
        # text of numbers or dates may well be different in each row
        if not self._named(name) and (isinstance(column, Categorical) or not is_text(series)):
            found = identifier(series, self.numbers, first=first)
            if found is not None:
                what, why, warning = found
                kept = use("categorical" if is_text(series) else "use", name)
                self._leave_out(name, what, f"{why}; {kept} keeps it", warning=warning)
                return None
        self.fitted.findings.take(findings)
        return column

    def _keep_one(
        self, names: Sequence[str], series: Mapping[str, polars.Series], chosen: dict[str, Column]
    ) -> None:
        """Take numbers that count the rows after all where there is nothing else to predict from."""
        if chosen or self.fitted.findings.problems:
            return
        for name in names:
            if (
                name in self.fitted.left_out
                and series[name].dtype.is_numeric()
                and series[name].null_count() == 0
            ):
                del self.fitted.left_out[name]
                self.fitted.findings.decide(
                    name,
                    "is taken as numbers after all",
                    "no other column is left to predict from",
                    warning=True,
                )
                chosen[name] = Numeric(name)
                return

    # ---- fits

    def _leave_out_read(self, column: Column, cells: Any, whole: Collection[str]) -> bool:
        """Leave a column out that is constant, or has too many categories."""
        name, rows = column.name, len(cells)
        lacking = 0 if name in whole else int(np.count_nonzero(column.gone(cells)))
        most = MOST_CATEGORIES if self.choices.encoding.one_hot_up_to is None else MOST_CODES
        if isinstance(column, Categorical) and cells.n_unique() > most + (lacking > 0):
            count = cells.drop_nulls().n_unique()
            there = f"{count:,} categories in {rows - lacking:,} rows"
            told = f"{there}, and at most {most:,} are taken"
            if self._named(name):
                raise DataError(f"column '{name}' has {told}: leave it out with {use('drop', name)}")
            self._leave_out(name, _MANY, told, warning=True)
            return True
        if self._named(name) or lacking == rows or (lacking and self.choices.missing in ("impute", "error")):
            return False
        constant = _constant(cells, lacking)
        if constant is None:
            return False
        where = "where it is not missing" if lacking else f"in all {rows:,} training rows"
        cells_of_it = self.part[name].rename("")
        if cells_of_it.dtype.is_integer() and cells_of_it.n_unique() > 1 + (lacking > 0):
            why = f"float64 does not tell them apart; {use('categorical', name)} takes them as categories"
            self._leave_out(name, "whole numbers beyond 2**53 that differ in their last digits alone", why)
            return True
        self._leave_out(name, "constant", f"it is {constant} {where}")
        return True

    def _fit_feature(
        self,
        column: Column,
        cells: Any,
        rows: np.ndarray,
        weight: np.ndarray | None,
        known: Statistics | None,
        *,
        whole: bool,
    ) -> None:
        name, findings = column.name, self.fitted.findings
        missing, encoding = self.choices.missing, self.choices.encoding
        lacking = 0 if whole else int(np.count_nonzero(column.gone(cells)))
        if lacking == len(rows):
            self._leave_out(name, "empty", f"no training row has a value ({len(rows):,} rows)", warning=True)
            return
        if isinstance(column, Numeric):
            fitted: Column = column.fit(
                cells, rows, findings, missing=missing, encoding=encoding, known=known, weight=weight
            )
        elif isinstance(column, Categorical):
            fitted = column.fit(cells, rows, findings, missing=missing, encoding=encoding)
        else:
            fitted = column.fit(cells, rows, findings, missing=missing, encoding=encoding, weight=weight)
        if isinstance(fitted, Categorical):
            advise_of_categories(name, fitted.categories, findings)
            self._disguised(fitted)
            self._tell_codes(fitted)
        elif isinstance(fitted, Numeric) and fitted.span is not None:
            advise_of_numbers(name, cells, *fitted.span, findings)
        if lacking and missing in ("impute", "mean"):
            self._tell_missing(fitted, lacking, len(rows))
        self.fitted.columns[name] = fitted

    def _disguised(self, column: Categorical) -> None:
        if column.name in self.shapes and not self._named(column.name):
            advise_of_disguised(self.shapes[column.name], column.categories, self.fitted.findings)

    def _tell_codes(self, column: Categorical) -> None:
        count, most = len(column.categories), self.choices.encoding.one_hot_up_to
        if column.form == "codes":
            self.fitted.findings.decide(
                column.name,
                f"is taken as codes from 1 to {count:,}, and 0 for missing and unknown cells",
                f"more categories than {use('one_hot_up_to', most)}; a network without an embedding takes "
                "them as numbers",
            )

    def _tell_missing(self, column: Column, lacking: int, rows: int) -> None:
        told = f"{lacking:,} of {rows:,} training rows"
        categorical = isinstance(column, Categorical)
        if self.choices.missing == "mean" or (isinstance(column, Categorical) and not column.own_missing):
            what = "takes no category for missing cells" if categorical else "takes the mean"
            self.fitted.findings.decide(column.name, f"has missing cells: {what}", told, cells=lacking)
            return
        if categorical:
            what = "has missing cells, which are a category of their own"
        elif isinstance(column, Numeric):
            what = "has missing cells, which take the training median, with a feature that says so"
            told += f"; the median is {column.fill:.6g}"
        else:
            what = "has missing cells, which take the median date, with a feature that says so"
        self.fitted.findings.decide(column.name, what, told, cells=lacking)

    def _fit_target(self, target: Column, cells: Any, rows: np.ndarray, weight: np.ndarray | None) -> None:
        name, findings = target.name, self.fitted.findings
        if isinstance(target, Numeric):
            if len(cells) == 1:
                raise DataError(f"1 training row: too few to learn '{name}' from; give more rows")
            if np.isfinite(cells).all() and np.all(cells == cells[0]):
                raise DataError(
                    f"target '{name}' is {cells[0]} in all {len(cells)} training rows: nothing to learn"
                )
            numeric = target.fit(cells, rows, findings, missing="error", weight=weight)
            fitted: Column = dataclasses.replace(numeric, clamp=self.choices.clamp)
            if numeric.span is not None:
                advise_of_numbers(name, cells, *numeric.span, findings)
        else:
            fitted = target.fit(cells, rows, findings, missing="error")
            assert isinstance(fitted, Categorical)
            self._check_classes(fitted, cells)
        self.fitted.targets[name] = fitted

    def _check_classes(self, target: Categorical, cells: polars.Series) -> None:
        name, found = target.name, target.categories
        if len(found) == 1:
            raise DataError(
                f"target '{name}' has one class only, {found[0]!r}, in {len(cells)} training rows; two are "
                "needed: add rows of another one, or choose another target"
            )
        if len(found) == len(cells) > _SMALL_TABLE:
            raise DataError(
                f"target '{name}' has a class of its own in each of {len(cells)} rows, nothing to learn "
                f"from; for numbers use {use('task', 'regression')}"
            )
        advise_of_categories(name, found, self.fitted.findings, "classes")
        self._disguised(target)
        single = [label for label, count in counts_of(cells).items() if count == 1]
        if single:
            listed = ", ".join(repr(one) for one in sorted(single, key=str)[:5])
            self.fitted.findings.decide(
                name,
                "has classes of one training row, which can hardly be learned and are not tested",
                f"{listed}{', ...' if len(single) > 5 else ''}; add rows, join classes, or leave the rows "
                "out",
                warning=True,
            )

    def _duplicates(self, targets: Sequence[str]) -> None:
        """Warn of columns that hold the same as another one."""
        fitted = self.fitted
        kinds = {name: column.kind for name, column in (*fitted.targets.items(), *fitted.columns.items())}
        for group in same_columns({name: fitted.cells[name] for name in kinds}, kinds):
            first, others = group[0], group[1:]
            same = f"the target '{first}'" if first in targets else f"'{first}'"
            verb = "holds" if len(others) == 1 else "hold"
            fitted.findings.decide(
                None,
                f"{listed_names(others)} {verb} the same as {same}",
                f"leave out what is not meant with {use('drop', others[0])}",
                warning=True,
            )


def _statistics(cells: Mapping[str, Any], scaling: str, weight: np.ndarray | None) -> dict[str, Statistics]:
    """Return the statistics of the columns of numbers; of all of them at once, as there may be very many."""
    arrays = {
        n: found for n, found in cells.items() if isinstance(found, np.ndarray) and found.dtype.kind == "f"
    }
    blocks = stacks(list(arrays.values()))
    found = (one for _, block in blocks for one in statistics_of(block, scaling, weight))
    return dict(zip(arrays, found, strict=True))


def _constant(cells: Any, lacking: int) -> str | None:
    """Return the one value of cells that are there; None if there are several."""
    if isinstance(cells, np.ndarray):
        present = (
            cells[~(np.isnat(cells) if cells.dtype.kind == "M" else np.isnan(cells))] if lacking else cells
        )
        if present[0] != present[-1] or present.min() != present.max():
            return None
        return f"{present[0]:.15g}" if cells.dtype.kind == "f" else str(present[0])
    if cells.n_unique() > 1 + (lacking > 0):
        return None
    return repr(cells.drop_nulls()[0])


def _feature_names(columns: Sequence[str], targets: Sequence[str], choices: Choices) -> list[str]:
    """Return the columns to predict from; all names have been checked."""
    known = set(columns)
    named = {"categorical": choices.categorical, "drop": choices.drop, "use": choices.use}
    for name in (*targets, *(name for names in named.values() for name in names)):
        if name not in known:
            raise DataError(
                f"the table has no column '{name}'{suggest(name, columns)}{hint_of_names(columns)}"
            )
    for name in targets:
        for setting, names in named.items():
            if name in names:
                helps = f"for classes, use {use('task', 'classification')}"
                if setting != "categorical":
                    helps = "name another target, or leave that out"
                raise DataError(f"'{name}' is a target and cannot be given to {setting}; {helps}")
    for name in choices.drop:
        for setting in ("categorical", "use"):
            if name in named[setting]:
                raise DataError(f"column '{name}' is given to drop and to {setting}: choose one")
    left_out = {*targets, *choices.drop}
    features = [name for name in columns if name not in left_out]
    if not features:
        listed = ", ".join(f"'{name}'" for name in targets)
        them = "the target" if len(targets) == 1 else "the targets"
        raise DataError(f"the table has no column besides {them} {listed} to predict from")
    for name in (*targets, *features):
        if name[:1] == "^" and name[-1:] == "$":
            raise DataError(f"column '{name}' has a name that polars takes for a pattern: rename it")
    return features
