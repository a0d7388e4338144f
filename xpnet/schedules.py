r"""Schedules: $\alpha_k$, the learning rate (weight decay, rate of dropout) of step $k = 1, 2, \dots$

An optimizer takes a float, a schedule of this file, or any callable ``step -> float`` for its
``learning_rate``, `AdamW` for its ``weight_decay``, and `Dropout` for its ``rate``. Schedules are
frozen dataclasses, so a configuration file can hold them; a callable works as well but cannot be
written down. They count steps (parameter updates), not epochs: multiply epochs by the number of
batches.

>>> from xpnet.optim import SGD
>>> optimizer = SGD(WarmUp(Cosine(0.1, steps=1000), steps=100), momentum=0.9)
>>> [round(optimizer.learning_rate_at(k), 4) for k in (1, 50, 100, 600, 1100)]
[0.001, 0.05, 0.1, 0.0502, 0.0]
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Self

from xpnet.checks import number, whole
from xpnet.configured import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, Configured
from xpnet.errors import ConfigError

__all__ = [
    "DECAY",
    "RATE",
    "SCHEDULES",
    "Constant",
    "CosLog",
    "Cosine",
    "Exponential",
    "FlatCosine",
    "Inverse",
    "Schedule",
    "Step",
    "WarmUp",
    "scheduled",
    "value_at",
]

SCHEDULES: dict[str, type[Schedule]] = {}
"""Every named schedule: name -> class."""


class Schedule(Configured, ABC):
    """Base class of schedules: a frozen dataclass that is called with the step, counted from 1."""

    family = "schedule"
    known = SCHEDULES

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the number, such as the learning rate, of step ``step``."""


def scheduled(expected: str, allowed: Callable[[float], bool]) -> Callable[[str, Any, str], Any]:
    """Return a check of numbers for which ``allowed`` holds, schedules (or their tables) and callables."""
    check_number = number(f"{expected}, a schedule or a callable", allowed)

    def check(label: str, value: Any, remedy: str) -> float | Callable[[int], float]:
        if isinstance(value, dict):
            return Schedule.from_config(value)
        if isinstance(value, type) and issubclass(value, Schedule):
            raise ConfigError(f"{label}: expected a schedule, found its class; write {value.__name__}(...)")
        return value if callable(value) else check_number(label, value, remedy)

    return check


def value_at(
    label: str, value: Any, step: int, expected: str = "finite number of at least 0", below: float = math.inf
) -> Any:
    """Return a number, or what a schedule or callable gives for a step: a float, or a 0-d array if it does.

    Args:
        label: whose number it is, for messages.
        value: as a check of `scheduled` returned it.
        step: counted from 1.
        expected: the values that a schedule may give, in words.
        below: their bound.

    Raises:
        ConfigError: a schedule gave a negative number, one not below the bound, NaN, or none.
    """
    if not callable(value):
        return value
    found = value(step)
    if isinstance(found, Real):
        found = float(found)  # a NumPy scalar would promote float32 arrays
        if not 0.0 <= found < below:
            raise ConfigError(
                f"{label}: expected a {expected}, found {found!r} at step {step} from the schedule "
                f"{value!r}; correct the schedule"
            )
    elif not hasattr(found, "shape"):  # nor a 0-d array
        raise ConfigError(
            f"{label}: expected a number from the schedule {value!r} at step {step}, found {found!r}; let it "
            "return a float"
        )
    return found


_CYCLES = {"check": dataclasses.replace(whole(1, 50), expected="a whole number from 1 to 50")}

# Metadata of fields that hold a number, a schedule (or its table) or a callable.
RATE = {"check": scheduled("a finite number above 0", lambda x: x > 0.0)}
DECAY = {"check": scheduled("a finite number of at least 0", lambda x: x >= 0.0)}


