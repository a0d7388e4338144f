"""Regularization: the parts of a step that keep a network from overfitting.

Penalties enter the loss, smoothed labels its targets, noise its gradient; bounds of norms are kept after the
update. Dropout is a layer, weight decay an optimizer's, early stopping the trainer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet import rng
from xpnet.autodiff.functions import softmax
from xpnet.autodiff.tracer import device_of, plain_namespace
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.losses import distributions
from xpnet.parameters import Layout
from xpnet.train import targets
from xpnet.train.groups import number_of_each

__all__ = [
    "bounded",
    "check_smoothing",
    "noise",
    "noise_deviation",
    "penalty_factors",
    "smoothed",
]

_NOISE_DECAY = 0.55


def penalty_factors(label: str, factors: float | Mapping[str, float], layout: Layout) -> np.ndarray:
    """Return the factor of each entry of the flat vector.

    Args:
        label: the setting, for messages.
        factors: one for all weights, or by name, see `number_of_each`: a layer stands for its weights.
        layout: of the parameters.

    Raises:
        ConfigError: a name that the model does not have.

    >>> layout = Layout((("0.weight", (1, 2)), ("0.bias", (2,)), ("1.weight", (2, 1))))
    >>> penalty_factors("l2", {"weights": 0.1, "biases": 0.2, "1": 0.3}, layout)
    array([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    """
    named = factors if isinstance(factors, Mapping) else {"weights": factors}
    return number_of_each(label, named, layout, 0.0, whole_layers=False)


def check_smoothing(loss: Any, share: float) -> None:
    """Refuse smoothed labels for a loss whose targets are no probabilities."""
    classes = targets.kind_of(loss) == "classes" and targets.link_of(loss) is softmax
    if share and not (classes or targets.kind_of(loss) == "binary"):
        raise ConfigError(
            f"label_smoothing: expected a loss of probabilities, such as softmax_cross_entropy or "
            f"binary_cross_entropy, found {targets.name_of(loss)}; leave it out, or choose one of them"
        )


def smoothed(loss: Any, y: Any, outputs: Any, share: float) -> Any:
    r"""Return $(1 - \varepsilon)\, t + \varepsilon / K$: targets mixed with equal shares for all K classes.

    Source: C. Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, section 7.

    Args:
        loss: whose targets these are: classes, or several times two of them (K = 2).
        y: targets.
        outputs: the model's, (batch, classes) or as ``y``.
        share: ε, from 0 to below 1.
    """
    if targets.kind_of(loss) == "binary":
        classes = 2
    else:
        classes = int(outputs.shape[1])
        y = distributions(targets.name_of(loss), outputs, y)
    xp = array_namespace(y)
    if not xp.isdtype(y.dtype, "real floating"):
        y = xp.astype(y, outputs.dtype)
    return (1.0 - share) * y + share / classes


def noise_deviation(variance: float, step: int) -> float:
    r"""Return the standard deviation of the noise of step ``step`` (from 1): $\sqrt{\eta}\, / t^{0.55/2}$."""
    return variance**0.5 * step ** (-0.5 * _NOISE_DECAY)


def noise(key: rng.Key, like: Any, deviation: Any) -> Any:
    r"""Return normal noise for a gradient, drawn on its device: $\mathcal N(0, \sigma_t^2)$.

    Source: A. Neelakantan et al., "Adding gradient noise improves learning for very deep networks", 2015:
    $\sigma_t^2 = \eta / t^{0.55}$.

    Args:
        key: of the step.
        like: the gradient, a vector.
        deviation: σ, a number or 0-d array.
    """
    xp = plain_namespace(like)
    drawn = rng.normal_vector(
        key.fold("gradient noise"), like.shape[0], dtype=like.dtype, xp=xp, device=device_of(like)
    )
    return drawn * deviation


def bounded(flat: Any, layout: Layout, bound: float) -> Any:
    """Return parameters whose units have incoming weights of at most this Euclidean norm.

    The columns of each weight matrix that are longer are scaled down to it, and of each one of a stack of
    matrices; biases are left alone.

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014,
    section 5.1 (max-norm regularization).

    >>> flat = np.asarray([3.0, 0.1, 4.0, 0.2])  # a matrix of two columns
    >>> bounded(flat, Layout((("weight", (2, 2)),)), 1.0)
    array([0.6, 0.1, 0.8, 0.2])
    """
    xp = array_namespace(flat)
    parts = []
    for part, shape in layout.slices:
        values = flat[part]
        if len(shape) > 1:
            matrix = xp.reshape(values, shape)
            norm = xp.sqrt(xp.sum(matrix * matrix, axis=-2, keepdims=True))
            values = xp.reshape(matrix * (bound / xp.maximum(norm, bound)), (-1,))
        parts.append(values)
    return xp.concat(parts)
