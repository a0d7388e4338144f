"""Optimizers of both orders by name."""

from __future__ import annotations

from typing import Any

from xpnet.configured import chosen
from xpnet.optim.base import Optimizer
from xpnet.optim.second_order import Method

__all__ = ["get"]


def get(spec: str | dict[str, Any] | Optimizer | Method, **options: Any) -> Optimizer | Method:
    """Return the optimizer given by its name, its table, or itself.

    >>> get("adam", learning_rate=0.01)
    Adam(learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-08)
    >>> get({"name": "sgd", "learning_rate": {"name": "inverse", "learning_rate": 0.5}})
    SGD(learning_rate=Inverse(learning_rate=0.5, decay=1.0), momentum=0.0, nesterov=False)
    >>> get("l-bfgs", history=5).history
    5

    Args:
        spec: a name of `xpnet.optim.OPTIMIZERS` or `xpnet.optim.METHODS` in any spelling, a table as
            ``to_config`` returns it, or an object, which is returned as it is.
        **options: hyperparameters, with a name or a table, over whose own they win.

    Raises:
        ConfigError: unknown name or option, a value not allowed, or options beside an object.
    """
    return chosen([Optimizer, Method], spec, options)
