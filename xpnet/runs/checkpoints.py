"""Checkpoints and log of a training while it runs."""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.errors import CheckpointError
from xpnet.files import append
from xpnet.runs.folder import RunFolder, identity
from xpnet.runs.signals import Interruption, held
from xpnet.text import shown
from xpnet.train import Callback, Checkpoints, CSVLog, History, JSONLinesLog, TensorBoard, Trainer
from xpnet.train.checkpoint_callback import best_trainer
from xpnet.train.progress import describe

__all__ = ["Keeper", "RunLog"]

_SAVE_SECONDS = 1.0  # between two saves, unless saving itself takes so long that it would slow training
_SAVE_SHARE = 0.05


class RunLog(logging.Handler):
    """``train.log``: lines with the time. A log that cannot be written never stops a training.

    What comes from files, names and settings, stays within its line: it is escaped.
    """

    def __init__(self, path: Path):
        super().__init__(logging.INFO)
        self.path = path
        self._folder: tuple[int, int] | None = None  # of the first line

    def write(self, line: str) -> None:
        """Append a line."""
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # the checkpoints, which matter, report a full disk
            folder = identity(self.path.parent)
            if self._folder is None:
                self._folder = folder
            if self._folder == folder:  # and not another one in its place
                append(self.path, f"{stamp} {shown(line)}\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record of the library's log; what runs say they write themselves."""
        if record.name == "xpnet.runs" and record.levelno < logging.WARNING:
            return
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        self.write(kind + record.getMessage())


class Keeper(Callback):
    """Keeps the run folder up to date: at the beginning, about once a second, and when asked.

    Args:
        log: the run's log.
        begin: called once everything is known to fit, before anything is trained; makes the folder and
            returns it.
        save_every, keep_last: which numbered checkpoints are kept beside the last and the best, as for
            `Checkpoints`; None for none.
        tensorboard: whether the history is written for TensorBoard as well.
    """

    steps_apart = 50
    run: RunFolder
    numbered: Checkpoints | None = None

    def __init__(
        self,
        log: RunLog,
        begin: Callable[[], RunFolder],
        save_every: int | str | None = None,
        keep_last: int | None = None,
        *,
        tensorboard: bool = False,
    ):
        self.log, self.begin = log, begin
        self.save_every, self.keep_last, self.tensorboard = save_every, keep_last, tensorboard
        self.logs: list[Callback] = []
        self.interruption: Interruption | None = None
        self.saved_epoch = self.saved_best = -1
        self._due = 0.0

    @property
    def has_saved(self) -> bool:
        """Whether there is a state on disk from which to continue."""
        return self.saved_epoch >= 0

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        """Make the folder and save the state before the first epoch."""
        self.run = self.begin()
        if self.save_every is not None:
            self.numbered = Checkpoints(
                self.run.checkpoints, every=self.save_every, keep_last=self.keep_last, best=False
            )
        self.save(trainer)
        self.run.give_up_after(trainer.epoch)
        for name in ("final", *(["best"] if trainer.best is None else [])):  # of the training so far
            self.run.checkpoint(name).unlink(missing_ok=True)
        # made here, for a folder whose name is taken gets another one when it is made
        self.logs = [CSVLog(self.run.history), JSONLinesLog(self.run.history_lines)]
        if self.tensorboard:
            self.logs.append(TensorBoard(self.run.tensorboard))
        for log in self.logs:
            log.on_fit_begin(trainer, epochs)

    def on_step_end(self, trainer: Trainer, step: int, steps: int) -> None:
        """Stop here if Ctrl-C was pressed."""
        if self.interruption is not None:
            self.interruption.obey()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Log the epoch, and save if it is time."""
        self.check_folder()
        self.log.write(f"epoch {row['epoch']}  {describe(row)}")
        for log in self.logs:  # first, so that they have each epoch that a checkpoint has
            log.on_epoch_end(trainer, row)
        due = self.numbered is not None and self.numbered.is_due(trainer.epoch)
        if due or time.monotonic() >= self._due:
            self.save(trainer)  # the last before the numbered one, which is thus never ahead of it
        if due:
            self.numbered.save(trainer)  # type: ignore[union-attr]
        if self.interruption is not None:
            self.interruption.obey()

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Bring the logs to the disk, on which the results come after them."""
        for log in self.logs:
            log.on_fit_end(trainer, history)

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoints, if they have changed.

        Raises:
            CheckpointError, OSError: they cannot be written; what was there stays as it was.
        """
        self.check_folder()
        if trainer.epoch == self.saved_epoch:
            return
        begun = time.monotonic()
        if trainer.best is not None and trainer.best.epoch != self.saved_best:
            best_trainer(trainer).save(self.run.checkpoint("best"))
            self.saved_best = trainer.best.epoch
        trainer.save(self.run.checkpoint("last"))
        self.saved_epoch = trainer.epoch
        now = time.monotonic()
        self._due = now + max(_SAVE_SECONDS, (now - begun) / _SAVE_SHARE)

    def check_folder(self) -> None:
        """Raise a `CheckpointError` if the run folder is gone or another one is in its place."""
        self.run.check_same()

    def save_if_possible(self, trainer: Trainer) -> None:
        """Save after a failure; an error in saving is ignored, so that the user hears of the failure.

        No signal ends it.
        """
        if self.has_saved:
            with held(), contextlib.suppress(OSError, CheckpointError, KeyboardInterrupt):
                self.save(trainer)
