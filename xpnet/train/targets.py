"""Targets in the form of a loss, and predictions in the form of the targets.

Every loss of :mod:`xpnet.losses` says of which kind its targets are, and so can a user's own; one that does
not gets values as they are.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet.autodiff.functions import softmax
from xpnet.autodiff.tracer import is_floating
from xpnet.backends import array_namespace, backend_of
from xpnet.data import are_labels, check_labels
from xpnet.errors import ConfigError, DataError, use
from xpnet.losses.registry import LossWithOptions, identity, kind_of, link_of, name_of

__all__ = [
    "are_allowed",
    "check_targets",
    "check_weighting",
    "classes_to_targets",
    "gives_probabilities",
    "is_classifier",
    "kind_of",
    "link_of",
    "mean_loss",
    "name_of",
    "outputs_for",
    "predicted_classes",
    "probabilities",
    "takes_labels",
    "warn_of_pairs",
    "without_column",
]

_log = logging.getLogger("xpnet")


def is_classifier(loss: Any) -> bool:
    """True if ``loss`` trains a classifier."""
    return kind_of(loss) in ("classes", "binary", "signs")


def check_weighting(loss: Any) -> None:
    """Refuse a user's own loss that takes no weights, for rows that have some."""
    function = loss.function if isinstance(loss, LossWithOptions) else loss
    try:
        found = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):  # of a function written in C, say
        return
    if not any(p.name == "sample_weight" or p.kind is p.VAR_KEYWORD for p in found):
        raise ConfigError(
            f"loss {name_of(loss)}: expected an argument sample_weight, for the rows have weights; add "
            "sample_weight=None, or return one number a row and wrap the function by xpnet.losses.make"
        )


def mean_loss(loss: Any, outputs: Any, y: Any, *, sample_weight: Any = None) -> Any:
    """Return the mean loss, a 0-d array.

    A user's own loss that says nothing of its targets gets them in the shape of its predictions: (batch, 1)
    for one value a row, where (batch,) would spread over all pairs of rows.

    Raises:
        ConfigError: a user's own loss gives something else.
    """
    if not hasattr(loss, "targets") and len(y.shape) == 1 and tuple(outputs.shape) == (y.shape[0], 1):
        y = array_namespace(y).reshape(y, (-1, 1))
    value = loss(outputs, y) if sample_weight is None else loss(outputs, y, sample_weight=sample_weight)
    shape = getattr(value, "shape", None)
    if shape is not None and tuple(shape) == () and is_floating(value):
        return value
    remedy = "compute it with array functions of the predictions"
    if shape is None:
        found = repr(value)
    elif tuple(shape) == ():
        found = f"one of dtype {value.dtype}"
    else:
        found, remedy = f"shape {tuple(shape)}", "take the mean over the rows"
        if tuple(shape) in ((outputs.shape[0],), tuple(outputs.shape)):
            remedy = "wrap the function by xpnet.losses.make, which takes the mean over the rows"
    raise ConfigError(
        f"loss {name_of(loss)}: expected a 0-d array of a floating dtype, the mean over the rows, found "
        f"{found}; {remedy}"
    )


