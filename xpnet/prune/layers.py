"""The layers of a model in order, without nesting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from xpnet.nn import (
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    ParametricActivation,
    Scale,
    Sequential,
)
from xpnet.nn.activations import ACTIVATIONS

__all__ = ["Placed", "in_order", "keeps_units", "replaced", "stacks_of_dense"]


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


def keeps_units(layer: Layer) -> bool:
    """Return whether each output of a layer belongs to the input of the same number.

    LayerNorm is taken as such, although it divides by the spread of all units.
    """
    kinds = Dropout, BatchNorm, LayerNorm, Scale, ParametricActivation, *ACTIVATIONS.values()
    return isinstance(layer, kinds)


def stacks_of_dense(model: Layer) -> list[list[str]]:
    """Return the names of the weights of Dense layers that follow each other, for each such stack.

    >>> from xpnet import nn
    >>> stacks_of_dense(nn.MLP([8, 4], 2))
    [['0.weight', '2.weight', '4.weight']]
    """
    stacks: list[list[str]] = [[]]
    for placed in in_order(model):
        if isinstance(placed.layer, Dense):
            stacks[-1].append(placed.name("weight"))
        elif not keeps_units(placed.layer):
            stacks.append([])
    return [stack for stack in stacks if stack]
