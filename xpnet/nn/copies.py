"""Several networks of one form, with weights of their own, computed as one."""

from __future__ import annotations

import dataclasses
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff import vmap
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace, backend
from xpnet.backends.lacking import word_dtype
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.nn.layer import Layer, Shape, apply_layer, from_config

__all__ = ["Ensemble"]


@dataclasses.dataclass(frozen=True)
class Ensemble(Layer):
    """Networks of one form that are trained side by side: yᵢ = f(x; θᵢ) for member i.

    Each has weights, statistics and random draws of its own, and products of all of them are one batched
    product: ten small trainings cost little more than one. Each member has its own loss, whose mean is
    minimized; predictions are averaged.

    Args:
        layer: the network.
        members: how many there are.

    Shapes:
        x: (batch, ...) as the network takes it -> (batch, members, units); parameters are called as those of
        the network, and stacked: (members, ...).

    Example:
        >>> from xpnet.nn import MLP
        >>> model = Ensemble(MLP([8], 2), members=5)
        >>> model.init(seed=0, input_shape=3, backend="numpy").params
        Parameters(250 values in 0.weight: (5, 3, 8), 0.bias: (5, 8), 2.weight: (5, 8, 2), 2.bias: (5, 2))
        >>> model.output_shape((3,))
        (5, 2)

    Source: Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep
        ensembles", NeurIPS 2017.
    """

    layer: Layer
    members: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", checks.count("Ensemble: members", self.members))  # frozen

    @property
    def ensemble(self) -> int:
        return self.members

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.members, *self.layer.output_shape(input_shape))

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return _stacked([self.layer.parameters(self._key(key, i), input_shape) for i in range(self.members)])

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        shapes = self.layer.parameter_shapes(input_shape)
        return {name: (self.members, *shape) for name, shape in shapes.items()}

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        one = self.layer.initial_state(input_shape)
        stacked: dict[str, Any] = _stacked([one] * self.members)
        return stacked

    @property
    def needs_data(self) -> bool:
        return self.layer.needs_data

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        made = []
        for i in range(self.members):
            of_member, states = (map_leaves(lambda y, i=i: y[i, ...], tree) for tree in (params, state))
            made.append(self.layer.adapted(self._key(key, i), of_member, states, x))
        outputs = array_namespace(x).stack([y for _, y in made], axis=1)
        return _stacked([params for params, _ in made]), outputs

    def _key(self, key: rng.Key, member: int) -> rng.Key:
        return key.fold("member", member)

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        def member(params: Any, state: Any, number: Any) -> tuple[Any, Any]:
            own = None if key is None else key.at_stream(number)
            return apply_layer(self.layer, params, state, x, training=training, key=own)

        xp = plain_namespace(x)
        numbers = xp.arange(self.members, dtype=word_dtype(xp), device=device_of(x))
        found: tuple[Any, dict[str, Any]] = vmap(member, out_axes=(1, 0))(params, state, numbers)
        return found

    def to_config(self) -> dict[str, Any]:
        return {"layer": "Ensemble", "of": self.layer.to_config(), "members": self.members}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        return cls(from_config(config["of"]), config["members"])


def _stacked(trees: list[Any]) -> Any:
    """Return one container with the leaves of several, which are host arrays, stacked."""
    xp = backend("numpy").xp
    columns = zip(*map(leaves, trees), strict=True)
    return rebuild(trees[0], [xp.stack(column) for column in columns])
