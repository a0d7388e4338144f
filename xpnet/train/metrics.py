"""Metrics of models, computed on the device from raw outputs.

A metric is a function ``(outputs, targets) -> 0-d array``. Of a user's own one, the trainer takes the
name from ``__name__``; its attribute ``higher_is_better`` says which values are better, where that matters.

Where a row may have several labels (several outputs under ``binary_cross_entropy`` or ``hinge``), the names
``accuracy``, ``balanced_accuracy`` and ``f1`` stand for functions of their own, which look at each label
apart: `get` knows which.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import array_api_compat

from xpnet.aliases import canonical
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest

__all__ = [
    "METRICS",
    "OF_NUMBERS",
    "accuracy",
    "balanced_accuracy",
    "entry_accuracy",
    "f1",
    "f1_micro",
    "get",
    "higher_is_better",
    "is_known",
    "label_balanced_accuracy",
    "label_f1",
    "mae",
    "r2",
    "rmse",
    "subset_accuracy",
]


def accuracy(outputs: Any, targets: Any) -> Any:
    """Share of rows that are classified right.

    With several outputs the largest is the predicted class, and targets are class indices, one-hot rows or
    probabilities. With one output, positive means the second class (target 1 of 0/1 or ±1).

    Shapes:
        outputs: (batch, classes), (batch, 1) or (batch,); targets: (batch,), or like outputs.
    """
    if _columns(outputs) == 1:
        return entry_accuracy(outputs, targets)
    predicted, true = _first_largest(outputs), _true_classes(outputs, targets, "accuracy")
    xp = array_namespace(outputs)
    return xp.mean(xp.astype(predicted == true, outputs.dtype))


def balanced_accuracy(outputs: Any, targets: Any) -> Any:
    """Share of rows that are classified right in each class, averaged over the classes that there are.

    Shapes: as for `accuracy`.

    Source: Brodersen and others, "The balanced accuracy and its posterior distribution", 2010.
    """
    predicted, true = _memberships(outputs, targets, "balanced_accuracy")
    xp = array_namespace(predicted)
    size = xp.sum(true, axis=0)
    recall = xp.sum(predicted * true, axis=0) / xp.where(size > 0, size, 1.0)
    return xp.sum(recall) / xp.sum(xp.astype(size > 0, recall.dtype))


def f1(outputs: Any, targets: Any) -> Any:
    """F1 = 2 TP / (2 TP + FP + FN) of each class, averaged over the classes that are true or predicted ones.

    Shapes: as for `accuracy`; with one output both classes count.

    Source: van Rijsbergen, "Information Retrieval", 1979.
    """
    scores, present = _f1_of_columns(*_memberships(outputs, targets, "f1"))
    xp = array_namespace(scores)
    return xp.sum(scores) / xp.sum(present)


def label_balanced_accuracy(outputs: Any, targets: Any) -> Any:
    """The balanced accuracy of each label, averaged over the labels.

    Shapes:
        outputs: (batch, labels) or (batch,); targets: of as many entries, above ½ for the positive class.
    """
    predicted, true = _labels(outputs, targets, "balanced_accuracy")
    xp = array_namespace(predicted)
    recalls, classes = 0.0, 0.0
    for hit, member in ((predicted, true), (1 - predicted, 1 - true)):
        size = xp.sum(member, axis=0)
        recalls = recalls + xp.sum(hit * member, axis=0) / xp.where(size > 0, size, 1.0)
        classes = classes + xp.astype(size > 0, predicted.dtype)
    return xp.mean(recalls / classes)


def label_f1(outputs: Any, targets: Any) -> Any:
    """F1 of each label's positive class, averaged over the labels; 0 where it is neither true nor predicted.

    With one output that is no label among others but tells two classes apart: `f1` of both.

    Shapes: as for `label_balanced_accuracy`.
    """
    if _columns(outputs) == 1:
        return f1(outputs, targets)
    scores, _ = _f1_of_columns(*_labels(outputs, targets, "f1"))
    return array_namespace(scores).mean(scores)


def f1_micro(outputs: Any, targets: Any) -> Any:
    """F1 of the positive entries of all labels together; 0 where there are none and none are predicted.

    Shapes: as for `label_balanced_accuracy`.
    """
    predicted, true = _labels(outputs, targets, "f1_micro")
    xp = array_namespace(predicted)
    scores, _ = _f1_of_columns(xp.reshape(predicted, (-1, 1)), xp.reshape(true, (-1, 1)))
    return scores[0]


def subset_accuracy(outputs: Any, targets: Any) -> Any:
    """Share of rows all of whose labels are right.

    Shapes: as for `label_balanced_accuracy`.
    """
    predicted, true = _labels(outputs, targets, "subset_accuracy")
    xp = array_namespace(predicted)
    return xp.mean(xp.astype(xp.all(predicted == true, axis=1), predicted.dtype))


def _true_classes(outputs: Any, targets: Any, name: str) -> Any:
    """Return class numbers (batch,) in the dtype of several outputs."""
    if _columns(targets) > 1:
        _check_like(outputs, targets, name)
        return array_namespace(outputs).astype(_first_largest(targets), outputs.dtype)
    xp = array_namespace(outputs, targets)
    return xp.astype(xp.reshape(targets, (-1,)), outputs.dtype)


def _memberships(outputs: Any, targets: Any, name: str) -> tuple[Any, Any]:
    """Return predicted and true classes as rows of 0 and 1, (batch, classes), in the outputs' dtype."""
    xp = array_namespace(outputs, targets)
    if _columns(outputs) == 1:
        predicted, true = _labels(outputs, targets, name)
        return xp.concat([1 - predicted, predicted], axis=1), xp.concat([1 - true, true], axis=1)
    numbers = xp.arange(outputs.shape[1], dtype=outputs.dtype, device=array_api_compat.device(outputs))
    classes = _first_largest(outputs), _true_classes(outputs, targets, name)
    predicted, true = (xp.astype(xp.reshape(c, (-1, 1)) == numbers, outputs.dtype) for c in classes)
    return predicted, true


