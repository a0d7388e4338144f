"""Pruning masks: 0 and 1 over the flat vector of parameters."""

from __future__ import annotations

from typing import Any

from xpnet import checks
from xpnet.backends import array_namespace, backend_of
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters

__all__ = ["count_weights", "magnitude_mask", "sparsity_of"]

SCOPES = ("global", "layer")


def magnitude_mask(params: Parameters | Variables, sparsity: float, scope: str = "global") -> Any:
    """Return the mask that leaves out the weights of smallest magnitude |w|.

    Of n weights, round(sparsity · n) are pruned, of equal ones those that come first in the flat vector.
    Weights that are 0 already are pruned in any case. Biases, scales and shifts are never pruned.

    Args:
        params: the parameters of a model, on any backend.
        sparsity: share of the weights that become 0, at least 0 and below 1.
        scope: ``"global"`` ranks all weights together; ``"layer"`` prunes the same share of each matrix.

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

    Source: Han et al., "Learning both weights and connections for efficient neural networks", 2015; lecture
    note 004, "Regularization".
    """
    params = params.params if isinstance(params, Variables) else params
    sparsity = checks.fraction("sparsity", sparsity, "0.9 prunes nine weights of ten")
    scope = checks.one_of(*SCOPES)("scope", scope)
    with backend_of(params.flat).activate():
        return _mask(params.flat, params.layout, sparsity, scope)


def _mask(flat: Any, layout: Layout, sparsity: float, scope: str) -> Any:
    xp, weights = array_namespace(flat), _weights(layout)
    kept = {}
    for group in [weights] if scope == "global" else [[part] for part in weights]:
        magnitudes = xp.concat([xp.abs(flat[part]) for part in group])
        mask = _without_smallest(xp, magnitudes, round(sparsity * magnitudes.shape[0]))
        start = 0
        for part in group:
            size = part.stop - part.start
            kept[part.start] = xp.astype(mask[start : start + size], flat.dtype)
            start += size
    pieces = [
        kept[part.start] if len(shape) > 1 else xp.ones_like(flat[part]) for part, shape in layout.slices
    ]
    return xp.concat(pieces)


def _without_smallest(xp: Any, magnitudes: Any, count: int) -> Any:
    """Return True but for the ``count`` smallest entries, and for those that are 0."""
    if count == 0:
        return magnitudes > 0
    largest = xp.sort(magnitudes)[count - 1]  # of those to be pruned
    equal = xp.astype(magnitudes == largest, xp.int32)
    smaller = xp.astype(magnitudes < largest, xp.int32)
    numbers = xp.cumulative_sum(equal, dtype=xp.int32)  # of the equal ones, from 1
    last = xp.logical_and(equal == 1, numbers > count - xp.sum(smaller, dtype=xp.int32))
    return xp.logical_and(xp.logical_or(magnitudes > largest, last), magnitudes > 0)


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
