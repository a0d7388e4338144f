"""Initializers: how weights are drawn before training.

An initializer is a function ``(key, shape) -> float64 host array``; ``shape`` is (fan_in, fan_out). Its
variance decides whether signals keep their size from layer to layer. All-zero or all-equal weights keep
the units of a layer identical for ever (lecture note 004 asks why): use them for biases, or to see that.

Draws come from :mod:`xpnet.rng`, so the same seed gives the same weights on every backend.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from xpnet import rng
from xpnet.aliases import canonical
from xpnet.backends import backend
from xpnet.errors import ConfigError, suggest

__all__ = [
    "INITIALIZERS",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "normal",
    "orthogonal",
    "to_config",
    "uniform",
    "zeros",
]

Shape = tuple[int, ...]
INITIALIZERS: dict[str, Callable[..., Any]] = {}


def _register(function: Callable[..., Any]) -> Callable[..., Any]:
    INITIALIZERS[function.__name__] = function
    return function


@_register
def zeros(key: rng.Key, shape: Shape) -> Any:
    """Return zeros."""
    return constant(key, shape, value=0.0)


@_register
def constant(key: rng.Key, shape: Shape, *, value: float = 1.0) -> Any:
    """Return ``value`` everywhere."""
    return backend("numpy").xp.full(shape, float(value))


@_register
def normal(key: rng.Key, shape: Shape, *, mean: float = 0.0, std: float = 0.05) -> Any:
    """Draw from the normal distribution N(mean, std²)."""
    return rng.normal(key, shape, mean, std)


@_register
def uniform(key: rng.Key, shape: Shape, *, low: float = -0.05, high: float = 0.05) -> Any:
    """Draw uniformly from [low, high)."""
    return rng.uniform(key, shape, low, high)


@_register
def glorot_uniform(key: rng.Key, shape: Shape) -> Any:
    """Draw uniformly from ±√(6 / (fan_in + fan_out)): Xavier's initialization.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010; lecture note 004.
    """
    fan_in, fan_out = _fans(shape)
    limit = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(key, shape, -limit, limit)


@_register
def glorot_normal(key: rng.Key, shape: Shape) -> Any:
    """Draw from N(0, 2 / (fan_in + fan_out)), the normal form of :func:`glorot_uniform`."""
    fan_in, fan_out = _fans(shape)
    return rng.normal(key, shape, 0.0, math.sqrt(2 / (fan_in + fan_out)))


@_register
def he_uniform(key: rng.Key, shape: Shape) -> Any:
    """Draw uniformly from ±√(6 / fan_in), the uniform form of :func:`he_normal`."""
    limit = math.sqrt(6 / _fans(shape)[0])
    return rng.uniform(key, shape, -limit, limit)


@_register
def he_normal(key: rng.Key, shape: Shape) -> Any:
    """Draw from N(0, 2 / fan_in), which keeps the size of signals through ReLU layers.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    return rng.normal(key, shape, 0.0, math.sqrt(2 / _fans(shape)[0]))


@_register
def lecun_normal(key: rng.Key, shape: Shape) -> Any:
    """Draw from N(0, 1 / fan_in).

    Source: LeCun et al., "Efficient backprop", 1998.
    """
    return rng.normal(key, shape, 0.0, math.sqrt(1 / _fans(shape)[0]))


@_register
def orthogonal(key: rng.Key, shape: Shape, *, gain: float = 1.0) -> Any:
    """Draw a matrix with orthonormal rows or columns (the fewer of both), times ``gain``.

    Source: Saxe et al., "Exact solutions to the nonlinear dynamics of learning", ICLR 2014.
    """
    xp = backend("numpy").xp
    fan_in, fan_out = _fans(shape)
    tall = rng.normal(key, (max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = xp.linalg.qr(tall)
    q = q * xp.where(xp.linalg.diagonal(r) < 0, -1.0, 1.0)  # makes the draw uniform over all such matrices
    return gain * (q if fan_in >= fan_out else q.T)


def get(initializer: Any) -> Callable[..., Any]:
    """Return the initializer meant by a name, a dict ``{"name": ..., **options}``, or a function.

    >>> get({"name": "constant", "value": 2.0})(rng.key(0), (1, 2))
    array([[2., 2.]])

    Raises:
        ConfigError: no initializer of that name, or options it does not have.
    """
    if callable(initializer):
        return initializer
    options = dict(initializer) if isinstance(initializer, dict) else {"name": initializer}
    name = options.pop("name", None)
    known_as = canonical("initializer", name, INITIALIZERS)
    if known_as is None:
        raise ConfigError(f"initializer: expected a known name, found {name!r}{suggest(name, INITIALIZERS)}")
    function = INITIALIZERS[known_as]
    unknown = set(options) - set(function.__kwdefaults__ or {})
    if unknown:
        known = function.__kwdefaults__ or {}
        wrong = sorted(unknown)[0]
        raise ConfigError(f"initializer {name}: found the option {wrong!r}{suggest(wrong, known)}")
    return functools.partial(function, **options) if options else function


def to_config(initializer: Any) -> Any:
    """Return a name or dict from which :func:`get` makes the initializer again.

    Raises:
        ConfigError: the initializer is a function of the user's, which JSON cannot hold.
    """
    if isinstance(initializer, str):
        return canonical("initializer", initializer, INITIALIZERS) or initializer
    if isinstance(initializer, dict):
        return {**initializer, "name": to_config(initializer.get("name"))}
    function = getattr(initializer, "func", initializer)
    for name, known in INITIALIZERS.items():
        if known is function:
            options = getattr(initializer, "keywords", {})
            return {"name": name, **options} if options else name
    raise ConfigError(
        f"initializer: expected one of {', '.join(INITIALIZERS)} to be written down, found {initializer!r}; "
        "pass the model itself when loading"
    )


def _fans(shape: Shape) -> tuple[int, int]:
    if len(shape) != 2:
        raise ConfigError(
            f"initializer: expected a shape (fan_in, fan_out), found {shape}; use normal or uniform"
        )
    return shape
