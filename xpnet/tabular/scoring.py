"""Predictions in the terms of the target columns, with their metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.data import Encoder
from xpnet.tabular.parts import Part
from xpnet.train import Trainer, intervals, metrics
from xpnet.train.members import of_members
from xpnet.train.targets import gives_probabilities, kind_of

__all__ = [
    "Measured",
    "constant_in_words",
    "constant_of",
    "constant_of_words",
    "measure",
    "predict_classes",
    "predict_probabilities",
    "predict_values",
]

SHARES = ("accuracy", "subset_accuracy")
"""Metrics that are shares of rows."""

Interval = list[float]


@dataclass(frozen=True)
class Measured:
    """Predictions for rows whose targets are known, and their metrics.

    Attributes:
        metrics: loss and metrics; the loss of a regression is that of the standardized targets.
        truth: class indices, or values on the scale of the target columns, of several (rows, targets).
        predicted: likewise.
        targets: of several targets the metrics of each, by its name.
        intervals: ends of 95 % intervals of metrics, for those rows that allow one.
        target_intervals: of several targets those of each.
        baseline: the metrics of a constant prediction of the same rows; none if it is not known.
    """

    metrics: dict[str, float]
    truth: np.ndarray
    predicted: np.ndarray
    targets: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    target_intervals: dict[str, dict[str, Interval]] = dataclasses.field(default_factory=dict)
    baseline: dict[str, float] = dataclasses.field(default_factory=dict)


def constant_of(encoder: Encoder, truth: np.ndarray) -> np.ndarray:
    """Return the best constant prediction (targets,) for training rows: majority classes, or means.

    Args:
        encoder: of the table.
        truth: class indices or values, (rows,) or (rows, targets).
    """
    columns = truth.reshape(len(truth), -1)
    if encoder.task == "classification":
        return np.asarray([np.argmax(np.bincount(column)) for column in columns.T])
    return columns.mean(axis=0)


def constant_in_words(encoder: Encoder, constant: np.ndarray) -> dict[str, Any]:
    """Return a constant prediction by the names of the targets: classes in their own type, or values."""
    if encoder.task == "regression":
        return dict(zip(encoder.target_names, constant.tolist(), strict=True))
    return {
        name: classes[int(index)]
        for name, classes, index in zip(encoder.target_names, encoder.target_classes, constant, strict=True)
    }


def constant_of_words(encoder: Encoder, told: Mapping[str, Any]) -> np.ndarray:
    """Return the constant prediction that `constant_in_words` told of.

    Raises:
        KeyError, ValueError: the names or classes are others.
    """
    if encoder.task == "regression":
        return np.asarray([float(told[name]) for name in encoder.target_names])
    pairs = zip(encoder.target_names, encoder.target_classes, strict=True)
    return np.asarray([classes.index(told[name]) for name, classes in pairs])


def measure(trainer: Trainer, encoder: Encoder, part: Part, constant: np.ndarray | None = None) -> Measured:
    """Return how well ``trainer`` predicts the rows of ``part``, and how well ``constant`` does."""
    own = of_members(part.weight)
    counting = None if own is None else (own > 0).astype(np.float64)  # which members predict a row
    scores, predicted = trainer.evaluate_and_predict(part.X, part.y, counting)
    found: dict[str, Any] = {name: float(value) for name, value in scores.items()}
    classes = encoder.task == "classification"
    predicted = _classes_of(trainer, predicted) if classes else _values_of(trainer, encoder, predicted)
    # not those of the trainer, which are rounded to the dtype of the training
    own, targets = _scores(encoder, part.truth, predicted)
    found |= own
    baseline: dict[str, float] = {}
    if constant is not None:
        same = np.broadcast_to(constant if part.truth.ndim == 2 else constant[0], part.truth.shape)
        baseline = _scores(encoder, part.truth, same)[0]
    of_targets = {
        name: _intervals(targets[name], part.truth[:, index], predicted[:, index])
        for index, name in enumerate(targets)
    }
    ends = _intervals(found, part.truth, predicted)
    return Measured(
        found, part.truth, predicted, targets, ends, {k: v for k, v in of_targets.items() if v}, baseline
    )


def _scores(
    encoder: Encoder, truth: np.ndarray, predicted: np.ndarray
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the metrics of all targets, and, of several, those of each."""
    classes = encoder.task == "classification"
    if len(encoder.targets) == 1:
        return (_of_classes if classes else _of_values)(truth, predicted), {}
    of_one = _of_label if classes else _of_values
    targets = {
        name: of_one(truth[:, index], predicted[:, index]) for index, name in enumerate(encoder.target_names)
    }
    return _of_labels(truth, predicted) if classes else {"r2": _mean_of(targets, "r2")}, targets


def _intervals(found: dict[str, float], truth: np.ndarray, predicted: np.ndarray) -> dict[str, Interval]:
    """Return the intervals of the metrics that have one."""
    rows = len(truth)
    # of several labels the entries of a row are not drawn independently: rows count
    ends: dict[str, tuple[float, float] | None] = {}
    ends |= {name: intervals.wilson(found[name], rows) for name in SHARES if name in found}
    if "rmse" in found:
        error = predicted - truth
        ends |= {
            "r2": intervals.interval_of_r2(truth, predicted),
            "rmse": intervals.interval_of_error(error, 2),
            "mae": intervals.interval_of_error(error, 1),
        }
    return {name: [float(end) for end in pair] for name, pair in ends.items() if pair is not None}


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
    return _classes_of(trainer, trainer.predict(X))


def _classes_of(trainer: Trainer, predicted: Any) -> np.ndarray:
    if kind_of(trainer.loss) == "signs":
        predicted = predicted > 0
    return predicted.astype(np.int64)


def predict_values(trainer: Trainer, encoder: Encoder, X: np.ndarray) -> np.ndarray:
    """Return values (rows,) or (rows, targets) on the scale of the target columns, float64."""
    return _values_of(trainer, encoder, trainer.predict(X))


def _values_of(trainer: Trainer, encoder: Encoder, predicted: Any) -> np.ndarray:
    if kind_of(trainer.loss) == "counts":  # trained on the counts themselves
        return encoder.clamped(predicted.astype(np.float64))
    columns = list(encoder.decode_targets(predicted).values())
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def predict_probabilities(trainer: Trainer, X: np.ndarray) -> np.ndarray | None:
    """Return probabilities, or None where the loss gives none (the hinges).

    Of one target those of its classes (rows, classes); of several those of their second classes
    (rows, targets).
    """
    return trainer.predict_proba(X) if gives_probabilities(trainer.loss) else None
