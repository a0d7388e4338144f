"""Units that are identical before training, and therefore for ever."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from xpnet.backends import array_namespace
from xpnet.errors import Words, use
from xpnet.nn import BatchNorm, Dense, Layer, LayerNorm, ParametricActivation, Scale, Sequential
from xpnet.nn.activations import ACTIVATIONS
from xpnet.parameters import Parameters

__all__ = ["identical_units", "warn_of_identical_units"]

_log = logging.getLogger("xpnet")


def identical_units(model: Layer, params: Parameters) -> list[str]:
    """Return the hidden Dense layers, by their path, all units of which compute the same and learn the same.

    Such units have the same incoming weights and bias, and the same outgoing weights: their values are equal,
    hence their gradients, hence their values after every step. A layer of k of them is a layer of one.
    What lies between a layer and the next Dense must treat units alike: an activation, or a normalization
    whose scales and shifts are equal. Dropout does not, since it draws for each unit apart.

    Args:
        model: layers one after another, as deeply nested as may be; others have no such units.
        params: its parameters, on any backend.

    Source: lecture note 004, homework 1: all weights zero, or all of them one.

    >>> from xpnet import nn
    >>> model = nn.MLP([4, 3], 1, weight_init="constant")
    >>> identical_units(model, model.init(0, 2, backend="numpy").params)
    ['0', '2']
    """
    found: list[str] = []
    hidden: tuple[str, bool] | None = None  # the last Dense, and whether its units are alike so far
    for path, layer in _layers(model, ()):
        if isinstance(layer, Dense):
            weight = params[f"{path}.weight"] if path else params["weight"]
            if hidden is not None and hidden[1] and _alike(weight, axis=0):
                found.append(hidden[0])
            hidden = path, layer.units > 1 and _alike(weight, axis=1) and _all_equal(params, path, "bias")
        elif hidden is not None and hidden[1]:
            kinds = *ACTIVATIONS.values(), ParametricActivation, Scale, BatchNorm, LayerNorm
            neutral = isinstance(layer, kinds)
            equal = all(_all_equal(params, path, name) for name in ("scale", "shift", "activation"))
            hidden = hidden[0], neutral and equal
    return found


def _layers(model: Layer, path: tuple[str, ...]) -> Iterator[tuple[str, Layer]]:
    if not isinstance(model, Sequential):
        yield ".".join(path), model
        return
    for number, layer in enumerate(model.layers):
        yield from _layers(layer, (*path, str(number)))


def _alike(weight: Any, *, axis: int) -> bool:
    """True if all columns (``axis=1``) or all rows of a matrix are the same."""
    first = weight[:, :1] if axis == 1 else weight[:1, :]
    return bool(array_namespace(weight).all(weight == first))


def _all_equal(params: Parameters, path: str, name: str) -> bool:
    """True if a layer's vector of that name has equal entries, or there is none."""
    name = f"{path}.{name}"
    if name not in params:
        return True
    vector = params[name]
    return bool(array_namespace(vector).all(vector == vector[:1]))


def warn_of_identical_units(model: Layer, params: Parameters) -> None:
    """Log a warning for layers whose units begin identical; called before the first epoch."""
    layers = identical_units(model, params)
    if layers:
        sizes = ", ".join(f"{path} ({params[f'{path}.weight'].shape[1]} units)" for path in layers)
        _log.warning(
            Words(
                f"all units of layer {sizes} begin with equal weights: they get equal gradients and stay "
                "identical, so that the layer does no more than one unit; draw the weights at random, such "
                f"as {use('weight_init', 'glorot_uniform')}"
            )
        )
