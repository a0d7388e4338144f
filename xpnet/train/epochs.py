"""Epochs of a fit: how many steps, or how many epochs, are taken at once, and their rows of the history.

Several epochs are taken at once where nobody looks at the weights in between: short ones take half the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from xpnet.errors import Words, use
from xpnet.optim import Optimizer
from xpnet.train.batches import Batches
from xpnet.train.callbacks import Callback
from xpnet.train.deadline import Deadline, EpochGivenUpError
from xpnet.train.divergence import finite_losses
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.steps import Steps

__all__ = [
    "FitContext",
    "at_a_time",
    "ends_within",
    "epochs_together",
    "evaluated_rows",
    "looked_at_after",
    "row_of",
    "train_together",
    "warn_if_late",
]

_log = logging.getLogger("xpnet")
_LOG_STEPS = 1000  # within an epoch, losses are looked at this often


class FitContext(NamedTuple):
    """Rows, batches and steps of a fit, for callbacks.

    Attributes:
        rows: the rows to train on, checked and on the device.
        batches: their batches.
        steps: takes the steps.
        held_out: the validation rows, or None.
        deadline: when the fit has to end.
    """

    rows: Rows
    batches: Batches
    steps: Steps
    held_out: Rows | None
    deadline: Deadline


def warn_if_late(state: TrainState, deadline: Deadline) -> None:
    """Log a warning if the time is over before the first epoch, of which some steps are trained then."""
    if not state.epoch and deadline.is_over():
        over = f"is over after {deadline.stopwatch.seconds:.2g} s, before the first epoch"
        _log.warning(Words(f"{use('time_limit')}: {over}, of which some steps are trained all the same"))


def looked_at_after(fitting: FitContext) -> int:
    """Return after how many steps of an epoch their losses and the clock are looked at."""
    return min(_LOG_STEPS, fitting.deadline.steps(fitting.steps.at_a_time(fitting.batches)))


def evaluated_rows(setup: Setup, fitting: FitContext) -> int:
    """Return how many rows are evaluated after each epoch."""
    training = fitting.rows.X.shape[0] if setup.metrics and setup.settings.training_metrics else 0
    return training + (0 if fitting.held_out is None else fitting.held_out.X.shape[0])


def at_a_time(setup: Setup, state: TrainState, fitting: FitContext, watching: Sequence[Callback]) -> int:
    """Return how many steps are taken at a time: all that are looked at together.

    Args:
        setup, state: of the training.
        fitting: what is trained on.
        watching: callbacks that look at steps.
    """
    together = fitting.steps.at_a_time(fitting.batches)
    number = min(looked_at_after(fitting), together, *(c.steps_apart for c in watching))
    most = setup.settings.max_steps
    return number if most is None else max(1, min(number, most - state.step))


def ends_within(setup: Setup, state: TrainState, fitting: FitContext, began: float, sizes: list[int]) -> bool:
    """Return whether an epoch ends here, before its last step: after ``max_steps``, or as the time is over.

    Args:
        setup, state: of the training.
        fitting: what is trained on.
        began: when the epoch began, by ``time.monotonic()``.
        sizes: rows of each of its steps so far.

    Raises:
        EpochGivenUpError: the time is over, and the epoch can be taken back and is not the first.
    """
    most, deadline = setup.settings.max_steps, fitting.deadline
    if most is not None and state.step >= most:
        return True
    deadline.expect_evaluation(began, len(sizes) * sizes[-1], evaluated_rows(setup, fitting))
    if not looked_at_after(fitting) <= len(sizes) < len(fitting.batches):
        return False
    if not deadline.is_over(deadline.evaluation):
        return False
    if state.epoch and setup.settings.rollback:
        raise EpochGivenUpError
    _log.warning(
        Words(
            f"{use('time_limit')}: ends epoch {state.epoch + 1} after {len(sizes)} of its "
            f"{len(fitting.batches)} steps, which count as one; what continues goes on with the next"
        )
    )
    return True


def epochs_together(setup: Setup, callbacks: Sequence[Callback], fitting: FitContext, left: int) -> int:
    """Return how many epochs are trained before anything is measured, or a callback is called.

    Args:
        setup: of the training; metrics and limits are looked at after each epoch.
        callbacks: who say how many they want.
        fitting: what is trained on, without validation; so few epochs are taken that Ctrl-C is heard.
        left: epochs to the end.
    """
    batches, steps, settings = fitting.batches, fitting.steps, setup.settings
    ends = settings.max_steps, settings.time_limit, settings.swa_start
    if not callbacks or fitting.held_out is not None or setup.metrics or any(end is not None for end in ends):
        return 1
    watching = any(type(c).on_step_end is not Callback.on_step_end for c in callbacks)
    asked = 1 if watching else min(left, *(callback.epochs_together for callback in callbacks))
    return 1 if asked <= 1 else max(1, min(asked, steps.at_a_time(batches) // len(batches)))


def train_together(setup: Setup, state: TrainState, fitting: FitContext, count: int) -> list[dict[str, Any]]:
    """Train ``count`` epochs and return their rows: none if they diverge, with the state as it was before.

    Args:
        setup, state: of the training.
        fitting: what is trained on.
        count: number of epochs.
    """
    batches, steps = fitting.batches, fitting.steps
    started, before, first = time.perf_counter(), state.snapshot(), state.epoch + 1
    pending: list[Any] = []
    sizes: list[int] = []  # rows of each step
    state.go_on()
    try:
        steps.begin_epochs(state, batches, count)
        for number in range(first, first + count):
            for order, rows, several in batches.chunks(number, len(batches)):
                pending.append(steps.run(state, order, several, donate=bool(sizes)))
                sizes += [rows] * several
        losses = finite_losses(setup, state, pending)
        if losses is None:
            state.restore(before)
            return []
        seconds = (time.perf_counter() - started) / count
        made, each = [], len(batches)
        for number in range(count):
            of, left = slice(number * each, (number + 1) * each), len(losses) - (number + 1) * each
            made.append(row_of(setup, state, losses[of], sizes[of], seconds, epoch=first + number, left=left))
    except BaseException:
        state.restore(before)
        raise
    state.predict_with_average()
    state.epoch += count
    for row in made:
        state.history.append(row)
    return made


def row_of(
    setup: Setup,
    state: TrainState,
    losses: list[float],
    sizes: list[int],
    seconds: float,
    measured: Mapping[str, float] = MappingProxyType({}),
    *,
    epoch: int,
    left: int = 0,
) -> dict[str, Any]:
    """Return a row of the history.

    Args:
        setup: of the training.
        state: after the steps of the epoch, and some more.
        losses, sizes: of the epoch's steps, and the rows of each.
        seconds: that it took.
        measured: further numbers, by name.
        epoch: its number.
        left: how many steps the state has had after it.
    """
    row = {
        "epoch": epoch,
        "step": state.step - left,
        "loss": float(np.dot(losses, sizes) / sum(sizes)),
        **measured,
    }
    if isinstance(setup.optimizer, Optimizer) and state.opt_state is not None:
        row["learning_rate"] = float(setup.optimizer.learning_rate_at(state.opt_state["step"] - left))
    return row | {"seconds": round(seconds, 6)}
