"""The base class of the estimators: weights as attributes, the trainer behind them, and fitting."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from xpnet import backends, optim
from xpnet.backends import Backend, backend_of, is_array
from xpnet.errors import DataError
from xpnet.estimators.exchange import copied_attributes, sklearn_estimator
from xpnet.estimators.fitting import Data, fit_epochs, fit_lbfgs, without_rows
from xpnet.estimators.network import drawn, hidden_widths, layout_of, network, packed, unpacked
from xpnet.estimators.objective import EpochRate, PlainEpsilonAdam, link_name
from xpnet.optim import Method
from xpnet.train import Trainer
from xpnet.train.history import History
from xpnet.train.state import TrainState

__all__ = ["BaseMLP", "has_partial_fit", "on_host"]

_DENSE_ROWS = 4096  # of a sparse matrix, made dense at a time for predictions


def on_host(x: Any) -> Any:
    """Return an array of another library than NumPy as one of NumPy; anything else as it is."""
    if isinstance(x, np.ndarray) or not is_array(x) or sparse.issparse(x):
        return x
    return backend_of(x).to_host(x)


def has_partial_fit(estimator: Any) -> bool:
    """Return True for a solver of first order, which can train on some of the rows."""
    solver = estimator.solver
    if solver == "lbfgs" or isinstance(optim.get(solver), Method):
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {solver} is not stochastic."
        )
    return True


class BaseMLP(BaseEstimator):
    """Base class of `MLPClassifier` and `MLPRegressor`, which say what targets and predictions are."""

    # ---- weights, as the trainer has them or as they were set

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights (in, out) of each layer."""
        return self._handed_out("_coefs")

    @coefs_.setter
    def coefs_(self, value: Any) -> None:
        self._coefs = value

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Intercepts (out,) of each layer."""
        return self._handed_out("_intercepts")

    @intercepts_.setter
    def intercepts_(self, value: Any) -> None:
        self._intercepts = value

    def _handed_out(self, name: str) -> Any:
        """Return weights that may be changed from now on, and are taken back before they are used."""
        known = self.__dict__
        if name not in known and "_trainer" in known:
            found = unpacked(self._trainer.variables.params, self._trainer.backend)
            for key, value in zip(("_coefs", "_intercepts"), found, strict=True):
                known.setdefault(key, value)
        if name not in known:
            raise AttributeError(f"{type(self).__name__} has no weights yet; call fit")
        return known[name]

    def _take_weights(self, trainer: Trainer) -> None:
        """Let the trainer have the weights that were handed out or set."""
        if not {"_coefs", "_intercepts"} & vars(self).keys():
            return
        widths = [len(self.coefs_[0]), *(len(x) for x in self.intercepts_)]
        layout = layout_of(network(widths, self.activation, self.dropout), widths[0])
        trainer.variables = packed(
            self.coefs_, self.intercepts_, layout, trainer.backend, trainer.settings.dtype
        )
        trainer.state.input_shape = (widths[0],)

    @property
    def trainer_(self) -> Trainer:
        """The trainer with the weights that count, which exports take."""
        return self._trained()

    @property
    def history_(self) -> History:
        """The epochs of the last fit, with learning rates and seconds."""
        return self._trained().history

    def __sklearn_is_fitted__(self) -> bool:
        return "_trainer" in vars(self) or {"_coefs", "_intercepts"} <= vars(self).keys()

    # ---- the trainer

    def _trained(self) -> Trainer:
        """Return the trainer with the weights that count."""
        check_is_fitted(self)
        if "_trainer" not in vars(self):  # the weights were set
            widths = [len(self.coefs_[0]), *(len(x) for x in self.intercepts_)]
            home = backends.backend("numpy" if self.device is None else self.device)
            self._trainer = self._new_trainer(widths, home, self.dtype or self.coefs_[0].dtype.name)
        self._take_weights(self._trainer)
        return self._trainer

    def _new_trainer(
        self, widths: list[int], home: Backend, dtype: str, *, factor: float = 1.0, seed: int = 0
    ) -> Trainer:
        """Return a trainer without variables; weights of rows were multiplied by ``factor``."""
        objective, optimizer = self._objective(), self._made_optimizer()
        loss = objective.summed if isinstance(optimizer, Method) else objective.loss
        return Trainer(
            network(widths, self.activation, self.dropout),
            loss,
            optimizer,
            backend=home,
            dtype=dtype,
            seed=seed,
            compile=self.compile,
            l2=0.5 * self.alpha * factor,
            penalty_per_row=True,
            rollback=False,
            restore_best=False,
            progress=False,
        )

    def _made_optimizer(self) -> Any:
        rate = self.learning_rate if callable(self.learning_rate) else float(self.learning_rate_init)
        if self.solver == "sgd" and rate is not self.learning_rate and self.learning_rate != "constant":
            rate = self.__dict__.setdefault("_rate", EpochRate(rate))
        if self.solver == "adam":
            return PlainEpsilonAdam(rate, self.beta_1, self.beta_2, self.epsilon)
        if self.solver in ("sgd", "lbfgs"):  # the latter has no steps
            return optim.SGD(rate, self.momentum, bool(self.nesterovs_momentum and self.momentum))
        made = optim.get(self.solver)
        named = isinstance(self.solver, str) and isinstance(made, optim.Optimizer)
        return dataclasses.replace(made, learning_rate=rate) if named else made  # type: ignore[type-var]

    def _dtypes(self) -> Any:
        return (np.float64, np.float32) if self.dtype is None else np.dtype(self.dtype)

    def _home(self, X: Any, first: bool) -> Backend:
        """Return where to compute."""
        if self.device is not None:
            return backends.backend(self.device)
        if not first and "_trainer" in vars(self):
            return self._trainer.backend
        foreign = is_array(X) and not isinstance(X, np.ndarray) and not sparse.issparse(X)
        return backend_of(X) if foreign else backends.backend("numpy")

    # ---- fitting

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool,
        held_out: tuple[Any, Any] = (None, None),
    ) -> Any:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        hidden = hidden_widths(self.hidden_layer_sizes)
        first = not self.__sklearn_is_fitted__() or not (self.warm_start or incremental)
        home = self._home(X, first)
        X, y, sample_weight = on_host(X), on_host(y), on_host(sample_weight)
        X, rows = self._validate(X, y, incremental=incremental, reset=first)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        weight = self._weights_of(y, sample_weight, incremental=incremental)
        data = Data(_dense(X), rows, weight)
        given = scored = self._held_out(held_out)
        widths = [X.shape[1], *hidden, self._outputs_of(rows)]
        self.n_outputs_ = widths[-1]
        random_state = check_random_state(self.random_state)
        if first:
            self._initialize(widths, data.X.dtype, random_state)
        if not incremental or "_rate" not in vars(self):
            self.__dict__.setdefault("_rate", EpochRate(0.0)).learning_rate = self.learning_rate_init
        if self.early_stopping and given is None and self.solver != "lbfgs":
            data, scored = self._split(data, random_state)
        train, factor = without_rows(data._replace(y=self._targets(data.y)))
        seed = int(random_state.randint(2**31 - 1)) if self.dropout else 0
        trainer = self._begun(widths, home, self._dtype_for(data.X, home, first), factor, seed, incremental)
        if self.solver == "lbfgs":
            fit_lbfgs(self, trainer, train, self._objective().summed)
        else:
            fit_epochs(
                self, trainer, train, incremental=incremental, random_state=random_state,
                score=None if scored is None else self._score_on(trainer, scored),
                validation=None if given is None else Data(given.X, self._targets(given.y)),
            )  # fmt: skip
        for name in ("_coefs", "_intercepts"):  # are read from the trainer again
            self.__dict__.pop(name, None)
        self._trainer = trainer
        return self

    def _initialize(self, widths: list[int], dtype: Any, random_state: np.random.RandomState) -> None:
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(widths)
        self.out_activation_ = link_name(self._objective().loss)
        self.coefs_, self.intercepts_ = drawn(widths, self.activation, random_state, dtype)
        if self.solver == "lbfgs":
            return
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else math.inf
        self.validation_scores_ = self.best_validation_score_ = self.validation_loss_curve_ = None

    def _dtype_for(self, X: np.ndarray, home: Backend, first: bool) -> str:
        """Return the dtype to compute in; that of the weights stays."""
        if self.dtype is not None:
            return str(self.dtype)
        if not first and "_trainer" in vars(self):
            return str(self._trainer.settings.dtype)
        known = home.xp.__array_namespace_info__().dtypes(device=home.device, kind="real floating")
        wide = self.solver == "lbfgs" and "float64" in known
        return "float64" if wide or (X.dtype.name not in known and "float64" in known) else X.dtype.name

    def _begun(
        self, widths: list[int], home: Backend, dtype: str, factor: float, seed: int, incremental: bool
    ) -> Trainer:
        """Return the trainer with the weights to begin with; a known one has its programs already."""
        trainer = self._new_trainer(widths, home, dtype, factor=factor, seed=seed)
        known = vars(self).get("_trainer")
        same = known is not None and (known.backend, known.settings.dtype) == (home, dtype)
        if not (incremental and same):
            self._handed_out("_coefs")
        if known is not None and same:
            if known.setup != trainer.setup:
                known.setup = trainer.setup
            trainer = known
        if not (incremental and same):  # the optimizer begins anew
            trainer.state = TrainState()
        self._take_weights(trainer)
        return trainer

    def _held_out(self, given: tuple[Any, Any]) -> Data | None:
        """Return the rows to validate with as they are checked, or None."""
        X, y = (on_host(x) for x in given)
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val: expected both or none of them")
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=self._dtypes(), reset=False)
        return Data(_dense(X), self._validated_of(y))

    def _split(self, data: Data, random_state: np.random.RandomState) -> tuple[Data, Data]:
        """Split rows for early stopping off, by the same draws as scikit-learn."""
        arrays = [x for x in data if x is not None]
        parts = train_test_split(
            *arrays, random_state=random_state, test_size=self.validation_fraction,
            stratify=self._stratified(data.y),
        )  # fmt: skip
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return Data(*parts[0::2]), Data(*parts[1::2])

    def _score_on(self, trainer: Trainer, rows: Data) -> Callable[[], float]:
        """Return the function that scores the present weights on rows; NaN for outputs not finite."""

        def score() -> float:
            outputs = trainer.backend.to_host(trainer.outputs(rows.X))
            return self._scored(outputs, rows.y, rows.weight) if np.isfinite(outputs).all() else math.nan

        return score

    # ---- predicting

    def _host_outputs(self, X: Any) -> np.ndarray:
        """Return raw outputs (batch, outputs) on the host."""
        trainer = self._trained()
        X = validate_data(self, on_host(X), accept_sparse=["csr", "csc"], reset=False)
        if not sparse.issparse(X):
            return trainer.backend.to_host(trainer.outputs(X))
        X = X.tocsr()
        parts = (X[start : start + _DENSE_ROWS].toarray() for start in range(0, X.shape[0], _DENSE_ROWS))
        return np.concatenate([trainer.backend.to_host(trainer.outputs(part)) for part in parts])

    # ---- exchange

    @classmethod
    def from_sklearn(cls, fitted: Any) -> Any:
        """Return an estimator with parameters, weights and attributes of scikit-learn's, fitted or not.

        Training goes on with ``partial_fit`` or ``warm_start``, with a fresh optimizer.
        """
        made = cls(**fitted.get_params())
        return copied_attributes(fitted, made) if hasattr(fitted, "coefs_") else made

    def to_sklearn(self) -> Any:
        """Return scikit-learn's estimator with the same weights; what it has no parameters for is left out.

        Raises:
            ConfigError: scikit-learn lacks the activation, or a loss with such predictions.
        """
        check_is_fitted(self)
        return sklearn_estimator(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _dense(X: Any) -> Any:
    """Return a sparse matrix as an array, as training needs it."""
    if not sparse.issparse(X):
        return X
    try:
        return X.toarray()
    except MemoryError as error:
        size = X.shape[0] * X.shape[1] * X.dtype.itemsize / 2**30
        raise DataError(
            f"X: expected a sparse matrix that fits into memory as an array, found one of shape {X.shape}, "
            f"which needs {size:.1f} GiB; train on some rows at a time by partial_fit, or on fewer features"
        ) from error
