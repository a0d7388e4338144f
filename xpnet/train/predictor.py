"""What can be done with a trained model: outputs, predictions, probabilities, measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.errors import ConfigError
from xpnet.nn import Layer, Variables
from xpnet.train import targets
from xpnet.train.evaluation import Evaluation
from xpnet.train.rows import check_inputs, prepare

__all__ = ["Predictor"]


class Predictor:
    """The part of a `Trainer` that outlives training.

    Attributes:
        model, loss, metrics, backend, dtype, compile: as for `Trainer`.
        variables: parameters and state, with which is predicted; None before training.
        input_shape: of a row of inputs; None before training.
    """

    model: Layer
    loss: Callable[..., Any]
    metrics: dict[str, Callable[..., Any]]
    backend: Backend
    dtype: str
    compile: str
    variables: Variables | None
    input_shape: tuple[int, ...] | None
    _evaluation: Evaluation

    def outputs(self, X: Any) -> Any:
        """Return the model's raw outputs for ``X`` on the device, computed in batches."""
        self._check_trained()
        X = check_inputs(self, X)
        with self.backend.activate():
            return self._evaluation.outputs(self, self.backend.asarray(X, dtype=self.dtype))

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions for ``X`` (batch, features) as a host array.

        For a classifier, what the targets were: class indices (batch,), or ±1 for a hinge. Otherwise
        values: (batch,) for one output, (batch, outputs) for several.
        """
        outputs = self.outputs(X)
        if targets.is_classifier(self.loss):
            return targets.predicted_classes(self.loss, self.backend.to_host(outputs))
        with self.backend.activate():
            values = self.backend.to_host(targets.link_of(self.loss)(outputs))
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (batch, classes) for ``X`` as a host array; each row sums to 1."""
        with self.backend.activate():
            return self.backend.to_host(targets.probabilities(self.loss, self.outputs(X)))

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Return the loss and the metrics on given rows."""
        self._check_trained()
        rows = prepare(self, X, y, sample_weight)
        with self.backend.activate():
            return self._evaluation.measure(self, rows)

    def _check_trained(self) -> None:
        if self.variables is None:
            raise ConfigError(
                "trainer: expected one that has been trained, found one without variables; call fit first"
            )
