"""Dropout."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.nn.layer import Layer

__all__ = ["Dropout"]


@dataclasses.dataclass(frozen=True)
class Dropout(Layer):
    """In training, each entry is zero with probability ``rate``, else divided by 1 - rate; else x itself.

    The mask is drawn on the device from the counter-based generator: the same on every backend.

    Args:
        rate: probability of dropping an entry, from 0 up to but not including 1.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", checks.fraction("Dropout: rate", self.rate))  # frozen

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        if not training or self.rate == 0:
            return x, state
        if key is None:
            raise ConfigError(
                "Dropout: expected a key in training, found None; call apply(..., key=step or key)"
            )
        xp, probability = plain_namespace(x), 1 - self.rate
        kept = rng.bernoulli(key.fold("dropout"), probability, x.shape, xp=xp, device=device_of(x))
        return x * (array_namespace(kept).astype(kept, x.dtype) * (1 / probability)), state
