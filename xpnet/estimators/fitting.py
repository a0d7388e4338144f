"""Training of an estimator: by epochs with scikit-learn's rules for their end, or by SciPy's L-BFGS-B."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning

from xpnet.autodiff import value_and_grad
from xpnet.backends.lacking import copy
from xpnet.containers import map_leaves
from xpnet.errors import ConfigError, DivergedError
from xpnet.estimators.programs import shared_steps
from xpnet.nn import Variables
from xpnet.optim import Method
from xpnet.parameters import Parameters
from xpnet.program import compile
from xpnet.train import Callback, Trainer
from xpnet.train.history import History
from xpnet.train.objective import StepObjective
from xpnet.train.rows import Rows, prepare
from xpnet.train.steps import paths_of_draws

__all__ = ["Data", "fit_epochs", "fit_lbfgs", "without_rows"]

_SMALLEST = 1e-30  # weights below this share of the largest count as none, as in the trainer
_SLOWEST = 1e-6  # an adaptive rate that is no higher is not lowered further
_NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
    "preprocessed."
)


class Data(NamedTuple):
    """Rows on the host: inputs, targets as the trainer takes them, and weights or None."""

    X: Any
    y: Any
    weight: Any = None


def without_rows(data: Data) -> tuple[Data, float]:
    """Return data without the rows of weight 0, and the factor by which the weights were multiplied.

    That factor, a power of two, makes the largest between ½ and 1: as the trainer wants them.
    """
    if data.weight is None:
        return data, 1.0
    factor = 2.0 ** -math.frexp(float(np.max(data.weight)))[1]
    weight = data.weight * factor
    counting = weight > _SMALLEST
    if counting.all() or (weight < 0).any():  # negative ones are refused by the trainer
        return data._replace(weight=weight), factor
    return Data(data.X[counting], data.y[counting], weight[counting]), factor


class _Epochs(Callback):
    """The end of each epoch: attributes are kept up to date, and training ends where it should.

    Args:
        estimator: that is fitted.
        rows: number of training rows.
        score: of the present weights on validation rows, or None.
    """

    def __init__(self, estimator: Any, rows: int, score: Callable[[], float] | None):
        self.estimator, self.rows, self.score = estimator, rows, score
        self.best: Variables | None = None
        self.ended = False

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> bool | None:
        estimator = self.estimator
        self.count(row["loss"], row.get("validation_loss"))
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {row['loss']:.8f}")
        if self.score is not None:
            self._see_score(trainer, self.score())
        if not estimator.early_stopping:
            self._see_loss(row["loss"])
        if estimator.solver == "sgd" and estimator.learning_rate == "invscaling":
            rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
            estimator._rate.learning_rate = rate
        self.ended = estimator._no_improvement_count > estimator.n_iter_no_change and self._ends()
        return self.ended

    @property
    def epochs_together(self) -> int:  # type: ignore[override]
        """As many epochs as there are before the first that can end the training, or change the rate."""
        estimator = self.estimator
        of_each = self.score is not None or estimator.verbose or estimator.learning_rate == "invscaling"
        return 1 if of_each else 1 + estimator.n_iter_no_change - estimator._no_improvement_count

    def count(self, loss: float, validation_loss: float | None) -> None:
        """Count an epoch and its losses."""
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.t_ += self.rows
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        if validation_loss is not None:
            estimator.validation_loss_curve_.append(validation_loss)

    def _see_loss(self, loss: float) -> None:
        estimator = self.estimator
        not_lower = loss > estimator.best_loss_ - estimator.tol
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if not_lower else 0
        estimator.best_loss_ = min(loss, estimator.best_loss_)

    def _see_score(self, trainer: Any, score: float) -> None:
        estimator = self.estimator
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        if estimator.early_stopping:
            not_higher = score < estimator.best_validation_score_ + estimator.tol
            estimator._no_improvement_count = estimator._no_improvement_count + 1 if not_higher else 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            if estimator.early_stopping:
                self.best = map_leaves(copy, trainer.variables)  # the next epoch writes over them

    def _ends(self) -> bool:
        """Return whether training ends here, or goes on at a lower rate."""
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        said = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        adaptive = estimator.solver == "sgd" and estimator.learning_rate == "adaptive"
        ends = not adaptive or estimator._rate.learning_rate <= _SLOWEST
        if not ends:
            estimator._rate.learning_rate /= 5.0
            estimator._no_improvement_count = 0
        if estimator.verbose:
            print(
                said, "Stopping." if ends else f"Setting learning rate to {estimator._rate.learning_rate:f}"
            )
        return ends


def fit_epochs(
    estimator: Any,
    trainer: Trainer,
    train: Data,
    *,
    validation: Data | None,
    score: Callable[[], float] | None,
    incremental: bool,
    random_state: np.random.RandomState,
) -> None:
    """Train until the estimator's rules end it.

    Args:
        estimator: whose attributes are kept up to date.
        trainer: with variables.
        train: rows to train on.
        validation: rows whose loss is measured after each epoch, or None.
        score: returns the score of the present weights on validation rows, or None.
        incremental: whether to train one epoch and no more.
        random_state: of the shuffles.

    Raises:
        ValueError: the weights are not finite any more.
    """
    rows = train.X.shape[0]
    size = _batch_size(estimator, trainer, rows)
    rule = _Epochs(estimator, rows, score)
    if estimator.early_stopping:
        rule.best = map_leaves(copy, trainer.variables)
    epochs = 1 if incremental else estimator.max_iter
    if score is not None and estimator.validation_scores_ is None:
        estimator.validation_scores_, estimator.best_validation_score_ = [], -math.inf
    if validation is not None and estimator.validation_loss_curve_ is None:
        estimator.validation_loss_curve_ = []
    state = trainer.state
    state.history, state.rows, state.best = History(), None, None  # other rows than before are nothing odd
    least = min(estimator.max_iter, estimator.n_iter_no_change + 2) * -(-rows // (size or rows))
    together = (trainer, estimator.compile, size or rows, least)
    trainer.callbacks = [*(estimator.callbacks or ()), rule]
    estimator.n_iter_ = 0
    diverged = None
    try:
        with contextlib.nullcontext() if incremental else shared_steps(*together):
            trainer.fit(
                train.X, train.y, sample_weight=train.weight, validation=validation, batch_size=size,
                epochs=state.epoch + epochs, order=_orders(estimator.shuffle, rows, random_state),
            )  # fmt: skip
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=4)
    except DivergedError as error:
        diverged = error
        rule.count(math.nan, None if validation is None else math.nan)
        if score is not None:
            estimator.validation_scores_.append(math.nan)
    else:
        if estimator.n_iter_ == epochs and not (rule.ended or trainer.stalled or incremental):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
    finally:
        trainer.callbacks = []
        trainer._let_go_of_rows()
    if rule.best is not None:
        state.variables = rule.best
    elif diverged is not None:
        raise ValueError(_NOT_FINITE) from diverged
    if diverged is not None:
        warnings.warn(f"{diverged}; the best weights before are kept", ConvergenceWarning, stacklevel=4)


def _batch_size(estimator: Any, trainer: Trainer, rows: int) -> int | None:
    """Return the rows of a batch, None for all of them."""
    if isinstance(trainer.optimizer, Method):
        return None
    size = 200 if estimator.batch_size == "auto" else estimator.batch_size
    if estimator.batch_size != "auto" and size > rows:
        warnings.warn(
            f"Got `batch_size` larger than sample size. It is going to be clipped to the {rows} rows",
            stacklevel=5,
        )
    return None if size >= rows else int(size)


def _orders(shuffled: bool, rows: int, random_state: np.random.RandomState) -> Callable[[int], np.ndarray]:
    """Return the function that gives the row numbers of an epoch; each shuffle goes on from the last."""
    order = np.arange(rows)

    def of_epoch(number: int) -> np.ndarray:
        nonlocal order
        if shuffled:
            drawn = np.arange(rows)
            random_state.shuffle(drawn)
            order = order[drawn]
        return order

    return of_epoch


def fit_lbfgs(estimator: Any, trainer: Trainer, train: Data, summed: Any) -> None:
    """Minimize the objective on all rows by SciPy's L-BFGS-B, from the present weights.

    Args:
        estimator: whose attributes are set.
        trainer: with variables.
        train: rows.
        summed: the loss that is minimized; the trainer's is what is reported.

    Raises:
        ConfigError: the network draws random numbers.
        ValueError: the weights are not finite.
    """
    setup, variables = trainer.setup, trainer.state.variables
    home = setup.backend
    assert variables is not None
    layout, model_state = variables.params.layout, variables.state
    rows = prepare(setup, train.X, train.y, train.weight, width=None)
    if paths_of_draws(setup, variables, rows):
        raise ConfigError(
            "solver lbfgs: expected dropout=0, found one that draws units; choose solver='adam'"
        )
    reported = StepObjective(setup, layout)
    minimized = StepObjective(dataclasses.replace(setup, loss=summed), layout)

    def value(flat: Any, X: Any, y: Any, weight: Any) -> Any:
        return minimized.value(Parameters(flat, layout), model_state, Rows(X, y, weight), None)[0]

    compiled = compile(value_and_grad(value), lower=setup.settings.compile)

    def at(x: np.ndarray) -> tuple[float, np.ndarray]:
        with home.activate():
            found, gradient = compiled(home.asarray(x, dtype=setup.dtype), *dataclasses.astuple(rows))
            return float(home.to_host(found)), np.asarray(home.to_host(gradient), dtype=np.float64)

    def print_iteration(intermediate_result: Any) -> None:
        print(f"loss = {intermediate_result.fun:.8f}")

    found = optimize.minimize(
        at,
        np.asarray(home.to_host(variables.params.flat), dtype=np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=print_iteration if estimator.verbose else None,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    estimator.n_iter_ = min(int(found.nit), estimator.max_iter)
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        raise ValueError(_NOT_FINITE)
    if not found.success:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): "
            f"{found.message}. Increase max_iter or max_fun, or scale the data",
            ConvergenceWarning,
            stacklevel=4,
        )
    with home.activate():
        params = Parameters(home.asarray(found.x, dtype=setup.dtype), layout)
        loss, _ = reported.value(params, model_state, rows, None)
    estimator.loss_ = float(home.to_host(loss))
    trainer.state.variables = Variables(params, model_state)
