"""Prediction with a trained model: outputs, predictions, probabilities, loss and metrics."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from xpnet.backends import Backend, backend_of
from xpnet.backends.memory import tells
from xpnet.errors import BackendError, ConfigError
from xpnet.nn import Variables
from xpnet.train import targets
from xpnet.train.attributes import OfSetup, OfState
from xpnet.train.columns import matched
from xpnet.train.evaluation import Evaluation
from xpnet.train.rows import check_inputs, prepare
from xpnet.train.settings import Settings
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.threads import Use

__all__ = ["Predictor", "in_kind", "predictions"]


def _fewer_rows(trainer: Predictor, *args: Any, **options: Any) -> list[str]:
    return ["pass some of the rows at a time"]


def _forget_programs(trainer: Predictor) -> None:
    trainer._evaluation = Evaluation()


_telling = functools.partial(tells, remedies=_fewer_rows, let_go=_forget_programs)


class Predictor:
    """Base class of `Trainer`: prediction and evaluation, by several threads at a time.

    Attributes:
        setup: model, loss, optimizer, backend, metrics and settings; each is an attribute here as well.
        state: how far the training is; each of its parts is an attribute here as well.
    """

    setup: Setup
    state: TrainState
    _evaluation: Evaluation
    _use: Use

    model, loss, optimizer, backend, metrics = OfSetup(), OfSetup(), OfSetup(), OfSetup(), OfSetup()
    variables, input_shape = OfState(), OfState()

    @property
    def settings(self) -> Settings:
        """The settings, frozen; to change one, set the attribute of its name."""
        return self.setup.settings

    def _trained(self) -> Variables:
        self._use.check()
        if self.state.variables is None:
            raise ConfigError(
                "trainer: expected one that has been trained, found one without variables; call fit first"
            )
        return self.state.variables

    @_telling("outputs")
    def outputs(self, X: Any) -> Any:
        """Return the model's raw outputs for ``X`` on the trainer's device, computed in batches."""
        variables, setup, home = self._trained(), self.setup, self.setup.backend
        inputs = check_inputs(setup, matched(X, self.state.columns), self.state.input_shape)
        with home.activate():
            found = self._evaluation.outputs(setup, variables, home.asarray(inputs, dtype=setup.dtype))
            if inputs is not X and not isinstance(inputs, np.ndarray):
                home.synchronize()  # the library that X is of may use its memory again from here on
            return found

    @_telling("predict")
    def predict(self, X: Any) -> Any:
        """Return predictions for ``X`` (batch, features).

        For a classifier, what the targets were: class indices (batch,), or ±1 for a hinge. Otherwise
        values: (batch,) for one output, (batch, outputs) for several.

        They are of the library that ``X`` is of, and on its device: a PyTorch tensor for a PyTorch tensor.
        For lists and tables, NumPy arrays. Arrays that are on the trainer's device already, be they of its
        library or of another one that has DLPack, never leave it.
        """
        return in_kind(X, predictions(self.backend, self.loss, self.outputs(X)))

    @_telling("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Return class probabilities (batch, classes), whose rows sum to 1; where, as for `predict`."""
        with self.backend.activate():
            return in_kind(X, targets.probabilities(self.loss, self.outputs(X)))

    @_telling("evaluate")
    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Return the loss and the metrics on given rows.

        Weights (batch, members) are those of each member of an ensemble in the mean of their predictions: 1
        for the members that have not been trained on a row, and 0 for the others, measure rows out of fold.
        """
        return self._evaluated(X, y, sample_weight)[0]

    @_telling("evaluate")
    def evaluate_and_predict(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[dict[str, float], Any]:
        """Return what `evaluate` and `predict` return, in one pass through the model.

        Rows of weight 0 have no prediction.
        """
        measured, outputs = self._evaluated(X, y, sample_weight)
        return measured, in_kind(X, predictions(self.backend, self.loss, outputs))

    def _evaluated(self, X: Any, y: Any, sample_weight: Any) -> tuple[dict[str, float], Any]:
        """Return the loss and the metrics, and the outputs that they are of."""
        variables, setup = self._trained(), self.setup
        inputs = matched(X, self.state.columns)
        rows = prepare(setup, inputs, y, sample_weight, width=self.state.input_shape)
        with setup.backend.activate():
            outputs = self._evaluation.outputs(setup, variables, rows.X, rows.weight)
            return self._evaluation.measured(setup, outputs, rows), outputs


def predictions(home: Backend, loss: Any, outputs: Any) -> Any:
    """Return the predictions of outputs on a backend; except on CUDA, the host finds the classes."""
    classes = targets.is_classifier(loss)
    if classes and home.ordinal is None:
        return targets.predicted_classes(loss, home.to_host(outputs))
    with home.activate():
        if classes:
            return targets.predicted_classes(loss, outputs)
        return targets.without_column(targets.link_of(loss)(outputs))


def in_kind(X: Any, found: Any) -> Any:
    """Return a result for ``X`` as an array of the library and on the device of ``X``.

    NumPy's for lists and tables; as it is for arrays of a library that is not known here.
    """
    if not isinstance(X, np.ndarray) and hasattr(X, "__dlpack__"):
        try:
            asking = backend_of(X)
        except BackendError:
            return found
        return asking.asarray(found)
    return found if isinstance(found, np.ndarray) else backend_of(found).to_host(found)