def _labels(outputs: Any, targets: Any, name: str) -> tuple[Any, Any]:
    """Return predicted and true labels as 0 and 1, (batch, labels), in the outputs' dtype."""
    _check_like(outputs, targets, name)
    xp = array_namespace(outputs, targets)
    shape = (outputs.shape[0], _columns(outputs))
    positive = outputs > 0, xp.astype(targets, outputs.dtype) > 0.5
    predicted, true = (xp.reshape(labels, shape) for labels in positive)
    return xp.astype(predicted, outputs.dtype), xp.astype(true, outputs.dtype)


def _f1_of_columns(predicted: Any, true: Any) -> tuple[Any, Any]:
    """Return F1 of each column, 0 where nothing is true or predicted, and 1 or 0 for whether anything is."""
    xp = array_namespace(predicted)
    both, either = xp.sum(predicted * true, axis=0), xp.sum(predicted + true, axis=0)
    present = xp.astype(either > 0, predicted.dtype)
    return 2 * both / xp.where(either > 0, either, 1.0), present


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
    right = xp.reshape(outputs > 0, (-1,)) == xp.reshape(xp.astype(targets, outputs.dtype) > 0.5, (-1,))
    return xp.mean(xp.astype(right, outputs.dtype))


def r2(outputs: Any, targets: Any) -> Any:
    """Coefficient of determination R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², averaged over outputs.

    A constant target gives 1 if it is predicted exactly, else 0.

    Shapes:
        outputs: (batch, outputs) or (batch,); targets: of as many columns.
    """
    predicted, true = _values(outputs, targets, "r2")
    xp = array_namespace(predicted)
    residual = xp.sum((true - predicted) ** 2, axis=0)
    total = xp.sum((true - xp.mean(true, axis=0)) ** 2, axis=0)
    # not total == 0: the mean of equal numbers is rounded, and need not equal them
    constant = xp.max(true, axis=0) == xp.min(true, axis=0)
    ratio = residual / xp.where(constant | (total == 0), 1.0, total)
    exact = xp.astype(residual == 0, ratio.dtype)
    return xp.mean(xp.where(constant | (total == 0), exact, 1 - ratio))


def mae(outputs: Any, targets: Any) -> Any:
    """Mean absolute error, averaged over outputs.

    Shapes: as for `r2`.
    """
    predicted, true = _values(outputs, targets, "mae")
    xp = array_namespace(predicted)
    return xp.mean(xp.abs(predicted - true))


