"""Checks of the arguments of a trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.errors import ConfigError
from xpnet.nn import Layer
from xpnet.optim import Optimizer
from xpnet.train.callbacks import Callback
from xpnet.train.metrics import get as get_metric

__all__ = [
    "check_callbacks",
    "check_mask",
    "check_model",
    "named_metrics",
    "needing_less",
]

_COLUMNS = ("epoch", "step", "loss", "learning_rate", "seconds")


def check_model(model: Any) -> None:
    """Refuse a model that is no `Layer`."""
    if isinstance(model, Layer):
        return
    advice = "make one with xpnet.nn.MLP([64], outputs)"
    if isinstance(model, (list, tuple)):
        advice = "write xpnet.nn.Sequential([...]) around the list"
    elif inspect.isclass(model) and issubclass(model, Layer):
        advice = f"write {model.__name__}(...) rather than {model.__name__}"
    raise ConfigError(f"model: expected a layer or model of xpnet.nn, found {model!r}; {advice}")


def _listed(name: str, things: Any) -> list[Any]:
    if isinstance(things, (str, Mapping)) or not hasattr(things, "__iter__"):
        raise ConfigError(f"{name}: expected a list, found {things!r}; write {name}=[...]")
    return list(things)


def check_callbacks(callbacks: Any) -> list[Callback]:
    """Return callbacks as a list."""
    found = _listed("callbacks", callbacks)
    for callback in found:
        if not isinstance(callback, Callback):
            raise ConfigError(
                "callbacks: expected objects of classes derived from xpnet.train.Callback, found "
                f"{callback!r}; derive one, and pass an object of it"
            )
    return found


def check_mask(home: Backend, dtype: str, size: int, mask: Any) -> Any:
    """Return a mask of ``size`` parameters as an array of their dtype on their device."""
    values = np.asarray(mask if isinstance(mask, (list, tuple)) else home.to_host(mask))
    if values.shape != (size,) or not np.isin(values, (0, 1)).all():
        raise ConfigError(
            f"mask: expected a vector of {size} numbers 0 or 1, one for each parameter, found shape "
            f"{values.shape}"
            + ("; correct it" if values.shape != (size,) else " with other numbers; round them")
        )
    return home.asarray(values, dtype=dtype)


def named_metrics(metrics: Any, kind: str | None) -> dict[str, Callable[..., Any]]:
    """Return metrics by name; ``kind`` is the kind of targets of the loss, None where it does not say."""
    named: dict[str, Callable[..., Any]] = {}
    for metric in _listed("metrics", metrics):
        name, function = get_metric(metric, kind)
        if name in named or name in _COLUMNS or name.startswith("validation_"):
            raise ConfigError(
                f"metrics: expected a name of its own for each, found {name!r} again; the history has such "
                "a column: rename the function"
            )
        named[name] = function
    return named


def needing_less(trainer: Any, X: Any, y: Any, *, batch_size: Any = "auto", **options: Any) -> list[str]:
    """Return the remedies for a fit of a trainer that needs too much memory with these arguments."""
    found, settings = [], trainer.setup.settings
    size = trainer.setup.batch_size_of(X.shape[0] if hasattr(X, "shape") else len(X), batch_size)
    if isinstance(trainer.setup.optimizer, Optimizer) and size != 1:
        now = "all rows" if size is None else size
        found.append(f"use smaller batches (batch_size, now {now})")
    if settings.rollback:
        found.append("pass rollback=False, which keeps no second copy of parameters and optimizer state")
    if settings.dtype == "float64":
        found.append("train with dtype='float32'")
    return [*found, "train on fewer rows, which are all on the device, or a smaller model"]
