"""Activation functions as layers: applied to each entry; without parameters, except `ParametricActivation`.

Derivatives are in :mod:`xpnet.autodiff.rules`, one line each; the chosen subgradients at kinks are stated
with each class.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from xpnet import rng
from xpnet.aliases import canonical
from xpnet.autodiff import functions
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest
from xpnet.nn import init
from xpnet.nn.layer import Layer, Shape, check_rows, from_config

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Identity",
    "LeakyReLU",
    "Mish",
    "ParametricActivation",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Sign",
    "Softplus",
    "Tanh",
    "activation",
]


ACTIVATIONS: dict[str, type[_Activation]] = {}


@dataclasses.dataclass(frozen=True)
class _Activation(Layer):
    """Base class: a function of each entry, known by its class's name in lower case."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        ACTIVATIONS[cls.__name__.lower()] = cls

    def function(self, x: Any) -> Any:
        """Return the activation of each entry of ``x``."""
        raise NotImplementedError

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        return self.function(x), state


@dataclasses.dataclass(frozen=True)
class Identity(_Activation):
    """x, unchanged: several affine layers in a row are one affine layer (note 003)."""

    def function(self, x: Any) -> Any:
        return x


@dataclasses.dataclass(frozen=True)
class ReLU(_Activation):
    """max(0, x). Subgradient 0 at x = 0 (notes 001 and 004)."""

    def function(self, x: Any) -> Any:
        return functions.relu(x)


@dataclasses.dataclass(frozen=True)
class LeakyReLU(_Activation):
    """x for x > 0, else ``negative_slope`` x. Slope ``negative_slope`` at x = 0."""

    negative_slope: float = 0.01

    def function(self, x: Any) -> Any:
        return array_namespace(x).where(x > 0, x, x * self.negative_slope)


@dataclasses.dataclass(frozen=True)
class ELU(_Activation):
    """x for x > 0, else α (exp(x) - 1). Slope α at x = 0.

    Source: Clevert et al., "Fast and accurate deep network learning by exponential linear units", 2015.
    """

    alpha: float = 1.0

    def function(self, x: Any) -> Any:
        xp = array_namespace(x)
        return xp.where(x > 0, x, self.alpha * xp.expm1(xp.where(x > 0, 0.0, x)))


@dataclasses.dataclass(frozen=True)
class SELU(_Activation):
    """λ ELU(x) with α = 1.6733 and λ = 1.0507, which keep mean 0 and variance 1. Slope λ α at x = 0.

    Source: Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, whose digits these are.
    """

    def function(self, x: Any) -> Any:
        return 1.0507009873554804934193349852946 * ELU(1.6732632423543772848170429916717).function(x)


@dataclasses.dataclass(frozen=True)
class GELU(_Activation):
    """x Φ(x), Φ the distribution function of N(0, 1): ½ x (1 + erf(x/√2)), without approximation.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """

    def function(self, x: Any) -> Any:
        return 0.5 * x * (1 + functions.erf(x * math.sqrt(0.5)))


@dataclasses.dataclass(frozen=True)
class SiLU(_Activation):
    """x σ(x), also called swish."""

    def function(self, x: Any) -> Any:
        return x * functions.sigmoid(x)


@dataclasses.dataclass(frozen=True)
class Mish(_Activation):
    """x tanh(log(1 + exp(x))), a smooth ReLU that dips to -0.31 at x = -1.19.

    Source: Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """

    def function(self, x: Any) -> Any:
        return functions.mish(x)


@dataclasses.dataclass(frozen=True)
class Softplus(_Activation):
    """log(1 + exp(x)), a smooth ReLU; never overflows."""

    def function(self, x: Any) -> Any:
        return functions.softplus(x)


@dataclasses.dataclass(frozen=True)
class Sigmoid(_Activation):
    """σ(x) = 1 / (1 + exp(-x)); its derivative is σ(x)(1 - σ(x)) (note 000)."""

    def function(self, x: Any) -> Any:
        return functions.sigmoid(x)


@dataclasses.dataclass(frozen=True)
class Tanh(_Activation):
    """tanh(x); its derivative is 1 - tanh²(x)."""

    def function(self, x: Any) -> Any:
        return array_namespace(x).tanh(x)


@dataclasses.dataclass(frozen=True)
class Sign(_Activation):
    """-1, 0 or 1: the classic perceptron (note 002). Its derivative is 0, so nothing below it learns."""

    def function(self, x: Any) -> Any:
        return array_namespace(x).sign(x)


@dataclasses.dataclass(frozen=True)
class ParametricActivation(Layer):
    """x + a (σ(x) - x), with an a for each unit that is learned: 0 is the identity, 1 the activation σ.

    Args:
        activation: σ, a name or a layer of this module.

    Shapes:
        x: (batch, ...) -> (batch, ...); the parameter ``activation`` is a, (...), at first 1.

    Raises:
        ConfigError: no such activation.

    Example:
        >>> ParametricActivation("selu").init(seed=0, input_shape=3, backend="numpy").params
        Parameters(3 values in activation: (3,))

    Source: Holzmüller et al., "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
        NeurIPS 2024 (RealMLP).
    """

    activation: Any

    def __post_init__(self) -> None:
        chosen = activation(self.activation)
        if not isinstance(chosen, _Activation):
            raise ConfigError(
                f"ParametricActivation: expected an activation such as 'selu', found {chosen!r}; choose one "
                f"of {', '.join(ACTIVATIONS)}"
            )
        object.__setattr__(self, "activation", chosen)  # the dataclass is frozen

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"activation": input_shape}

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return {"activation": init.constant(key, input_shape, value=1.0)}

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        strength = params["activation"]
        check_rows(self, x, tuple(strength.shape))
        xp = array_namespace(x, strength)
        change = xp.subtract(self.activation.function(x), x)
        return xp.add(x, xp.multiply(strength, change)), state

    def to_config(self) -> dict[str, Any]:
        return {"layer": "ParametricActivation", "activation": self.activation.to_config()}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        return cls(from_config(config["activation"]))


def activation(spec: str | Layer) -> Layer:
    """Return the activation layer meant by a name such as ``"relu"``; a layer is returned as it is.

    >>> activation("swish")
    SiLU()

    Raises:
        ConfigError: no activation of that name.
    """
    if isinstance(spec, Layer):
        return spec
    name = canonical("activation", spec, ACTIVATIONS)
    if name is None:
        raise ConfigError(f"activation: expected a known name, found {spec!r}{suggest(spec, ACTIVATIONS)}")
    return ACTIVATIONS[name]()
