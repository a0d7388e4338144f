"""Layers: init/apply pairs of plain array code, without any backward code."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpnet import backends, rng
from xpnet.autodiff.functions import unpack
from xpnet.autodiff.scopes import scope, snake_case
from xpnet.configured import Configured
from xpnet.containers import map_leaves
from xpnet.errors import ConfigError, suggest
from xpnet.parameters import Layout, Parameters

__all__ = ["LAYERS", "Layer", "Shape", "Variables", "apply_layer", "check_rows", "from_config"]

Shape = tuple[int, ...]

LAYERS: dict[str, type[Layer]] = {}


class Variables(NamedTuple):
    """Variables of a model: learnable parameters, and state such as running statistics."""

    params: Parameters
    state: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Layer:
    """Base class of layers and models: hyperparameters in a frozen dataclass, arrays kept outside.

    A subclass is registered under its name and overrides what it needs:

    - :meth:`output_shape`, the shape of one output row for one input row;
    - :meth:`parameters` and :meth:`initial_state`, dicts of host arrays; also :meth:`parameter_shapes`, so
      that shapes are known without drawing what may be large;
    - :meth:`forward`, the function itself, in array operations of the standard;
    - :attr:`needs_data` and :meth:`adapted`, for parameters that begin in dependence on training rows.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = LAYERS.get(cls.__name__)
        if known is not None and _is_own(known) and not _is_own(cls):
            raise ConfigError(
                f"layer {cls.__name__}: expected a name that no layer of xpnet has, as stored models are "
                f"made again by their layers' names; call the class Own{cls.__name__}, say"
            )
        if not cls.__name__.startswith("_"):
            LAYERS[cls.__name__] = cls

    def output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of one row of the output for one row of the input."""
        return input_shape

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        """Return freshly drawn parameters, float64 host arrays by (dotted) name."""
        return {}

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Return the shapes of the parameters by name."""
        drawn = self.parameters(rng.key(0), input_shape)
        return {name: tuple(array.shape) for name, array in drawn.items()}

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        """Return the state before training, as nested dicts of float64 host arrays."""
        return {}

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        """Return the output for ``x`` of shape (batch, ...) and the new state."""
        raise NotImplementedError

    @property
    def ensemble(self) -> int | None:
        """How many members of an ensemble the outputs are of, (batch, members, outputs); None: of one model.

        The loss is the mean of the members' losses, and predictions are the mean of theirs.
        """
        return None

    @property
    def needs_data(self) -> bool:
        """Whether parameters begin in dependence on training rows: see `init_from_data`."""
        return False

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        """Return drawn parameters adapted to inputs ``x``, as host arrays, and the output for ``x``."""
        return params, self.forward(params, state, x, training=False, key=None)[0]

    def init(
        self,
        seed: int,
        input_shape: int | Sequence[int],
        backend: str | backends.Backend = "auto",
        dtype: str = "float32",
    ) -> Variables:
        """Draw the parameters and the initial state.

        Args:
            seed: whole number; the same seed draws the same values on every backend.
            input_shape: shape of one row of the input, such as ``(64,)`` or ``64`` (a leading None or
                -1 for the batch is ignored).
            backend: where the arrays live.
            dtype: floating dtype of the parameters.

        Raises:
            ConfigError: a shape does not fit, or ``dtype`` is not floating.
            BackendError: the backend or dtype is not available.
        """
        home = backends.backend(backend)
        shape = _row_shape(input_shape)
        if dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype: expected 'float32' or 'float64', found {dtype!r}")
        self.output_shape(shape)  # complains about misfits before anything is drawn
        drawn = self.parameters(rng.key(seed).fold("init"), shape)
        layout = Layout(tuple((name, tuple(array.shape)) for name, array in drawn.items()))
        host = backends.backend("numpy").xp
        flat = host.concat([host.zeros(0), *(host.reshape(array, (-1,)) for array in drawn.values())])
        state = map_leaves(lambda x: home.asarray(x, dtype=dtype), self.initial_state(shape))
        return Variables(Parameters(home.asarray(flat, dtype=dtype), layout), state)

    def init_from_data(self, variables: Variables, X: Any, seed: int) -> Variables:
        """Return fresh variables adapted to training rows, by the initializers that depend on data.

        These are ``unit_variance`` and ``he_plus``, see :mod:`xpnet.nn.init`; without them the variables are
        returned as they are. Layer after layer is computed on the host, in float64, so that all devices begin
        alike. A fit calls this before its first step, with some thousand rows.

        Args:
            variables: from :meth:`init`.
            X: inputs (rows, ...), a host array.
            seed: the same as for :meth:`init`.

        Example:
            >>> import numpy as np
            >>> from xpnet.nn import Dense
            >>> model = Dense(2, weight_init="unit_variance")
            >>> X = np.asarray([[1.0, 5.0], [2.0, 9.0], [4.0, 4.0]])
            >>> drawn = model.init(seed=0, input_shape=2, backend="numpy", dtype="float64")
            >>> model.apply(model.init_from_data(drawn, X, seed=0), X).std(axis=0)
            array([1., 1.])
        """
        if not self.needs_data:
            return variables
        (params, state), host = variables, backends.backend("numpy")
        home = backends.backend_of(params.flat)

        def on_host(x: Any) -> Any:
            return host.asarray(home.to_host(x), dtype="float64")

        tree = params.layout.tree(params.layout.views(on_host(params.flat)))
        key = rng.key(seed).fold("init")
        found, _ = self.adapted(key, tree, map_leaves(on_host, state), host.asarray(X, dtype="float64"))
        flat = host.xp.concat([host.xp.reshape(params.layout.inside(found, name), (-1,)) for name in params])
        return Variables(
            Parameters(home.asarray(flat, dtype=backends.dtype_name(params.flat)), params.layout), state
        )

    def apply(
        self, variables: Variables, x: Any, *, training: bool = False, key: rng.Key | int | None = None
    ) -> Any:
        """Apply the model to a batch.

        Args:
            variables: from :meth:`init` or from training.
            x: floating array (batch, ...) on the same backend.
            training: use batch statistics and dropout, and return the new state too.
            key: randomness of this step (a seed or a key); needed by Dropout in training.

        Returns:
            The outputs y (batch, ...); with ``training=True`` the pair ``(y, state)``.

        Raises:
            ConfigError: shapes do not fit (both are named), or a key is missing.
        """
        params, state = variables
        tree = params.layout.tree(unpack(params.flat, params.layout))
        if isinstance(key, int):
            key = rng.key(key)
        y, state = apply_layer(self, tree, state, x, training=training, key=key)
        return (y, state) if training else y

    def to_config(self) -> dict[str, Any]:
        """Return the layer as plain JSON data, from which :func:`from_config` makes it again.

        Raises:
            ConfigError: the layer has settings that are no fields, so it could not be made again.
        """
        hidden = sorted(vars(self).keys() - {f.name for f in dataclasses.fields(self)})
        if hidden:
            raise ConfigError(
                f"{type(self).__name__}: expected all settings as dataclass fields, found {hidden} beside "
                "them; define the layer as a frozen dataclass"
            )
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        plain = {name: x.to_config() if isinstance(x, Configured) else x for name, x in values}
        return {"layer": type(self).__name__, **plain}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        """Return the layer described by ``config``, what :meth:`to_config` wrote, without its class name."""
        return cls(**config)


