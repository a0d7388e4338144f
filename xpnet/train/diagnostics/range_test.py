"""The learning-rate range test: which rates make the loss fall, found in one short run."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.errors import ConfigError
from xpnet.optim import Optimizer
from xpnet.train.batches import Batches
from xpnet.train.diagnostics.trial import begun_copy
from xpnet.train.step import Step, step_once
from xpnet.train.trainer import Trainer

__all__ = ["RangeTest", "learning_rate_range"]

_SMOOTHING = 0.9  # weight of the past in the smoothed loss: about the last ten steps count
_DIVERGED = 4.0  # times the lowest smoothed loss, as in fastai's learning-rate finder
_FALL, _DEVIATIONS = 0.01, 2.0  # what the loss must fall by for its minimum to mean something


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """Result of a learning-rate range test.

    Attributes:
        rates: learning rate of each step taken, float64 (steps,).
        losses: loss of each step's batch before the step, float64 (steps,).
        smoothed: their exponential moving average, corrected for its start.
        suggestion: a tenth of the rate at which the smoothed loss is lowest; None if that loss is not clearly
            below those of the first tenth of the steps: by 1 %, and by twice their standard deviation.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None


def learning_rate_range(
    trainer: Trainer,
    X: Any,
    y: Any,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int | None = 64,
    sample_weight: Any = None,
    class_weight: Any = None,
) -> RangeTest:
    """Take steps with a learning rate that grows from step to step, and see where the loss falls.

    The rate of step k = 0, 1, … is low · (high / low)^(k / (steps - 1)). The test ends early where the loss
    is not finite, or its smoothed value above four times its lowest. The trainer stays as it is: all is done
    to a copy, from its present variables and optimizer's state, without its learning rate or schedule.

    Args:
        trainer: trained or not, with a first-order optimizer.
        X, y, sample_weight, class_weight: training rows, as for :meth:`xpnet.Trainer.fit`.
        low, high: the range of rates.
        steps: how many steps there are, at most.
        batch_size: rows of a step, at most as many as there are; None for all rows.

    Raises:
        ConfigError: a range that is empty, fewer than two steps, or an optimizer without a learning rate.
        DataError: arrays that do not fit or are not finite.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import sine_arrays
        >>> X, y = sine_arrays(n=500, seed=0)
        >>> trainer = Trainer(nn.MLP([32], 1, activation="tanh"), "squared_error", "adam", backend="numpy")
        >>> found = learning_rate_range(trainer, X, y)
        >>> 1e-3 < found.suggestion < 1.0
        True

    Sources: Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3; the tenth
    of the minimum is that of fastai's ``lr_find``.
    """
    low, high = checks.positive("low", low), checks.positive("high", high)
    if not low < high:
        raise ConfigError(f"high: expected a rate above low = {low}, found {high}; widen the range")
    if checks.count("steps", steps) < 2:
        raise ConfigError("steps: expected at least 2, found 1; take about 100")
    rates = low * (high / low) ** (np.arange(steps) / (steps - 1))
    tried = _with_rates(trainer, rates)
    other, rows = begun_copy(trainer, X, y, sample_weight, class_weight, optimizer=tried)
    n = rows.X.shape[0]
    size = None if batch_size is None else min(checks.count("batch_size", batch_size), n)
    setup, state = other.setup, other.state
    batches = Batches(n, size, "reshuffle", setup.key.fold("range test"), setup.backend)
    step = Step(setup, other.variables.params.layout)
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    with setup.backend.activate():
        for number in range(steps):
            if number % len(batches) == 0:
                epoch = batches.epoch(number // len(batches))
            batch = rows.take(next(epoch)[0])
            loss = float(step_once(step, state, batch, setup.step_key(state.step + 1)))
            if not math.isfinite(loss):
                break
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            losses.append(loss)
            smoothed.append(average / (1 - _SMOOTHING ** (number + 1)))
            if smoothed[-1] > _DIVERGED * min(smoothed) > 0:
                break
    found = np.asarray(losses), np.asarray(smoothed)
    return RangeTest(rates[: len(losses)], *found, _suggestion(rates, *found))


def _with_rates(trainer: Trainer, rates: np.ndarray) -> Optimizer:
    """Return the trainer's optimizer with the given rates for its next steps."""
    optimizer: Any = trainer.optimizer
    fields = dataclasses.fields(optimizer) if dataclasses.is_dataclass(optimizer) else ()
    if not isinstance(optimizer, Optimizer) or "learning_rate" not in {field.name for field in fields}:
        raise ConfigError(
            f"learning_rate_range: expected an optimizer with a learning rate, found {optimizer!r}; choose "
            "sgd or adam, say"
        )
    done = 0 if trainer.opt_state is None else trainer.opt_state["step"]
    rate_of = {"learning_rate": lambda step: float(rates[step - done - 1])}
    return dataclasses.replace(optimizer, **rate_of)  # type: ignore[type-var]


def _suggestion(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray) -> float | None:
    if len(losses) == 0:
        return None
    lowest, first = int(np.argmin(smoothed)), losses[: -(-len(losses) // 10)]
    clear = max(_FALL * abs(first.mean()), _DEVIATIONS * first.std())
    return float(rates[lowest]) / 10 if smoothed[lowest] < first.mean() - clear else None
