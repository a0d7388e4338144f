"""Estimators of scikit-learn for tables as they are: `TabularClassifier` and `TabularRegressor`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from xpnet.tabular import PRESETS, TableModel
from xpnet.tabular.frames import to_frame
from xpnet.train.targets import gives_probabilities

__all__ = ["TabularClassifier", "TabularRegressor"]

_FEWEST, _MANY = 20, 50
"""Rows that differ, or rows of any kind, from which on some are set aside, unless their share is given."""

_FEW_STEPS = 100
"""Steps with fewer rows, each of which takes all of them."""


class _TabularEstimator(BaseEstimator):
    """What both have in common: a `xpnet.tabular.TableModel` behind the contract of scikit-learn."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "preset": [StrOptions(set(PRESETS))],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), None],
        "device": [str],
        "random_state": ["random_state"],
        "settings": [dict, None],
    }
    model_: TableModel

    def __init__(
        self,
        *,
        preset: str = "auto",
        time_limit: float | None = None,
        validation_fraction: float | None = None,
        device: str = "auto",
        random_state: Any = None,
        settings: Mapping[str, Any] | None = None,
    ):
        self.preset = preset
        self.time_limit = time_limit
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.settings = settings

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    def _fit(self, frame: Any, targets: Mapping[str, np.ndarray], weight: Any, task: str) -> None:
        """Train a model of a table with its targets (n,) by name."""
        while set(targets) & set(frame.columns):
            targets = {f"{name}_": values for name, values in targets.items()}
        table = to_frame({**{name: frame[name] for name in frame.columns}, **targets})
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        preset, set_aside = self._recipe(table)
        given = {
            "backend": self.device, "task": task, "test": 0.0, "seed": seed, **set_aside,
            "dtype": "float64",  # rounded in float32, predictions for a row depend on the rows beside it
            **(self.settings or {}),
        }  # fmt: skip
        model = TableModel(preset, self.time_limit, **given)
        self.model_ = model.fit(table, target=list(targets), sample_weight=weight, progress=False)
        self.n_iter_ = len(self.model_.trainer.history)

    def _recipe(self, table: Any) -> tuple[str, dict[str, Any]]:
        """Return the preset, and the settings of the rows that are set aside.

        With few rows none are, and each step takes all of them: nothing is drawn but first weights, so that a
        row of weight 2 is as one that is there twice.
        """
        if self.validation_fraction is not None:
            return self.preset, {"validation": self.validation_fraction}
        given = self.settings or {}
        few = table.height < _MANY and len({repr(row) for row in table.iter_rows()}) < _FEWEST
        if not few or self.preset == "best" or "validation" in given:
            return self.preset, {}
        epochs = {} if {"epochs", "max_steps"} & given.keys() else {"epochs": _FEW_STEPS}
        return "fast", {"validation": 0.0, "batch_size": "full", **epochs}

    def _table(self, X: Any) -> Any:
        check_is_fitted(self)
        return _features(self, X, reset=False)

    def _predicted(self, X: Any) -> np.ndarray:
        """Return the predictions of the model of the table."""
        table = self._table(X)
        found: np.ndarray = self.model_.predict(table, unseen="ignore").to_numpy()
        return found


def _gives_probabilities(estimator: Any) -> bool:
    return not hasattr(estimator, "model_") or gives_probabilities(estimator.model_.trainer.loss)