def classes_to_targets(loss: Any, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return class indices (rows,) or (rows, targets) as targets of ``loss``: as they are, as 0/1 or as ±1.

    Args:
        loss: a loss.
        classes: whole numbers from 0.
        n_classes: number of classes, of several targets the largest.

    Raises:
        ConfigError: the loss is one of values, or of two classes and there are more, or of one target and
            there are several.
    """
    kind = kind_of(loss)
    name = name_of(loss)
    several = classes.ndim == 2
    if kind == "classes" and not several:
        return classes
    if kind == "classes":
        raise ConfigError(
            f"loss {name}: expected one target, found {classes.shape[1]}; choose binary_cross_entropy for "
            "several of two classes each, or train a model for each target"
        )
    if kind not in ("binary", "signs"):
        declare = "" if hasattr(loss, "targets") else f", or declare its targets: {name}.targets = 'classes'"
        raise ConfigError(
            f"loss {name}: expected a loss for classes, for the target has classes; "
            f"choose softmax_cross_entropy, or {use('task', 'regression')}{declare}"
        )
    if n_classes > 2 and several:
        raise ConfigError(
            f"loss {name}: expected two classes in each of several targets, found one with {n_classes}; "
            "train a model for each target, with softmax_cross_entropy"
        )
    if n_classes > 2:
        raise ConfigError(
            f"loss {name}: expected two classes, found {n_classes}; choose softmax_cross_entropy or "
            "multiclass_hinge"
        )
    return classes if kind == "binary" else 2 * classes - 1


def outputs_for(loss: Any, n_classes: int, targets: int = 1) -> int:
    """Return how many outputs a model needs under ``loss``: one for each class, or one for each target."""
    return n_classes if kind_of(loss) == "classes" else targets


def check_targets(loss: Any, y: np.ndarray, outputs: int) -> np.ndarray:
    """Return host targets checked against the loss and the model's outputs, before anything is trained.

    Class indices come back as int64 of shape (batch,), other targets of the losses of this package as floats.

    Raises:
        DataError: labels out of range, signs that are not ±1, probabilities outside [0, 1] or rows of them
            that do not sum to 1, negative counts, or a shape that does not fit the model's outputs (both are
            named).
        ConfigError: a loss for classes over a model with one output.
    """
    if not hasattr(loss, "targets"):
        return y
    if takes_labels(loss, y, outputs):
        return check_labels(y.reshape(-1), outputs)
    if y.reshape(len(y), -1).shape[1] != outputs:
        raise DataError(
            f"y has shape {y.shape}; expected ({len(y)}, {outputs}) for a model with {outputs} outputs: "
            "give the last layer one unit for each target"
        )
    for values, right, wanted in _conditions(loss, y, np.float64):
        _refuse(values, ~right, wanted)
    return y.astype(np.float64) if y.dtype.kind in "biu" else y


def warn_of_pairs(loss: Any, y: Any) -> None:
    """Log a warning if a user's own loss compares each prediction with the targets of all rows.

    That happens where (batch,) meets (batch, 1) in it: its value stays the same if targets change places.

    Args:
        loss: any loss.
        y: targets on the device, of one value a row.
    """
    if hasattr(loss, "targets") or len(without_column(y).shape) != 1 or y.shape[0] < 2:
        return
    xp, home = array_namespace(y), backend_of(y)
    some = y[:8]
    if not is_floating(some) or bool(xp.all(some == some[:1])):
        return
    grid = np.linspace(0.2, 0.8, some.shape[0])[:, None] ** 2
    predictions = xp.astype(home.asarray(grid.astype(np.float32)), some.dtype)
    here, elsewhere = (float(mean_loss(loss, predictions, t)) for t in (some, xp.roll(some, 1, axis=0)))
    if math.isclose(here, elsewhere, rel_tol=1e-5):
        _log.warning(
            "loss %s: its value is the same if targets change places, as if each prediction were compared "
            "with the targets of all rows; predictions and targets are both of shape (batch, 1): use them as "
            "they are",
            name_of(loss),
        )


def takes_labels(loss: Any, y: Any, outputs: int) -> bool:
    """Return whether targets of the shape of ``y`` are class indices to the loss.

    Raises:
        ConfigError: a loss for classes over a model with one output.
    """
    if kind_of(loss) != "classes" or not hasattr(loss, "targets"):
        return False
    if outputs < 2:
        raise ConfigError(
            f"loss {name_of(loss)}: expected a model with one output for each class, at least 2, found "
            f"{outputs}; give the last layer one unit for each class, or choose binary_cross_entropy"
        )
    return len(y.shape) == 1 or y.shape[1] == 1


def are_allowed(loss: Any, y: Any, outputs: int, dtype: Any) -> list[Any]:
    """Return the conditions of `check_targets` for targets on a device, as boolean arrays.

    Args:
        loss: a loss.
        y: targets, (batch,) or (batch, outputs), numbers.
        outputs: of the model.
        dtype: floating dtype in which sums are taken.
    """
    if not hasattr(loss, "targets"):
        return []
    xp = array_namespace(y)
    if takes_labels(loss, y, outputs):
        return [are_labels(y, outputs)]
    if y.shape[1:] not in ((), (outputs,)) or (len(y.shape) == 1 and outputs != 1):
        return [xp.zeros_like(y, dtype=xp.bool)]
    return [right for _, right, _ in _conditions(loss, y, dtype)]


def _conditions(loss: Any, y: Any, dtype: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yield values, which of them are right, and what is wanted of them, for targets of any library."""
    kind = kind_of(loss)
    if kind in _ALLOWED:
        holds, wanted = _ALLOWED[kind]
        yield y, holds(y), wanted
    if kind == "classes":
        sums = array_namespace(y).sum(y, axis=1, dtype=dtype)
        right = abs(sums - 1) <= 1e-3
        yield sums, right, "rows that sum to 1 (several labels a row: binary_cross_entropy)"


_ALLOWED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "classes": (lambda y: (y >= 0) & (y <= 1), "probabilities from 0 to 1"),
    "binary": (lambda y: (y >= 0) & (y <= 1), "0, 1 or probabilities between"),
    "signs": (lambda y: (y == 1) | (y == -1), "-1 or 1 (2 y - 1 makes them of 0 and 1)"),
    "counts": (lambda y: y >= 0, "counts that are not negative"),
}


def _refuse(y: np.ndarray, wrong: np.ndarray, wanted: str) -> None:
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise DataError(f"y: expected {wanted}, found {y[first]} in row {first[0]}")


def probabilities(loss: Any, outputs: Any) -> Any:
    """Return class probabilities (batch, classes) from raw outputs; entries of a row sum to 1.

    Raises:
        ConfigError: the loss has no probabilities (a hinge, one of values, or a user's own without link).
    """
    if not gives_probabilities(loss):
        raise ConfigError(
            f"predict_proba: expected a loss with probabilities, found {name_of(loss)}; "
            "train with softmax_cross_entropy or binary_cross_entropy"
        )
    if kind_of(loss) == "classes":
        return softmax(outputs)
    positive = link_of(loss)(outputs)
    if len(positive.shape) == 2 and positive.shape[1] > 1:
        return positive  # multi-label: one probability for each label
    return _two_columns(positive)


def gives_probabilities(loss: Any) -> bool:
    """Return whether a loss has class probabilities: one of classes with softmax, or of 0/1 with a link."""
    kind, link = kind_of(loss), link_of(loss)
    return (kind == "classes" and link is softmax) or (kind == "binary" and link is not identity)


def _two_columns(positive: Any) -> Any:
    xp = array_namespace(positive)
    positive = xp.reshape(positive, (-1, 1))
    return xp.concat([1 - positive, positive], axis=1)


def predicted_classes(loss: Any, outputs: Any) -> Any:
    """Return the classes predicted by raw outputs, as integers like the targets: class indices, 0/1 or ±1."""
    xp = array_namespace(outputs)
    if kind_of(loss) == "classes":
        return xp.argmax(outputs, axis=-1)
    positive = xp.astype(without_column(outputs) > 0, backend_of(outputs).index_dtype())
    return positive if kind_of(loss) == "binary" else 2 * positive - 1


def without_column(values: Any) -> Any:
    """Return (batch,) for values (batch, 1), others as they are."""
    return values[:, 0] if len(values.shape) == 2 and values.shape[1] == 1 else values
