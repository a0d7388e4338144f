"""Ensembles of networks that are computed as one, with weights of their own or with shared ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff import vmap
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace, backend
from xpnet.backends.lacking import word_dtype
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import ConfigError
from xpnet.nn import init
from xpnet.nn.layer import Layer, Shape, apply_layer, from_config

__all__ = ["BatchEnsemble", "Ensemble", "EnsembleDense"]


@dataclasses.dataclass(frozen=True)
class _OfMembers(Layer):
    """Base class: affine maps for several members, whose vectors are (batch, members, features)."""

    units: int
    members: int

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "units", checks.count(f"{name}: units", self.units))  # frozen
        object.__setattr__(self, "members", checks.count(f"{name}: members", self.members))

    @property
    def ensemble(self) -> int:
        return self.members

    def output_shape(self, input_shape: Shape) -> Shape:
        self._features(input_shape)
        return (self.members, self.units)

    def _features(self, input_shape: Shape) -> int:
        if len(input_shape) == 1 or (len(input_shape) == 2 and input_shape[0] == self.members):
            return input_shape[-1]
        raise ConfigError(
            f"{type(self).__name__}({self.units}): expected rows of shape (features,), the same for all "
            f"members, or ({self.members}, features), found {input_shape}"
        )

    def _of_members(self, x: Any, features: int) -> Any:
        """Return inputs as (batch, members or 1, features)."""
        if x.shape[-1] != features or self._features(tuple(x.shape[1:])) != features:
            raise ConfigError(
                f"{type(self).__name__}({self.units}): expected inputs of shape (batch, {features}) or "
                f"(batch, {self.members}, {features}), found {tuple(x.shape)}"
            )
        return array_namespace(x).expand_dims(x, axis=1) if len(x.shape) == 2 else x

    def _bound(self, input_shape: Shape) -> float:
        return self._features(input_shape) ** -0.5


@dataclasses.dataclass(frozen=True)
class BatchEnsemble(_OfMembers):
    """Affine maps of several members with one weight matrix: yᵢ = ((xᵢ ⊙ rᵢ) W) ⊙ sᵢ + bᵢ for member i.

    Vectors r and s and the bias are each member's own; one product computes all members.

    Args:
        units: number of outputs of each member.
        members: how many there are.
        input_init: initializer of r: ``"random_signs"`` or ``"normal"`` makes members different, in the first
            of such layers; elsewhere they may begin alike.
        output_init: initializer of s.
        chunks: how many inputs, in order, share a draw of r, such as those made of one feature; None: each
            has its own.

    Shapes:
        x: (batch, features), the same for all members, or (batch, members, features) -> (batch, members,
        units); the parameters are ``weight`` (features, units), ``input_scale`` (members, features),
        ``output_scale`` and ``bias`` (members, units). At first weight and bias are uniform in
        ±1 / √features, the bias alike for all members.

    Raises:
        ConfigError: counts below 1, unknown initializers, or inputs of another shape.

    Example:
        >>> layer = BatchEnsemble(3, members=2, input_init="random_signs")
        >>> layer.output_shape((4,))
        (2, 3)
        >>> layer.init(seed=0, input_shape=4, backend="numpy").params.layout.names
        ('weight', 'input_scale', 'output_scale', 'bias')

    Source: Wen et al., "BatchEnsemble: an alternative approach to efficient ensemble and lifelong learning",
        ICLR 2020; begun as in TabM (Gorishniy et al., "TabM: advancing tabular deep learning with
        parameter-efficient ensembling", ICLR 2025).
    """

    input_init: Any = "constant"
    output_init: Any = "constant"
    chunks: Sequence[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        init.get(self.input_init)
        init.get(self.output_init)
        if self.chunks is not None:
            if not isinstance(self.chunks, (list, tuple)):
                raise ConfigError(
                    f"BatchEnsemble: chunks: expected a list of sizes, found {checks.short_repr(self.chunks)}"
                )
            found = tuple(checks.count("BatchEnsemble: chunks", size) for size in self.chunks)
            object.__setattr__(self, "chunks", found)  # the dataclass is frozen

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        features = self._features(input_shape)
        return {
            "weight": (features, self.units),
            "input_scale": (self.members, features),
            "output_scale": (self.members, self.units),
            "bias": (self.members, self.units),
        }

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        xp, shapes, bound = backend("numpy").xp, self.parameter_shapes(input_shape), self._bound(input_shape)
        features = shapes["weight"][0]
        sizes = [1] * features if self.chunks is None else list(self.chunks)
        if sum(sizes) != features:
            raise ConfigError(
                f"BatchEnsemble: chunks: expected sizes that add up to the {features} inputs, found "
                f"{checks.short_repr(sizes)}, which are {sum(sizes)} in all"
            )
        drawn = init.get(self.input_init)(key.fold("input_scale"), (self.members, len(sizes)))
        bias = rng.uniform(key.fold("bias"), (1, self.units), -bound, bound)
        return {
            "weight": rng.uniform(key.fold("weight"), shapes["weight"], -bound, bound),
            "input_scale": xp.repeat(drawn, xp.asarray(sizes), axis=1),
            "output_scale": init.get(self.output_init)(key.fold("output_scale"), shapes["output_scale"]),
            "bias": xp.repeat(bias, self.members, axis=0),
        }

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        weight = params["weight"]
        xp = array_namespace(x, weight)
        x = self._of_members(x, weight.shape[0])
        rows = xp.reshape(xp.multiply(x, params["input_scale"]), (-1, weight.shape[0]))
        y = xp.reshape(xp.matmul(rows, weight), (-1, self.members, self.units))
        return xp.add(xp.multiply(y, params["output_scale"]), params["bias"]), state

    def to_config(self) -> dict[str, Any]:
        written = {name: init.to_config(getattr(self, name)) for name in ("input_init", "output_init")}
        chunks = None if self.chunks is None else list(self.chunks)
        return {**super().to_config(), **written, "chunks": chunks}


@dataclasses.dataclass(frozen=True)
class EnsembleDense(_OfMembers):
    """An affine map for each of several members: yᵢ = xᵢ Wᵢ + bᵢ for member i.

    Args:
        units: number of outputs of each member.
        members: how many there are.

    Shapes:
        x: (batch, features), the same for all members, or (batch, members, features) -> (batch, members,
        units); the parameters are ``weight`` (members, features, units) and ``bias`` (members, units), at
        first uniform in ±1 / √features.

    Raises:
        ConfigError: counts below 1, or inputs of another shape.

    Example:
        >>> EnsembleDense(3, members=2).init(seed=0, input_shape=(2, 4), backend="numpy").params
        Parameters(30 values in weight: (2, 4, 3), bias: (2, 3))

    Source: the heads of TabM (Gorishniy et al., ICLR 2025).
    """

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {
            "weight": (self.members, self._features(input_shape), self.units),
            "bias": (self.members, self.units),
        }

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        bound = self._bound(input_shape)
        return {
            name: rng.uniform(key.fold(name), shape, -bound, bound)
            for name, shape in self.parameter_shapes(input_shape).items()
        }

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        weight = params["weight"]
        xp = array_namespace(x, weight)
        of_members = xp.permute_dims(self._of_members(x, weight.shape[1]), (1, 0, 2))
        y = xp.permute_dims(xp.matmul(of_members, weight), (1, 0, 2))
        return xp.add(y, params["bias"]), state


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

    Raises:
        ConfigError: members below 1, or a layer that is an ensemble itself.

    Source: Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep
        ensembles", NeurIPS 2017.
    """

    layer: Layer
    members: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", checks.count("Ensemble: members", self.members))  # frozen
        if not isinstance(self.layer, Layer) or self.layer.ensemble is not None:
            raise ConfigError(
                "Ensemble: layer: expected a network of one member, found "
                f"{checks.short_repr(self.layer)}; give a Layer that is no ensemble"
            )

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
