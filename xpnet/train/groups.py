"""Groups of parameters by name: numbers for all weights, all biases, a layer, a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from xpnet.errors import ConfigError, suggest
from xpnet.parameters import Layout

__all__ = ["known_names", "number_of_each"]


def number_of_each(
    label: str, named: Mapping[str, float], layout: Layout, usual: float, *, whole_layers: bool = True
) -> np.ndarray:
    """Return the number of each entry of the flat vector, given by names.

    A name is that of a parameter, such as ``"0.bias"``; of a layer, such as ``"0"``; the last part of the
    names of parameters, such as ``"scale"``; or ``"biases"`` (all that are called ``bias``) or ``"weights"``
    (other arrays of two dimensions or more). Where several fit, the first kind in this order wins, and the
    inner one of layers.

    Args:
        label: the setting, for messages.
        named: numbers by name.
        layout: of the parameters.
        usual: the number of parameters that no name fits.
        whole_layers: whether a layer's name means all of its parameters, or its weights alone.

    Raises:
        ConfigError: a name that the model does not have.

    >>> layout = Layout((("0.weight", (1, 2)), ("0.bias", (2,)), ("1.weight", (2, 1))))
    >>> number_of_each("factors", {"weights": 6.0, "biases": 0.1, "1": 3.0}, layout, 1.0)
    array([6. , 6. , 0.1, 0.1, 3. , 3. ])
    """
    known = known_names(layout, whole_layers=whole_layers)
    for name in named:
        if name not in known:
            raise ConfigError(
                f"{label}: expected 'weights', 'biases', or the name of a layer or parameter of the model, "
                f"found {name!r}{suggest(name, known)}"
            )
    found = np.full(layout.size, usual)
    for (name, shape), (part, _) in zip(layout.entries, layout.slices, strict=True):
        fitting = _names(name, shape, whole_layers)
        found[part] = next((named[one] for one in fitting if one in named), usual)
    return found


def known_names(layout: Layout, *, whole_layers: bool = True) -> list[str]:
    """Return all names that `number_of_each` takes for these parameters."""
    names = (one for name, shape in layout.entries for one in _names(name, shape, whole_layers))
    return list(dict.fromkeys(["weights", "biases", *names]))


def _names(name: str, shape: tuple[int, ...], whole_layers: bool) -> Iterator[str]:
    """Yield all names that fit a parameter, the narrowest first."""
    yield name
    layer, _, last = name.rpartition(".")
    kind = "biases" if last == "bias" else "weights" if len(shape) > 1 else ""
    while layer and (whole_layers or kind == "weights"):
        yield layer
        layer = layer.rpartition(".")[0]
    yield last
    if kind:
        yield kind
