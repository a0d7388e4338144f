"""One learned factor for each input."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet import rng
from xpnet.backends import array_namespace
from xpnet.nn import init
from xpnet.nn.layer import Layer, Shape, check_rows

__all__ = ["Scale"]


@dataclasses.dataclass(frozen=True)
class Scale(Layer):
    """Each input times a factor that is learned, at first 1: in front of a network, it weighs features.

    Shapes:
        x: (batch, ...) -> (batch, ...); the parameter ``scale`` has the shape of a row.

    Example:
        >>> Scale().init(seed=0, input_shape=3, backend="numpy").params
        Parameters(3 values in scale: (3,))

    Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
        NeurIPS 2024 (the scaling layer of RealMLP).
    """

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"scale": input_shape}

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return {"scale": init.constant(key, input_shape, value=1.0)}

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        scale = params["scale"]
        check_rows(self, x, tuple(scale.shape))
        return array_namespace(x, scale).multiply(x, scale), state
