"""Gradient descent, plain or with momentum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.configured import FLAG, FRACTION
from xpnet.errors import ConfigError
from xpnet.optim.base import Optimizer
from xpnet.schedules import RATE

__all__ = ["SGD"]


@dataclass(frozen=True)
class SGD(Optimizer, name="sgd"):
    r"""Stochastic gradient descent; full-batch gradient descent when the gradient is that of all rows.

    $$\Delta\theta_t = \eta_t g_t + \gamma\, \Delta\theta_{t-1}, \qquad
      \theta_t = \theta_{t-1} - \Delta\theta_t$$

    and with Nesterov's momentum $\theta_t = \theta_{t-1} - (\eta_t g_t + \gamma\, \Delta\theta_t)$, the
    gradient looked up ahead written in terms of the current one.

    Args:
        learning_rate: $\eta$, a float or a schedule.
        momentum: $\gamma$ in [0, 1), typically 0.9; 0 is plain descent and keeps no state.
        nesterov: Nesterov's momentum; needs ``momentum`` above 0.

    At a constant rate the same as ``torch.optim.SGD``. Here, as in the notes, the velocity $\Delta\theta$
    contains the learning rate; torch keeps $v_t = g_t + \gamma v_{t-1}$ and steps by $\eta_t v_t$. Under a
    schedule they differ: a changed rate scales only the new gradient here, but torch's whole velocity.
    torch's ``dampening`` and ``weight_decay`` have no counterpart (see the Trainer's ``l2``).

    References: lecture note 004, section 19.123.2; Polyak, Some methods of speeding up the convergence of
    iteration methods, 1964; Nesterov, A method of solving a convex programming problem with convergence rate
    O(1/k²), 1983; Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.

    >>> import numpy as np
    >>> optimizer, params = SGD(0.1, momentum=0.9), np.asarray([1.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     params, state = optimizer.update(2 * params, state, params)
    >>> print(params.round(6), state["velocity"].round(6))
    [0.46] [0.34]
    """

    learning_rate: float | Callable[[int], float] = field(default=0.01, metadata=RATE)
    momentum: float = field(default=0.0, metadata=FRACTION)
    nesterov: bool = field(default=False, metadata=FLAG)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ConfigError("SGD: nesterov=True needs a momentum above 0, found 0; set momentum=0.9, say")

    @property
    def slots(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on the momentum
        return ("velocity",) if self.momentum else ()

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        learning_rate, _ = scalars
        change = learning_rate * g
        if not self.momentum:
            return p - change, ()
        (velocity,) = slots
        velocity = change + self.momentum * velocity
        if self.nesterov:
            return p - (change + self.momentum * velocity), (velocity,)
        return p - velocity, (velocity,)
