"""Tables turned into arrays, the same way at training and at prediction."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet import checks
from xpnet.data.columns import SMALL_TABLE, UNSEEN, Categorical, Numeric, column_from_json, kind_of
from xpnet.data.tasks import infer_tasks
from xpnet.errors import CheckpointError, ConfigError, DataError, suggest
from xpnet.schema import ANY, DAMAGE, NUMBER, TEXT, check

if TYPE_CHECKING:
    import polars

__all__ = ["Encoded", "Encoder"]

_FORMATS = (1, 2)  # of one target, of several
_TASKS = ("auto", "classification", "regression")
_POLICIES = ("error", "drop", "mean")
_UNSEEN = ("error", "ignore")
_MOST_LISTED, _MOST_NEAR = 20, 1000  # columns that are missing, and others whose names may be meant
_COLUMNS = {
    Categorical.kind: {
        "kind": TEXT,
        "name": TEXT,
        "cells": TEXT,
        "categories": [(TEXT, NUMBER, checks.flag)],
    },
    Numeric.kind: {"kind": TEXT, "name": TEXT, "mean": NUMBER, "std": NUMBER},
}

Column = Numeric | Categorical


class Encoded(NamedTuple):
    """Arrays made of a table.

    Attributes:
        X: features, (rows, features) float64.
        y: class indices, (rows,) int64, or standardized targets, (rows,) float64; of several targets one
            column for each, (rows, targets); None without a target.
        rows: which rows of the table these are, (rows,) int64, counted from 0.
    """

    X: np.ndarray
    y: np.ndarray | None
    rows: np.ndarray


@dataclass(frozen=True)
class Encoder:
    """Encoder of tables as arrays, fitted on training rows only.

    Numeric columns, and booleans as 0 and 1, are standardized with the mean and the population standard
    deviation of the training rows (`Numeric`); categorical columns are one-hot (`Categorical`). A
    classification target becomes the index of its class among the sorted classes; a regression target is
    standardized. Of several targets, which are all of the one kind or all of the other, so is each.

    The policy ``missing`` says what becomes of cells that hold nothing to encode: missing, NaN, or text in a
    numeric column.

    - "error": such a cell is an error.
    - "drop": its row is left out; so is a row with an infinite cell.
    - "mean": a numeric cell takes the mean of the training rows; a categorical one belongs to no category
      (its features are all 0). Infinite cells and missing targets are errors.

    Attributes:
        columns: the fitted columns, in the order of the training table.
        targets: the fitted target columns, in the order in which they were named.
        missing: the policy.

    Example:
        >>> import polars
        >>> frame = polars.DataFrame({"size": [1.0, 3.0], "colour": ["red", "blue"], "kind": ["a", "b"]})
        >>> encoder = Encoder.fit(frame, "kind")
        >>> encoder.feature_names, encoder.classes
        (('size', 'colour=blue', 'colour=red'), ('a', 'b'))
        >>> encoder.encode(frame).X.tolist()
        [[-1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """

    columns: tuple[Column, ...]
    targets: tuple[Column, ...]
    missing: str = "error"

    @classmethod
    def fit(
        cls,
        frame: polars.DataFrame,
        target: str | Sequence[str],
        *,
        rows: Sequence[int] | np.ndarray | None = None,
        task: str = "auto",
        missing: str = "error",
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> Encoder:
        """Fit an encoder on the training rows of a table.

        Args:
            frame: the table.
            target: name of the column to be predicted, or names of several.
            rows: the training rows, counted from 0; None takes all. Nothing else of the table is looked at
                but its column names and types.
            task: "classification", "regression", or "auto", which follows `xpnet.data.infer_tasks`.
            missing: "error", "drop" or "mean", see above.
            categorical: columns to be taken as categories, whatever their type.
            drop: columns to leave out.

        Raises:
            DataError: a column or cell that cannot be used, or targets of both kinds; cells are named by row,
                counted from 1.
            ConfigError: an unknown task or policy.
        """
        targets = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))
        _known("task", task, _TASKS)
        _known("missing", missing, _POLICIES)
        names = _feature_columns(frame.columns, targets, categorical, drop)
        part, numbers = _part(frame, rows)
        if part.height == 0:
            raise DataError("there are no training rows")
        if task == "auto":
            task = infer_tasks(part, targets)
        kinds = {name: kind_of(part[name], categorical=name in categorical) for name in names}
        for name in targets:
            kinds[name] = kind_of(part[name], categorical=True) if task == "classification" else "number"
        readers: dict[str, Any] = {n: Numeric if k == "number" else Categorical for n, k in kinds.items()}
        kept, numbers = _read(part, numbers, readers, missing, targets)
        if not len(numbers):
            raise DataError(
                f"each of the {part.height} training rows has a bad cell: none is left to train on"
            )
        columns = tuple(_fit_column(name, kinds[name], kept[name]) for name in names)
        return cls(columns, tuple(_fit_target(name, kinds[name], kept[name]) for name in targets), missing)

    def encode(
        self,
        frame: polars.DataFrame,
        *,
        rows: Sequence[int] | np.ndarray | None = None,
        target: bool | None = None,
        missing: str | None = None,
        unseen: str = "error",
    ) -> Encoded:
        """Return the arrays of a table, its columns found by name: in any order, with others among them.

        Args:
            frame: the table.
            rows: rows to encode, counted from 0; None takes all.
            target: True needs the target columns, False ignores them, None takes them if all are there.
            missing: policy for this table; None takes the encoder's own.
            unseen: "error", or "ignore", which takes categories that no training row has for missing under
                the policy "mean": their features are all 0. An unseen class is an error all the same.

        Returns:
            The arrays, with the rows of ``frame`` that they came from (under "drop" not all).

        Raises:
            DataError: columns are missing; a cell cannot be used; a category or class was not among the
                training rows.
        """
        missing = self.missing if missing is None else missing
        _known("missing", missing, _POLICIES)
        _known("unseen", unseen, _UNSEEN)
        if target is None:
            target = all(name in frame.columns for name in self.target_names)
        columns = (*self.columns, *self.targets) if target else self.columns
        readers = {column.name: column for column in columns}
        _check_columns(list(readers), frame.columns)
        part, numbers = _part(frame, rows)
        cells, numbers = _read(part, numbers, readers, missing, self.target_names)
        X = np.empty((len(numbers), self.n_features))
        start = 0
        for column in self.columns:
            stop = start + len(column.feature_names)
            block = column.encode(cells[column.name], numbers, unseen=unseen)
            X[:, start:stop] = block.reshape(len(numbers), stop - start)
            start = stop
        return Encoded(X, self._encode_targets(cells, numbers) if target else None, numbers)

    def _encode_targets(self, cells: Mapping[str, Any], numbers: np.ndarray) -> np.ndarray:
        y = []
        for column in self.targets:
            encode = column.known_codes if isinstance(column, Categorical) else column.encode
            y.append(encode(cells[column.name], numbers))
        return y[0] if len(y) == 1 else np.stack(y, axis=1)

    def unseen(self, frame: polars.DataFrame, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Return which rows hold a category that no training row has.

        Args:
            frame: the table.
            rows: rows to look at, counted from 0; None takes all. Rows that the encoder's own policy
                ``missing`` leaves out are passed over.

        Returns:
            For each unseen category the first row that holds it, counted from 0, ascending, int64.

        Raises:
            DataError: columns are missing, or a cell cannot be used.

        Example:
            >>> import polars
            >>> frame = polars.DataFrame({"colour": ["red", "blue", "pink"], "y": [0.5, 1.5, 2.5]})
            >>> Encoder.fit(frame, "y", rows=[0, 1]).unseen(frame).tolist()
            [2]
        """
        readers = {column.name: column for column in (*self.columns, *self.targets)}
        _check_columns(list(readers), frame.columns)
        part, numbers = _part(frame, rows)
        cells, numbers = _read(part, numbers, readers, self.missing, self.target_names)
        first: set[int] = set()
        for column in self.columns:
            if isinstance(column, Categorical):
                new = np.flatnonzero(column.codes(cells[column.name]) == UNSEEN)
                firsts = cells[column.name].gather(new).is_first_distinct().to_numpy()
                first.update(numbers[new[firsts]].tolist())
        return np.asarray(sorted(first), dtype=np.int64)

    @property
    def task(self) -> str:
        """The task of the targets: "classification" or "regression"."""
        return "classification" if isinstance(self.targets[0], Categorical) else "regression"

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the target columns."""
        return tuple(column.name for column in self.targets)

    @property
    def target_classes(self) -> tuple[tuple[Any, ...], ...]:
        """For each target its classes, sorted, as str, int, float or bool; none for regression."""
        return tuple(c.categories if isinstance(c, Categorical) else () for c in self.targets)

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes of the one target, see `target_classes`; none for regression."""
        if len(self.targets) > 1:
            raise ConfigError(f"classes: expected one target, found {len(self.targets)}; use target_classes")
        return self.target_classes[0]

    @property
    def n_classes(self) -> int:
        """Number of classes, of several targets the largest; 0 for regression."""
        return max(map(len, self.target_classes))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of X: a numeric column's own, "column=category" for categorical ones."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return len(self.feature_names)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns whose categories or classes are text, for ``read_table(path, text=...)``.

        Without it a file all of whose codes happen to be digits, such as "007", would be read as numbers.
        """
        columns = (*self.columns, *self.targets)
        return tuple(c.name for c in columns if isinstance(c, Categorical) and c.cells == "str")

    def decode_predictions(self, predictions: Any) -> np.ndarray:
        """Return predictions of the one target, as `decode_targets` does."""
        if len(self.targets) > 1:
            raise ConfigError(
                f"decode_predictions: expected one target, found {len(self.targets)}; use decode_targets"
            )
        return self.decode_targets(predictions)[self.target_names[0]]

    def decode_targets(self, predictions: Any) -> dict[str, np.ndarray]:
        """Return predictions in the terms of the target columns.

        Args:
            predictions: class indices or standardized values, (rows,) or (rows, targets).

        Returns:
            By the name of each target: the classes, in their own type; or the values, float64, on the scale
            of the target.

        Raises:
            DataError: a class index is out of range, or there is not one column for each target.
        """
        predictions = np.asarray(predictions)
        columns = predictions.reshape(len(predictions), -1)
        if columns.shape[1] != len(self.targets) and predictions.size:
            raise DataError(
                f"predictions have shape {predictions.shape}; expected one column for each of the "
                f"{len(self.targets)} targets"
            )
        return {target.name: target.decode(columns[:, index]) for index, target in enumerate(self.targets)}

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON values; `from_json` gives back an equal one, exact to the last bit."""
        targets = [column.to_json() for column in self.targets]
        return {
            "format": 1 if len(targets) == 1 else 2,
            "missing": self.missing,
            **({"target": targets[0]} if len(targets) == 1 else {"targets": targets}),
            "columns": [column.to_json() for column in self.columns],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` described.

        Raises:
            CheckpointError: the format is unknown (a newer version wrote it), or the description is damaged.
        """
        version = data.get("format") if isinstance(data, Mapping) else None
        if version not in _FORMATS or isinstance(version, bool):
            raise CheckpointError(
                f"the encoder's format is {version!r}; this version reads formats up to {_FORMATS[-1]}: "
                "update xpnet, or train again"
            )
        try:
            several = {"targets": [ANY]} if version == 2 else {"target": ANY}
            check(data, {"format": ANY, "missing": checks.one_of(*_POLICIES), "columns": [ANY], **several})
            described = data["targets"] if version == 2 else [data["target"]]
            for number, column in enumerate([*data["columns"], *described]):
                check(column, {"kind": checks.one_of(*_COLUMNS), ...: ANY}, f"column {number + 1}")
                check(column, _COLUMNS[column["kind"]], f"column {number + 1}")
            columns = tuple(map(column_from_json, data["columns"]))
            targets = tuple(map(column_from_json, described))
            encoder = cls(columns, targets, data["missing"])
        except DAMAGE as error:
            raise CheckpointError(f"the encoder's description is damaged: {error}") from None
        names = [column.name for column in (*columns, *targets)]
        if not columns or len(set(names)) < len(names):
            raise CheckpointError(
                f"the encoder's description needs columns of different names; found {names}"
            )
        if len({column.kind for column in targets}) != 1:
            raise CheckpointError("the encoder's description needs targets of one kind, classes or numbers")
        return encoder


def _known(setting: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{setting} cannot be {value!r}{suggest(value, choices)}")


def _feature_columns(
    columns: Sequence[str], targets: Sequence[str], categorical: Sequence[str], drop: Sequence[str]
) -> list[str]:
    """Return the columns to predict from; all names have been checked."""
    if not targets:
        raise DataError("which column is to be predicted? expected a target, found none")
    known = set(columns)
    for name in (*targets, *categorical, *drop):
        if name not in known:
            raise DataError(f"the table has no column '{name}'{suggest(name, columns)}")
    left_out = {*targets, *drop}
    features = [name for name in columns if name not in left_out]
    if not features:
        listed = ", ".join(f"'{name}'" for name in targets)
        them = "the target" if len(targets) == 1 else "the targets"
        raise DataError(f"the table has no column besides {them} {listed} to predict from")
    for name in targets:
        if name in drop or name in categorical:
            option = "drop" if name in drop else "categorical"
            raise DataError(
                f"'{name}' is a target and cannot be given to --{option}; for classes, use --task"
            )
    return features


def _part(
    frame: polars.DataFrame, rows: Sequence[int] | np.ndarray | None
) -> tuple[polars.DataFrame, np.ndarray]:
    """Return the chosen rows of a table, and their numbers in it, counted from 0."""
    if rows is None:
        return frame, np.arange(frame.height)
    numbers = np.asarray(rows, dtype=np.int64)
    return frame[numbers], numbers


def _read(
    part: polars.DataFrame,
    numbers: np.ndarray,
    readers: Mapping[str, Any],
    missing: str,
    targets: Collection[str],
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the cells of each column, and the numbers of the rows that the policy ``missing`` keeps."""
    cells = {name: reader.read(part[name], numbers) for name, reader in readers.items()}
    if missing != "drop":
        for name, reader in readers.items():
            reader.complain(part[name], cells[name], missing, numbers, target=name in targets)
        return cells, numbers
    keep = np.ones(part.height, dtype=bool)
    for name, reader in readers.items():
        keep &= ~reader.bad(cells[name])
    kept = {
        name: column[keep] if isinstance(column, np.ndarray) else column.filter(keep)
        for name, column in cells.items()
    }
    return kept, numbers[keep]


def _fit_column(name: str, kind: str, cells: Any) -> Column:
    if kind == "number":
        return Numeric.fit(name, cells)
    column = Categorical.fit(name, cells, kind)
    column.check_feature(cells)
    return column


def _fit_target(name: str, kind: str, cells: Any) -> Column:
    if kind == "number":
        column = Numeric.fit(name, cells)
        if np.all(cells == cells[0]):
            raise DataError(
                f"target '{name}' is {cells[0]} in all {len(cells)} training rows: nothing to learn"
            )
        return column
    classes = Categorical.fit(name, cells, kind)
    found = classes.categories
    if len(found) == 1:
        raise DataError(
            f"target '{name}' has one class only, {found[0]!r}, in {len(cells)} training rows; two are needed"
        )
    if len(found) == len(cells) > SMALL_TABLE:
        raise DataError(
            f"target '{name}' has a class of its own in each of {len(cells)} rows, nothing to learn from; "
            "for numbers use --task regression"
        )
    return classes


def _check_columns(needed: Sequence[str], found: Sequence[str]) -> None:
    there, wanted = set(found), set(needed)  # of perhaps 100,000 columns
    lacking = [name for name in needed if name not in there]
    if not lacking:
        return
    others = [name for name in found if name not in wanted][:_MOST_NEAR]
    listed = []
    for name in lacking[:_MOST_LISTED]:
        near = difflib.get_close_matches(name, others, n=1)
        listed.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    raise DataError(
        f"the table lacks {len(lacking)} of the {len(needed)} columns that the model was trained on: "
        f"{', '.join(listed)}{', ...' if len(lacking) > len(listed) else ''}; rename or add them"
    )
