"""Tables turned into arrays, the same way at training and at prediction."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet.data.columns import SMALL_TABLE, UNSEEN, Categorical, Numeric, column_from_json, kind_of
from xpnet.data.tasks import infer_task
from xpnet.errors import CheckpointError, ConfigError, DataError, suggest

if TYPE_CHECKING:
    import polars

__all__ = ["Encoded", "Encoder"]

_FORMAT = 1
_TASKS = ("auto", "classification", "regression")
_POLICIES = ("error", "drop", "mean")
_UNSEEN = ("error", "ignore")

Column = Numeric | Categorical


class Encoded(NamedTuple):
    """Arrays made of a table.

    Attributes:
        X: features, (rows, features) float64.
        y: class indices, (rows,) int64, or standardized targets, (rows,) float64; None without a target.
        rows: which rows of the table these are, (rows,) int64, counted from 0.
    """

    X: np.ndarray
    y: np.ndarray | None
    rows: np.ndarray


@dataclass(frozen=True)
class Encoder:
    """How a table becomes arrays, fitted on training rows only.

    Numeric columns, and booleans as 0 and 1, are standardized with the mean and the population standard
    deviation of the training rows (`Numeric`); categorical columns are one-hot (`Categorical`). A
    classification target becomes the index of its class among the sorted classes; a regression target is
    standardized.

    The policy ``missing`` says what becomes of cells that hold nothing to encode: missing, NaN, or text in a
    numeric column.

    - "error": such a cell is an error.
    - "drop": its row is left out; so is a row with an infinite cell.
    - "mean": a numeric cell takes the mean of the training rows; a categorical one belongs to no category
      (its features are all 0). Infinite cells and missing targets are errors.

    Attributes:
        columns: the fitted columns, in the order of the training table.
        target: the fitted target column.
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
    target: Column
    missing: str = "error"

    @classmethod
    def fit(
        cls,
        frame: polars.DataFrame,
        target: str,
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
            target: name of the column to be predicted.
            rows: the training rows, counted from 0; None takes all. Nothing else of the table is looked at
                but its column names and types.
            task: "classification", "regression", or "auto", which follows `xpnet.data.infer_task`.
            missing: "error", "drop" or "mean", see above.
            categorical: columns to be taken as categories, whatever their type.
            drop: columns to leave out.

        Raises:
            DataError: a column or cell that cannot be used; cells are named by row, counted from 1.
            ConfigError: an unknown task or policy.
        """
        _known("task", task, _TASKS)
        _known("missing", missing, _POLICIES)
        for name in (target, *categorical, *drop):
            if name not in frame.columns:
                raise DataError(f"the table has no column '{name}'{suggest(name, frame.columns)}")
        names = [name for name in frame.columns if name != target and name not in drop]
        if not names:
            raise DataError(f"the table has no column besides the target '{target}' to predict it from")
        if target in drop or target in categorical:
            option = "drop" if target in drop else "categorical"
            raise DataError(
                f"'{target}' is the target and cannot be given to --{option}; for classes, use --task"
            )
        part, numbers = _part(frame, rows)
        if part.height == 0:
            raise DataError("there are no training rows")
        if task == "auto":
            task = infer_task(part[target])
        kinds = {name: kind_of(part[name], categorical=name in categorical) for name in names}
        kinds[target] = kind_of(part[target], categorical=True) if task == "classification" else "number"
        readers: dict[str, Any] = {n: Numeric if k == "number" else Categorical for n, k in kinds.items()}
        kept, numbers = _read(part, numbers, readers, missing, target)
        if not len(numbers):
            raise DataError(
                f"each of the {part.height} training rows has a bad cell: none is left to train on"
            )
        columns = tuple(_fit_column(name, kinds[name], kept[name]) for name in names)
        return cls(columns, _fit_target(target, kinds[target], kept[target]), missing)

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
            target: True needs the target column, False ignores it, None takes it if it is there.
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
            target = self.target.name in frame.columns
        columns = (*self.columns, self.target) if target else self.columns
        readers = {column.name: column for column in columns}
        _check_columns(list(readers), frame.columns)
        part, numbers = _part(frame, rows)
        cells, numbers = _read(part, numbers, readers, missing, self.target.name)
        X = np.empty((len(numbers), self.n_features))
        start = 0
        for column in self.columns:
            stop = start + len(column.feature_names)
            block = column.encode(cells[column.name], numbers, unseen=unseen)
            X[:, start:stop] = block.reshape(len(numbers), stop - start)
            start = stop
        y = None
        if target:
            encode = self.target.known_codes if isinstance(self.target, Categorical) else self.target.encode
            y = encode(cells[self.target.name], numbers)
        return Encoded(X, y, numbers)

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
        readers = {column.name: column for column in (*self.columns, self.target)}
        _check_columns(list(readers), frame.columns)
        part, numbers = _part(frame, rows)
        cells, numbers = _read(part, numbers, readers, self.missing, self.target.name)
        first: set[int] = set()
        for column in self.columns:
            if isinstance(column, Categorical):
                new = np.flatnonzero(column.codes(cells[column.name]) == UNSEEN)
                firsts = cells[column.name].gather(new).is_first_distinct().to_numpy()
                first.update(numbers[new[firsts]].tolist())
        return np.asarray(sorted(first), dtype=np.int64)

    @property
    def task(self) -> str:
        """What the target asks for: "classification" or "regression"."""
        return "classification" if isinstance(self.target, Categorical) else "regression"

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes, sorted, as str, int, float or bool; none for regression."""
        return self.target.categories if isinstance(self.target, Categorical) else ()

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes)

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
        columns = (*self.columns, self.target)
        return tuple(c.name for c in columns if isinstance(c, Categorical) and c.cells == "str")

    def decode_predictions(self, predictions: Any) -> np.ndarray:
        """Return predictions in the terms of the target column.

        Args:
            predictions: class indices (rows,), or standardized values (rows,) or (rows, 1).

        Returns:
            The classes, in their own type; or the values, float64, on the scale of the target.

        Raises:
            DataError: a class index is out of range.
        """
        predictions = np.asarray(predictions)
        if predictions.ndim == 2 and predictions.shape[1] == 1:
            predictions = predictions[:, 0]
        if isinstance(self.target, Numeric):
            return predictions.astype(np.float64) * self.target.std + self.target.mean
        if predictions.size and not (predictions.min() >= 0 and predictions.max() < self.n_classes):
            raise DataError(f"a class index is out of range: expected 0 to {self.n_classes - 1}")
        return _class_array(self.classes)[predictions.astype(np.int64)]

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON values; `from_json` gives back an equal one, exact to the last bit."""
        return {
            "format": _FORMAT,
            "missing": self.missing,
            "target": self.target.to_json(),
            "columns": [column.to_json() for column in self.columns],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` described.

        Raises:
            CheckpointError: the format is unknown (a newer version wrote it), or the description is damaged.
        """
        version = data.get("format") if isinstance(data, Mapping) else None
        if version != _FORMAT or isinstance(version, bool):
            raise CheckpointError(
                f"the encoder's format is {version!r}; this version reads format {_FORMAT}: "
                "update xpnet, or train again"
            )
        try:
            _known("missing", data["missing"], _POLICIES)
            columns = tuple(column_from_json(column) for column in data["columns"])
            encoder = cls(columns, column_from_json(data["target"]), data["missing"])
        except KeyError as error:
            raise CheckpointError(f"the encoder's description lacks {error}; was the file changed?") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"the encoder's description is damaged: {error}") from None
        names = [column.name for column in (*columns, encoder.target)]
        if not columns or len(set(names)) < len(names):
            raise CheckpointError(
                f"the encoder's description needs columns of different names; found {names}"
            )
        return encoder


