"""Predictions in the terms of the target column, and how good they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.cli.preparing import Part
from xpnet.data import Encoder
from xpnet.errors import ConfigError
from xpnet.train import Trainer
from xpnet.train.targets import kind_of

__all__ = ["Measured", "measure", "predict_classes", "predict_probabilities", "predict_values"]


@dataclass(frozen=True)
class Measured:
    """What a model predicts for rows whose target is known.

    Attributes:
        metrics: loss and metrics; the loss of a regression is that of the standardized target.
        truth: class indices, or values on the scale of the target column.
        predicted: likewise.
    """

    metrics: dict[str, float]
    truth: np.ndarray
    predicted: np.ndarray


def measure(trainer: Trainer, encoder: Encoder, part: Part) -> Measured:
    """Return how well ``trainer`` predicts the rows of ``part``."""
    metrics: dict[str, Any] = {name: float(v) for name, v in trainer.evaluate(part.X, part.y).items()}
    if encoder.task == "classification":
        predicted = predict_classes(trainer, part.X)
        metrics["accuracy"] = float(np.mean(predicted == part.truth))  # not rounded to the training's dtype
        return Measured(metrics, part.truth, predicted)
    predicted = predict_values(trainer, encoder, part.X)
    metrics["rmse"] = math.sqrt(float(np.mean((part.truth - predicted) ** 2)))
    return Measured(metrics, part.truth, predicted)


def predict_classes(trainer: Trainer, X: np.ndarray) -> np.ndarray:
    """Return class indices (rows,), whatever the loss calls its classes."""
    predicted = trainer.predict(X)
    if kind_of(trainer.loss) == "signs":
        predicted = predicted > 0
    return predicted.astype(np.int64)


def predict_values(trainer: Trainer, encoder: Encoder, X: np.ndarray) -> np.ndarray:
    """Return values (rows,) on the scale of the target column, float64."""
    predicted = trainer.predict(X)
    if kind_of(trainer.loss) == "counts":  # trained on the counts themselves
        return predicted.astype(np.float64)
    return encoder.decode_predictions(predicted)


def predict_probabilities(trainer: Trainer, X: np.ndarray) -> np.ndarray | None:
    """Return class probabilities (rows, classes), or None where the loss gives none (the hinges)."""
    try:
        return trainer.predict_proba(X)
    except ConfigError:
        return None
