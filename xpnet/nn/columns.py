"""Different layers for different columns of the inputs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from xpnet import checks, rng
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.nn.layer import Layer, Shape, apply_layer, from_config

__all__ = ["Columns"]


_NUMBER = checks.whole(0)


class Part(NamedTuple):
    """A layer and its columns.

    Attributes:
        name: by which its parameters are called.
        columns: how many, following those of the part before; or their numbers.
        layer: what is applied to them.
    """

    name: str
    columns: int | tuple[int, ...]
    layer: Layer


@dataclasses.dataclass(frozen=True, init=False)
class Columns(Layer):
    """Layers side by side, each for some columns of the inputs; their outputs are joined.

    The parameters of the part ``numbers=...`` are called ``"numbers.weight"`` and so on.

    Args:
        parts: by name, pairs of columns and a layer. Columns are a number of them, which follow those of the
            part before, or a list of their numbers from 0 on; in all parts the one or the other.

    Shapes:
        x: (batch, features) -> (batch, sum of the layers' outputs)

    Raises:
        ConfigError: columns that are in no part, or that the inputs lack.

    Example:
        >>> from xpnet.nn import Embedding, Identity
        >>> model = Columns(numbers=(3, Identity()), colour=(1, Embedding([7], 2)))
        >>> model.init(seed=0, input_shape=4, backend="numpy").params
        Parameters(14 values in colour.weight: (7, 2))
        >>> model.output_shape((4,))
        (5,)
    """

    parts: tuple[Part, ...]

    def __init__(self, **parts: tuple[int | Sequence[int], Layer]):
        found = tuple(Part(name, _columns(name, part), part[1]) for name, part in parts.items())
        if not found:
            raise ConfigError("Columns: expected parts, found none; write Columns(all=(3, Identity())), say")
        if len({type(part.columns) for part in found}) > 1:
            raise ConfigError(
                f"Columns: expected numbers of columns in all parts, or lists in all, found "
                f"{[part.columns for part in found]}; list the columns of each part"
            )
        object.__setattr__(self, "parts", found)

    def _places(self, features: int | None = None) -> list[range | tuple[int, ...]]:
        """Return the columns of each part, as a range where they follow each other."""
        found: list[range | tuple[int, ...]] = []
        stop = 0
        for part in self.parts:
            if isinstance(part.columns, int):
                start, stop = stop, stop + part.columns
                found.append(range(start, stop))
            else:
                found.append(_range(part.columns))
        known = set(itertools.chain(*found))
        if features is not None and known != set(range(features)):
            lacking = sorted(set(range(features)) - known)
            wrong = f"no part for the columns {lacking}" if lacking else f"parts for {max(known) + 1}"
            raise ConfigError(
                f"Columns: expected parts for all {features} columns of the inputs, found {wrong}; add "
                "rest=(columns, Identity()), or correct the numbers"
            )
        return found

    def _inside(self, input_shape: Shape) -> Iterator[tuple[Part, Shape]]:
        """Yield the parts with the shapes of their rows."""
        if len(input_shape) != 1:
            raise ConfigError(f"Columns: expected rows of shape (features,), found {input_shape}")
        for part, places in zip(self.parts, self._places(input_shape[0]), strict=True):
            yield part, (len(places),)

    def output_shape(self, input_shape: Shape) -> Shape:
        sizes = []
        for part, shape in self._inside(input_shape):
            made = part.layer.output_shape(shape)
            if len(made) != 1:
                raise ConfigError(f"Columns: expected vectors of the part {part.name!r}, found rows {made}")
            sizes.append(made[0])
        return (sum(sizes),)

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        return {
            f"{part.name}.{name}": array
            for part, shape in self._inside(input_shape)
            for name, array in part.layer.parameters(key.fold(part.name), shape).items()
        }

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {
            f"{part.name}.{name}": own
            for part, shape in self._inside(input_shape)
            for name, own in part.layer.parameter_shapes(shape).items()
        }

    def initial_state(self, input_shape: Shape) -> dict[str, Any]:
        found = {part.name: part.layer.initial_state(shape) for part, shape in self._inside(input_shape)}
        return {name: state for name, state in found.items() if state}

    @property
    def needs_data(self) -> bool:
        return any(part.layer.needs_data for part in self.parts)

    def adapted(
        self, key: rng.Key, params: dict[str, Any], state: dict[str, Any], x: Any
    ) -> tuple[dict[str, Any], Any]:
        found, outputs = dict(params), []
        for part, own_x in self._cut(x):
            name = part.name
            own, y = part.layer.adapted(key.fold(name), params.get(name, {}), state.get(name, {}), own_x)
            outputs.append(y)
            if own:
                found[name] = own
        return found, array_namespace(x).concat(outputs, axis=1)

    def _cut(self, x: Any) -> Iterator[tuple[Part, Any]]:
        """Yield the parts with their columns of ``x``."""
        if len(x.shape) != 2:
            raise ConfigError(f"Columns: expected inputs (batch, features), found {tuple(x.shape)}")
        for part, places in zip(self.parts, self._places(x.shape[1]), strict=True):
            if isinstance(places, range):
                yield part, x[:, places.start : places.stop]
            else:
                numbers = plain_namespace(x).asarray(places, device=device_of(x))
                yield part, array_namespace(x).take(x, numbers, axis=1)

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        new_state, outputs = dict(state), []
        for part, own_x in self._cut(x):
            name = part.name
            own_key = None if key is None else key.fold(name)
            own_params, own_state = params.get(name, {}), state.get(name, {})
            y, own = apply_layer(part.layer, own_params, own_state, own_x, training=training, key=own_key)
            outputs.append(y)
            if own:
                new_state[name] = own
        return array_namespace(*outputs).concat(outputs, axis=1), new_state

    def to_config(self) -> dict[str, Any]:
        parts: dict[str, list[Any]] = {}
        for name, columns, layer in self.parts:
            parts[name] = [columns if isinstance(columns, int) else list(columns), layer.to_config()]
        return {"layer": "Columns", "parts": parts}

    @classmethod
    def build(cls, config: dict[str, Any]) -> Layer:
        return cls(**{name: (columns, from_config(own)) for name, (columns, own) in config["parts"].items()})


def _columns(name: str, part: Any) -> int | tuple[int, ...]:
    """Return the columns of a part, checked."""
    if not isinstance(part, (tuple, list)) or len(part) != 2 or not isinstance(part[1], Layer):
        raise ConfigError(
            f"Columns: {name}: expected a pair of columns and a layer, found {part!r}; write "
            "(3, Identity()), say"
        )
    if not name.isidentifier():
        raise ConfigError(f"Columns: expected a name such as 'numbers' for a part, found {name!r}")
    columns = part[0]
    if not isinstance(columns, (list, tuple, range)):
        return checks.count(f"Columns: {name}", columns, "give the number of its columns, or list them")
    if not len(columns):
        raise ConfigError(f"Columns: {name}: expected columns, found none; leave the part out")
    return tuple(_NUMBER(f"Columns: {name}", number, "count from 0") for number in columns)


def _range(numbers: tuple[int, ...]) -> range | tuple[int, ...]:
    found = range(numbers[0], numbers[0] + len(numbers))
    return found if numbers == tuple(found) else numbers
