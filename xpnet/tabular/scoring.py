"""Predictions in the terms of the target columns, with their metrics."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.data import Encoder
from xpnet.errors import ConfigError
from xpnet.tabular.dataset import Part
from xpnet.train import Trainer, metrics
from xpnet.train.targets import kind_of

__all__ = ["Measured", "measure", "predict_classes", "predict_probabilities", "predict_values"]


@dataclass(frozen=True)
class Measured:
    """Predictions for rows whose targets are known, and their metrics.

    Attributes:
        metrics: loss and metrics; the loss of a regression is that of the standardized targets.
        truth: class indices, or values on the scale of the target columns, of several (rows, targets).
        predicted: likewise.
        targets: of several targets the metrics of each, by its name.
    """

    metrics: dict[str, float]
    truth: np.ndarray
    predicted: np.ndarray
    targets: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


def measure(trainer: Trainer, encoder: Encoder, part: Part) -> Measured:
    """Return how well ``trainer`` predicts the rows of ``part``."""
    found: dict[str, Any] = {name: float(v) for name, v in trainer.evaluate(part.X, part.y).items()}
    classes = encoder.task == "classification"
    predicted = predict_classes(trainer, part.X) if classes else predict_values(trainer, encoder, part.X)
    # not those of the trainer, which are rounded to the dtype of the training
    if len(encoder.targets) == 1:
        of_one = _of_classes if classes else _of_values
        return Measured(found | of_one(part.truth, predicted), part.truth, predicted)
    of_one = _of_label if classes else _of_values
    targets = {
        name: of_one(part.truth[:, index], predicted[:, index])
        for index, name in enumerate(encoder.target_names)
    }
    found |= _of_labels(part.truth, predicted) if classes else {"r2": _mean_of(targets, "r2")}
    return Measured(found, part.truth, predicted, targets)


def _of_values(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    names = {"r2": metrics.r2, "rmse": metrics.rmse, "mae": metrics.mae}
    return {name: float(metric(predicted, truth)) for name, metric in names.items()}


def _of_label(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return what `_of_classes` does, but F1 of the second class alone, as over several labels."""
    return _of_classes(truth, predicted) | {"f1": float(metrics.f1_micro(2.0 * predicted - 1.0, truth))}


def _of_classes(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    # scores of which the predicted class has the largest
    scores = np.eye(max(truth.max(), predicted.max(), 1) + 1)[predicted]
    names = {"accuracy": metrics.accuracy, "balanced_accuracy": metrics.balanced_accuracy, "f1": metrics.f1}
    return {name: float(metric(scores, truth)) for name, metric in names.items()}


def _of_labels(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    scores = 2.0 * predicted - 1.0
    names = {
        "accuracy": metrics.entry_accuracy,
        "subset_accuracy": metrics.subset_accuracy,
        "f1": metrics.label_f1,
        "f1_micro": metrics.f1_micro,
    }
    return {name: float(metric(scores, truth)) for name, metric in names.items()}


def _mean_of(targets: dict[str, dict[str, float]], name: str) -> float:
    return float(np.mean([found[name] for found in targets.values()]))


def predict_classes(trainer: Trainer, X: np.ndarray) -> np.ndarray:
    """Return class indices (rows,) or (rows, targets), for any loss for classes."""
    predicted = trainer.predict(X)
    if kind_of(trainer.loss) == "signs":
        predicted = predicted > 0
    return predicted.astype(np.int64)


def predict_values(trainer: Trainer, encoder: Encoder, X: np.ndarray) -> np.ndarray:
    """Return values (rows,) or (rows, targets) on the scale of the target columns, float64."""
    predicted = trainer.predict(X)
    if kind_of(trainer.loss) == "counts":  # trained on the counts themselves
        return predicted.astype(np.float64)
    columns = list(encoder.decode_targets(predicted).values())
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def predict_probabilities(trainer: Trainer, X: np.ndarray) -> np.ndarray | None:
    """Return probabilities, or None where the loss gives none (the hinges).

    Of one target those of its classes (rows, classes); of several those of their second classes
    (rows, targets).
    """
    try:
        return trainer.predict_proba(X)
    except ConfigError:
        return None