def rmse(outputs: Any, targets: Any) -> Any:
    """Root of the mean squared error of each output, averaged over outputs.

    Shapes: as for `r2`.
    """
    predicted, true = _values(outputs, targets, "rmse")
    xp = array_namespace(predicted)
    return xp.mean(xp.sqrt(xp.mean((predicted - true) ** 2, axis=0)))


def _values(outputs: Any, targets: Any, name: str) -> tuple[Any, Any]:
    """Return predicted and true values (batch, outputs) in the dtype of the predicted ones."""
    _check_like(outputs, targets, name)
    xp = array_namespace(outputs, targets)
    shape = (outputs.shape[0], _columns(outputs))
    return xp.reshape(outputs, shape), xp.reshape(xp.astype(targets, outputs.dtype), shape)


def _columns(x: Any) -> int:
    return 1 if len(x.shape) == 1 else x.shape[1]


def _check_like(outputs: Any, targets: Any, name: str) -> None:
    if _columns(outputs) != _columns(targets):
        raise ConfigError(
            f"metric {name}: expected as many columns of targets as of outputs, found targets of shape "
            f"{tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}; choose another metric or "
            "loss"
        )


METRICS: dict[str, Callable[..., Any]] = {
    metric.__name__: metric
    for metric in (accuracy, balanced_accuracy, f1, f1_micro, mae, r2, rmse, subset_accuracy)
}
# What some of them become under losses of 0/1 and ±1 targets, where each output is a label of its own.
_OF_LABELS: dict[str, Callable[..., Any]] = {
    "accuracy": entry_accuracy,
    "balanced_accuracy": label_balanced_accuracy,
    "f1": label_f1,
}

OF_NUMBERS = ("mae", "r2", "rmse")
"""Metrics of numbers; the others are of classes."""
_ERRORS = ("mae", "rmse")


def _check_fits(name: str, kind: str) -> None:
    """Refuse a metric of classes for numbers, and one of numbers for classes."""
    numbers = kind in ("values", "counts")
    if (name in OF_NUMBERS) is not numbers:
        what = "numbers" if numbers else "classes"
        fitting = [other for other in METRICS if (other in OF_NUMBERS) is numbers]
        raise ConfigError(
            f"metrics: expected metrics of {what}, as the loss has, found {name!r}; choose among "
            f"{', '.join(fitting)}"
        )


def get(metric: str | Callable[..., Any], kind: str | None = None) -> tuple[str, Callable[..., Any]]:
    """Return the name and the function of a metric given by either.

    Args:
        metric: a name, or a function ``(outputs, targets) -> 0-d array``.
        kind: the kind of targets of the loss, where it says; under ``"binary"`` and ``"signs"`` several
            outputs are labels.

    Raises:
        ConfigError: no metric of that name, or one of classes for a loss of numbers, or the other way round.
    """
    if isinstance(metric, str):
        known = canonical("metric", metric, METRICS)
        if known is None:
            raise ConfigError(f"metric: expected a known name, found {metric!r}{suggest(metric, METRICS)}")
        name, metric = known, METRICS[known]
    elif callable(metric) and not inspect.isclass(metric):
        name = getattr(metric, "__name__", type(metric).__name__)
    else:
        raise ConfigError(
            f"metric: expected a name or a function, found {metric!r}{suggest(metric, METRICS)}"
        )
    if kind is not None and metric is METRICS.get(name):
        _check_fits(name, kind)
    if kind in ("binary", "signs") and metric is METRICS.get(name):
        return name, _OF_LABELS.get(name, METRICS[name])
    return name, metric


def is_known(name: str, metric: Callable[..., Any]) -> bool:
    """True if :func:`get` makes ``metric`` of ``name``."""
    return metric in (METRICS.get(name), _OF_LABELS.get(name))


def higher_is_better(name: str, metric: Callable[..., Any]) -> bool | None:
    """Return whether higher values of a metric are better; None if nobody says.

    >>> higher_is_better("accuracy", accuracy), higher_is_better("rmse", rmse)
    (True, False)
    """
    if is_known(name, metric):
        return name not in _ERRORS
    declared = getattr(metric, "higher_is_better", None)
    return None if declared is None else bool(declared)
