"""RMSProp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.configured import FRACTION, POSITIVE
from xpnet.optim.base import Optimizer
from xpnet.schedules import RATE

__all__ = ["RMSProp"]


@dataclass(frozen=True)
class RMSProp(Optimizer, name="rmsprop"):
    r"""RMSProp: the gradient divided by the root of the running mean of its squares.

    $$s_t = \rho s_{t-1} + (1 - \rho) g_t^2, \qquad
      \theta_t = \theta_{t-1} - \eta\, \frac{g_t}{\sqrt{s_t} + \epsilon}$$

    Args:
        learning_rate: $\eta$, a float or a schedule.
        rho: $\rho$ in [0, 1), the share of the past in the mean. Hinton's slides have 0.9; 0.99 is
            PyTorch's default.
        epsilon: $\epsilon$, added outside the root.

    The same as ``torch.optim.RMSprop`` (whose ``alpha`` is ``rho``), $\epsilon$ outside the root included;
    TensorFlow and others have it inside. torch's ``momentum``, ``centered`` and ``weight_decay`` have no
    counterpart.

    References: Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, 2012; lecture note
    004, section 19.123.2.

    >>> import numpy as np
    >>> optimizer, params = RMSProp(0.01), np.asarray([1.0])
    >>> params, state = optimizer.update(np.asarray([5.0]), optimizer.init(params), params)
    >>> print(params.round(6), state["squares"].round(6))
    [0.9] [0.25]
    """

    learning_rate: float | Callable[[int], float] = field(default=0.01, metadata=RATE)
    rho: float = field(default=0.99, metadata=FRACTION)
    epsilon: float = field(default=1e-8, metadata=POSITIVE)
    slots = ("squares",)

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        learning_rate, _ = scalars
        (squares,) = slots
        squares = self.rho * squares + (1.0 - self.rho) * (g * g)
        return p - learning_rate * g / (array_namespace(g).sqrt(squares) + self.epsilon), (squares,)
