"""The layers of a model in order, without nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from xpnet.nn import Layer, Sequential

__all__ = ["Placed", "in_order", "replaced"]


class Placed(NamedTuple):
    """A layer and its place: the numbers by which its parameters are named."""

    path: tuple[str, ...]
    layer: Layer

    def name(self, parameter: str) -> str:
        """Return the full name of one of its parameters.

        >>> from xpnet import nn
        >>> Placed(("0", "2"), nn.Dense(3)).name("weight")
        '0.2.weight'
        """
        return ".".join([*self.path, parameter])


def in_order(model: Layer, path: tuple[str, ...] = ()) -> list[Placed]:
    """Return the layers in the order of their application, with those of a Sequential in its place.

    A class derived from Sequential may apply its layers in another way, so it is one layer here.
    """
    if type(model) is not Sequential:
        return [Placed(path, model)]
    return [found for i, layer in enumerate(model.layers) for found in in_order(layer, (*path, str(i)))]


def replaced(model: Layer, others: Mapping[tuple[str, ...], Layer], path: tuple[str, ...] = ()) -> Layer:
    """Return the model with other layers in the places that ``others`` names."""
    if type(model) is not Sequential:
        return others.get(path, model)
    return Sequential([replaced(layer, others, (*path, str(i))) for i, layer in enumerate(model.layers)])
