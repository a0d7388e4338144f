"""When to stop early."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from xpnet.errors import ConfigError
from xpnet.train.settings import Settings
from xpnet.train.state import TrainState

__all__ = ["Patience", "check_validation", "has_waited", "nothing_left"]


@dataclasses.dataclass
class Patience:
    """Counts the epochs since the validation loss last fell.

    It is derived from the rows of the history alone, so a training that was loaded counts on. A validation
    loss that is NaN or infinite has not fallen.

    Args:
        epochs: how many of them are waited for; None: any number.
        min_delta: by how much the loss must fall to count.
        min_steps: steps before which it is not lost; None for none.

    Example:
        >>> patience = Patience(2).after({"validation_loss": loss} for loss in (0.5, 0.4, 0.45, 0.41))
        >>> patience.waited, patience.lost
        (2, True)
    """

    epochs: int | None
    min_delta: float = 0.0
    min_steps: int | None = None
    lowest: float = math.inf
    waited: int = 0
    step: int = 0

    def see(self, row: dict[str, Any]) -> None:
        """Take an epoch's row of the history into account; one without a validation loss says nothing."""
        loss, self.step = row.get("validation_loss"), row.get("step", self.step)
        if loss is None:
            return
        if loss < self.lowest - self.min_delta:
            self.lowest, self.waited = loss, 0
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
        """True if the loss has not fallen for ``epochs`` epochs, and ``min_steps`` steps are done."""
        if self.epochs is None or self.step < (self.min_steps or 0):
            return False
        return self.waited >= self.epochs

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """Return the patience that settings ask for."""
        return cls(settings.patience, settings.min_delta, settings.min_steps)


def has_waited(settings: Settings, state: TrainState) -> bool:
    """Whether patience was lost: the validation loss has not fallen for long enough."""
    return Patience.of(settings).after(state.history, since=state.patience_since).lost


def check_validation(settings: Settings, held_out: Any) -> None:
    """Refuse settings that need validation rows if there are none."""
    if held_out is not None:
        return
    for name in ("patience", "restore_best", "min_delta", "min_steps"):
        if getattr(settings, name):
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
