"""The network of an estimator: its layers, its first weights, and weights as lists of matrices."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.nn import MLP, Sequential, Variables
from xpnet.parameters import Layout, Parameters

__all__ = ["drawn", "hidden_widths", "layout_of", "network", "packed", "unpacked"]


def hidden_widths(sizes: Any) -> list[int]:
    """Return the widths of the hidden layers.

    >>> hidden_widths(20), hidden_widths((8, 4))
    ([20], [8, 4])

    Raises:
        ValueError: a width below 1.
    """
    widths = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if any(width <= 0 for width in widths):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {widths}.")
    return [int(width) for width in widths]


def network(widths: Sequence[int], activation: Any, dropout: float) -> Sequential:
    """Return the layers for widths from the inputs to the outputs."""
    return MLP(list(widths[1:-1]), widths[-1], activation=activation, dropout=dropout)


def layout_of(model: Sequential, features: int) -> Layout:
    """Return the layout of the parameters of a network on so many features."""
    return Layout(tuple(model.parameter_shapes((features,)).items()))


def drawn(
    widths: Sequence[int], activation: Any, random_state: np.random.RandomState, dtype: Any
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return first weights and intercepts, drawn as scikit-learn draws them: uniformly from ±√(6 / fans).

    With the logistic function the bound is ±√(2 / fans). Intercepts are drawn as well.
    """
    factor = 2.0 if activation == "logistic" else 6.0
    coefs, intercepts = [], []
    for fan_in, fan_out in itertools.pairwise(widths):
        bound = np.sqrt(factor / (fan_in + fan_out))
        coefs.append(random_state.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        intercepts.append(random_state.uniform(-bound, bound, fan_out).astype(dtype))
    return coefs, intercepts


def packed(
    coefs: Sequence[Any], intercepts: Sequence[Any], layout: Layout, home: Backend, dtype: str
) -> Variables:
    """Return weights and intercepts as the variables of a network.

    Raises:
        ValueError: arrays that are not of the network's shapes.
    """
    arrays = [np.asarray(x) for pair in zip(coefs, intercepts, strict=True) for x in pair]
    shapes = tuple(shape for _, shape in layout.entries)
    if tuple(x.shape for x in arrays) != shapes:
        raise ValueError(
            f"coefs_ and intercepts_: expected the shapes {shapes}, layer after layer, found "
            f"{tuple(x.shape for x in arrays)}; set arrays of these shapes"
        )
    flat = np.concatenate([x.reshape(-1) for x in arrays])
    return Variables(Parameters(home.asarray(flat, dtype=dtype), layout), {})


def unpacked(params: Parameters, home: Backend) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return copies of weights and intercepts, on the host."""
    views = params.layout.views(np.array(home.to_host(params.flat)))
    return list(views[0::2]), list(views[1::2])
