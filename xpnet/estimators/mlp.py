"""`MLPClassifier` and `MLPRegressor`: the multilayer perceptrons of scikit-learn, trained by xpnet."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from xpnet import losses
from xpnet.errors import ConfigError
from xpnet.estimators.base import BaseMLP, has_partial_fit, on_host
from xpnet.estimators.objective import OBJECTIVES, Objective
from xpnet.estimators.parameters import CONSTRAINTS, described, store
from xpnet.losses.registry import identity, kind_of, link_of
from xpnet.train.predictor import in_kind
from xpnet.train.targets import classes_to_targets, probabilities

__all__ = ["MLPClassifier", "MLPRegressor"]


def _has_probabilities(estimator: Any) -> bool:
    loss = estimator._objective_named(estimator.loss, several=True).loss
    if link_of(loss) is identity:
        raise AttributeError(f"predict_proba: the loss {estimator.loss!r} has no probabilities")
    return True


@described
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron that classifies, with scikit-learn's parameters, attributes and results.

    It minimizes the objective of ``sklearn.neural_network.MLPClassifier``, from the same first weights and
    with the same shuffles: equal parameters give equal loss curves up to rounding.

    Args:
        <parameters>
        loss: ``"log_loss"``, or a loss for classes of :mod:`xpnet.losses`.
        class_weight: factor of the rows' weights by class: a dict, ``"balanced"`` for the sum of all weights
            divided by (classes · that of the class), or None. Of several labels, a list of dicts.

    Attributes:
        classes_: labels, sorted.
        <attributes>

    Raises:
        ValueError: by ``fit``: parameters, arrays or weights that cannot be used.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = MLPClassifier([8], solver="lbfgs", random_state=0, dropout=0.0).fit(X, y)
        >>> classifier.predict_proba(X[:2]).shape, classifier.score(X, y) > 0.9
        ((2, 3), True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "class_weight": [dict, list, str, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: float = 0.0,
        callbacks: Any = (),
        device: Any = None,
        dtype: str | None = None,
        compile: str = "auto",
    ):
        store(self, locals())

    def _objective_named(self, loss: Any, *, several: bool) -> Objective:
        if isinstance(loss, str) and loss == "log_loss":
            return OBJECTIVES["log_loss" if several else "binary_log_loss"]
        found = losses.get(loss)
        if kind_of(found) not in ("classes", "binary", "signs"):
            raise ConfigError(f"loss: expected one for classes, found {loss!r}; choose 'log_loss', say")
        return Objective(found, found)

    def _objective(self) -> Objective:
        return self._objective_named(self.loss, several=self._label_binarizer.y_type_ == "multiclass")

    def _outputs_of(self, y: np.ndarray) -> int:
        if kind_of(self._objective().loss) != "classes":
            return int(y.shape[1])
        return max(2, len(self.classes_))

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """Return rows of 0 and 1 as targets of the loss."""
        kind = self._label_binarizer.y_type_
        if kind == "multiclass":
            classes = np.argmax(y, axis=1)
        else:
            classes = y.astype(np.int64) if kind.startswith("multilabel") else y[:, 0].astype(np.int64)
        found = len(self.classes_) if kind == "multiclass" else 2
        return classes_to_targets(self._objective().loss, classes, found)

    def _validate(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        """Return checked inputs, and targets as rows of 0 and 1."""
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=self._dtypes(), reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        return X, self._label_binarizer.transform(y).astype(bool)

    def _check_classes(self, classes: Any) -> None:
        if self.warm_start and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        if not self.warm_start and len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _validated_of(self, y: Any) -> np.ndarray:
        self._check_known(y)
        return self._label_binarizer.transform(y).astype(bool)

    def _check_known(self, y: Any) -> None:
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"y_val has classes that are not in `y`: {unknown}")

    def _weights_of(self, y: Any, weight: Any, *, incremental: bool) -> Any:
        if self.class_weight is None:
            return weight
        if incremental and isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight: expected a dict for partial_fit, which sees only some rows, found "
                f"{self.class_weight!r}; compute it on all rows by sklearn.utils.class_weight"
            )
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            factors = compute_sample_weight(self.class_weight, y)
        else:
            classes, number = np.unique(y, return_inverse=True)
            factors = compute_class_weight(
                self.class_weight, classes=classes, y=y.reshape(-1), sample_weight=weight
            )[number.reshape(-1)]
        return factors if weight is None else factors * weight

    def _stratified(self, y: np.ndarray) -> np.ndarray | None:
        return y if y.shape[1] == 1 else None

    def _scored(self, outputs: np.ndarray, y: np.ndarray, weight: Any) -> float:
        truth = self._label_binarizer.inverse_transform(y)
        return float(accuracy_score(truth, self._labels(outputs), sample_weight=weight))

    def _labels(self, outputs: np.ndarray) -> Any:
        """Return labels of raw outputs on the host."""
        loss = self._objective().loss
        kind = kind_of(loss)
        if kind == "classes":
            return self.classes_[np.minimum(np.argmax(outputs, axis=1), len(self.classes_) - 1)]
        likely = link_of(loss)(outputs) if kind == "binary" else outputs > 0
        return self._label_binarizer.inverse_transform(likely[:, 0] if likely.shape[1] == 1 else likely)

    def predict(self, X: Any) -> Any:
        """Return labels (batch,), or 0 and 1 for each label (batch, labels); numbers where ``X`` is."""
        labels = self._labels(self._host_outputs(X))
        return in_kind(X, labels) if getattr(labels, "dtype", np.dtype("O")).kind in "biuf" else labels

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """Return probabilities (batch, classes), in the order of ``classes_``."""
        return in_kind(X, self._probabilities(X))

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the probabilities (batch, classes)."""
        with np.errstate(divide="ignore"):
            return in_kind(X, np.log(self._probabilities(X)))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, of arrays of any library."""
        return super().score(on_host(X), on_host(y), on_host(sample_weight))

    def _probabilities(self, X: Any) -> np.ndarray:
        outputs = self._host_outputs(X)
        return probabilities(self._objective().loss, outputs)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Any:
        """Fit the network to inputs and labels.

        Args:
            X: inputs (batch, features): arrays of any library, DataFrames, or sparse matrices of SciPy.
            y: labels (batch,), or 0 and 1 for several labels (batch, labels).
            sample_weight: weights of the rows (batch,).
            X_val, y_val: rows to validate with after each epoch.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight, incremental=False, held_out=(X_val, y_val))

    @available_if(has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train one epoch on the given rows.

        Args:
            X, y, sample_weight: as for `fit`.
            classes: all labels that there will be; needed in the first call.

        Returns:
            The estimator.
        """
        y = on_host(y)
        if _check_partial_fit_first_call(self, classes):
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = (
            self.loss == "log_loss" or kind_of(losses.get(self.loss)) != "classes"
        )
        return tags


@described
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron that predicts numbers, with scikit-learn's parameters, attributes and results.

    It minimizes the objective of ``sklearn.neural_network.MLPRegressor``, from the same first weights and
    with the same shuffles: equal parameters give equal loss curves up to rounding.

    Args:
        loss: ``"squared_error"``, half of it, or ``"poisson"``, half of the deviance; or any other loss of
            :mod:`xpnet.losses` for numbers.
        <parameters>

    Attributes:
        <attributes>

    Raises:
        ValueError: by ``fit``: parameters, arrays or weights that cannot be used.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 50)[:, None]
        >>> y = X[:, 0] ** 2
        >>> MLPRegressor(hidden_layer_sizes=[10], solver="lbfgs", random_state=0).fit(X, y).score(X, y) > 0.9
        True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {**CONSTRAINTS}

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        callbacks: Any = (),
        device: Any = None,
        dtype: str | None = None,
        compile: str = "auto",
    ):
        store(self, locals())

    def _objective(self) -> Objective:
        if isinstance(self.loss, str) and self.loss in ("squared_error", "poisson"):
            return OBJECTIVES[self.loss]
        found = losses.get(self.loss)
        if kind_of(found) not in ("values", "counts"):
            raise ConfigError(
                f"loss: expected one for numbers, found {self.loss!r}; choose 'squared_error', say"
            )
        return Objective(found, found)

    def _outputs_of(self, y: np.ndarray) -> int:
        return int(y.shape[1])

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y

    def _validate(self, X: Any, y: Any, *, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True, dtype=self._dtypes(),
            reset=reset,
        )  # fmt: skip
        return X, self._validated_of(y)

    def _validated_of(self, y: Any) -> np.ndarray:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return y.reshape(len(y), -1)

    def _weights_of(self, y: Any, weight: Any, *, incremental: bool) -> Any:
        return weight

    def _stratified(self, y: np.ndarray) -> None:
        return None

    def _scored(self, outputs: np.ndarray, y: np.ndarray, weight: Any) -> float:
        return float(r2_score(y, self._values(outputs), sample_weight=weight))

    def _values(self, outputs: np.ndarray) -> np.ndarray:
        values = link_of(self._objective().loss)(outputs)
        return values[:, 0] if values.shape[1] == 1 else values

    def predict(self, X: Any) -> Any:
        """Return values (batch,) or (batch, outputs), of the library and on the device of ``X``."""
        return in_kind(X, self._values(self._host_outputs(X)))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R², of arrays of any library."""
        return super().score(on_host(X), on_host(y), on_host(sample_weight))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Any:
        """Fit the network to inputs and values.

        Args:
            X: inputs (batch, features): arrays of any library, DataFrames, or sparse matrices of SciPy.
            y: values (batch,) or (batch, outputs).
            sample_weight: weights of the rows (batch,).
            X_val, y_val: rows to validate with after each epoch.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight, incremental=False, held_out=(X_val, y_val))

    @available_if(has_partial_fit)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train one epoch on the given rows; see `fit`."""
        return self._fit(X, y, sample_weight, incremental=True)
