"""Where numbers stopped being finite: found afterwards, so that training need not look at every step."""

from __future__ import annotations

from typing import Any

from xpnet import rng
from xpnet.autodiff.functions import unpack
from xpnet.backends import array_namespace
from xpnet.containers import leaves
from xpnet.nn import Layer, Sequential, Variables
from xpnet.parameters import Parameters
from xpnet.train.checkpoint import flatten

__all__ = ["first_nonfinite_layer", "nonfinite_variable"]


def first_nonfinite_layer(model: Layer, variables: Variables, x: Any, key: rng.Key) -> str:
    """Return the number and class of the first layer whose output for ``x`` is not finite, or ``"loss"``."""
    params, state = variables
    tree = params.layout.tree(unpack(params.flat, params.layout))
    return _search(model, tree, state, x, key, ())[0] or "loss"


def _search(
    layer: Layer, params: Any, state: Any, x: Any, key: rng.Key, path: tuple[str, ...]
) -> tuple[str, Any]:
    """Return the first layer found inside ``layer`` ("" if none) and the output."""
    if not isinstance(layer, Sequential):
        x, _ = layer.forward(params, state, x, training=True, key=key)
        return ("" if _all_finite(x) else _label(layer, path)), x
    for number, inner in enumerate(layer.layers):
        name = str(number)
        found, x = _search(
            inner, params.get(name, {}), state.get(name, {}), x, key.fold(number), (*path, name)
        )
        if found:
            return found, x
    return "", x


def nonfinite_variable(
    model: Layer, variables: Variables, opt_state: dict[str, Any]
) -> tuple[str, str] | None:
    """Return the layer and the name of a parameter, statistic or slot that is not finite; None if all are.

    All finite, as nearly always, is known after one transfer of one number.
    """
    params, state = variables
    slots = {name: value for name, value in opt_state.items() if isinstance(value, Parameters)}
    if _all_finite(params.flat, *leaves(state), *leaves(slots)):
        return None
    found = [(path, f"parameter {path}") for path, value in params.items() if not _all_finite(value)]
    found += [(path, f"state {path}") for path, value in flatten(state).items() if not _all_finite(value)]
    found += [
        (path, f"the optimizer's {slot} of {path}")
        for slot, values in slots.items()
        for path, value in values.items()
        if not _all_finite(value)
    ]
    path, what = found[0]
    return _owner(model, path), what


def _owner(model: Layer, path: str) -> str:
    """Return the label of the layer to which the parameter or state called ``path`` belongs."""
    layer, above, rest = model, [], path.split(".")
    while isinstance(layer, Sequential):
        name = rest.pop(0)
        above.append(name)
        layer = layer.layers[int(name)]
    return _label(layer, tuple(above))


def _label(layer: Layer, path: tuple[str, ...]) -> str:
    return f"{'.'.join(path) or '0'} ({type(layer).__name__})"


def _all_finite(*arrays: Any) -> bool:
    """True if every entry of the arrays is finite (waits for the device)."""
    xp = array_namespace(*arrays)
    return bool(xp.all(xp.stack([xp.all(xp.isfinite(array)) for array in arrays])))
