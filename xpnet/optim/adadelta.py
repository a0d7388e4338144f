"""AdaDelta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.configured import FRACTION, POSITIVE
from xpnet.optim.base import Optimizer
from xpnet.schedules import RATE

__all__ = ["AdaDelta"]


@dataclass(frozen=True)
class AdaDelta(Optimizer, name="adadelta"):
    r"""AdaDelta: steps of the size of recent steps, over gradients of the size of recent gradients.

    $$E[g^2]_t = \rho E[g^2]_{t-1} + (1 - \rho) g_t^2, \qquad
      \Delta_t = \sqrt{\frac{E[\Delta^2]_{t-1} + \epsilon}{E[g^2]_t + \epsilon}}\; g_t,$$
    $$E[\Delta^2]_t = \rho E[\Delta^2]_{t-1} + (1 - \rho) \Delta_t^2, \qquad
      \theta_t = \theta_{t-1} - \eta \Delta_t$$

    Args:
        learning_rate: $\eta$, a float or a schedule; 1 is Zeiler's algorithm, which has none.
        rho: $\rho$ in [0, 1), the share of the past in both averages.
        epsilon: $\epsilon$, inside the roots; it starts the first steps.

    The same as ``torch.optim.Adadelta``, except for its ``weight_decay``.

    References: Zeiler, ADADELTA: an adaptive learning rate method, 2012, algorithm 1; lecture note 004,
    section 19.123.2.

    >>> import numpy as np
    >>> optimizer, params = AdaDelta(), np.asarray([1.0])
    >>> params, state = optimizer.update(np.asarray([5.0]), optimizer.init(params), params)
    >>> print(params.round(6), state["squares"].round(6))
    [0.996838] [2.5]
    """

    learning_rate: float | Callable[[int], float] = field(default=1.0, metadata=RATE)
    rho: float = field(default=0.9, metadata=FRACTION)
    epsilon: float = field(default=1e-6, metadata=POSITIVE)
    slots = ("squares", "changes")

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        learning_rate, _ = scalars
        squares, changes = slots
        squares = self.rho * squares + (1.0 - self.rho) * (g * g)
        change = array_namespace(g).sqrt((changes + self.epsilon) / (squares + self.epsilon)) * g
        changes = self.rho * changes + (1.0 - self.rho) * (change * change)
        return p - learning_rate * change, (squares, changes)
