"""Checks of what a trainer is made with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import Backend
from xpnet.errors import ConfigError, suggest
from xpnet.nn import Layer
from xpnet.optim import Optimizer
from xpnet.train.callbacks import Callback
from xpnet.train.metrics import get as get_metric

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = [
    "check_callbacks",
    "check_mask",
    "check_model",
    "named_metrics",
    "needing_less",
    "one_of",
    "unless_none",
    "with_precision",
]

_COLUMNS = ("epoch", "step", "loss", "learning_rate", "seconds")


def check_model(model: Any) -> None:
    """Refuse what is not a layer or model."""
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


def one_of(name: str, value: Any, *allowed: str) -> str:
    """Return one of the allowed words as it is."""
    if isinstance(value, str) and value in allowed:
        return value
    wanted = " or ".join(repr(word) for word in allowed)
    raise ConfigError(f"{name}: expected {wanted}, found {value!r}{suggest(value, allowed)}")


def with_precision(backend: Backend, precision: Any, dtype: str) -> Backend:
    """Return the backend with the precision of products for a training in ``dtype``."""
    if precision == "tf32" and dtype != "float32":
        raise ConfigError(
            f"precision: expected 'float32' for dtype {dtype}, found 'tf32', a precision of float32 alone; "
            "leave it out, or train with dtype='float32'"
        )
    return backend.with_precision(precision)


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


def check_mask(trainer: Trainer, mask: Any) -> Any:
    """Return a mask of the parameters as an array of their dtype on their device."""
    size = trainer.variables.params.layout.size  # type: ignore[union-attr]
    home = trainer.backend
    values = np.asarray(mask if isinstance(mask, (list, tuple)) else home.to_host(mask))
    if values.shape != (size,) or not np.isin(values, (0, 1)).all():
        raise ConfigError(
            f"mask: expected a vector of {size} numbers 0 or 1, one for each parameter, found shape "
            f"{values.shape}"
            + ("; correct it" if values.shape != (size,) else " with other numbers; round them")
        )
    return home.asarray(values, dtype=trainer.dtype)


def named_metrics(metrics: Any, kind: str) -> dict[str, Callable[..., Any]]:
    """Return metrics by name; ``kind`` is the kind of targets of the loss."""
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


def unless_none(check: Callable[..., Any], name: str, value: Any) -> Any:
    """Return None, or what ``check`` makes of the value."""
    return None if value is None else check(name, value, "correct it, or pass None")


def needing_less(trainer: Trainer, X: Any, y: Any, *, batch_size: Any = None, **options: Any) -> list[str]:
    """Return what makes a fit need less memory than it did with these arguments."""
    found = []
    if isinstance(trainer.optimizer, Optimizer) and batch_size != 1:
        now = "all rows" if batch_size is None else batch_size
        found.append(f"use smaller batches (batch_size, now {now})")
    if trainer.rollback:
        found.append("pass rollback=False, which keeps no second copy of parameters and optimizer state")
    if trainer.dtype == "float64":
        found.append("train with dtype='float32'")
    return [*found, "train on fewer rows, all of which lie on the device, or a smaller model"]
