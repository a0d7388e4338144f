"""Residual blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from xpnet import rng
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.nn.layer import Layer, Shape, apply_layer, from_config
from xpnet.nn.sequential import Sequential

__all__ = ["Residual"]


@dataclasses.dataclass(frozen=True, init=False)
class Residual(Layer):
    """x + f(x), with f the composition of layers; parameters are called as those of f.

    Args:
        layers: layers of f, or one list of them; its outputs have the shape of its inputs.

    Raises:
        ConfigError: f changes the shape.

    Example:
        >>> from xpnet.nn import Dense, ReLU
        >>> block = Residual(Dense(8), ReLU(), Dense(4))
        >>> sorted(block.init(0, 4, backend="numpy").params)
        ['0.bias', '0.weight', '2.bias', '2.weight']

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    inside: Sequential

    def __init__(self, *layers: Layer | Sequence[Layer]):
        object.__setattr__(self, "inside", Sequential(*layers))  # the dataclass is frozen

    def output_shape(self, input_shape: Shape) -> Shape:
        made = self.inside.output_shape(input_shape)
        if made != input_shape:
            raise ConfigError(
                f"Residual: expected layers that keep the shape of rows, {input_shape}, found outputs "
                f"{made}; end with Dense({input_shape[-1]}), say"
            )
        return made

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return self.inside.parameters(key, input_shape)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return self.inside.parameter_shapes(input_shape)

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        return self.inside.initial_state(input_shape)

    @property
    def ensemble(self) -> int | None:
        return self.inside.ensemble

    @property
    def needs_data(self) -> bool:
        return self.inside.needs_data

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        found, y = self.inside.adapted(key, params, state, x)
        return found, x + y

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        y, state = apply_layer(self.inside, params, state, x, training=training, key=key)
        return array_namespace(x, y).add(x, y), state

    def to_config(self) -> dict[str, Any]:
        return {"layer": "Residual", "layers": [layer.to_config() for layer in self.inside]}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        return cls([from_config(layer) for layer in config["layers"]])
