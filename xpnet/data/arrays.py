"""Checks of arrays given from memory, before any of them is sent to a device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import array_namespace, host
from xpnet.errors import BackendError, DataError

__all__ = ["Checked", "are_labels", "check_arrays", "check_labels"]


class Checked(NamedTuple):
    """Host arrays that `check_arrays` found in order."""

    X: np.ndarray
    y: np.ndarray | None
    sample_weight: np.ndarray | None


def check_arrays(
    X: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    dtype: str | None = None,
    members: int | None = None,
) -> Checked:
    """Return the arguments as NumPy arrays after checking that they fit together.

    Args:
        X: numbers of shape (batch, features), finite; at least one row and one feature.
        y: numbers of shape (batch,) or (batch, outputs), finite; or None.
        sample_weight: numbers of shape (batch,), or with ``members`` (batch, members), finite, not negative,
            not all zero; or None.
        dtype: name of the float type in which X and y will be used; values too large for it are refused.
        members: of an ensemble; None without.

    Raises:
        DataError: one of these does not hold; the message names the shapes or the first bad entry.

    Example:
        >>> check_arrays([[1, 2], [3, 4]], [0, 1]).X.shape
        (2, 2)
        >>> check_arrays([[1, 2], [3, 4]], [0, 1, 1])
        Traceback (most recent call last):
        ...
        xpnet.errors.DataError: X has 2 rows, shape (2, 2), but y has 3, shape (3,): give one target a row
    """
    X = _numbers("X", X)
    if X.ndim != 2:
        raise DataError(f"X has shape {X.shape}; expected (batch, features){_advice(X, y)}")
    if 0 in X.shape:
        raise DataError(f"X has shape {X.shape}; at least one row and one feature are needed")
    _finite("X", X, dtype)
    if y is not None:
        y = _numbers("y", y)
        if y.ndim not in (1, 2):
            raise DataError(f"y has shape {y.shape}; expected (batch,) or (batch, outputs)")
        _same_length(X, "y", y, "target")
        _finite("y", y, dtype)
    if sample_weight is not None:
        sample_weight = _numbers("sample_weight", sample_weight)
        if sample_weight.ndim != 1 and sample_weight.shape[1:] != (members,):
            each = "" if members is None else f", or ({len(X)}, {members}): one for each of its members"
            raise DataError(
                f"sample_weight has shape {sample_weight.shape}; expected ({len(X)},): one for each row{each}"
            )
        _same_length(X, "sample_weight", sample_weight, "weight")
        _finite("sample_weight", sample_weight, dtype)
        if (sample_weight < 0).any():
            first = int(np.argmax((sample_weight < 0).reshape(len(X), -1).any(axis=1)))
            raise DataError(f"sample_weight[{first}] is {sample_weight[first]}; weights must not be negative")
        if not sample_weight.any():
            raise DataError("sample_weight is zero everywhere; at least one row must count")
    return Checked(X, y, sample_weight)


def check_labels(y: Any, n_classes: int) -> np.ndarray:
    """Return class indices as an int64 array of shape (batch,).

    Args:
        y: whole numbers from 0 to n_classes - 1; floats are taken if they are whole.
        n_classes: number of classes.

    Raises:
        DataError: an entry is no whole number or out of range; the message names the first such row.

    Example:
        >>> check_labels([0.0, 2.0], 3).tolist()
        [0, 2]
    """
    labels = _numbers("y", y)
    if labels.ndim != 1:
        raise DataError(f"y has shape {labels.shape}; expected class indices of shape (batch,)")
    # compared in the type it came in: casting first would wrap values beyond int64 around
    with np.errstate(invalid="ignore"):
        wrong = ~are_labels(labels, n_classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"y[{first}] is {labels[first]}; expected a class index, a whole number of 0 to {n_classes - 1} "
            "(xpnet.data.Encoder makes them of labels)"
        )
    return labels.astype(np.int64)


def are_labels(y: Any, n_classes: int) -> Any:
    """Return for each entry of an array of any library whether it is a whole number of 0 to n_classes - 1."""
    xp = array_namespace(y)
    within = (y >= 0) & (y < n_classes)
    return within & (y == xp.floor(y)) if xp.isdtype(y.dtype, "real floating") else within


def _advice(X: np.ndarray, y: Any) -> str:
    if X.ndim == 1:
        swapped = "; were X and y swapped?" if isinstance(y, np.ndarray) and y.ndim == 2 else ""
        return f"{swapped}; X[:, None] makes one feature of it, X[None, :] one row"
    return "; X.reshape(len(X), -1) flattens the rows" if X.ndim else ""


def _numbers(name: str, values: Any) -> np.ndarray:
    if np.ma.is_masked(values):
        raise DataError(f"{name} has masked entries; fill them in, or leave their rows out")
    try:
        array = host(values) if hasattr(values, "__dlpack__") else np.asarray(values)
    except (BackendError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise DataError(f"{name} is no array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        what = (
            "Python objects or whole numbers beyond 64 bits"
            if array.dtype.kind == "O"
            else f"{array.dtype} values"
        )
        raise DataError(
            f"{name} holds {what}; expected real numbers (xpnet.data.Encoder encodes tables with text)"
        )
    return array


def _same_length(X: np.ndarray, name: str, array: np.ndarray, what: str) -> None:
    if len(array) != len(X):
        raise DataError(
            f"X has {len(X)} rows, shape {X.shape}, but {name} has {len(array)}, shape {array.shape}: "
            f"give one {what} a row"
        )


def _finite(name: str, array: np.ndarray, dtype: str | None) -> None:
    if array.dtype.kind != "f":
        return
    limit = np.inf if dtype is None else float(np.finfo(dtype).max)
    # one pass without a temporary decides for good arrays, as NaN spreads and infinities are extremes
    low, high = float(array.min()), float(array.max())  # a float16 could not be compared with the limit
    if -limit <= low and high <= limit and np.isfinite(low) and np.isfinite(high):
        return
    wrong = ~np.isfinite(array) | (np.abs(array) > min(limit, float(np.finfo(array.dtype).max)))
    index = np.unravel_index(int(np.argmax(wrong)), array.shape)
    value = array[index]
    place = f"{name}[{', '.join(str(i) for i in index)}]"
    if np.isfinite(value):
        raise DataError(f"{place} is {value}, too large for {dtype}; rescale {name} or use dtype float64")
    raise DataError(f"{place} is {value}; expected finite numbers: correct it, or leave the row out")
