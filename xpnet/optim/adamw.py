"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.configured import FRACTION, POSITIVE
from xpnet.optim.adam import adam_change, adam_scalars
from xpnet.optim.base import Optimizer
from xpnet.schedules import DECAY, RATE, value_at

__all__ = ["AdamW"]


@dataclass(frozen=True)
class AdamW(Optimizer, name="adamw"):
    r"""Adam with decoupled weight decay: parameters shrink beside Adam's step, not through the gradient.

    $$\theta_t = (1 - \alpha \lambda)\, \theta_{t-1} - \alpha\, \frac{\hat m_t}{\sqrt{\hat v_t} + \epsilon}$$

    with the moments of `Adam`.

    Args:
        learning_rate: $\alpha$, a float or a schedule.
        beta1: $\beta_1$ in [0, 1), decay rate of the first moment.
        beta2: $\beta_2$ in [0, 1), decay rate of the second moment.
        epsilon: $\epsilon$, outside the root.
        weight_decay: $\lambda$, a float of at least 0 or a schedule. All parameters decay, biases too, unless
            the Trainer's ``weight_decay_factors`` say otherwise.

    The same as ``torch.optim.AdamW``, except for its ``amsgrad``. The paper's algorithm 2 scales the decay by
    the schedule's multiplier alone; here and in torch it is scaled by the whole learning rate. An L2 term in
    the loss (the Trainer's ``l2``) is something else: Adam divides its gradient by the root of $\hat v$.

    References: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2.

    >>> import numpy as np
    >>> optimizer, params = AdamW(0.1, weight_decay=0.5), np.asarray([1.0])
    >>> params, _ = optimizer.update(np.asarray([0.0]), optimizer.init(params), params)
    >>> print(params)
    [0.95]
    """

    learning_rate: float | Callable[[int], float] = field(default=1e-3, metadata=RATE)
    beta1: float = field(default=0.9, metadata=FRACTION)
    beta2: float = field(default=0.999, metadata=FRACTION)
    epsilon: float = field(default=1e-8, metadata=POSITIVE)
    weight_decay: float | Callable[[int], float] = field(default=0.01, metadata=DECAY)
    slots = ("m", "v")

    def scalars(self, learning_rate: float, step: int) -> tuple[float, ...]:
        expected = "finite weight decay of at least 0"
        decay = learning_rate * value_at(type(self).__name__, self.weight_decay, step, expected)
        rate, epsilon = adam_scalars(learning_rate, step, self.beta1, self.beta2, self.epsilon)
        return 1.0 - decay, rate, epsilon, decay

    def vectors(self, scalars: Sequence[Any], rates: Any, decays: Any) -> tuple[Any, ...]:
        _, rate, epsilon, decay = scalars
        return 1.0 - decay * decays, rate * rates, epsilon, decay

    def rule(self, g: Any, slots: Sequence[Any], p: Any, *scalars: Any) -> tuple[Any, Sequence[Any]]:
        kept, rate, epsilon, _ = scalars
        change, slots = adam_change(g, slots, rate, epsilon, self.beta1, self.beta2)
        return kept * p - change, slots
