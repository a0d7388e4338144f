"""Pruning masks: 0 and 1 over the flat vector of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import checks
from xpnet.backends import array_namespace, backend_of
from xpnet.errors import ConfigError
from xpnet.nn import Layer, Variables
from xpnet.parameters import Layout, Parameters
from xpnet.prune.connections import Connections

__all__ = ["SCOPES", "count_weights", "magnitude_mask", "sparsity_of"]

SCOPES = ("normalized", "global", "layer")


def magnitude_mask(
    params: Parameters | Variables, sparsity: float, scope: str = "normalized", *, model: Layer | None = None
) -> Any:
    """Return the mask that leaves out the weights of smallest magnitude |w|.

    Of n weights, round(sparsity · n) are pruned, of equal ones those that come first in the flat vector.
    Weights that are 0 already are pruned in any case. Biases, scales and shifts are never pruned.

    Args:
        params: the parameters of a model, on any backend.
        sparsity: share of the weights that become 0, at least 0 and below 1.
        scope: ``"normalized"`` ranks all weights together by |w| / √(Σ v² / m), v the m weights of the same
            matrix, pruned ones included: a matrix of small weights does not go first, and the fewer of its
            weights are left, the more each of them counts. ``"global"`` ranks all weights together by |w|;
            ``"layer"`` prunes the same share of each matrix.
        model: the model of the parameters. With it, each output keeps two paths to the inputs, even where the
            sparsity is lower then. And no unit has only inputs or only outputs, except with ``"layer"``: the
            weights of such units are pruned, and others are kept in their place.

    Returns:
        An array (layout.size,) of the parameters' dtype: 1 for kept entries, 0 for pruned ones.

    Raises:
        ConfigError: a sparsity or scope that cannot be meant, or a model without weights.

    Example:
        >>> import numpy as np
        >>> from xpnet.parameters import Layout, Parameters
        >>> layout = Layout((("weight", (2, 2)), ("bias", (2,))))
        >>> magnitude_mask(Parameters(np.asarray([3.0, -0.5, 1.0, -2.0, 0.0, 0.1]), layout), 0.5)
        array([1., 0., 0., 1., 1., 1.])

    Sources: Han et al., "Learning both weights and connections for efficient neural networks", 2015; lecture
    note 004, "Regularization". The normalized score, as that of Lee et al., "Layer-adaptive sparsity for the
    magnitude-based pruning", 2021, is the same for a rescaled layer; docs/training.md compares them. Gupta et
    al., "Is complexity required for neural network pruning?", 2022, keep a least number of weights in each
    layer; Vysogorets and Kempe, "Connectivity matters", 2023, count weights that are connected.
    """
    params = params.params if isinstance(params, Variables) else params
    sparsity = checks.fraction("sparsity", sparsity, "0.9 prunes nine weights of ten")
    scope = checks.one_of(*SCOPES)("scope", scope)
    weights = _weights(params.layout)
    home = backend_of(params.flat)
    with home.activate():
        flat = np.asarray(home.to_host(params.flat))
        scores = np.zeros(len(flat))
        for part in weights:
            sizes = np.abs(flat[part]).astype(np.float64)
            scores[part] = sizes / (_root_mean_square(sizes) or 1.0) if scope == "normalized" else sizes
        numbers = [np.arange(part.start, part.stop) for part in weights]
        groups = numbers if scope == "layer" else [np.concatenate(numbers)]
        budgets = [(group, len(group) - round(sparsity * len(group))) for group in groups]
        kept = _best(scores, budgets, None if model is None else Connections(params.layout, model))
        mask = np.ones_like(flat)
        for part in weights:
            mask[part] = kept[part]
        return home.asarray(mask)


def _best(
    scores: np.ndarray, budgets: list[tuple[np.ndarray, int]], connections: Connections | None
) -> np.ndarray:
    """Return which weights are kept: those of the highest scores, and 0 is no score to keep.

    Args:
        scores: of all parameters (layout.size,).
        budgets: for each group of weights that is ranked, their numbers, and how many of them are kept.
        connections: of the weights; None keeps weights by their score alone.
    """
    paths = np.zeros(len(scores), dtype=bool) if connections is None else connections.strongest_paths(scores)
    ranks, kept = np.where(paths, np.inf, scores), paths.copy()
    for numbers, count in budgets:
        order = numbers[np.argsort(ranks[numbers], kind="stable")[::-1]]  # of equal ones the first comes last
        if connections is None or len(budgets) > 1:  # a matrix has a share of its own, whatever leads to it
            kept[order[:count]] = True
        else:
            kept = _connected(scores, order, count, paths, connections)
    return kept & (scores > 0)


def _connected(
    scores: np.ndarray, order: np.ndarray, count: int, paths: np.ndarray, connections: Connections
) -> np.ndarray:
    """Return ``count`` weights without dead ends: the first ones in ``order`` of which that many are left."""

    def first(number: int) -> np.ndarray:
        kept = paths.copy()
        kept[order[:number]] = True
        kept &= scores > 0
        connections.cut_dead_ends(kept)
        return kept

    fewest, most = count, len(order)
    while fewest < most:
        middle = (fewest + most + 1) // 2
        fewest, most = (middle, most) if first(middle).sum() <= count else (fewest, middle - 1)
    kept = first(fewest)
    # one weight more would bring a unit with several: those between the units that are there fill the rest
    others = order[(connections.attachable(kept) & ~kept & (scores > 0))[order]]
    kept[others[: max(0, count - int(kept.sum()))]] = True
    return kept


def _root_mean_square(x: np.ndarray) -> float:
    largest = x.max(initial=0.0)
    return float(largest * np.sqrt(np.mean((x / largest) ** 2))) if largest > 0 else 0.0


def count_weights(params: Parameters | Variables) -> tuple[int, int]:
    """Return the number of weights that are not 0, and of all weights.

    The first is the L0 norm of lecture note 004. Waits for the device.
    """
    params = params.params if isinstance(params, Variables) else params
    flat, weights = params.flat, _weights(params.layout)
    xp = array_namespace(flat)
    with backend_of(flat).activate():
        counts = [xp.sum(xp.astype(flat[part] != 0, xp.int32), dtype=xp.int32) for part in weights]
        return sum(map(int, counts)), sum(part.stop - part.start for part in weights)


def sparsity_of(params: Parameters | Variables) -> float:
    """Return the share of the weights that are 0."""
    nonzero, total = count_weights(params)
    return 1 - nonzero / total


def _weights(layout: Layout) -> list[slice]:
    parts = [part for part, shape in layout.slices if len(shape) > 1]
    if not parts:
        raise ConfigError(
            f"pruning: expected a model with weights, found the parameters {list(layout.names)}; give it a "
            "Dense layer"
        )
    return parts
