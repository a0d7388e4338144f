"""Rows of data on their way to the device: checked, weighted, split and moved."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.backends import array_namespace
from xpnet.data import check_arrays, split_rows
from xpnet.errors import ConfigError, DataError, XpnetError
from xpnet.train import targets
from xpnet.train.columns import column_names, matched, table_to_numpy
from xpnet.train.inspection import inspect
from xpnet.train.members import of_members, of_rows, outputs_of_model
from xpnet.train.setup import Setup

__all__ = ["Rows", "are_others", "check_inputs", "fingerprint", "prepare", "split"]

_ENTRIES = 512  # of each array, of which a fingerprint is taken
_ROUNDING = 1e-5  # of means of numbers from -1 to 1, in float32


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows on the device, and before on the host: inputs (n, features), targets, and weights or None.

    Weights are (n,), or of an ensemble (n, members).
    """

    X: Any
    y: Any
    weight: Any

    def take(self, order: Any) -> Rows:
        """Return the rows numbered by ``order``, an array on their device; None means all."""
        if order is None:
            return self
        xp = array_namespace(self.X, order)
        weight = None if self.weight is None else xp.take(self.weight, order, axis=0)
        return Rows(xp.take(self.X, order, axis=0), xp.take(self.y, order, axis=0), weight)


