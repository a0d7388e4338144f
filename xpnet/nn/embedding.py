"""Learned vectors for categories."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from xpnet import checks, rng
from xpnet.autodiff import functions, stop_gradient
from xpnet.backends import array_namespace, backend
from xpnet.errors import ConfigError
from xpnet.nn import init
from xpnet.nn.constants import constant_like
from xpnet.nn.layer import Layer, Shape, check_rows

__all__ = ["Embedding"]

_MOST = 1 << 23  # whole numbers to which float32 can add a half


@dataclasses.dataclass(frozen=True)
class Embedding(Layer):
    """For each column of codes a table of vectors that are learned; the vectors of a row are joined.

    A code is a whole number from 0 to the column's cardinality - 1; inputs are rounded to it, as they come
    as numbers among others. Other numbers, and NaN, are unknown and give zeros.

    Args:
        cardinalities: of each column, how many codes there are.
        size: entries of a vector.
        weight_init: initializer of the tables, each of shape (cardinality, size).
        zero: a code whose vectors begin as zeros, such as that of missing cells; None: there is none.

    Shapes:
        x: (batch, columns) -> (batch, columns · size); the parameter ``weight`` is (sum of cardinalities,
        size), one table below the other.

    Raises:
        ConfigError: cardinalities below 1, or inputs of another width.

    Example:
        >>> import numpy as np
        >>> layer = Embedding([3, 5], 4)
        >>> variables = layer.init(seed=0, input_shape=2, backend="numpy")
        >>> variables.params
        Parameters(32 values in weight: (8, 4))
        >>> y = layer.apply(variables, np.asarray([[2.0, 0.0], [3.0, 0.0]]))
        >>> [bool((y[1, :4] == 0).all()), bool((y[0, 4:] == y[1, 4:]).all())]
        [True, True]

    Source: Guo and Berkhahn, "Entity embeddings of categorical variables", 2016; RealMLP takes size 8 for
        columns of more than 8 categories.
    """

    cardinalities: Sequence[int]
    size: int = 8
    weight_init: Any = dataclasses.field(default_factory=lambda: {"name": "normal", "std": 1.0})
    zero: int | None = None

    def __post_init__(self) -> None:
        given = self.cardinalities
        if not isinstance(given, (list, tuple)) or not given:
            raise ConfigError(
                f"Embedding: cardinalities: expected a list with a number for each column, found {given!r}"
            )
        remedy = "give the number of different codes of each column"
        counts = tuple(checks.count("Embedding: cardinalities", n, remedy) for n in given)
        if sum(counts) > _MOST:
            raise ConfigError(
                f"Embedding: cardinalities: expected at most {_MOST:,} codes in all, found {sum(counts):,}; "
                "join rare categories"
            )
        if self.zero is not None:
            object.__setattr__(self, "zero", checks.whole(0)("Embedding: zero", self.zero))
        object.__setattr__(self, "cardinalities", counts)  # the dataclass is frozen
        object.__setattr__(self, "size", checks.count("Embedding: size", self.size))
        init.get(self.weight_init)

    def output_shape(self, input_shape: Shape) -> Shape:
        if input_shape != (len(self.cardinalities),):
            raise ConfigError(
                f"Embedding: expected rows of {len(self.cardinalities)} codes, one for each of "
                f"cardinalities, found rows of shape {input_shape}"
            )
        return (len(self.cardinalities) * self.size,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"weight": (sum(self.cardinalities), self.size)}

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        xp, draw, tables = backend("numpy").xp, init.get(self.weight_init), []
        for column, cardinality in enumerate(self.cardinalities):
            table = draw(key.fold("weight", column), (cardinality, self.size))
            if self.zero is not None:
                known = xp.arange(cardinality) != self.zero
                table = table * known[:, None]
            tables.append(table)
        return {"weight": xp.concat(tables)}

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        check_rows(self, x, (len(self.cardinalities),))
        x, first = stop_gradient(x), [0, *itertools.accumulate(self.cardinalities)][:-1]
        xp = array_namespace(x)
        codes = xp.floor(x + 0.5)
        known = xp.logical_and(codes >= 0, codes < constant_like(x, self.cardinalities))
        rows = xp.where(known, codes + constant_like(x, first), -1.0)
        found = functions.embedding(params["weight"], rows)
        return array_namespace(found).reshape(found, (-1, len(first) * self.size)), state

    def to_config(self) -> dict[str, Any]:
        written = {
            "cardinalities": list(self.cardinalities),
            "weight_init": init.to_config(self.weight_init),
        }
        return {**super().to_config(), **written}
