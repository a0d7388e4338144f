"""Numbers as vectors: periodic and piecewise-linear functions of each, with weights of its own."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

from xpnet import backends, checks, rng
from xpnet.backends import array_namespace, backend
from xpnet.errors import ConfigError, DataError
from xpnet.nn.constants import constant_like
from xpnet.nn.layer import Layer, Shape, check_rows

__all__ = ["PeriodicEmbedding", "PiecewiseLinearEmbedding", "quantile_edges"]

Edges = tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class _NumericEmbedding(Layer):
    """Base class: each of n numbers becomes a vector of its own."""

    def _numbers(self, input_shape: Shape) -> int:
        if len(input_shape) != 1:
            raise ConfigError(
                f"{type(self).__name__}: expected rows of shape (numbers,), found {input_shape}"
            )
        return input_shape[0]


def _products(xp: Any, vectors: Any, weight: Any) -> Any:
    """Return n products (batch, n, m) of vectors (batch, n, k) and matrices (n, k, m)."""
    return xp.permute_dims(xp.matmul(xp.permute_dims(vectors, (1, 0, 2)), weight), (1, 0, 2))


@dataclasses.dataclass(frozen=True)
class PeriodicEmbedding(_NumericEmbedding):
    """Each number x as [W cos(2π f x + φ) + b, x], with frequencies f and phases φ that are learned.

    Also called PBLD: periodic, with bias, linear, and dense, for x itself is passed on. The outputs are first
    the vectors of all numbers, then the numbers.

    Args:
        size: outputs for each number, x itself among them.
        frequencies: how many cosines each number has.
        std: of the frequencies at first, N(0, std²). The larger, the finer are the learned functions.

    Shapes:
        x: (batch, numbers) -> (batch, numbers · size); the parameters are ``frequency`` and ``phase``
        (numbers, frequencies), ``weight`` (numbers, frequencies, size - 1), ``bias`` (numbers, size - 1).

    Raises:
        ConfigError: a size below 2, no frequencies, or inputs of another width.

    Example:
        >>> PeriodicEmbedding().output_shape((10,))
        (40,)

    Source: Gorishniy et al., "On embeddings for numerical features in tabular deep learning", NeurIPS 2022;
        Holzmüller et al., "Better by default", NeurIPS 2024 (RealMLP), whose sizes are the defaults.
    """

    size: int = 4
    frequencies: int = 16
    std: float = 0.1

    def __post_init__(self) -> None:
        size = checks.whole(2)("PeriodicEmbedding: size", self.size, "count x itself, too")
        object.__setattr__(self, "size", size)  # the dataclass is frozen
        count = checks.count("PeriodicEmbedding: frequencies", self.frequencies)
        object.__setattr__(self, "frequencies", count)
        object.__setattr__(self, "std", checks.positive("PeriodicEmbedding: std", self.std))

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self._numbers(input_shape) * self.size,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        n, count, made = self._numbers(input_shape), self.frequencies, self.size - 1
        return {
            "frequency": (n, count),
            "phase": (n, count),
            "weight": (n, count, made),
            "bias": (n, made),
        }

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        shapes, bound = self.parameter_shapes(input_shape), 1 / math.sqrt(self.frequencies)
        return {
            "frequency": rng.normal(key.fold("frequency"), shapes["frequency"], 0.0, self.std),
            "phase": rng.uniform(key.fold("phase"), shapes["phase"], -math.pi, math.pi),
            "weight": rng.uniform(key.fold("weight"), shapes["weight"], -bound, bound),
            "bias": rng.uniform(key.fold("bias"), shapes["bias"], -bound, bound),
        }

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        frequency, phase = params["frequency"], params["phase"]
        check_rows(self, x, frequency.shape[:1])
        xp = array_namespace(x, frequency)
        angle = xp.add(xp.multiply(xp.expand_dims(x, axis=-1), 2 * math.pi * frequency), phase)
        vectors = xp.add(_products(xp, xp.cos(angle), params["weight"]), params["bias"])
        joined = xp.reshape(vectors, (-1, math.prod(params["bias"].shape)))
        return xp.concat([joined, x], axis=1), state


@dataclasses.dataclass(frozen=True)
class PiecewiseLinearEmbedding(_NumericEmbedding):
    """Each number x as a vector that is a continuous, piecewise-linear function of x: V x + b + W e(x).

    The encoding e(x) has a component for each bin: 0 left of the bin, 1 right of it, linear inside; the first
    is also linear left of all bins, and the last right of them. W begins as zeros, so that the vector is at
    first a linear function of x.

    Args:
        edges: of each number the edges of its bins, ascending, at least two: see `quantile_edges`.
        size: outputs for each number.

    Shapes:
        x: (batch, numbers) -> (batch, numbers · size); the parameters are ``slope`` V and ``bias`` b
        (numbers, size), and ``weight`` W (numbers, bins, size) for the largest number of bins.

    Raises:
        ConfigError: edges that do not ascend, or inputs of another width.

    Example:
        >>> layer = PiecewiseLinearEmbedding([[0.0, 1.0, 5.0], [-1.0, 1.0]], 3)
        >>> layer.init(0, 2, backend="numpy").params
        Parameters(24 values in slope: (2, 3), bias: (2, 3), weight: (2, 2, 3))

    Source: Gorishniy et al., "On embeddings for numerical features in tabular deep learning", NeurIPS 2022;
        in the version of TabM (Gorishniy et al., ICLR 2025), which is "B" of rtdl_num_embeddings.
    """

    edges: Sequence[Sequence[float]]
    size: int = 16

    def __post_init__(self) -> None:
        size = checks.count("PiecewiseLinearEmbedding: size", self.size)
        object.__setattr__(self, "size", size)  # the dataclass is frozen
        object.__setattr__(self, "edges", _checked_edges(self.edges))

    def output_shape(self, input_shape: Shape) -> Shape:
        if self._numbers(input_shape) != len(self.edges):
            raise ConfigError(
                f"PiecewiseLinearEmbedding: expected rows of {len(self.edges)} numbers, for each of which it "
                f"has edges, found {input_shape[0]}"
            )
        return (len(self.edges) * self.size,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        n, bins = len(self.edges), max(map(len, self.edges)) - 1
        return {"slope": (n, self.size), "bias": (n, self.size), "weight": (n, bins, self.size)}

    def parameters(self, key: rng.Key, input_shape: Shape) -> dict[str, Any]:
        shapes, bound = self.parameter_shapes(input_shape), 1 / math.sqrt(self.size)
        return {
            "slope": rng.uniform(key.fold("slope"), shapes["slope"], -bound, bound),
            "bias": rng.uniform(key.fold("bias"), shapes["bias"], -bound, bound),
            "weight": backend("numpy").xp.zeros(shapes["weight"]),
        }

    def forward(
        self, params: dict[str, Any], state: dict[str, Any], x: Any, *, training: bool, key: rng.Key | None
    ) -> tuple[Any, dict[str, Any]]:
        check_rows(self, x, (len(self.edges),))
        left, factor, low, high = (constant_like(x, values) for values in _encoding(self.edges))
        xp = array_namespace(x, params["weight"])
        column = xp.expand_dims(x, axis=-1)
        ramp = xp.multiply(xp.subtract(column, left), factor)
        encoded = xp.minimum(xp.maximum(ramp, low), high)
        vectors = xp.add(xp.multiply(column, params["slope"]), params["bias"])
        vectors = xp.add(vectors, _products(xp, encoded, params["weight"]))
        return xp.reshape(vectors, (-1, len(self.edges) * self.size)), state

    def to_config(self) -> dict[str, Any]:
        return {**super().to_config(), "edges": [list(edges) for edges in self.edges]}


def _checked_edges(edges: Any) -> Edges:
    remedy = "make them with quantile_edges"
    try:
        found = tuple(tuple(float(edge) for edge in own) for own in edges)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"PiecewiseLinearEmbedding: edges: expected a list of numbers for each input ({error}); {remedy}"
        ) from error
    if not found:
        raise ConfigError(f"PiecewiseLinearEmbedding: edges: expected a list for each input; {remedy}")
    for column, own in enumerate(found):
        finite = all(map(math.isfinite, own))
        if len(own) < 2 or not finite or any(a >= b for a, b in itertools.pairwise(own)):
            raise ConfigError(
                f"PiecewiseLinearEmbedding: edges: expected at least two finite ascending numbers for input "
                f"{column}, found {checks.short_repr(list(own))}; {remedy}"
            )
    return found


@functools.lru_cache(maxsize=64)
def _encoding(edges: Any) -> tuple[Any, Any, Any, Any]:
    """Return left edges, factors, lower and upper bounds (n, bins) of the components of the encodings.

    Numbers with fewer bins than others have components that are always 0, before their last one.
    """
    bins = max(map(len, edges)) - 1
    rows: list[list[tuple[float, float, float, float]]] = []
    for own in edges:
        row = [(a, 1 / (b - a), 0.0, 1.0) for a, b in itertools.pairwise(own)]
        row[0] = (*row[0][:2], -math.inf, row[0][3])
        row[-1] = (*row[-1][:3], math.inf)
        rows.append([*row[:-1], *[(0.0, 0.0, 0.0, 0.0)] * (bins - len(row)), row[-1]])
    left, factor, low, high = (tuple(tuple(cell[i] for cell in row) for row in rows) for i in range(4))
    return left, factor, low, high


def quantile_edges(X: Any, bins: int = 48) -> Edges:
    """Return edges of bins with equally many rows for each column: quantiles, of equal ones one.

    Args:
        X: numbers (rows, columns), such as those of training, on any device.
        bins: for each column, at the most.

    Raises:
        DataError: a column with a single value, or numbers that are not finite.

    >>> import numpy as np
    >>> quantile_edges(np.asarray([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [4.0, 3.0]]), 2)
    ((0.0, 1.5, 4.0), (1.0, 3.0))
    """
    bins = checks.count("quantile_edges: bins", bins)
    host = backend("numpy")
    X = host.asarray(backends.host(X), dtype="float64")
    if len(X.shape) != 2 or not X.shape[0]:
        raise DataError(f"quantile_edges: expected numbers (rows, columns), found shape {tuple(X.shape)}")
    if not bool(host.xp.all(host.xp.isfinite(X))):
        raise DataError("quantile_edges: expected finite numbers, found others; fill or drop these rows")
    found = []
    for column in range(X.shape[1]):
        quantiles = host.xp.quantile(X[:, column], host.xp.linspace(0.0, 1.0, bins + 1))
        own = host.xp.unique_values(quantiles)
        if own.shape[0] < 2:
            raise DataError(
                f"quantile_edges: expected different numbers in each column, found {float(own[0])} alone in "
                f"column {column}; leave it out"
            )
        found.append(tuple(own.tolist()))
    return tuple(found)
