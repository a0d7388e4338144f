"""Copies of a trainer for experiments."""

from __future__ import annotations

from typing import Any

from xpnet.optim import Optimizer
from xpnet.train.rows import Rows, split
from xpnet.train.trainer import Trainer

__all__ = ["begun_copy"]


def begun_copy(
    trainer: Trainer,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Any = None,
    *,
    optimizer: Optimizer | None = None,
) -> tuple[Trainer, Rows]:
    """Return a copy of the trainer that is ready for a step, and checked rows on its device.

    One that has not been trained has the variables that it would begin with. Steps give new arrays, so
    nothing that is done to the copy changes the trainer.
    """
    other = trainer.copy()
    if optimizer is not None:
        other.optimizer = optimizer
    width = other.state.input_shape
    rows, _ = split(other.setup, X, y, sample_weight, class_weight, None, width=width)
    other.begin(tuple(rows.X.shape[1:]), rows.X)
    return other, rows
