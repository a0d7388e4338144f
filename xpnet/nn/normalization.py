"""Normalization layers."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff import stop_gradient
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.nn import init
from xpnet.nn.layer import Layer, Shape

__all__ = ["BatchNorm", "LayerNorm"]

_share = checks.number("a number from 0 to 1", lambda x: 0.0 <= x <= 1.0)


@dataclasses.dataclass(frozen=True)
class _Normalization(Layer):
    """Base class: γ (x - mean) / √(variance + ε) + β with learnable γ (scale) and β (shift)."""

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        epsilon = checks.positive(f"{type(self).__name__}: epsilon", self.epsilon)
        object.__setattr__(self, "epsilon", epsilon)  # the dataclass is frozen

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ConfigError(
                f"{type(self).__name__}: expected rows of shape (features,), found {input_shape}"
            )
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"scale": input_shape, "shift": input_shape}

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return {
            "scale": init.constant(key, input_shape, value=1.0),
            "shift": init.constant(key, input_shape, value=0.0),
        }

    def _normalize(self, params: dict[str, Any], x: Any, mean: Any, variance: Any) -> Any:
        xp = array_namespace(x, mean, variance)
        if x.shape[-1] != params["scale"].shape[0]:
            raise ConfigError(
                f"{type(self).__name__}: expected inputs of shape (batch, {params['scale'].shape[0]}), "
                f"found {tuple(x.shape)}"
            )
        normalized = xp.divide(xp.subtract(x, mean), xp.sqrt(variance + self.epsilon))
        xp = array_namespace(normalized, params["scale"])
        return xp.add(xp.multiply(normalized, params["scale"]), params["shift"])


@dataclasses.dataclass(frozen=True)
class BatchNorm(_Normalization):
    """Each feature normalized over the batch in training, by running statistics otherwise.

    The running mean and variance are state: r ← (1 - momentum) r + momentum (batch statistic), with the
    variance there unbiased, as in PyTorch. A batch of one row leaves the running variance alone.

    Args:
        epsilon: added to the variance.
        momentum: weight of the newest batch in the running statistics.

    Shapes:
        x: (batch, features) -> (batch, features)

    Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.
    """

    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "momentum", _share("BatchNorm: momentum", self.momentum))

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        ones = init.constant(rng.key(0), input_shape, value=1.0)
        return {"mean": 0 * ones, "variance": ones}

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        if not training:
            return self._normalize(params, x, state["mean"], state["variance"]), state
        xp = array_namespace(x)
        mean, variance = xp.mean(x, axis=0), xp.var(x, axis=0)
        y = self._normalize(params, x, mean, variance)
        batch = x.shape[0]
        new_mean, new_variance = stop_gradient(mean), stop_gradient(variance) * (batch / max(batch - 1, 1))
        xp = array_namespace(new_mean, state["mean"])  # the state may be traced where x, the data, is not
        running = {
            "mean": xp.add(state["mean"], xp.subtract(new_mean, state["mean"]) * self.momentum),
            "variance": state["variance"],
        }
        if batch > 1:
            change = xp.subtract(new_variance, state["variance"]) * self.momentum
            running["variance"] = xp.add(state["variance"], change)
        return y, running


@dataclasses.dataclass(frozen=True)
class LayerNorm(_Normalization):
    """Each row normalized over its own features.

    Shapes:
        x: (batch, features) -> (batch, features)

    Source: Ba et al., "Layer normalization", 2016.
    """

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        xp = array_namespace(x)
        mean, variance = xp.mean(x, axis=-1, keepdims=True), xp.var(x, axis=-1, keepdims=True)
        return self._normalize(params, x, mean, variance), state
