"""Rows of data on their way to the device: checked, weighted, split and moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet import backends
from xpnet.backends import Backend
from xpnet.checks import check_number
from xpnet.data import check_arrays, split_rows
from xpnet.errors import ConfigError, DataError
from xpnet.train import targets

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["Rows", "prepare", "split"]

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows on the device: inputs (n, features), targets, and weights (n,) or None."""

    X: Any
    y: Any
    weight: Any

    def take(self, order: Any, xp: Any) -> Rows:
        """Return the rows numbered by ``order``; None means all."""
        if order is None:
            return self
        weight = None if self.weight is None else xp.take(self.weight, order, axis=0)
        return Rows(xp.take(self.X, order, axis=0), xp.take(self.y, order, axis=0), weight)


def prepare(trainer: Trainer, X: Any, y: Any, weight: Any = None) -> Rows:
    """Return checked rows on the trainer's device."""
    return _to_device(trainer.backend, trainer.dtype, *_checked(trainer, X, y, weight))


def split(
    trainer: Trainer, X: Any, y: Any, weight: Any, class_weight: Any, validation: Any
) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows (None without), checked and on the device."""
    X, y, weight = _checked(trainer, X, y, weight)
    weight = _weigh_classes(y, weight, class_weight)
    home, dtype = trainer.backend, trainer.dtype
    if isinstance(validation, tuple) and len(validation) in (2, 3):
        return _to_device(home, dtype, X, y, weight), prepare(trainer, *validation)
    if not validation and validation in (None, 0):
        return _to_device(home, dtype, X, y, weight), None
    if not isinstance(validation, float):
        raise ConfigError(f"validation: expected a fraction or a pair (X, y), found {validation!r}")
    labels = y if targets.kind_of(trainer.loss) == "classes" and y.ndim == 1 else None
    train, held_out, _ = split_rows(len(X), validation=validation, seed=trainer.seed, stratify=labels)
    parts = [(X[rows], y[rows], None if weight is None else weight[rows]) for rows in (train, held_out)]
    return _to_device(home, dtype, *parts[0]), _to_device(home, dtype, *parts[1])


def to_host(x: Any) -> Any:
    """Return arrays of any backend, and tables or columns that offer ``to_numpy``, as NumPy arrays."""
    if x is None or isinstance(x, np.ndarray) or not hasattr(x, "shape"):
        return x
    return x.to_numpy() if hasattr(x, "to_numpy") else backends.backend_of(x).to_host(x)


def _checked(trainer: Trainer, X: Any, y: Any, weight: Any) -> Arrays:
    checked = check_arrays(to_host(X), to_host(y), to_host(weight), dtype=trainer.dtype)
    check_width(trainer, checked.X)
    outputs = trainer.model.output_shape(checked.X.shape[1:])
    return checked.X, targets.check_targets(trainer.loss, checked.y, outputs), checked.sample_weight  # type: ignore[arg-type]


def check_width(trainer: Trainer, X: np.ndarray) -> None:
    """Refuse rows of another width than the model was trained with."""
    if trainer.input_shape is not None and X.shape[1:] != trainer.input_shape:
        raise DataError(
            f"X has shape {X.shape}; expected (batch, {trainer.input_shape[0]}), as the model was trained with"
        )


def _to_device(home: Backend, dtype: str, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Rows:
    whole = y.dtype.kind in "iu"
    return Rows(
        home.asarray(X, dtype=dtype),
        home.asarray(y) if whole else home.asarray(y, dtype=dtype),
        None if weight is None else home.asarray(weight, dtype=dtype),
    )


def _weigh_classes(y: np.ndarray, weight: np.ndarray | None, class_weight: Any) -> np.ndarray | None:
    """Return row weights times the weight of each row's class."""
    if class_weight is None:
        return weight
    if y.ndim != 1:
        raise ConfigError(f"class_weight: expected targets of shape (batch,), found {y.shape}; use sample_weight")
    classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    names = classes.tolist()
    if isinstance(class_weight, str) and class_weight == "balanced":
        factors = len(y) / (len(classes) * counts)
    elif isinstance(class_weight, Mapping):
        for name in names:
            if name not in class_weight:
                raise ConfigError(f"class_weight: expected a weight for each class, found none for {name!r}")
            check_number(f"class_weight[{name!r}]", class_weight[name])
        factors = np.asarray([float(class_weight[name]) for name in names])
    else:
        raise ConfigError(f"class_weight: expected a dict or 'balanced', found {class_weight!r}")
    return factors[inverse] * (1.0 if weight is None else weight)