@dataclass(frozen=True)
class Constant(Schedule, name="constant"):
    r"""$\alpha_k = \alpha$: the same rate at every step, as a plain float gives it.

    Args:
        learning_rate: $\alpha$.

    >>> Constant(0.1)(7)
    0.1
    """

    learning_rate: float = field(metadata=POSITIVE)

    def __call__(self, step: int) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class Inverse(Schedule, name="inverse"):
    r"""$\alpha_k = \alpha_1 / (1 + d\,(k - 1))$; with the default $d = 1$ that is $\alpha_1 / k$.

    With $\alpha_k = 1 / (2 \ell k)$, stochastic gradient descent on an $\ell$-strongly convex loss
    converges: $E\|w^{(n)} - w^*\|^2 \le \frac{S}{n-1} \sum_{j<n} \frac1j \to 0$, where
    $S = M^2 / (2\ell)^2$ and $M^2$ bounds the expected squared norm of the stochastic gradients.

    Args:
        learning_rate: $\alpha_1$.
        decay: $d$; a small one makes the rate fall as slowly as a long training needs.

    References: lecture note 001, section 3; Robbins and Monro, A stochastic approximation method, 1951.
    torch.optim has no such schedule but through ``LambdaLR``.

    >>> Inverse(0.5)(10), Inverse.strongly_convex(2.0)(10)
    (0.05, 0.025)
    """

    learning_rate: float = field(metadata=POSITIVE)
    decay: float = field(default=1.0, metadata=POSITIVE)

    def __call__(self, step: int) -> float:
        return self.learning_rate / (1.0 + self.decay * (step - 1))

    @classmethod
    def strongly_convex(cls, strength: float) -> Self:
        r"""Return $\alpha_k = 1 / (2 \ell k)$ for a loss that is ``strength``-strongly convex ($\ell$)."""
        return cls(0.5 / POSITIVE["check"]("Inverse.strongly_convex: strength", strength))


