"""Numbers that people judge a model by, computed on the device from raw outputs.

A metric is a function ``(outputs, targets) -> 0-d array``. Of a user's own one, the trainer takes the
name from ``__name__``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import array_api_compat

from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest

__all__ = ["METRICS", "accuracy", "entry_accuracy", "get", "is_known", "r2"]


def accuracy(outputs: Any, targets: Any) -> Any:
    """Share of rows that are classified right.

    With several outputs the largest is the predicted class, and targets are class indices, one-hot rows or
    probabilities. With one output, positive means the second class (target 1 of 0/1 or ±1).

    Shapes:
        outputs: (batch, classes), (batch, 1) or (batch,); targets: (batch,), or like outputs.
    """
    if _columns(outputs) == 1:
        return entry_accuracy(outputs, targets)
    if _columns(targets) > 1:
        _check_like(outputs, targets, "accuracy")
        true = _first_largest(targets)
    else:
        true = array_namespace(targets).reshape(targets, (-1,))
    xp = array_namespace(outputs, true)
    right = _first_largest(outputs) == xp.astype(true, outputs.dtype)
    return xp.mean(xp.astype(right, outputs.dtype))


def _first_largest(x: Any) -> Any:
    """Return the number of each row's largest entry, in the dtype of ``x``.

    Instead of argmax, whose int64 some devices lack.
    """
    xp = array_namespace(x)
    numbers = xp.arange(x.shape[1], dtype=x.dtype, device=array_api_compat.device(x))
    largest = x == xp.max(x, axis=-1, keepdims=True)
    return xp.min(xp.where(largest, numbers, float(x.shape[1])), axis=-1)


def entry_accuracy(outputs: Any, targets: Any) -> Any:
    """Share of entries whose sign is right: the accuracy under losses of 0/1 and ±1 targets.

    Shapes:
        outputs: (batch, labels) or (batch,); targets: of as many entries, above ½ for the positive class.
    """
    _check_like(outputs, targets, "accuracy")
    xp = array_namespace(outputs, targets)
    right = xp.reshape(outputs > 0, (-1,)) == xp.reshape(targets > 0.5, (-1,))
    return xp.mean(xp.astype(right, outputs.dtype))


def r2(outputs: Any, targets: Any) -> Any:
    """Coefficient of determination R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over outputs.

    A constant target gives 1 if it is predicted exactly, else 0.

    Shapes:
        outputs: (batch, outputs) or (batch,); targets: of as many columns.
    """
    _check_like(outputs, targets, "r2")
    xp = array_namespace(outputs, targets)
    shape = (outputs.shape[0], -1)
    predicted, true = xp.reshape(outputs, shape), xp.reshape(xp.astype(targets, outputs.dtype), shape)
    residual = xp.sum((true - predicted) ** 2, axis=0)
    total = xp.sum((true - xp.mean(true, axis=0)) ** 2, axis=0)
    # not total == 0: the mean of equal numbers is rounded, and need not equal them
    constant = xp.max(true, axis=0) == xp.min(true, axis=0)
    ratio = residual / xp.where(constant | (total == 0), 1.0, total)
    exact = xp.astype(residual == 0, ratio.dtype)
    return xp.mean(xp.where(constant | (total == 0), exact, 1 - ratio))


def _columns(x: Any) -> int:
    return 1 if len(x.shape) == 1 else x.shape[1]


def _check_like(outputs: Any, targets: Any, name: str) -> None:
    if _columns(outputs) != _columns(targets):
        raise ConfigError(
            f"metric {name}: expected as many columns of targets as of outputs, found targets of shape "
            f"{tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}; choose another metric or "
            "loss"
        )


METRICS: dict[str, Callable[..., Any]] = {"accuracy": accuracy, "r2": r2}


def get(metric: str | Callable[..., Any], kind: str = "values") -> tuple[str, Callable[..., Any]]:
    """Return the name and the function of a metric given by either.

    Args:
        metric: a name, or a function ``(outputs, targets) -> 0-d array``.
        kind: the kind of targets of the loss; accuracy counts entries if it is ``"binary"`` or ``"signs"``.

    Raises:
        ConfigError: no metric of that name.
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise ConfigError(f"metric: expected a known name, found {metric!r}{suggest(metric, METRICS)}")
        name, metric = metric, METRICS[metric]
    elif callable(metric) and not inspect.isclass(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
    else:
        raise ConfigError(
            f"metric: expected a name or a function, found {metric!r}{suggest(metric, METRICS)}"
        )
    if metric is accuracy and kind in ("binary", "signs"):
        return name, entry_accuracy
    return name, metric


def is_known(name: str, metric: Callable[..., Any]) -> bool:
    """True if :func:`get` makes ``metric`` of ``name``."""
    return metric in (METRICS.get(name), entry_accuracy if name == "accuracy" else None)
