"""Activation functions as layers: applied to each entry, without parameters.

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
from xpnet.nn.layer import Layer

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "Identity",
    "LeakyReLU",
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