def _known(setting: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{setting} cannot be {value!r}{suggest(value, choices)}")


def _part(
    frame: polars.DataFrame, rows: Sequence[int] | np.ndarray | None
) -> tuple[polars.DataFrame, np.ndarray]:
    """Return the chosen rows of a table, and their numbers in it, counted from 0."""
    if rows is None:
        return frame, np.arange(frame.height)
    numbers = np.asarray(rows, dtype=np.int64)
    return frame[numbers], numbers


def _read(
    part: polars.DataFrame, numbers: np.ndarray, readers: Mapping[str, Any], missing: str, target: str
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the cells of each column, and the numbers of the rows that the policy ``missing`` keeps."""
    cells = {name: reader.read(part[name], numbers) for name, reader in readers.items()}
    if missing != "drop":
        for name, reader in readers.items():
            reader.complain(part[name], cells[name], missing, numbers, target=name == target)
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
    lacking = [name for name in needed if name not in found]
    if not lacking:
        return
    others = [name for name in found if name not in needed]
    listed = []
    for name in lacking:
        near = difflib.get_close_matches(name, others, n=1)
        listed.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    raise DataError(
        f"the table lacks {len(lacking)} of the {len(needed)} columns that the model was trained on: "
        f"{', '.join(listed)}; rename or add them"
    )


def _class_array(classes: Sequence[Any]) -> np.ndarray:
    """Return classes as an array of their own type; whole numbers beyond 64 bits stay Python's."""
    if isinstance(classes[0], int) and not isinstance(classes[0], bool):
        low, high = min(classes), max(classes)
        if low < -(2**63) or high >= 2**63:
            return np.array(classes, dtype=np.uint64 if low >= 0 and high < 2**64 else object)
    return np.array(classes)
