"""Layers one after another, and the multilayer perceptron of the lecture notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from xpnet import rng
from xpnet.errors import ConfigError
from xpnet.nn.activations import activation as activation_layer
from xpnet.nn.dense import Dense
from xpnet.nn.dropout import Dropout
from xpnet.nn.layer import Layer, Shape, apply_layer, from_config
from xpnet.nn.normalization import BatchNorm

__all__ = ["MLP", "Sequential"]


@dataclasses.dataclass(frozen=True, init=False)
class Sequential(Layer):
    """The composition of layers: f = fₙ ∘ … ∘ f₁.

    The parameters of layer number i are called ``"i.weight"`` and so on.

    Args:
        layers: layers, or one list of them.

    Example:
        >>> from xpnet.nn import Dense, ReLU
        >>> model = Sequential(Dense(8), ReLU(), Dense(3))
        >>> sorted(model.init(0, 4, backend="numpy").params)
        ['0.bias', '0.weight', '2.bias', '2.weight']
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer | Sequence[Layer]):
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            layers = tuple(layers[0])
        for layer in layers:
            if not isinstance(layer, Layer):
                raise ConfigError(
                    f"Sequential: expected layers, found {layer!r}; write ReLU() rather than ReLU"
                )
        object.__setattr__(self, "layers", tuple(layers))

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        drawn, shape = {}, input_shape
        for number, layer in enumerate(self.layers):
            own = layer.parameters(key.fold(number), shape)
            drawn.update({f"{number}.{name}": array for name, array in own.items()})
            shape = layer.output_shape(shape)
        return drawn

    @property
    def ensemble(self) -> int | None:
        found = [layer.ensemble for layer in self.layers if layer.ensemble is not None]
        return found[-1] if found else None

    @property
    def needs_data(self) -> bool:
        return any(layer.needs_data for layer in self.layers)

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        found = dict(params)
        for number, layer in enumerate(self.layers):
            name = str(number)
            own, x = layer.adapted(key.fold(number), params.get(name, {}), state.get(name, {}), x)
            if own:
                found[name] = own
        return found, x

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        found, row = dict[str, Shape](), input_shape
        for number, layer in enumerate(self.layers):
            own = layer.parameter_shapes(row)
            found.update({f"{number}.{name}": shape for name, shape in own.items()})
            row = layer.output_shape(row)
        return found

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        state, shape = {}, input_shape
        for number, layer in enumerate(self.layers):
            own = layer.initial_state(shape)
            if own:
                state[str(number)] = own
            shape = layer.output_shape(shape)
        return state

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        new_state = dict(state)
        for number, layer in enumerate(self.layers):
            name = str(number)
            layer_key = None if key is None else key.fold(number)
            own_params, own_state = params.get(name, {}), state.get(name, {})
            x, own = apply_layer(layer, own_params, own_state, x, training=training, key=layer_key)
            if own:
                new_state[name] = own
        return x, new_state

    def to_config(self) -> dict[str, Any]:
        return {"layer": "Sequential", "layers": [layer.to_config() for layer in self.layers]}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        return cls([from_config(layer) for layer in config["layers"]])


def MLP(
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str | Layer | Sequence[str | Layer] = "relu",
    weight_init: Any = "auto",
    bias_init: Any = "zeros",
    dropout: float | Callable[[int], float] = 0.0,
    batch_norm: bool = False,
) -> Sequential:
    """Return a multilayer perceptron: h⁽ʲ⁾ = σ(h⁽ʲ⁻¹⁾ W⁽ʲ⁾ + b⁽ʲ⁾) for each hidden layer, then an affine map.

    Args:
        hidden: widths of the hidden layers; an empty list gives a linear model.
        outputs: number of outputs k; they are scores, the loss owns the link to probabilities.
        activation: one for all hidden layers, or one for each.
        weight_init: initializer of the weights; ``"auto"`` takes he_uniform before ReLU and its relatives,
            glorot_uniform otherwise.
        bias_init: initializer of the biases.
        dropout: rate, or schedule of it, of a Dropout layer behind each hidden layer; 0 for none.
        batch_norm: whether to put BatchNorm before each activation.

    Raises:
        ConfigError: widths below 1, or not one activation for each hidden layer.

    Example:
        >>> len(MLP([128, 64], 10))
        5

    Source: lecture note 002, "Multilayer Perceptron (MLP): formal definition".
    """
    if not isinstance(hidden, Iterable) or isinstance(hidden, str):
        raise ConfigError(
            f"MLP: expected a list of widths of hidden layers, found {hidden!r}; write [{hidden}]"
        )
    hidden = list(hidden)
    if isinstance(activation, (str, Layer)):
        activation = [activation] * len(hidden)
    chosen = list(activation)
    if len(chosen) != len(hidden):
        raise ConfigError(
            f"MLP: expected one activation for each of {len(hidden)} hidden layers, found {len(chosen)}"
        )
    layers: list[Layer] = []
    for width, name in zip(hidden, chosen, strict=True):
        nonlinearity = activation_layer(name)
        layers.append(Dense(width, weight_init=_weight_init(weight_init, nonlinearity), bias_init=bias_init))
        if batch_norm:
            layers.append(BatchNorm())
        layers.append(nonlinearity)
        if dropout:
            layers.append(Dropout(dropout))
    layers.append(Dense(outputs, weight_init=_weight_init(weight_init, None), bias_init=bias_init))
    return Sequential(layers)


_RECTIFIERS = ("ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "Softplus")


def _weight_init(spec: Any, nonlinearity: Layer | None) -> Any:
    if spec != "auto":
        return spec
    return "he_uniform" if type(nonlinearity).__name__ in _RECTIFIERS else "glorot_uniform"