class TabularClassifier(ClassifierMixin, _TabularEstimator):
    """Predicts classes from tables with numbers, categories, dates and missing cells.

    The columns are read as `xpnet.tabular.TableModel` reads them: nothing has to be scaled, encoded or
    imputed before. "fast" ends when the loss of rows that were set aside has stopped falling.

    Args:
        preset: "auto", "fast" or "best", see `xpnet.tabular.TableModel`.
        time_limit: seconds within which ``fit`` ends, with the best weights so far; None: none of its own.
        validation_fraction: share of the rows that tells when to stop; None: that of the preset, 0.1, or
            with "best" folds.
            Of fewer than 50 rows of which fewer than 20 differ none are set aside, unless the preset is
            "best": they are trained on by 100 steps of "fast", each on all of them.
        device: where to compute, as for `xpnet.backend`.
        random_state: seed of the weights, the order of the rows, and those that are set aside.
        settings: further settings of `xpnet.tabular.settings.Settings`, such as
            ``{"hidden": (64, 64), "learning_rate": 0.01, "class_weight": "balanced"}``.

    Attributes:
        classes_: the labels in their order.
        model_: the model of the table, with encoder, trainer and history.
        n_features_in_, feature_names_in_: number of the columns, and their names if they have any.
        n_iter_: epochs trained.

    Example:
        >>> import polars
        >>> table = polars.DataFrame({"size": [1.0, 2.0, 8.0, 9.0] * 10, "kind": ["a", "b", "a", "b"] * 10})
        >>> y = ["small", "small", "large", "large"] * 10
        >>> model = TabularClassifier(random_state=0, device="numpy").fit(table, y)
        >>> model.predict(polars.DataFrame({"size": [1.5, 8.5], "kind": ["b", "a"]}))
        array(['small', 'large'], dtype='<U5')
    """

    classes_: np.ndarray

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on a table and its labels; return the estimator.

        Args:
            X: rows (n, columns), a DataFrame or an array.
            y: labels (n,).
            sample_weight: weights of the rows (n,), as for `xpnet.tabular.TableModel.fit`.
        """
        table, y = _features(self, X, reset=True), column_or_1d(_present(self, y), warn=True)
        check_classification_targets(y)
        table, y, weight = _that_count(table, y, sample_weight)
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__}: expected labels of at least 2 classes, found 1 class: "
                f"{self.classes_[0]!r}"
            )
        self._fit(table, {"target": indices.astype(np.int64)}, weight, "classification")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable labels (n,) for rows X."""
        indices = self._predicted(X).astype(np.int64)
        return self.classes_[indices]

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classes (n, classes), in the order of ``classes_``."""
        table = self._table(X)
        found: np.ndarray = self.model_.predict_proba(table, unseen="ignore").to_numpy()
        return found.astype(np.float64)

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))


class TabularRegressor(RegressorMixin, _TabularEstimator):
    """Predicts numbers from tables with numbers, categories, dates and missing cells.

    As `TabularClassifier`, of which the arguments are the same; predictions are in the units of y.

    Args:
        preset, time_limit, validation_fraction, device, random_state, settings: as for `TabularClassifier`.

    Attributes:
        model_: the model of the table, with encoder, trainer and history.
        n_features_in_, feature_names_in_: number of the columns, and their names if they have any.
        n_iter_: epochs trained.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(0, 1, 60)[:, None]
        >>> model = TabularRegressor(random_state=0, device="numpy").fit(X, 100 + 20 * X[:, 0])
        >>> bool(abs(model.predict([[0.5]])[0] - 110) < 2)
        True
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on a table and its values; return the estimator.

        Args:
            X: rows (n, columns), a DataFrame or an array.
            y: values (n,) or (n, targets).
            sample_weight: weights of the rows (n,), as for `xpnet.tabular.TableModel.fit`.
        """
        table, y = _features(self, X, reset=True), _present(self, y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        table, y, weight = _that_count(table, y, sample_weight)
        columns = y.reshape(len(y), -1)
        self._fit(table, {f"target{i}": columns[:, i] for i in range(columns.shape[1])}, weight, "regression")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return values (n,), or (n, targets) if y had several, for rows X."""
        return self._predicted(X).astype(np.float64)


def _present(estimator: Any, y: Any) -> Any:
    """Return targets, unless they are None."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    return y


def _that_count(table: Any, y: np.ndarray, sample_weight: Any) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return the rows of weight above 0: the others are as if they were not there, their classes included."""
    check_consistent_length(table, y)
    if sample_weight is None:
        return table, y, None
    weight = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    counting = weight > 0
    return table.filter(counting), y[counting], weight[counting]


def _features(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Return rows as a table of polars; the estimator has learned their number and names, or compares them.

    Columns of an array are called x0, x1, ...; missing cells are NaN or None.
    """
    if hasattr(X, "columns") or hasattr(X, "collect_schema") or type(X) is dict:
        frame = to_frame(X)
        named = X if hasattr(X, "__dataframe__") or hasattr(X, "iloc") else frame
        _check_feature_names(estimator, named, reset=reset)
        _check_n_features(estimator, frame, reset=reset)
        return frame
    X = validate_data(
        estimator, X, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=1 + reset
    )
    return to_frame({f"x{i}": _cells(X[:, i]) for i in range(X.shape[1])})


def _cells(column: np.ndarray) -> Any:
    """Return a column of an array: numbers as numbers where all are, else a list of cells."""
    if column.dtype.kind in "biuf":
        return column
    found = [None if cell is None or cell != cell else cell for cell in column.tolist()]
    if all(cell is None or isinstance(cell, Real) for cell in found):
        return np.asarray([np.nan if cell is None else cell for cell in found], dtype=np.float64)
    return found
