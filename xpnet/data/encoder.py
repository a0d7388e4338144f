"""Tables turned into arrays, the same way at training and at prediction."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet import checks
from xpnet.data.columns import (
    UNSEEN,
    Blocks,
    Categorical,
    Column,
    Encoding,
    Numeric,
    Reading,
    blocks_of,
    column_from_json,
)
from xpnet.data.decisions import Decision
from xpnet.data.findings import Findings
from xpnet.data.fitting import Choices, fit_columns
from xpnet.data.rows import check_columns, choose_rows, encode_ordinary, part_of, read_columns, whole_columns
from xpnet.errors import CheckpointError, ConfigError, DataError, because, suggest
from xpnet.files import write_atomically
from xpnet.schema import ANY, DAMAGE, check, read_json
from xpnet.text import json_visible

if TYPE_CHECKING:
    import polars

__all__ = ["POLICIES", "Encoded", "Encoder"]

POLICIES = ("impute", "error", "drop", "mean")
"""What may become of cells that are missing."""

_OLD = (1, 2)  # formats of one target and of several, of columns as they were then
_FORMAT = 3
_TASKS = ("auto", "classification", "regression")
_UNSEEN = ("error", "ignore")


class _Arrays(NamedTuple):
    X: np.ndarray
    y: np.ndarray | None
    rows: np.ndarray


class Encoded(_Arrays):
    """Arrays made of a table: ``X, y, rows = encoder.encode(...)``.

    Attributes:
        X: features, (rows, features) float64.
        y: class indices, (rows,) int64, or standardized targets, (rows,) float64; of several targets one
            column for each, (rows, targets); None without a target.
        rows: which rows of the table these are, (rows,) int64, counted from 0.
        decisions: what was decided about cells, such as absurd ones.
    """

    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class Encoder:
    """Encoder of tables as arrays, fitted on training rows only.

    Columns of numbers, and booleans as 0 and 1, are standardized with the mean and the population standard
    deviation of the training rows (`Numeric`); text of numbers in some notation, such as ``$1,234.50``, is
    read in it. Dates and times become features of calendar and clock (`Dates`); other columns are categories,
    one-hot (`Categorical`). Other scalings, and codes in place of one-hot features, may be chosen; ``blocks``
    says which feature is what. A classification target becomes the index of its class among the sorted
    classes; a regression target is standardized. Of several targets, which are all of the one kind or all of
    the other, so is each. Columns that are constant or empty, identify the rows, or have too many categories
    are left out. Every choice is one of ``decisions``.

    The policy ``missing`` says what becomes of cells that hold nothing to encode: missing, NaN, or text in a
    column of numbers or dates.

    - "impute": a number takes the median of the training rows, and where training cells were missing, a
      further feature is 1 for missing cells; missing categories are a category of their own where training
      cells were missing, else none (all features 0). Rows whose target is missing are left out.
    - "mean": a number takes the mean of the training rows, a category is none. Rows whose target is missing
      are left out.
    - "drop": rows with such a cell are left out.
    - "error": such a cell is an error.

    Infinite cells count as absurd under "impute" (see `Numeric`), their rows are left out under "drop", and
    they are errors otherwise, and in a target.

    Attributes:
        columns: the fitted columns, in the order of the training table; those of codes are last.
        targets: the fitted target columns, in the order in which they were named.
        missing: the policy.
        decisions: what was decided when it was fitted; not stored with it, and not compared.

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
    targets: tuple[Numeric | Categorical, ...]
    missing: str = "impute"
    decisions: tuple[Decision, ...] = field(default=(), compare=False)

    @classmethod
    def fit(
        cls,
        frame: polars.DataFrame,
        target: str | Sequence[str],
        *,
        rows: Sequence[int] | np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
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
        clamp: bool = False,
    ) -> Encoder:
        """Fit an encoder on the training rows of a table.

        Args:
            frame: the table.
            target: name of the column to be predicted, or names of several.
            rows: the training rows, counted from 0; None takes all. Nothing else of the table is looked at
                but its column names and types.
            sample_weight: weights, above 0, of all rows of the table; they count for means and deviations,
                so that a weight of 2 is as a row that is there twice. None: they are equal.
            task: "classification", "regression", or "auto", which follows `xpnet.data.infer_tasks`.
            missing: "impute", "error", "drop" or "mean", see above.
            categorical: columns to be taken as categories, whatever their type.
            drop: columns to leave out.
            use: columns to take even if they are constant or identify the rows.
            decimal: the decimal mark of numbers in text, "." or ","; None: found out.
            thousands: the mark between thousands of numbers in text; None: found out.
            dayfirst: whether 3/4/2021 is the 3rd of April; None: found out, or an error.
            scaling: of numbers: "standard"; "robust", by median and quartiles, smoothly clipped to (-3, 3)
                (`Robust`), as then one-hot features are, too; "quantile", to a normal distribution
                (`Quantile`).
            one_hot: "plain", or "signed": two categories are one feature, 1 and -1, and missing categories
                are zeros.
            one_hot_up_to: a column of more categories becomes one feature, the code of its category from 1
                on, and 0 for missing and unknown cells; None: all are one-hot.
            clamp: whether decoded predictions of numbers stay within the training targets.

        Raises:
            DataError: columns or cells that cannot be used, or can be read in two ways, or targets of both
                kinds: all that is wrong at once. Cells are named by row, counted from 1.
            ConfigError: an unknown task or policy.
        """
        targets = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))
        _known("task", task, _TASKS)
        _known("missing", missing, POLICIES)
        if not targets:
            raise DataError("which column is to be predicted? expected a target, found none")
        reading = Reading(decimal, thousands, dayfirst)
        encoding = Encoding(scaling, one_hot, one_hot_up_to)
        choices = Choices(
            task, missing, tuple(categorical), tuple(drop), tuple(use), reading, encoding, clamp
        )  # fmt: skip
        fitted = fit_columns(frame, targets, choices, rows, sample_weight)
        fitted.findings.raise_problems()
        found: Any = tuple(fitted.targets.values())
        columns = tuple(sorted(fitted.columns.values(), key=_is_codes))
        return cls(columns, found, missing, fitted.findings.decisions)

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
            unseen: "error", or "ignore", which takes categories that no training row has for none: their
                features are all 0. An unseen class is an error all the same.

        Returns:
            The arrays, with the rows of ``frame`` that they came from: under "drop" not all; under "impute"
            and "mean" all but those whose target is missing, where there is one.

        Raises:
            DataError: columns are missing; a cell cannot be used; a category or class was not among the
                training rows: all that is wrong at once.
        """
        missing = self.missing if missing is None else missing
        _known("missing", missing, POLICIES)
        _known("unseen", unseen, _UNSEEN)
        if target is None:
            target = all(name in frame.columns for name in self.target_names)
        findings = Findings()
        cells, numbers = self._cells(frame, rows, findings, missing, self.columns, target=target)
        X = np.empty((len(numbers), self.n_features))
        done = encode_ordinary(self.columns, cells, X)
        stop = 0
        for column in self.columns:
            start, stop = stop, stop + len(column.feature_names)
            if column.name in cells and column.name not in done:
                with findings.collecting():
                    found = cells[column.name]
                    block = column.encode(found, numbers, findings, missing=missing, unseen=unseen)
                    X[:, start:stop] = block.reshape(len(numbers), stop - start)
        y = self._encode_targets(cells, numbers, findings) if target else None
        findings.raise_problems()
        encoded = Encoded(X, y, numbers)
        encoded.decisions = findings.decisions
        return encoded

    def _cells(
        self,
        frame: polars.DataFrame,
        rows: Sequence[int] | np.ndarray | None,
        findings: Findings,
        missing: str,
        features: Sequence[Column],
        *,
        target: bool,
    ) -> tuple[dict[str, Any], np.ndarray]:
        columns = {c.name: c for c in ((*features, *self.targets) if target else features)}
        check_columns(list(columns), frame.columns)
        part, numbers = part_of(frame, rows)
        cells = read_columns(part, numbers, columns, findings)
        targets, whole = self.target_names if target else (), whole_columns(columns, cells)
        return choose_rows(part, numbers, columns, cells, missing, targets, findings, whole)

    def _encode_targets(
        self, cells: Mapping[str, Any], numbers: np.ndarray, findings: Findings
    ) -> np.ndarray | None:
        y = []
        for column in self.targets:
            if column.name not in cells:  # it is a problem already
                continue
            with findings.collecting():
                if isinstance(column, Categorical):
                    y.append(column.known_codes(cells[column.name], numbers))
                else:
                    y.append(column.encode(cells[column.name], numbers, findings))
        if len(y) < len(self.targets):
            return None
        return y[0] if len(y) == 1 else np.stack(y, axis=1)

    def values(self, frame: polars.DataFrame) -> np.ndarray:
        """Return numeric targets as they are in a table, NaN where they are missing; exact to the last bit.

        Returns:
            (rows,) float64, or of several targets (rows, targets). Decoding encoded ones would lose the last
            bit.
        """
        rows = np.arange(frame.height)
        columns: list[Any] = [target.read(frame[target.name], rows) for target in self.targets]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def clamped(self, values: np.ndarray) -> np.ndarray:
        """Return values of numeric targets, (rows,) or (rows, targets), within those of the training.

        As they are where the encoder was not fitted with ``clamp``.
        """
        targets: Any = self.targets
        pairs = zip(targets, values.reshape(len(values), len(targets)).T, strict=True)
        return np.stack([target.clamped(x) for target, x in pairs], axis=1).reshape(values.shape)

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
        findings = Findings()
        categorical = [column for column in self.columns if isinstance(column, Categorical)]
        looked_at = self.columns if self.missing == "drop" else categorical
        cells, numbers = self._cells(frame, rows, findings, self.missing, looked_at, target=True)
        findings.raise_problems()
        first: set[int] = set()
        for column in categorical:
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
        """Names of the columns of X: a column's own for numbers and codes, else "column=category"."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def n_features(self) -> int:
        """Number of columns of X."""
        return len(self.feature_names)

    @property
    def blocks(self) -> Blocks:
        """Which columns of X are numbers, one-hot features and codes, and how many codes there are.

        Example:
            >>> import polars
            >>> frame = polars.DataFrame({"zip": ["a", "b", "c"], "size": [1.0, 3.0, 2.0], "y": [1, 0, 1]})
            >>> encoder = Encoder.fit(frame, "y", one_hot_up_to=2, categorical=["zip"])
            >>> encoder.feature_names, encoder.blocks.codes, encoder.blocks.cardinalities
            (('size', 'zip'), (1,), (4,))
        """
        return blocks_of(self.columns)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are to be read as text, for ``read_table(path, text=...)``.

        Those of text categories and classes: a file all of whose codes happen to be digits would be read as
        numbers. Those of dates, and of numbers with marks, whose reading the encoder knows.
        """
        return tuple(column.name for column in (*self.columns, *self.targets) if column.from_text)

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
            of the target, clamped if the encoder was so fitted.

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
        """Return the encoder as JSON values; `from_json` gives back an equal one, exact to the last bit.

        An encoder that was read from an older format is described in it again.
        """
        targets = [column.to_json() for column in self.targets]
        columns = [column.to_json() for column in self.columns]
        if self.missing == "impute" or not all(c.is_old for c in (*self.columns, *self.targets)):
            return {"format": _FORMAT, "missing": self.missing, "targets": targets, "columns": columns}
        return {
            "format": 1 if len(targets) == 1 else 2,
            "missing": self.missing,
            **({"target": targets[0]} if len(targets) == 1 else {"targets": targets}),
            "columns": columns,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_json` described.

        Raises:
            CheckpointError: the format is unknown (a newer version wrote it), or the description is damaged.
        """
        version = data.get("format") if isinstance(data, Mapping) else None
        if version not in (*_OLD, _FORMAT) or isinstance(version, bool):
            raise CheckpointError(
                f"the encoder's format is {version!r}; this version reads formats up to {_FORMAT}: "
                "update xpnet, or train again"
            )
        new = version == _FORMAT
        policies = POLICIES if new else tuple(policy for policy in POLICIES if policy != "impute")
        try:
            several = {"target": ANY} if version == 1 else {"targets": [ANY]}
            check(data, {"format": ANY, "missing": checks.one_of(*policies), "columns": [ANY], **several})
            described = [data["target"]] if version == 1 else data["targets"]
            places = {"columns": data["columns"], "targets": described}
            made: dict[str, Any] = {
                key: tuple(
                    column_from_json(column, f"{key[:-1]} {number}", new=new)
                    for number, column in enumerate(listed, 1)
                )
                for key, listed in places.items()
            }
            encoder = cls(made["columns"], made["targets"], data["missing"])
        except DAMAGE as error:
            raise CheckpointError(f"the encoder's description is damaged: {error}") from None
        names = [column.name for column in (*encoder.columns, *encoder.targets)]
        if not encoder.columns or len(set(names)) < len(names):
            raise CheckpointError(
                f"the encoder's description needs columns of different names; found {names}"
            )
        if list(encoder.columns) != sorted(encoder.columns, key=_is_codes):
            raise CheckpointError("the encoder's description needs columns of codes behind all others")
        if {column.kind for column in encoder.targets} not in ({"numeric"}, {"categorical"}):
            raise CheckpointError("the encoder's description needs targets of one kind, classes or numbers")
        return encoder

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoder to a JSON file, all of it or nothing.

        Raises:
            CheckpointError: it cannot be written; what was there before is whole then.
        """
        content = (
            json_visible(json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
        )
        try:
            write_atomically(path, content)
        except OSError as error:
            raise CheckpointError(f"'{os.fspath(path)}' cannot be written: {because(error)}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Encoder:
        """Return the encoder that `save` wrote, or that a run folder has in ``encoder.json``.

        Raises:
            CheckpointError: the file cannot be read, is damaged, or was written by a newer version.
        """
        return cls.from_json(read_json(path, {...: ANY}))


def _is_codes(column: Column) -> bool:
    return isinstance(column, Categorical) and column.form == "codes"


def _known(setting: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{setting} cannot be {value!r}{suggest(value, choices)}")
