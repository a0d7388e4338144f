"""Update rules written out, for libraries that leave them to their users.

Each is ``(xp, rate, step, g, p, *slots) -> (p, *slots)`` for one array, ``step`` counting from 1; the
hyperparameters are those of xpnet's optimizers and of PyTorch's where theirs differ from the defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["RULES"]


def _sgd(xp: Any, rate: float, step: Any, g: Any, p: Any) -> tuple[Any, ...]:
    return (p - rate * g,)


def _momentum(xp: Any, rate: float, step: Any, g: Any, p: Any, v: Any) -> tuple[Any, ...]:
    v = 0.9 * v + g
    return p - rate * v, v


def _nesterov(xp: Any, rate: float, step: Any, g: Any, p: Any, v: Any) -> tuple[Any, ...]:
    v = 0.9 * v + g
    return p - rate * (g + 0.9 * v), v


def _adagrad(xp: Any, rate: float, step: Any, g: Any, p: Any, s: Any) -> tuple[Any, ...]:
    s = s + g * g
    return p - rate * g / (xp.sqrt(s) + 1e-10), s


def _adadelta(xp: Any, rate: float, step: Any, g: Any, p: Any, s: Any, d: Any) -> tuple[Any, ...]:
    s = 0.9 * s + 0.1 * (g * g)
    change = xp.sqrt((d + 1e-6) / (s + 1e-6)) * g
    return p - rate * change, s, 0.9 * d + 0.1 * (change * change)


def _rmsprop(xp: Any, rate: float, step: Any, g: Any, p: Any, s: Any) -> tuple[Any, ...]:
    s = 0.99 * s + 0.01 * (g * g)
    return p - rate * g / (xp.sqrt(s) + 1e-8), s


def _adam(xp: Any, rate: float, step: Any, g: Any, p: Any, m: Any, v: Any) -> tuple[Any, ...]:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * (g * g)
    root = (1 - 0.999**step) ** 0.5
    return p - (rate * root / (1 - 0.9**step)) * m / (xp.sqrt(v) + 1e-8 * root), m, v


def _adamw(xp: Any, rate: float, step: Any, g: Any, p: Any, m: Any, v: Any) -> tuple[Any, ...]:
    return _adam(xp, rate, step, g, (1 - rate * 0.01) * p, m, v)


RULES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}
