"""Defaults that follow from the table: batch size, learning rate, weight decay, length of the training.

They were chosen by measurement on the tables of ``scripts/bench tables``; see docs/real-tables.md.
"""

from __future__ import annotations

import dataclasses

from xpnet.optim import METHODS
from xpnet.tabular.settings import Settings

__all__ = [
    "FIXED_EPOCHS",
    "MOST_EPOCHS",
    "RATES",
    "REFIT_EPOCHS",
    "Length",
    "default_batch_size",
    "default_weight_decay",
    "length_of",
    "refit_epochs_of",
    "steps_of_epoch",
]

RATES = {"adam": 0.002, "adamw": 0.002}
"""Learning rates; other optimizers have their own."""

FIXED_EPOCHS = 50
"""Epochs of a training without validation rows, or with a schedule that spans it."""

MOST_EPOCHS = 1000
"""Ceiling of the epochs of a training that ends by its validation loss."""

REFIT_EPOCHS = 25
"""Epochs on training and validation rows, at the end of such a training."""

PATIENCE, MIN_DELTA, MIN_STEPS, TIME_LIMIT = 25, 1e-3, 500, 600.0
_DECAY_EPOCHS, _DECAY_STEPS = 100, 300
_OPEN = ("constant", "inverse")  # schedules that need not know the number of steps


@dataclasses.dataclass(frozen=True)
class Length:
    """Length of a training.

    Attributes:
        epochs: how many at most.
        patience, min_delta, min_steps, time_limit: what may end it earlier, see
            `xpnet.train.settings.Settings`.
        open: whether the end is found out by the validation loss, since no length was asked for.
    """

    epochs: int
    patience: int | None
    min_delta: float
    min_steps: int | None
    time_limit: float | None
    open: bool = False


def length_of(settings: Settings, rows: int) -> Length:
    """Return how long a training goes on.

    - ``epochs`` that are given are trained, all of them; patience, a limit of steps or of time end them
      earlier if they are given as well. Likewise ``max_steps`` alone.
    - Otherwise the validation loss decides: training ends when it has not fallen for some epochs, but not
      before some number of steps; and in any case after some time or epochs.
    - Without validation rows, and with a schedule that spans the training, it has a fixed number of
      epochs.

    Args:
        settings: with the batch size resolved.
        rows: number of training rows.
    """
    given = settings.patience, settings.min_delta, settings.min_steps, settings.time_limit
    if settings.epochs is not None:
        return Length(settings.epochs, *given)
    if settings.max_steps is not None:
        return Length(-(-settings.max_steps // steps_of_epoch(settings, rows)), *given)
    schedules = settings.schedule, settings.weight_decay_schedule, settings.dropout_schedule
    validated = settings.validation > 0 or settings.folds is not None
    if not validated or not set(schedules) <= set(_OPEN):
        return Length(FIXED_EPOCHS, *given)
    patience, min_delta, min_steps, time_limit = given
    if min_steps is None and settings.optimizer not in METHODS:  # whose steps are whole epochs
        min_steps = MIN_STEPS
    return Length(
        MOST_EPOCHS,
        PATIENCE if patience is None else patience,
        min_delta or MIN_DELTA,
        min_steps,
        TIME_LIMIT if time_limit is None else time_limit,
        open=True,
    )


def refit_epochs_of(settings: Settings, rows: int) -> int:
    """Return how many epochs with the validation rows follow where the validation loss ends a training."""
    is_open = length_of(settings, rows).open and settings.optimizer not in METHODS
    return REFIT_EPOCHS if settings.refit and is_open and settings.folds is None else 0


def steps_of_epoch(settings: Settings, rows: int) -> int:
    """Return the number of steps of an epoch."""
    if settings.batch_size == "full":
        return 1
    size = int(settings.batch_size)  # type: ignore[arg-type]
    return rows // size if settings.drop_last else -(-rows // size)


def default_batch_size(rows: int) -> int:
    """Return the batch size: 16 to 64, so that an epoch has 16 steps or more where there are rows enough.

    >>> [default_batch_size(rows) for rows in (9, 105, 300, 1258, 100_000)]
    [9, 16, 32, 64, 64]
    """
    size = 16
    while size < 64 and rows > 16 * size:
        size *= 2
    return min(size, rows)


def default_weight_decay(steps: int, rate: float) -> float:
    """Return the decay λ of AdamW's weights, with which they are forgotten within 100 epochs.

    Each step takes the share η λ of them, so after 1 / (η λ) steps 1/e is left of what was learned before:
    that is 100 epochs, but at least 300 steps. The time in epochs, and not λ, is what tables of different
    sizes have in common.

    Args:
        steps: of an epoch.
        rate: the learning rate η.

    Source: Wang and Aitchison, "How to set AdamW's weight decay as you scale model and dataset size", 2024.

    >>> default_weight_decay(20, 0.002), default_weight_decay(1, 0.002)
    (0.25, 1.67)
    """
    return float(f"{1 / (rate * max(_DECAY_EPOCHS * steps, _DECAY_STEPS)):.3g}")
