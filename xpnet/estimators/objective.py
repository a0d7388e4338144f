"""The objective of scikit-learn's multilayer perceptrons, their Adam, and rates that follow epochs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet import losses
from xpnet.autodiff.functions import cross_entropy, logistic_loss, sigmoid, softmax, stop_gradient
from xpnet.backends import array_namespace
from xpnet.losses import distributions
from xpnet.losses.registry import kind_of, link_of, row_sum
from xpnet.optim import Adam

__all__ = [
    "OBJECTIVES",
    "EpochRate",
    "Objective",
    "PlainEpsilonAdam",
    "binary_log_loss",
    "half_poisson_deviance",
    "half_squared_error",
    "link_name",
    "log_loss",
    "summed_half_squared_error",
]


def _with_value(entries: Any, shown: Any) -> Any:
    """Return ``shown``, differentiated as ``entries``."""
    return entries + stop_gradient(shown - entries)


def _clipped(entries: Any) -> Any:
    """Return the logarithms of probabilities that are clipped to [ε, 1 - ε], for negative logarithms."""
    xp = array_namespace(entries)
    eps = float(xp.finfo(entries.dtype).eps)
    return xp.minimum(xp.maximum(entries, -math.log1p(-eps)), -math.log(eps))


@losses.make(targets="classes", link=softmax)
def log_loss(logits: Any, y: Any) -> Any:
    """-Σₖ tₖ log softmax(z)ₖ; its value, not its gradient, is that of probabilities clipped to [ε, 1 - ε]."""
    rows = cross_entropy(logits, distributions("log_loss", logits, y), normalized=True)
    return _with_value(rows, _clipped(rows))


@losses.make(targets="binary", link=sigmoid)
def binary_log_loss(logits: Any, y: Any) -> Any:
    """-Σⱼ tⱼ log σ(zⱼ) + (1 - tⱼ) log(1 - σ(zⱼ)), clipped as `log_loss` is."""
    entries = logistic_loss(logits, y)
    return _with_value(entries, _clipped(entries))


@losses.make
def summed_half_squared_error(predictions: Any, y: Any) -> Any:
    """½ Σⱼ (ŷⱼ - yⱼ)²."""
    difference = predictions - y
    return 0.5 * difference * difference


@losses.make
def half_squared_error(predictions: Any, y: Any) -> Any:
    """½ Σⱼ (ŷⱼ - yⱼ)² / k: its gradient is that of the sum over the k outputs, its value their mean."""
    difference = predictions - y
    rows = row_sum(0.5 * difference * difference)
    outputs = predictions.shape[1]
    return rows if outputs == 1 else _with_value(rows, rows / outputs)


@losses.make(targets="counts", link=lambda outputs: array_namespace(outputs).exp(outputs))
def half_poisson_deviance(scores: Any, y: Any) -> Any:
    """Σⱼ yⱼ log(yⱼ / ŷⱼ) - yⱼ + ŷⱼ with ŷ = exp(z) and 0 log 0 = 0, half of Poisson's deviance."""
    xp = array_namespace(y)
    at_best = y * xp.log(xp.where(y > 0, y, 1.0)) - y
    xp = array_namespace(scores, y)
    return xp.exp(scores) - scores * y + at_best


class Objective(NamedTuple):
    """A loss of scikit-learn.

    Attributes:
        loss: its value is what scikit-learn reports, its gradient what scikit-learn descends by.
        summed: the loss whose gradient that is, for methods that compare values.
    """

    loss: Callable[..., Any]
    summed: Callable[..., Any]


OBJECTIVES = {
    "log_loss": Objective(log_loss, losses.get("softmax_cross_entropy")),
    "binary_log_loss": Objective(binary_log_loss, losses.get("binary_cross_entropy")),
    "squared_error": Objective(half_squared_error, summed_half_squared_error),
    "poisson": Objective(half_poisson_deviance, half_poisson_deviance),
}
"""The losses of scikit-learn by its names."""


def link_name(loss: Callable[..., Any]) -> str:
    """Return scikit-learn's name of the output activation that belongs to a loss.

    >>> link_name(losses.get("softmax_cross_entropy")), link_name(losses.get("huber"))
    ('softmax', 'identity')
    """
    link = link_of(loss)
    if kind_of(loss) == "counts":
        return "exp"
    return "logistic" if link is sigmoid else getattr(link, "__name__", type(link).__name__)


class EpochRate:
    """Learning rate that is the same for all steps of an epoch, and set between epochs.

    Attributes:
        learning_rate: of the next epoch.
    """

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclasses.dataclass(frozen=True)
class PlainEpsilonAdam(Adam):
    r"""Adam in the short form of its paper's section 2, with the same $\hat\epsilon$ in every step.

    $$\theta_t = \theta_{t-1} - \alpha_t m_t / (\sqrt{v_t} + \hat\epsilon)$$
    """

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        rate, _ = super().scalars(learning_rate, step)
        return rate, self.epsilon