def _is_own(kind: type[Layer]) -> bool:
    return kind.__module__.startswith("xpnet.")


def apply_layer(
    layer: Layer,
    params: dict[str, Any],
    state: dict[str, Any],
    x: Any,
    *,
    training: bool,
    key: rng.Key | None,
) -> tuple[Any, dict[str, Any]]:
    """Return the result of the layer's `forward`; programs record it in a scope named after the layer."""
    with scope(_scope_of(type(layer).__name__)):
        return layer.forward(params, state, x, training=training, key=key)


@functools.cache
def _scope_of(name: str) -> str:
    return f"{snake_case(name)}_forward"


def from_config(config: dict[str, Any]) -> Layer:
    """Return the layer or model that :meth:`Layer.to_config` described.

    Raises:
        ConfigError: no such layer, or settings it does not have.
    """
    options = dict(config)
    name = options.pop("layer", None)
    if name not in LAYERS:
        raise ConfigError(f"layer: expected the name of a layer, found {name!r}{suggest(name, LAYERS)}")
    try:
        return LAYERS[name].build(options)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"layer {name}: expected its settings, found {options} ({error})") from error


def check_rows(layer: Layer, x: Any, shape: Shape) -> None:
    """Refuse a batch whose rows have another shape than the layer's parameters are for."""
    if tuple(x.shape[1:]) != tuple(shape):
        expected = ", ".join(["batch", *map(str, shape)])
        raise ConfigError(
            f"{type(layer).__name__}: expected inputs of shape ({expected}), found {tuple(x.shape)}"
        )


def _row_shape(input_shape: int | Sequence[int]) -> Shape:
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if len(shape) > 1 and shape[0] in (None, -1):
        shape = shape[1:]
    if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ConfigError(
            f"input_shape: expected the positive sizes of one input row, such as (64,), found {input_shape!r}"
        )
    return shape
