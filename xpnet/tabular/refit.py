"""Last epochs of a training, on the validation rows as well."""

from __future__ import annotations

import dataclasses
import logging
import statistics
from typing import Any

import numpy as np

from xpnet.errors import DivergedError, Words, use
from xpnet.tabular.dataset import Prepared
from xpnet.tabular.defaults import length_of, refit_epochs_of
from xpnet.tabular.parts import Part
from xpnet.tabular.trainer import batch_size_of
from xpnet.train import Trainer
from xpnet.train.checkpoint_callback import best_trainer
from xpnet.train.deadline import Deadline
from xpnet.train.early_stopping import has_waited
from xpnet.train.monitor import NO_STOPPING
from xpnet.train.steps import CompiledSteps

__all__ = ["refitted"]

_log = logging.getLogger("xpnet.train")


def refitted(trainer: Trainer, prepared: Prepared[Any], deadline: Deadline | None = None) -> Trainer | None:
    """Return a trainer whose weights have seen the validation rows too; None where that is not to be.

    A few validation rows choose an epoch that is mostly too early, and are missed in training. So where they
    have ended a training, the best weights are trained for some more epochs on all rows but those of the
    test, and the mean of the weights after each of these epochs is kept. It follows from the state at the
    end of the training alone: one that was killed here is refitted alike when it is resumed.

    Args:
        trainer: the training, over; it stays as it is.
        prepared: the table and the settings.
        deadline: end of the time; what would not be over by then is left out, and the deadline is missed.

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018.
    """
    settings, parts = prepared.settings, [prepared.parts[name] for name in ("train", "validation")]
    rows = len(parts[0])
    epochs = refit_epochs_of(settings, rows)
    waited = has_waited(trainer.setup, trainer.state)
    if not epochs or not (waited or trainer.epoch >= length_of(settings, rows).epochs):
        return None
    deadline, expected = deadline or Deadline(), _expected_seconds(trainer, epochs, len(parts[1]) / rows)
    expected += _compiling(trainer) * deadline.stopwatch.slowness
    if deadline.is_over(expected):
        _leave_out(deadline, f"would take {expected:.2g} s")
        return None
    joined = _joined(*parts)
    other = _going_on(trainer)
    try:
        other.fit(
            joined.X,
            joined.y,
            epochs=other.epoch + epochs,
            batch_size=batch_size_of(settings),
            sample_weight=joined.weight,
            class_weight=prepared.class_weight,
            deadline=deadline,
        )
    except DivergedError as error:
        _log.warning(
            "the epochs with the validation rows are given up, the weights before are kept: %s", error
        )
        return None
    if other.timed_out:
        _leave_out(deadline, "took longer than expected")
        return None
    state = other.state
    state.opt_state = state.last = state.average = None
    other.callbacks = list(trainer.callbacks)
    return other


def _joined(one: Part, other: Part) -> Part:
    """Return the rows of two parts as one."""
    found: dict[str, Any] = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("X", "y", "truth", "rows", "weight")
        if getattr(one, name) is not None
    }
    return dataclasses.replace(one, **found)


def _going_on(trainer: Trainer) -> Trainer:
    """Return a trainer with the best weights, the mean of whose epochs is kept."""
    other = best_trainer(trainer)
    other.callbacks = []
    other.setup = other.setup.changed(
        **NO_STOPPING, time_limit=None, progress=False, ema_decay=None, swa_start=other.epoch + 1
    )
    other.state.opt_state, other.state.rows = trainer.state.opt_state, None
    return other


def _expected_seconds(trainer: Trainer, epochs: int, more: float) -> float:
    """Return how long so many epochs take, of ``more`` rows for each one that there was."""
    seconds = [row["seconds"] for row in trainer.history.rows[-epochs:]]
    return epochs * statistics.median(seconds) * (1 + more)


def _compiling(trainer: Trainer) -> float:
    """Return how long numba compiles the steps, which it does anew for other numbers of rows."""
    steps = None if trainer.fitting is None else trainer.fitting.steps
    return steps.compiling if isinstance(steps, CompiledSteps) and steps.by_numba else 0.0


def _leave_out(deadline: Deadline, why: str) -> None:
    deadline.missed = True
    told = f"the epochs with the validation rows are left out, which {why}; the weights before are kept"
    _log.warning(Words(f"{use('time_limit')}: {told}"))
