"""Scopes: names of the computations that recorded operations belong to; kernels are named after them.

A layer's forward pass runs in the scope ``"relu_forward"``; the operations of its backward pass belong
to ``"relu_backward"``. Names only: no number depends on them.
"""

from __future__ import annotations

import re
from contextvars import ContextVar, Token
from typing import Any

from xpnet.autodiff.tracer import Tracer

__all__ = ["current_scope", "enter_way_back", "scope", "snake_case"]

_FORWARD, _BACKWARD = "_forward", "_backward"
_current: ContextVar[str] = ContextVar("scope", default="")


class scope:  # noqa: N801  # a context manager, called like a function
    """Context manager: recorded operations belong to ``name``; of nested scopes the innermost counts.

    >>> with scope("relu_forward"):
    ...     current_scope()
    'relu_forward'
    """

    __slots__ = ("_name", "_token")
    _token: Token[str]

    def __init__(self, name: str):
        self._name = name

    def __enter__(self) -> None:
        self._token = _current.set(self._name)

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


def current_scope() -> str:
    """Return the name of the current scope; empty outside of all scopes."""
    return _current.get()


def enter_way_back(out: Any) -> None:
    """Enter the scope of the backward pass from ``out``, a recorded function's result, if it had a scope.

    Until the scope around ends.
    """
    name = _scope_of(out[0] if isinstance(out, (list, tuple)) and out else out)
    if name:
        _current.set(name.removesuffix(_FORWARD).removesuffix(_BACKWARD) + _BACKWARD)


def _scope_of(x: Any) -> str:
    """Return the scope in which a traced array was recorded."""
    while type(x) is Tracer:
        if x.trace.records:
            return x.trace.scopes.get(x.slot, "")  # type: ignore[attr-defined]
        x = x.value
    return ""


def snake_case(name: str) -> str:
    """Return the name of a class or function as a part of an identifier.

    >>> [snake_case(name) for name in ("ReLU", "LeakyReLU", "BatchNorm", "<lambda>")]
    ['relu', 'leaky_relu', 'batch_norm', 'lambda']
    """
    words = re.sub(r"(?<=[a-z]{3})(?=[A-Z])", "_", name)
    return re.sub(r"\W+", "_", words, flags=re.ASCII).strip("_").lower()
