"""Rows of data on their way to the device: checked, weighted, split and moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet import backends, checks
from xpnet.backends import array_namespace
from xpnet.data import check_arrays, split_rows
from xpnet.errors import ConfigError, DataError, XpnetError
from xpnet.train import targets

if TYPE_CHECKING:
    from xpnet.train.predictor import Predictor
    from xpnet.train.trainer import Trainer

__all__ = ["Rows", "check_inputs", "prepare", "split"]


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows on the device: inputs (n, features), targets, and weights (n,) or None."""

    X: Any
    y: Any
    weight: Any

    def take(self, order: Any) -> Rows:
        """Return the rows numbered by ``order``; None means all."""
        if order is None:
            return self
        xp = array_namespace(self.X)
        weight = None if self.weight is None else xp.take(self.weight, order, axis=0)
        return Rows(xp.take(self.X, order, axis=0), xp.take(self.y, order, axis=0), weight)


class _Host(NamedTuple):
    """Checked rows on the host."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None

    def take(self, rows: np.ndarray) -> _Host:
        return _Host(self.X[rows], self.y[rows], None if self.weight is None else self.weight[rows])


def check_inputs(trainer: Predictor, X: Any) -> np.ndarray:
    """Return inputs as a checked host array of the width that the model was trained with."""
    checked = check_arrays(_to_host("X", X), dtype=trainer.dtype).X
    _check_width(checked, trainer.input_shape)
    return checked


def prepare(trainer: Predictor, X: Any, y: Any, weight: Any = None) -> Rows:
    """Return checked rows on the trainer's device."""
    return _to_device(trainer, _checked(trainer, X, y, weight, width=trainer.input_shape))


def split(
    trainer: Trainer, X: Any, y: Any, weight: Any, class_weight: Any, validation: Any
) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows (None without), checked and on the device."""
    train, held_out = _checked(trainer, X, y, weight, width=trainer.input_shape), None
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        try:
            held_out = _checked(trainer, *validation, width=train.X.shape[1:])
        except DataError as error:
            raise DataError(f"validation: {error}") from None
    elif isinstance(validation, Real) and not isinstance(validation, bool):
        train, held_out = _split_off(trainer, train, checks.fraction("validation", validation))
    elif validation is not None:
        found = repr(validation) if isinstance(validation, (str, bool)) else type(validation).__name__
        raise ConfigError(
            f"validation: expected a fraction or a pair (X, y), found {found}; pass 0.1, say, or (X, y)"
        )
    train = _weigh_classes(trainer, train, class_weight)
    return _to_device(trainer, train), None if held_out is None else _to_device(trainer, held_out)


def _split_off(trainer: Trainer, rows: _Host, fraction: float) -> tuple[_Host, _Host | None]:
    if fraction == 0:
        return rows, None
    labels = rows.y if targets.kind_of(trainer.loss) == "classes" and rows.y.ndim == 1 else None
    seed = trainer.seed if trainer.split_seed is None else trainer.split_seed
    train, held_out, _ = split_rows(len(rows.X), validation=fraction, seed=seed, stratify=labels)
    return rows.take(train), rows.take(held_out)


def _checked(trainer: Predictor, X: Any, y: Any, weight: Any = None, *, width: Any) -> _Host:
    X, y, weight = check_arrays(
        _to_host("X", X), _to_host("y", y), _to_host("sample_weight", weight), dtype=trainer.dtype
    )
    if y is None:
        raise DataError("y: expected a target for each row, found None")
    _check_width(X, width)
    outputs = trainer.model.output_shape(X.shape[1:])
    return _drop_unweighted(_Host(X, targets.check_targets(trainer.loss, y, outputs), weight))


def _to_host(name: str, x: Any) -> Any:
    """Return arrays of any backend, and tables or columns that offer ``to_numpy``, as NumPy arrays."""
    if x is None or isinstance(x, np.ndarray) or not hasattr(x, "shape"):
        return x
    try:
        return x.to_numpy() if hasattr(x, "to_numpy") else backends.backend_of(x).to_host(x)
    except (XpnetError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: expected an array or a table of numbers, found {type(x).__name__}, which cannot be "
            f"read as one ({error}); convert it to a NumPy array (of a sparse matrix: {name}.toarray())"
        ) from None


def _check_width(X: np.ndarray, width: tuple[int, ...] | None) -> None:
    """Refuse rows of another width than those of the training."""
    if width is not None and X.shape[1:] != width:
        raise DataError(
            f"X has shape {X.shape}; expected (batch, {width[0]}), as in training: pass the same features"
        )


def _to_device(trainer: Predictor, rows: _Host) -> Rows:
    home, dtype = trainer.backend, trainer.dtype
    if rows.weight is not None:
        targets.check_weighting(trainer.loss)
    whole = rows.y.dtype.kind in "iu"
    return Rows(
        home.asarray(rows.X, dtype=dtype),
        home.asarray(rows.y) if whole else home.asarray(rows.y, dtype=dtype),
        None if rows.weight is None else home.asarray(rows.weight, dtype=dtype),
    )


def _drop_unweighted(rows: _Host) -> _Host:
    """Return the rows that count, as a batch of none of them has no mean; the largest weight is then near 1.

    Only ratios of weights matter, so the power of two of the largest is taken out: none overflows.
    """
    if rows.weight is None:
        return rows
    largest = rows.weight.max(initial=0.0)
    scaled = np.ldexp(rows.weight.astype(np.float64), -int(np.frexp(largest)[1]))
    counting = scaled > 1e-30  # what is smaller would underflow in float32 sums
    if not counting.any():
        raise DataError("weights: expected a weight above 0 for some training row, found none")
    rows = rows._replace(weight=scaled)
    return rows if counting.all() else rows.take(np.flatnonzero(counting))


def _weigh_classes(trainer: Trainer, rows: _Host, class_weight: Any) -> _Host:
    """Return rows whose weights are multiplied by the weight of each row's class."""
    if class_weight is None:
        return rows
    if hasattr(trainer.loss, "targets") and not targets.is_classifier(trainer.loss):
        raise ConfigError(
            f"class_weight: expected a loss for classes, found {targets.name_of(trainer.loss)}; use "
            "sample_weight"
        )
    labels = rows.y[:, 0] if rows.y.ndim == 2 and rows.y.shape[1] == 1 else rows.y
    if labels.ndim != 1:
        raise ConfigError(
            f"class_weight: expected targets of shape (batch,), found {rows.y.shape}; use sample_weight"
        )
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str) and class_weight == "balanced":
        factors = len(labels) / (len(classes) * counts)
    elif isinstance(class_weight, Mapping):
        factors = np.asarray([_weight_of(name, class_weight) for name in classes.tolist()])
    else:
        raise ConfigError(f"class_weight: expected a dict or 'balanced', found {class_weight!r}")
    weight = factors[inverse] if rows.weight is None else factors[inverse] * rows.weight
    return _drop_unweighted(rows._replace(weight=weight))


def _weight_of(name: Any, class_weight: Mapping[Any, Any]) -> float:
    if name not in class_weight:
        raise ConfigError(
            f"class_weight: expected a weight for each class, found none for {name!r}; "
            f"add {name!r}: 1.0, or 0 to leave the class out"
        )
    return checks.not_negative(f"class_weight[{name!r}]", class_weight[name])
