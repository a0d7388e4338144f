"""The best epoch, and when to stop early."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from xpnet.backends.lacking import copy
from xpnet.containers import map_leaves
from xpnet.errors import ConfigError
from xpnet.train.history import Best
from xpnet.train.monitor import NO_STOPPING, Monitor
from xpnet.train.settings import Settings
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState

__all__ = ["Patience", "check_validation", "has_waited", "keep_best", "nothing_left"]


@dataclasses.dataclass
class Patience:
    """Counts the epochs since the monitored column, such as the validation loss, last improved.

    It is derived from the rows of the history alone, so a training that was loaded counts on. What is NaN or
    infinite has not improved.

    Args:
        epochs: how many of them are waited for; None: any number.
        min_delta: by how much the column must improve to count.
        min_steps: steps before which it is not lost; None for none.
        monitor: the column, and which of its values are better.

    Example:
        >>> patience = Patience(2).after({"validation_loss": loss} for loss in (0.5, 0.4, 0.45, 0.41))
        >>> patience.waited, patience.lost
        (2, True)
    """

    epochs: int | None
    min_delta: float = 0.0
    min_steps: int | None = None
    monitor: Monitor = dataclasses.field(default_factory=Monitor)
    lowest: float = math.inf
    waited: int = 0
    step: int = 0

    def see(self, row: dict[str, Any]) -> None:
        """Take an epoch's row of the history into account; one without the column says nothing."""
        cost, self.step = self.monitor.cost(row), row.get("step", self.step)
        if cost is None:
            return
        if cost < self.lowest - self.min_delta:
            self.lowest, self.waited = cost, 0
        else:
            self.waited += 1

    def after(self, rows: Iterable[dict[str, Any]], *, since: int = 0) -> Patience:
        """Take the rows of epochs after ``since`` into account and return the same object."""
        for row in rows:
            if row.get("epoch", math.inf) > since:
                self.see(row)
        return self

    @property
    def lost(self) -> bool:
        """True if nothing has improved for ``epochs`` epochs, and ``min_steps`` steps are done."""
        if self.epochs is None or self.step < (self.min_steps or 0):
            return False
        return self.waited >= self.epochs

    @classmethod
    def of(cls, setup: Setup) -> Patience:
        """Return the patience that settings ask for."""
        settings = setup.settings
        return cls(settings.patience, settings.min_delta, settings.min_steps, setup.monitor)


def has_waited(setup: Setup, state: TrainState) -> bool:
    """Whether patience was lost: the monitored column has not improved for long enough."""
    return Patience.of(setup).after(state.history, since=state.patience_since).lost


def keep_best(setup: Setup, state: TrainState, row: dict[str, Any]) -> None:
    """Keep the variables of the epoch that has just ended, if it is the best so far.

    Args:
        setup: of the training.
        state: after the epoch.
        row: of the epoch, the last one of the history.
    """
    assert state.variables is not None
    best = None if state.best is None else state.history.row_of(state.best.epoch)
    if not setup.monitor.is_better(row, best, ties=setup.settings.use_last_best_epoch):
        return
    variables = state.variables
    if not setup.settings.rollback:  # the next epoch writes over them
        variables = map_leaves(copy, variables)
    state.best = Best(variables, state.epoch, row["validation_loss"])


def check_validation(settings: Settings, held_out: Any) -> None:
    """Refuse settings that need validation rows if there are none."""
    if held_out is not None:
        return
    for name, without in {**NO_STOPPING, "restore_best": False}.items():
        if getattr(settings, name) not in (without, None):
            raise ConfigError(
                f"{name}: expected a validation set to go by, found none; pass validation=0.1, say"
            )


def nothing_left(settings: Settings, epoch: int, step: int, epochs: int) -> str:
    """Return why a fit of ``epochs`` epochs has nothing to train after this epoch and step, and a remedy."""
    why, remedy = f"{epoch} of {epochs} epochs are done", "pass more epochs"
    if settings.max_steps is not None and step >= settings.max_steps:
        why, remedy = f"all of max_steps={settings.max_steps} are done", "raise max_steps"
    elif epoch < epochs:
        why = f"patience={settings.patience} was lost after epoch {epoch}"
        remedy = "set trainer.patience to None or more"
    return f"fit: nothing is left to train, as {why}; {remedy}, or call trainer.reset() to begin anew"
