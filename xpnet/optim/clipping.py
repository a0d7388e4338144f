"""Gradients kept within bounds, by their norm or entry by entry, without asking the device for a value."""

from __future__ import annotations

from typing import Any

from xpnet.backends import array_namespace
from xpnet.checks import positive
from xpnet.containers import leaves, map_leaves, rebuild

__all__ = ["clip_by_norm", "clip_by_value", "global_norm"]


def global_norm(tree: Any) -> Any:
    r"""Return $\|g\|_2 = \sqrt{\sum_i g_i^2}$ over all arrays of a container, as a 0-d array.

    The sum is taken in the arrays' own dtype: in float32 entries above about $10^{19}$ make it infinite.

    >>> import numpy as np
    >>> print(global_norm({"w": np.asarray([3.0, 0.0]), "b": np.asarray([[4.0]])}))
    5.0
    """
    arrays = leaves(tree)
    xp = array_namespace(*arrays)
    # The inner product of a vector with itself is one call, and needs no array for the squares.
    squares = [g @ g if g.ndim == 1 else xp.sum(g * g) for g in arrays]
    return xp.sqrt(sum(squares[1:], start=squares[0]))


def clip_by_norm(grads: Any, max_norm: float) -> Any:
    r"""Return $g \cdot \min(1, c / \|g\|_2)$: gradients whose global norm is at most $c$.

    The norm is that of all arrays together, so the direction is kept. Gradients within the bound,
    zero among them, come back unchanged to the last bit; a NaN in one of them reaches all.

    Args:
        grads: container of arrays (None is left alone).
        max_norm: $c$, a finite number above 0.

    Returns:
        The same container around new arrays of the same dtypes.

    Raises:
        ConfigError: ``max_norm`` is not a finite number above 0.

    ``torch.nn.utils.clip_grad_norm_`` works in place, returns the norm and multiplies by
    $c / (\|g\|_2 + 10^{-6})$, which is up to $10^{-6}$ below the bound.

    References: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013
    (exploding gradients: lecture note 004, section 19.126.1).

    >>> import numpy as np
    >>> clip_by_norm({"w": np.asarray([3.0, 4.0])}, max_norm=1.0)
    {'w': array([0.6, 0.8])}
    """
    bound = positive("clip_by_norm: max_norm", max_norm)
    arrays = leaves(grads)
    if not arrays:
        return grads
    norm = global_norm(grads)
    # Never divides by less than the bound, so a zero gradient needs no case of its own.
    scale = bound / array_namespace(norm).maximum(norm, bound)
    return rebuild(grads, [g * _as(scale, g) for g in arrays])


def _as(scale: Any, g: Any) -> Any:
    return scale if scale.dtype == g.dtype else array_namespace(scale, g).astype(scale, g.dtype)


def clip_by_value(grads: Any, limit: float) -> Any:
    r"""Return $\min(\max(g, -c), c)$ for every entry of every array. NaN stays NaN.

    Args:
        grads: container of arrays (None is left alone).
        limit: $c$, a finite number above 0.

    Returns:
        The same container around new arrays of the same dtypes.

    Raises:
        ConfigError: ``limit`` is not a finite number above 0.

    The same as ``torch.nn.utils.clip_grad_value_``, which works in place.

    >>> import numpy as np
    >>> clip_by_value([np.asarray([-3.0, 0.25, 4.0])], limit=1.0)
    [array([-1.  ,  0.25,  1.  ])]
    """
    bound = positive("clip_by_value: limit", limit)

    def clipped(g: Any) -> Any:
        xp = array_namespace(g)  # `clip` of some libraries goes through masks, for which a GPU's host waits
        return xp.minimum(xp.maximum(g, -bound), bound)

    return map_leaves(clipped, grads)
