"""Callbacks: functions called while a trainer trains."""

from __future__ import annotations

from typing import Any

from xpnet.train.history import History

__all__ = ["Callback"]


class Callback:
    """Base class of callbacks: override the methods that you need.

    Callbacks are called in the order in which they are given, at the end of a fit in the reverse one: what
    began last ends first. An exception in a callback ends the training; the trainer is then as it was after
    the last whole epoch.

    Each method gets the :class:`xpnet.Trainer`: what it trains is ``trainer.setup``, where it stands is
    ``trainer.state``, and the rows of this fit are in ``trainer.fitting``.

    Attributes:
        steps_apart: ``on_step_end`` is called after each so many steps, and after the last of a batch size in
            an epoch. Compiled steps are taken together in between, so more than 1 makes training faster.
        epochs_together: how many epochs may be trained before ``on_epoch_end`` is called for each of them,
            and can end the training. The trainer has the weights after the last of them then. More than 1
            makes epochs of few steps faster, if nothing is measured after each.

    Example:
        >>> class StopAt(Callback):
        ...     def __init__(self, loss):
        ...         self.loss = loss
        ...     def on_epoch_end(self, trainer, row):
        ...         return row["loss"] < self.loss
    """

    steps_apart: int = 1
    epochs_together: int = 1

    def on_fit_begin(self, trainer: Any, epochs: int) -> None:
        """Called before the first epoch of a call of ``fit`` that trains up to ``epochs``."""

    def on_step_end(self, trainer: Any, step: int, steps: int) -> None:
        """Called after step ``step`` (from 1) of the ``steps`` of an epoch; must not wait for the device.

        With ``steps_apart`` above 1 some steps are passed over.
        """

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> bool | None:
        """Called with an epoch's row of the history; returning True stops the training after this epoch."""

    def on_fit_end(self, trainer: Any, history: History) -> None:
        """Called at the end, after the best weights are restored; also after an exception."""