@dataclass(frozen=True)
class Step(Schedule, name="step"):
    r"""$\alpha_k = \alpha_1\, f^{\lfloor (k-1) / n \rfloor}$: the rate drops after every $n$ steps.

    Args:
        learning_rate: $\alpha_1$.
        every: $n$, in steps.
        factor: $f$.

    The same as ``torch.optim.lr_scheduler.StepLR(step_size=every, gamma=factor)`` advanced each step.

    >>> [round(Step(1.0, every=2)(k), 6) for k in (1, 2, 3, 4, 5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    learning_rate: float = field(metadata=POSITIVE)
    every: int = field(metadata=COUNT)
    factor: float = field(default=0.1, metadata=POSITIVE)

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** ((step - 1) // self.every)


@dataclass(frozen=True)
class Exponential(Schedule, name="exponential"):
    r"""$\alpha_k = \alpha_1\, f^{(k-1) / n}$: the rate is multiplied by $f$ in the course of $n$ steps.

    Args:
        learning_rate: $\alpha_1$.
        factor: $f$.
        every: $n$, in steps.

    With ``every=1`` the same as ``torch.optim.lr_scheduler.ExponentialLR(gamma=factor)`` advanced each step.

    >>> Exponential(1.0, factor=0.25, every=2)(2)
    0.5
    """

    learning_rate: float = field(metadata=POSITIVE)
    factor: float = field(metadata=POSITIVE)
    every: int = field(default=1, metadata=COUNT)

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** ((step - 1) / self.every)


@dataclass(frozen=True)
class Cosine(Schedule, name="cosine"):
    r"""Half a cosine wave from $\alpha_1$ down to the final rate $\alpha_e$ in $n$ steps, which then stays:

    $\alpha_k = \alpha_e + \frac12 (\alpha_1 - \alpha_e)(1 + \cos(\pi \min(k - 1, n) / n))$.

    Args:
        learning_rate: $\alpha_1$.
        steps: $n$.
        final: $\alpha_e$, at most $\alpha_1$.

    The same as ``torch.optim.lr_scheduler.CosineAnnealingLR(T_max=steps, eta_min=final)`` advanced each
    step, up to step $n + 1$; from there on torch's rises again.

    References: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017 (one cycle).

    >>> [round(Cosine(0.2, steps=10)(k), 6) for k in (1, 6, 11, 100)]
    [0.2, 0.1, 0.0, 0.0]
    """

    learning_rate: float = field(metadata=POSITIVE)
    steps: int = field(metadata=COUNT)
    final: float = field(default=0.0, metadata=NOT_NEGATIVE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.final > self.learning_rate:
            raise ConfigError(
                f"Cosine: final must be at most the learning rate {self.learning_rate!r} from which it "
                f"falls, found {self.final!r}; exchange or lower it"
            )

    def __call__(self, step: int) -> float:
        done = min(step - 1, self.steps) / self.steps
        return self.final + 0.5 * (self.learning_rate - self.final) * (1.0 + math.cos(math.pi * done))


@dataclass(frozen=True)
class FlatCosine(Schedule, name="flat_cosine"):
    r"""The rate $\alpha$ for a share $f$ of $n$ steps, then half a cosine wave down to 0, where it stays:

    $\alpha_k = \alpha$ for $t = \min(k - 1, n) / n \le f$, and
    $\alpha_k = \frac12 \alpha\, (1 + \cos(\pi \frac{t - f}{1 - f}))$ after.

    Args:
        learning_rate: $\alpha$.
        steps: $n$.
        flat: $f$, from 0 up to but not including 1; with 0 the same as `Cosine`.

    References: Holzmüller et al., Better by default: strong pre-tuned MLPs and boosted trees on tabular data,
    NeurIPS 2024 (``flat_cos`` of RealMLP's dropout and weight decay).

    >>> [round(FlatCosine(0.2, steps=10)(k), 6) for k in (1, 6, 8, 11, 100)]
    [0.2, 0.2, 0.130902, 0.0, 0.0]
    """

    learning_rate: float = field(metadata=POSITIVE)
    steps: int = field(metadata=COUNT)
    flat: float = field(default=0.5, metadata=FRACTION)

    def __call__(self, step: int) -> float:
        done = min(step - 1, self.steps) / self.steps
        falling = max(0.0, done - self.flat) / (1.0 - self.flat)
        return 0.5 * self.learning_rate * (1.0 + math.cos(math.pi * falling))


@dataclass(frozen=True)
class CosLog(Schedule, name="coslog"):
    r"""$c$ cosine waves from 0 to $\alpha$ and back in $n$ steps, each twice as long as the one before:

    $\alpha_k = \frac12 \alpha\, (1 - \cos(2 \pi \log_2(1 + (2^c - 1) \min(k - 1, n) / n)))$.

    The first step has rate 0, and so have those after the last wave.

    Args:
        learning_rate: $\alpha$, the highest rate.
        steps: $n$.
        cycles: $c$, at most 50.

    References: Holzmüller et al., Better by default: strong pre-tuned MLPs and boosted trees on tabular data,
    NeurIPS 2024 (``coslog4``, the learning rate of RealMLP).

    >>> [round(CosLog(0.2, steps=15)(k), 6) for k in (1, 2, 3, 4, 8, 16)]
    [0.0, 0.0, 0.186086, 0.0, 0.0, 0.0]
    """

    learning_rate: float = field(metadata=POSITIVE)
    steps: int = field(metadata=COUNT)
    cycles: int = field(default=4, metadata=_CYCLES)

    def __call__(self, step: int) -> float:
        done = min(step - 1, self.steps) / self.steps
        waves = math.log2(1.0 + (2.0**self.cycles - 1.0) * done)
        return 0.5 * self.learning_rate * (1.0 - math.cos(2.0 * math.pi * waves))


@dataclass(frozen=True)
class WarmUp(Schedule, name="warmup"):
    r"""A straight rise in $n$ steps to where another schedule $\beta$ begins, and that schedule from there:

    $\alpha_k = \frac{k}{n} \beta_1$ for $k \le n$, and $\alpha_k = \beta_{k - n}$ after.

    Args:
        schedule: $\beta$; a number stands for a constant rate.
        steps: $n$.

    The same as torch's ``SequentialLR`` of ``LinearLR(start_factor=1 / steps, total_iters=steps - 1)``
    and the other schedule, with the milestone ``steps``.

    References: Goyal et al., Accurate, large minibatch SGD, 2017, section 2.2.

    >>> [WarmUp(0.5, steps=4)(k) for k in (1, 2, 4, 5, 9)]
    [0.125, 0.25, 0.5, 0.5, 0.5]
    """

    schedule: float | Callable[[int], float] = field(metadata=RATE)
    steps: int = field(metadata=COUNT)

    def __call__(self, step: int) -> float:
        later = self.schedule
        if not callable(later):
            return later * min(step / self.steps, 1.0)
        return later(1) * (step / self.steps) if step <= self.steps else later(step - self.steps)
