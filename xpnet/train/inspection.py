"""Checks of arrays on the trainer's device: only one number is copied to the host.

Valid arrays stay there. Invalid ones are copied to the host, whose checks in `xpnet.data` raise the error:
they take NumPy's arrays only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import Backend
from xpnet.errors import BackendError
from xpnet.train import targets
from xpnet.train.members import of_members, outputs_of_model
from xpnet.train.setup import Setup

__all__ = ["Inspected", "inspect"]

_ENTRIES = 1 << 24  # that are looked at together, so that the answers take little memory


class Inspected(NamedTuple):
    """Arrays on the device that are in order, as `check_arrays` and `check_targets` would return them."""

    X: Any
    y: Any
    weight: Any


def inspect(
    setup: Setup, X: Any, y: Any = None, weight: Any = None, *, width: tuple[int, ...] | None
) -> Inspected | None:
    """Return the arrays, the first of which is on the trainer's device, if they are valid; else None.

    Targets and weights may come from elsewhere. None is also the answer for NumPy's arrays on NumPy.

    Args:
        setup: for whose model, loss and dtype.
        X, y, weight: as for `Trainer.fit`; y and weight may be None.
        width: shape of a row that is wanted; None for any.
    """
    home = setup.backend
    there = None if home.name == "numpy" else home.adopt(X)
    if there is None or width not in (None, tuple(there.shape[1:])):
        return None
    with home.activate():
        given = [there, *(None if x is None else _sent(home, x) for x in (y, weight))]
        sent = [x for x in given if x is not None]
        members = setup.model.ensemble
        if len(sent) < 1 + (y is not None) + (weight is not None) or not _fit_together(home, members, *given):
            return None
        return _in_order(setup, Inspected(*given))


def _sent(home: Backend, x: Any) -> Any | None:
    """Return an array on the device; None for what is no array of numbers that the device has."""
    there = home.adopt(x)
    if there is not None:
        return there
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    if np.ma.is_masked(x):
        return None
    try:
        host = x if hasattr(x, "__dlpack__") and not isinstance(x, np.ndarray) else np.asarray(x)
        return home.asarray(host)
    except (BackendError, OverflowError, RuntimeError, TypeError, ValueError):
        return None


def _fit_together(home: Backend, members: int | None, X: Any, y: Any, weight: Any) -> bool:
    """Return whether shapes and kinds of dtypes are those of rows, targets and weights."""
    if of_members(weight) is not None and weight.shape[1] != members:
        return False
    for x, axes in ((X, (2,)), (y, (1, 2)), (weight, (1, 2))):
        if x is not None and not (
            len(x.shape) in axes
            and x.shape[0] == X.shape[0]
            and home.xp.isdtype(x.dtype, ("bool", "integral", "real floating"))
        ):
            return False
    return 0 not in X.shape


def _in_order(setup: Setup, given: Inspected) -> Inspected | None:
    """Return what fits together if its entries are in order as well, in the form that training wants."""
    home, loss = setup.backend, setup.loss
    xp, dtype = home.xp, home.dtype(setup.dtype)
    X, y, weight = given
    floating = [x for x in given if x is not None and xp.isdtype(x.dtype, "real floating")]
    right = [_are_finite(xp, x, dtype) for x in floating]
    if y is not None:
        outputs = outputs_of_model(setup.model, tuple(X.shape[1:]))
        if not xp.isdtype(y.dtype, "real floating"):
            whole = xp.isdtype(y.dtype, "integral")
            y = xp.astype(y, home.index_dtype())  # a bool has no order, and an int8 none with a class of 200
            if not whole and not hasattr(loss, "targets"):
                y = xp.astype(y, dtype)
        right += targets.are_allowed(loss, y, outputs, dtype)
        if targets.takes_labels(loss, y, outputs):
            y = xp.astype(xp.reshape(y, (-1,)), home.index_dtype())
        elif hasattr(loss, "targets"):
            y = xp.astype(y, dtype)
    if weight is not None:
        if weight.dtype not in (xp.float32, xp.float64):
            weight = xp.astype(weight, dtype)
        right += [xp.reshape(weight, (-1,)) >= 0, xp.reshape(xp.any(weight > 0), (1,))]
    flags = [xp.all(each) for each in right]
    return Inspected(X, y, weight) if not flags or bool(xp.all(xp.stack(flags))) else None


def _are_finite(xp: Any, x: Any, dtype: Any) -> Any:
    """Return a boolean vector: whether blocks of an array hold numbers that are finite in ``dtype``."""
    most = float(xp.finfo(dtype).max)
    narrower = float(xp.finfo(x.dtype).max) > most
    rows = max(1, _ENTRIES // max(1, int(np.prod(x.shape[1:]))))
    found = []
    for start in range(0, x.shape[0], rows):
        block = x[start : min(start + rows, x.shape[0]), ...]
        right = xp.isfinite(block)
        found.append(xp.all(right & (xp.abs(block) <= most) if narrower else right))
    return xp.stack(found)
