"""Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.configured import FRACTION, POSITIVE
from xpnet.optim.base import Optimizer
from xpnet.schedules import RATE

__all__ = ["Adam", "adam_change", "adam_scalars"]


@dataclass(frozen=True)
class Adam(Optimizer, name="adam"):
    r"""Adam, adaptive moment estimation: the mean of recent gradients over the root of that of their squares.

    $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2,$$
    $$\hat m_t = \frac{m_t}{1 - \beta_1^t}, \quad \hat v_t = \frac{v_t}{1 - \beta_2^t}, \qquad
      \theta_t = \theta_{t-1} - \alpha\, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$

    Args:
        learning_rate: $\alpha$, a float or a schedule.
        beta1: $\beta_1$ in [0, 1), decay rate of the first moment.
        beta2: $\beta_2$ in [0, 1), decay rate of the second moment.
        epsilon: $\epsilon$, outside the root.

    It is computed in the equal order $\theta_t = \theta_{t-1} - \alpha_t m_t / (\sqrt{v_t} + \epsilon_t)$
    with the scalars $\alpha_t = \alpha \sqrt{1 - \beta_2^t} / (1 - \beta_1^t)$ and
    $\epsilon_t = \epsilon \sqrt{1 - \beta_2^t}$, which saves two passes over the parameters. The same as
    ``torch.optim.Adam``, except for its ``amsgrad`` and ``weight_decay`` (see `AdamW`).

    References: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1 and the end
    of section 2; lecture note 004, algorithm 1.

    >>> import numpy as np
    >>> optimizer, params = Adam(0.1), np.asarray([1.0, 1.0])
    >>> params, state = optimizer.update(np.asarray([5.0, -0.01]), optimizer.init(params), params)
    >>> print(params.round(6), state["m"].round(6))
    [0.9 1.1] [ 0.5   -0.001]
    """

    learning_rate: float | Callable[[int], float] = field(default=1e-3, metadata=RATE)
    beta1: float = field(default=0.9, metadata=FRACTION)
    beta2: float = field(default=0.999, metadata=FRACTION)
    epsilon: float = field(default=1e-8, metadata=POSITIVE)
    slots = ("m", "v")

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        return adam_scalars(learning_rate, step, self.beta1, self.beta2, self.epsilon)

    def vectors(self, scalars: Sequence[Any], rates: Any, decays: Any) -> tuple[Any, ...]:
        rate, epsilon = scalars
        return rate * rates, epsilon

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        rate, epsilon = scalars
        change, slots = adam_change(g, slots, rate, epsilon, self.beta1, self.beta2)
        return p - change, slots


def adam_scalars(
    learning_rate: float, step: int, beta1: float, beta2: float, epsilon: float
) -> tuple[float, float]:
    r"""Return $\alpha_t$ and $\epsilon_t$."""
    root = (1.0 - beta2**step) ** 0.5
    return learning_rate * root / (1.0 - beta1**step), epsilon * root


def adam_change(
    g: Any, slots: Sequence[Any], rate: Any, epsilon: Any, beta1: float, beta2: float
) -> tuple[Any, Sequence[Any]]:
    r"""Return the change that Adam subtracts from the parameters, and the new moments ``(m, v)``."""
    m, v = slots
    m = m + (1.0 - beta1) * (g - m)
    v = beta2 * v + (1.0 - beta2) * (g * g)
    return rate * (m / (array_namespace(g).sqrt(v) + epsilon)), (m, v)
