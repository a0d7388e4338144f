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
        scope: ``"normalized"`` ranks all weights together by w² / Σ v², the sum over all weights v of the same
            matrix with |v| ≥ |w|, so that matrices of small weights do not go first; ``"global"`` ranks all
            weights together by |w|; ``"layer"`` prunes the same share of each matrix.
        model: the model of the parameters. With it, each output keeps two paths to the inputs, even where the
            sparsity is lower then, and no unit has only inputs or only outputs: the weights of such units are
            pruned, and others are kept in their place.

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

    Sources: the normalized score is LAMP of Lee et al., "Layer-adaptive sparsity for the magnitude-based
    pruning", 2021; Han et al., "Learning both weights and connections for efficient neural networks", 2015;
    lecture note 004, "Regularization".
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
            scores[part] = _lamp(sizes) if scope == "normalized" else sizes
        numbers = [np.arange(part.start, part.stop) for part in weights]
        groups = numbers if scope == "layer" else [np.concatenate(numbers)]
        connections = None if model is None else Connections(params.layout, model)
        kept = _best(scores, [(group, len(group) - round(sparsity * len(group))) for group in groups], connections)
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
    kept, ranks = np.zeros(len(scores), dtype=bool), scores
    if connections is not None:
        paths = connections.strongest_paths(scores)
        ranks = np.where(paths, np.inf, scores)
    for numbers, count in budgets:
        kept[numbers[np.argsort(ranks[numbers], kind="stable")[len(numbers) - count :]]] = True
    kept &= scores > 0
    if connections is None:
        return kept
    kept |= paths
    connections.cut_dead_ends(kept)
    free = connections.attachable(kept) & ~kept & (scores > 0)
    for numbers, count in budgets:
        lacking = max(0, count - int(kept[numbers].sum()))
        others = numbers[free[numbers]]
        kept[others[np.argsort(scores[others], kind="stable")[len(others) - min(lacking, len(others)) :]]] = True
    return kept


def _lamp(sizes: np.ndarray) -> np.ndarray:
    """Return w² / Σ v², the sum over |v| ≥ |w|; of equal weights those that come first have the lower score."""
    order = np.argsort(sizes, kind="stable")
    squares = (sizes[order] / max(sizes.max(initial=0.0), 1e-300)) ** 2
    scores = np.zeros_like(sizes)
    sums = np.cumsum(squares[::-1])[::-1]
    scores[order] = squares / np.where(sums > 0, sums, 1.0)
    return scores


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
