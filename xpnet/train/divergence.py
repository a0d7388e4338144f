"""Where a loss stopped being finite: found afterwards, so that training need not look at every step."""

from __future__ import annotations

from typing import Any

from xpnet import rng
from xpnet.autodiff.functions import unpack
from xpnet.backends import array_namespace
from xpnet.nn import Layer, Sequential, Variables

__all__ = ["first_nonfinite_layer", "nonfinite_parameter"]


def first_nonfinite_layer(
    model: Layer, variables: Variables, x: Any, key: rng.Key
) -> str:
    """Return the name of the first layer whose output for ``x`` is not finite, or ``"loss"``."""
    params, state = variables
    layers = model.layers if isinstance(model, Sequential) else (model,)
    tree = params.layout.tree(unpack(params.flat, params.layout))
    for number, layer in enumerate(layers):
        name = str(number)
        inside = isinstance(model, Sequential)
        x, _ = layer.forward(
            tree.get(name, {}) if inside else tree,
            state.get(name, {}) if inside else state,
            x,
            training=True,
            key=key.fold(number) if inside else key,
        )
        if not all_finite(x):
            return f"{name} ({type(layer).__name__})"
    return "loss"


def nonfinite_parameter(params: Any) -> str:
    """Return the name of the first parameter that is not finite; there must be one."""
    return next(name for name, value in params.items() if not all_finite(value))


def all_finite(x: Any) -> bool:
    """True if every entry of ``x`` is finite (waits for the device)."""
    xp = array_namespace(x)
    return bool(xp.all(xp.isfinite(x)))
