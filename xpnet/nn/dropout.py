"""Dropout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from xpnet import rng
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.nn.layer import Layer
from xpnet.schedules import scheduled, value_at

__all__ = ["Dropout"]

_check_rate = scheduled("a number of at least 0 and below 1", lambda x: 0.0 <= x < 1.0)


@dataclasses.dataclass(frozen=True)
class Dropout(Layer):
    """In training, each entry is zero with probability ``rate``, else divided by 1 - rate; else x itself.

    The mask is drawn on the device from the counter-based generator: the same on every backend.

    Args:
        rate: probability of dropping an entry, from 0 up to but not including 1; a schedule, such as
            ``optim.FlatCosine(0.15, steps=1000)``, or a callable gives that of each step of a training.

    Example:
        >>> import numpy as np
        >>> from xpnet.schedules import Cosine
        >>> layer = Dropout(Cosine(0.5, steps=2))
        >>> empty, x = layer.init(seed=0, input_shape=4, backend="numpy"), np.ones((1, 4))
        >>> for step in (1, 2, 3):
        ...     print(layer.apply(empty, x, training=True, key=rng.key(1).at_step(step))[0].round(2))
        [[0. 2. 2. 0.]]
        [[0.   1.33 1.33 0.  ]]
        [[1. 1. 1. 1.]]

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    rate: float | Callable[[int], float] = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _check_rate("Dropout: rate", self.rate, "correct it"))  # frozen

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        if not training or self.rate == 0:
            return x, state
        if key is None:
            raise ConfigError(
                "Dropout: expected a key in training, found None; call apply(..., key=step or key)"
            )
        xp, key = plain_namespace(x), key.fold("dropout")
        probability = 1 - (key.value(self._rate_at) if callable(self.rate) else self.rate)
        kept = rng.bernoulli(key, probability, x.shape, xp=xp, device=device_of(x))
        return x * (array_namespace(kept).astype(kept, x.dtype) * (1 / probability)), state

    def _rate_at(self, step: int) -> float:
        """Return the rate of a step to 24 bits, as masks are drawn: so it is exact in float32 as well."""
        rate: float = value_at("Dropout", self.rate, step, "rate of at least 0 and below 1", 1.0)
        return min(round(rate * 2**24), 2**24 - 1) / 2**24