def fingerprint(setup: Setup, rows: Rows) -> list[float]:
    r"""Return a fingerprint of rows: their shape, and a mean over some entries of X and of y.

    The mean is that of $w_i x_i / (1 + |x_i|)$ over some hundred entries, where $w_i = \cos i$ tells their
    order; it is the same on all devices and in both dtypes, up to rounding. One transfer.
    """
    home, dtype = setup.backend, setup.dtype
    xp, parts = home.xp, []
    for array in (rows.X, rows.y):
        flat = xp.reshape(array, (-1,))
        some = flat[:: -(-flat.shape[0] // _ENTRIES)]
        parts.append(some if array is rows.X else xp.astype(some, rows.X.dtype))
    some = xp.concat(parts)
    mean = xp.mean(some / (1 + abs(some)) * home.asarray(_weights(some.shape[0], dtype)))
    return [float(rows.X.shape[0]), float(rows.X.shape[1]), float(home.to_host(mean))]


@functools.lru_cache(maxsize=8)
def _weights(count: int, dtype: str) -> np.ndarray:
    return np.cos(np.arange(count)).astype(dtype)


def are_others(one: list[float], other: list[float]) -> bool:
    """Return whether two fingerprints are those of different rows."""
    return any(abs(a - b) > _ROUNDING for a, b in zip(one, other, strict=True))


def check_inputs(setup: Setup, X: Any, width: tuple[int, ...] | None) -> Any:
    """Return inputs as a checked array: on the setup's device if ``X`` is there, else on the host.

    Args:
        setup: for whose model.
        X: inputs.
        width: shape of a row in training; None for any.
    """
    there = inspect(setup, X, width=width)
    if there is not None:
        return there.X
    checked = check_arrays(_to_host("X", X), dtype=setup.dtype).X
    _check_width(checked, width)
    return checked


def prepare(setup: Setup, X: Any, y: Any, weight: Any = None, *, width: tuple[int, ...] | None) -> Rows:
    """Return checked rows on the setup's device."""
    with setup.backend.activate():
        return _to_device(setup, _checked(setup, X, y, weight, width=width))


def split(
    setup: Setup,
    X: Any,
    y: Any,
    weight: Any,
    class_weight: Any,
    validation: Any,
    *,
    width: tuple[int, ...] | None,
) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows (None without), checked and on the device."""
    with setup.backend.activate():
        train, held_out = _split(setup, X, y, weight, validation, width)
        train = _weigh_classes(setup, train, class_weight)
        return _to_device(setup, train), None if held_out is None else _to_device(setup, held_out)


def _split(
    setup: Setup, X: Any, y: Any, weight: Any, validation: Any, width: Any
) -> tuple[Rows, Rows | None]:
    train = _checked(setup, X, y, weight, width=width)
    if validation is None:
        return train, None
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        try:
            held_out = matched(validation[0], column_names(X)), *validation[1:]
            return train, _checked(setup, *held_out, width=tuple(train.X.shape[1:]))
        except DataError as error:
            raise DataError(f"validation: {error}") from None
    if isinstance(validation, Real) and not isinstance(validation, bool):
        return _split_off(setup, train, checks.fraction("validation", validation))
    found = repr(validation) if isinstance(validation, (str, bool)) else type(validation).__name__
    raise ConfigError(
        f"validation: expected a fraction or a pair (X, y), found {found}; pass 0.1, say, or (X, y)"
    )


def _split_off(setup: Setup, rows: Rows, fraction: float) -> tuple[Rows, Rows | None]:
    if fraction == 0:
        return rows, None
    home, labels = backends.backend_of(rows.X), None
    if targets.kind_of(setup.loss) == "classes" and len(rows.y.shape) == 1:
        labels = home.to_host(rows.y)  # the same rows are drawn on all devices: by the host
    seed = setup.settings.seed if setup.settings.split_seed is None else setup.settings.split_seed
    train, held_out, _ = split_rows(rows.X.shape[0], validation=fraction, seed=seed, stratify=labels)
    return rows.take(home.asarray(train)), rows.take(home.asarray(held_out))


def _checked(setup: Setup, X: Any, y: Any, weight: Any = None, *, width: Any) -> Rows:
    """Return checked rows: on the trainer's device if ``X`` is there, else on the host."""
    if y is None:
        raise DataError("y: expected a target for each row, found None")
    there = inspect(setup, X, y, weight, width=width)
    if there is not None:
        return _drop_unweighted(Rows(*there))
    X, y, weight = check_arrays(
        *(_to_host(name, x) for name, x in (("X", X), ("y", y), ("sample_weight", weight))),
        dtype=setup.dtype,
        members=setup.model.ensemble,
    )
    _check_width(X, width)
    y = targets.check_targets(setup.loss, y, outputs_of_model(setup.model, X.shape[1:]))
    return _drop_unweighted(Rows(X, y, None if weight is None else weight.astype(np.float64)))


def _to_host(name: str, x: Any) -> Any:
    """Return arrays of any library, and tables or columns that offer ``to_numpy``, as NumPy arrays."""
    kinds = ("shape", "__dlpack__", "__array_namespace__")
    if x is None or isinstance(x, np.ndarray) or not any(hasattr(x, kind) for kind in kinds):
        return x
    try:
        table = hasattr(x, "to_numpy") or hasattr(x, "column_names")
        return table_to_numpy(x) if table else backends.host(x)
    except (XpnetError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: expected an array or a table of numbers, found {type(x).__name__}, which cannot be "
            f"read as one ({error}); convert it to a NumPy array (of a sparse matrix: {name}.toarray())"
        ) from None


def _check_width(X: np.ndarray, width: tuple[int, ...] | None) -> None:
    """Refuse rows whose width differs from the training's."""
    if width is not None and X.shape[1:] != width:
        raise DataError(
            f"X has shape {X.shape}; expected (batch, {width[0]}), as in training: pass the same features"
        )


def _to_device(setup: Setup, rows: Rows) -> Rows:
    home, dtype = setup.backend, setup.dtype
    if rows.weight is not None:
        targets.check_weighting(setup.loss)
    whole = array_namespace(rows.y).isdtype(rows.y.dtype, "integral")
    return Rows(
        home.asarray(rows.X, dtype=dtype),
        home.asarray(rows.y) if whole else home.asarray(rows.y, dtype=dtype),
        None if rows.weight is None else home.asarray(rows.weight, dtype=dtype),
    )


def _drop_unweighted(rows: Rows) -> Rows:
    """Return the rows that count, as a batch of none of them has no mean; the largest weight is then near 1.

    Only ratios of weights matter, so the power of two of the largest is taken out: none overflows.
    """
    if rows.weight is None:
        return rows
    xp = array_namespace(rows.weight)
    exponent = math.frexp(float(xp.max(rows.weight)))[1]
    half = exponent // 2  # the whole power may be beyond the dtype
    scaled = rows.weight * 2.0**-half * 2.0 ** (half - exponent)
    counting = of_rows(scaled) > 1e-30  # what is smaller would underflow in float32 sums
    count = int(xp.count_nonzero(counting))
    if not count:
        raise DataError("weights: expected a weight above 0 for some training row, found none")
    rows = dataclasses.replace(rows, weight=scaled)
    return rows if count == counting.shape[0] else rows.take(xp.nonzero(counting)[0])


def _weigh_classes(setup: Setup, rows: Rows, class_weight: Any) -> Rows:
    """Return rows whose weights are multiplied by the weight of each row's class."""
    if class_weight is None:
        return rows
    if hasattr(setup.loss, "targets") and not targets.is_classifier(setup.loss):
        raise ConfigError(
            f"class_weight: expected a loss for classes, found {targets.name_of(setup.loss)}; use "
            "sample_weight"
        )
    labels = targets.without_column(rows.y)
    if len(labels.shape) != 1:
        raise ConfigError(
            f"class_weight: expected targets of shape (batch,), found {tuple(rows.y.shape)}; use "
            "sample_weight"
        )
    xp, home = array_namespace(labels), backends.backend_of(labels)
    classes, inverse = xp.unique_inverse(labels)
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = home.to_host(xp.unique_counts(labels)[1])
        if rows.weight is not None:  # which are as many rows
            counts = np.bincount(home.to_host(inverse), home.to_host(of_rows(rows.weight)))
        factors = counts.sum() / (len(counts) * counts)
    elif isinstance(class_weight, Mapping):
        names = home.to_host(classes).tolist()
        factors = np.asarray([_weight_of(name, class_weight) for name in names])
    else:
        raise ConfigError(f"class_weight: expected a dict or 'balanced', found {class_weight!r}")
    dtype = "float64" if home.name == "numpy" else setup.dtype
    weight = xp.take(home.asarray(factors, dtype=dtype), inverse)
    if of_members(rows.weight) is not None:
        weight = xp.expand_dims(weight, axis=1)
    return _drop_unweighted(
        dataclasses.replace(rows, weight=weight if rows.weight is None else weight * rows.weight)
    )


def _weight_of(name: Any, class_weight: Mapping[Any, Any]) -> float:
    if name not in class_weight:
        raise ConfigError(
            f"class_weight: expected a weight for each class, found none for {name!r}; "
            f"add {name!r}: 1.0, or 0 to leave the class out"
        )
    return checks.not_negative(f"class_weight[{name!r}]", class_weight[name])
