"""Targets in the form that a loss asks for, and predictions in the form that people ask for.

Every loss of :mod:`xpnet.losses` says of which kind its targets are; a user's own loss gets values as
they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.autodiff.functions import softmax
from xpnet.backends import array_namespace
from xpnet.data import check_labels
from xpnet.errors import ConfigError, DataError

__all__ = [
    "check_targets",
    "classes_to_targets",
    "is_classifier",
    "kind_of",
    "outputs_for",
    "predicted_classes",
    "probabilities",
]


def kind_of(loss: Any) -> str:
    """Return the kind of targets of ``loss``: values, counts, classes, binary or signs."""
    return getattr(loss, "targets", "values")


def is_classifier(loss: Any) -> bool:
    """True if ``loss`` trains a classifier."""
    return kind_of(loss) in ("classes", "binary", "signs")


def classes_to_targets(loss: Any, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return class indices as targets of ``loss``: as they are, as 0/1 or as ±1.

    Raises:
        ConfigError: the loss is one of values, or of two classes and there are more.
    """
    kind = kind_of(loss)
    name = getattr(loss, "__name__", str(loss))
    if kind == "classes":
        return classes
    if kind not in ("binary", "signs"):
        raise ConfigError(
            f"loss {name}: expected a loss for classes, for the target has classes; "
            "choose softmax_cross_entropy, or --task regression"
        )
    if n_classes > 2:
        raise ConfigError(
            f"loss {name}: expected two classes, found {n_classes}; choose softmax_cross_entropy or multiclass_hinge"
        )
    return classes if kind == "binary" else 2 * classes - 1


def outputs_for(loss: Any, n_classes: int) -> int:
    """Return how many outputs a model needs to tell ``n_classes`` classes apart under ``loss``."""
    return n_classes if kind_of(loss) == "classes" else 1


def check_targets(loss: Any, y: np.ndarray, output_shape: tuple[int, ...]) -> np.ndarray:
    """Return host targets checked against the loss and the model's output, before anything is trained.

    Raises:
        DataError: labels out of range, signs that are not ±1, probabilities outside [0, 1], negative counts,
            or a shape that does not fit the model's outputs (both are named).
    """
    kind, outputs = kind_of(loss), output_shape[0]
    if kind == "classes" and (y.ndim == 1 or (y.shape[1] == 1 and outputs > 1)):
        return check_labels(y.reshape(-1), outputs)
    if (y.reshape(len(y), -1).shape[1]) != outputs:
        raise DataError(
            f"targets: expected shape ({len(y)}, {outputs}) for a model with {outputs} outputs, found {y.shape}; "
            "give the last layer one unit for each target"
        )
    allowed = {
        "classes": (lambda: (y >= 0) & (y <= 1), "probabilities from 0 to 1"),
        "binary": (lambda: (y >= 0) & (y <= 1), "0, 1 or probabilities between"),
        "signs": (lambda: (y == 1) | (y == -1), "-1 or 1 (2 y - 1 makes them of 0 and 1)"),
        "counts": (lambda: y >= 0, "counts that are not negative"),
    }
    if kind in allowed:
        holds, wanted = allowed[kind]
        good = holds()
        if not good.all():
            bad = tuple(int(i) for i in np.argwhere(~good)[0])
            raise DataError(f"targets: expected {wanted}, found {y[bad]} in row {bad[0]}")
    return y


def probabilities(loss: Any, outputs: Any) -> Any:
    """Return class probabilities (batch, classes) from raw outputs; entries of a row sum to 1.

    Raises:
        ConfigError: the loss has no probabilities (a hinge, or one of values).
    """
    kind = kind_of(loss)
    if kind == "classes" and loss.link is softmax:
        return loss.link(outputs)
    if kind == "binary":
        positive = loss.link(outputs)
        if len(positive.shape) == 2 and positive.shape[1] > 1:
            return positive  # multi-label: one probability for each label
        return _two_columns(positive)
    raise ConfigError(
        f"predict_proba: expected a loss with probabilities, found {getattr(loss, '__name__', loss)}; "
        "train with softmax_cross_entropy or binary_cross_entropy"
    )


def _two_columns(positive: Any) -> Any:
    xp = array_namespace(positive)
    positive = xp.reshape(positive, (-1, 1))
    return xp.concat([1 - positive, positive], axis=1)


def predicted_classes(loss: Any, outputs: np.ndarray) -> np.ndarray:
    """Return what raw host outputs predict in the targets' own terms: class indices, 0/1 or ±1."""
    kind = kind_of(loss)
    if kind == "classes":
        return outputs.argmax(axis=-1)
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = outputs[:, 0]
    positive = outputs > 0
    return positive.astype(np.int64) if kind == "binary" else np.where(positive, 1, -1)
