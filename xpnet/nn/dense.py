"""The affine layer."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff.functions import affine
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest
from xpnet.nn import init
from xpnet.nn.layer import Layer, Shape

__all__ = ["Dense"]


_PARAMETRIZATIONS = ("standard", "ntk")


@dataclasses.dataclass(frozen=True)
class Dense(Layer):
    """Affine map of each row: Y = X W + b.

    Args:
        units: number of outputs, out_features.
        bias: whether to add b.
        weight_init: initializer of W (in_features, out_features): a name, ``{"name": ..., **options}``, or a
            function ``(key, shape) -> array``.
        bias_init: initializer of b (out_features,): zeros, constant, normal, uniform or he_plus.
        parametrization: ``"standard"``, or ``"ntk"`` for Y = X W / √in_features + b, that of the neural
            tangent kernel: one learning rate then suits layers of any width. What weight_init draws is
            W / √in_features, so the layer begins as any other; lecun_normal gives W ~ N(0, 1).

    Shapes:
        x: (batch, in_features) -> (batch, units)

    Raises:
        ConfigError: units below 1, unknown initializers, or inputs that do not fit W.

    Example:
        >>> layer = Dense(2)
        >>> variables = layer.init(seed=0, input_shape=3, backend="numpy")
        >>> variables.params
        Parameters(8 values in weight: (3, 2), bias: (2,))

    Source: lecture note 002, "Multilayer Perceptron: formal definition" (there with W transposed); Jacot et
        al., "Neural tangent kernel", NeurIPS 2018.
    """

    units: int
    bias: bool = True
    weight_init: Any = "glorot_uniform"
    bias_init: Any = "zeros"
    parametrization: str = "standard"

    def __post_init__(self) -> None:
        units = checks.count("Dense: units", self.units, "give the number of outputs")
        object.__setattr__(self, "units", units)  # the dataclass is frozen
        if self.parametrization not in _PARAMETRIZATIONS:
            raise ConfigError(
                f"Dense: parametrization: expected 'standard' or 'ntk', found {self.parametrization!r}"
                f"{suggest(self.parametrization, _PARAMETRIZATIONS)}"
            )
        init.get(self.weight_init)
        init.get(self.bias_init)

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ConfigError(
                f"Dense({self.units}): expected input rows of shape (in_features,), found shape "
                f"{input_shape}; reshape them to vectors first"
            )
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        weight = (input_shape[0], self.units)
        return {"weight": weight, "bias": (self.units,)} if self.bias else {"weight": weight}

    def gain(self, in_features: int) -> float:
        """Return the factor of W: 1, or 1 / √in_features."""
        return 1 / math.sqrt(in_features) if self.parametrization == "ntk" else 1.0

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        draw = {"weight": init.get(self.weight_init), "bias": init.get(self.bias_init)}
        shapes = self.parameter_shapes(input_shape)
        found = {name: draw[name](key.fold(name), shape) for name, shape in shapes.items()}
        return {**found, "weight": found["weight"] / self.gain(input_shape[0])}

    @property
    def needs_data(self) -> bool:
        used = (self.weight_init, self.bias_init)[: 1 + self.bias]
        return any(init.adaptation(initializer) is not None for initializer in used)

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        key, x, found = key.fold("data"), x * self.gain(x.shape[1]), dict(params)
        if adapt := init.adaptation(self.weight_init):
            found["weight"] = adapt(key.fold("weight"), params["weight"], x)
        y = x @ found["weight"]
        if self.bias:
            if adapt := init.adaptation(self.bias_init):
                found["bias"] = adapt(key.fold("bias"), params["bias"], y)
            y = y + found["bias"]
        return found, y

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        weight = params["weight"]
        if len(x.shape) != 2 or x.shape[1] != weight.shape[0]:
            raise ConfigError(
                f"Dense({self.units}): expected inputs of shape (batch, {weight.shape[0]}) for weights of "
                f"shape {tuple(weight.shape)}, found {tuple(x.shape)}"
            )
        if self.parametrization == "ntk":  # not W or Y: the product with x joins the loop that makes x
            x = x * self.gain(weight.shape[0])
        if self.bias:
            return affine(x, weight, params["bias"]), state
        return array_namespace(x, weight).matmul(x, weight), state

    def to_config(self) -> dict[str, Any]:
        written = {
            "weight_init": init.to_config(self.weight_init),
            "bias_init": init.to_config(self.bias_init),
        }
        return {**super().to_config(), **written}
