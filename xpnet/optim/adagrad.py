"""AdaGrad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.configured import POSITIVE
from xpnet.optim.base import Optimizer
from xpnet.schedules import RATE

__all__ = ["AdaGrad"]


@dataclass(frozen=True)
class AdaGrad(Optimizer, name="adagrad"):
    r"""Adaptive gradients: a rate for each parameter, which falls with the squares summed so far.

    $$s_t = s_{t-1} + g_t^2, \qquad \theta_t = \theta_{t-1} - \eta\, \frac{g_t}{\sqrt{s_t} + \epsilon}$$

    Args:
        learning_rate: $\eta$, a float or a schedule.
        epsilon: $\epsilon$, keeps the first denominators away from 0.

    The same as ``torch.optim.Adagrad``, whose ``lr_decay=d`` is here the schedule ``Inverse(lr, decay=d)``;
    its ``initial_accumulator_value`` is 0 here.

    References: Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, 2011; lecture note 004, section 19.123.2.

    >>> import numpy as np
    >>> optimizer, params = AdaGrad(0.1), np.asarray([1.0, 1.0])
    >>> params, _ = optimizer.update(np.asarray([5.0, -0.01]), optimizer.init(params), params)
    >>> print(params.round(6))
    [0.9 1.1]
    """

    learning_rate: float | Callable[[int], float] = field(default=0.01, metadata=RATE)
    epsilon: float = field(default=1e-10, metadata=POSITIVE)
    slots = ("squares",)

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        learning_rate, _ = scalars
        (squares,) = slots
        squares = squares + g * g
        return p - learning_rate * g / (array_namespace(g).sqrt(squares) + self.epsilon), (squares,)
