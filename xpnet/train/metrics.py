"""Numbers that people judge a model by, computed on the device from raw outputs.

A metric is a function ``(outputs, targets) -> 0-d array``. Of a user's own one, the trainer takes the
name from ``__name__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest

__all__ = ["METRICS", "accuracy", "get", "r2"]


def accuracy(outputs: Any, targets: Any) -> Any:
    """Share of rows (of entries, with several outputs beside several 0/1 targets) that are classified right.

    With one output, positive means the second class (target 1 of 0/1 or ±1); with several outputs and
    class indices, or rows of probabilities, the largest output is the predicted class.

    Shapes:
        outputs: (batch, classes), (batch, 1) or (batch,); targets: (batch,), or like outputs.
    """
    xp = array_namespace(outputs, targets)
    if len(outputs.shape) == 2 and outputs.shape[1] > 1:
        predicted = xp.argmax(outputs, axis=-1)
        true = targets if len(targets.shape) == 1 else xp.argmax(targets, axis=-1)
        right = xp.astype(predicted, true.dtype) == true
    else:
        right = xp.reshape(outputs > 0, (-1,)) == xp.reshape(targets > 0.5, (-1,))
    return xp.mean(xp.astype(right, outputs.dtype))


def r2(outputs: Any, targets: Any) -> Any:
    """Coefficient of determination R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over outputs.

    A constant target gives 1 if it is predicted exactly, else 0.
    """
    xp = array_namespace(outputs, targets)
    shape = (outputs.shape[0], -1)
    predicted, true = xp.reshape(outputs, shape), xp.reshape(xp.astype(targets, outputs.dtype), shape)
    residual = xp.sum((true - predicted) ** 2, axis=0)
    total = xp.sum((true - xp.mean(true, axis=0)) ** 2, axis=0)
    constant = xp.where(residual == 0, 1.0, 0.0)
    ratio = residual / xp.where(total == 0, 1.0, total)
    return xp.mean(xp.where(total == 0, xp.astype(constant, ratio.dtype), 1 - ratio))


METRICS: dict[str, Callable[..., Any]] = {"accuracy": accuracy, "r2": r2}


def get(metric: str | Callable[..., Any]) -> tuple[str, Callable[..., Any]]:
    """Return the name and the function of a metric given by either.

    Raises:
        ConfigError: no metric of that name.
    """
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric not in METRICS:
        raise ConfigError(f"metric: expected a known name, found {metric!r}{suggest(metric, METRICS)}")
    return metric, METRICS[metric]
