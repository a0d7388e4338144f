"""Initializers: how weights are drawn before training.

An initializer is a function ``(key, shape) -> float64 host array``; ``shape`` is (fan_in, fan_out). Its
variance decides whether signals keep their size from layer to layer. All-zero or all-equal weights keep
the units of a layer identical for ever (lecture note 004 asks why): use them for biases, or to see that.

Two initializers depend on data: `unit_variance` and `he_plus`. What they draw is adapted to training rows by
:meth:`xpnet.nn.Layer.init_from_data`, as a fit does before its first step.

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
    "adaptation",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_plus",
    "he_uniform",
    "lecun_normal",
    "normal",
    "orthogonal",
    "random_signs",
    "to_config",
    "uniform",
    "unit_variance",
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
def random_signs(key: rng.Key, shape: Shape) -> Any:
    """Draw -1 or 1, each with probability ½: factors that make the members of an ensemble different."""
    xp = backend("numpy").xp
    return xp.where(rng.uniform(key, shape) < 0.5, -1.0, 1.0)


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


# --- Initializers that depend on data ---------------------------------------------------------------------


@_register
def unit_variance(key: rng.Key, shape: Shape) -> Any:
    """Draw as :func:`lecun_normal`; then divide each column w by the standard deviation of X w over the rows.

    Source: Krähenbühl et al., "Data-dependent initializations of convolutional neural networks", ICLR 2016,
    and RealMLP (see :func:`he_plus`), for which the rows are those of training.
    """
    return lecun_normal(key, shape)


@_register
def he_plus(key: rng.Key, shape: Shape, *, points: int = 5) -> Any:
    """Return zeros; then, for each unit, minus a random mean of its values at random rows.

    The mean of ``points`` rows has weights that are uniform over the simplex. So the kink of a unit lies
    among the data.

    Source: Steinwart, "A sober look at neural network initializations", 2019; Holzmüller et al., "Better by
    default", NeurIPS 2024 (RealMLP, there "he+5").
    """
    return constant(key, shape, value=0.0)


def _to_unit_variance(key: rng.Key, weight: Any, x: Any) -> Any:
    xp = backend("numpy").xp
    values = x @ weight
    spread = xp.std(values, axis=0)
    varies = spread > 1e-6 * xp.max(xp.abs(values), axis=0)  # more than by rounding
    return weight / xp.where(varies, spread, 1.0)


def _to_points(key: rng.Key, bias: Any, x: Any, *, points: int = 5) -> Any:
    xp = backend("numpy").xp
    shape = (points, *bias.shape)
    chosen = xp.astype(rng.uniform(key.fold("rows"), shape) * x.shape[0], xp.int64)
    share = -xp.log1p(-rng.uniform(key.fold("shares"), shape))
    values = xp.take_along_axis(x, chosen, axis=0)
    return -xp.sum(values * share, axis=0) / xp.sum(share, axis=0)


_ADAPTATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    unit_variance: _to_unit_variance,
    he_plus: _to_points,
}


def adaptation(initializer: Any) -> Callable[..., Any] | None:
    """Return how what an initializer drew is adapted to data; None for one that does not depend on them.

    It is a function ``(key, drawn, x) -> array``. For weights (fan_in, fan_out), x are inputs (rows, fan_in);
    for a bias (units,), the values (rows, units) to which it is added.
    """
    function = get(initializer)
    found = _ADAPTATIONS.get(getattr(function, "func", function))
    options = getattr(function, "keywords", {})
    return functools.partial(found, **options) if found is not None and options else found


# --- Names ------------------------------------------------------------------------------------------------


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
