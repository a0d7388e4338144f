"""Checkpoints kept in the course of a training: numbered ones, of which the newest stay, and the best."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.errors import ConfigError
from xpnet.train.callbacks import Callback
from xpnet.train.history import History
from xpnet.train.trainer import Trainer

__all__ = ["Checkpoints", "best_trainer", "checkpoint_name", "numbered"]

_NUMBERED = re.compile(r"epoch-(\d{6,18})\.safetensors", re.ASCII)


class Checkpoints(Callback):
    """Saves the trainer as it trains: ``epoch-000050.safetensors`` and so on, and ``best.safetensors``.

    Each file is all that ``Trainer.load`` needs to predict and to train on. Whatever ends the training, the
    state after its last whole epoch is saved too.

    Args:
        folder: where to; made if missing.
        every: number of epochs between two saves, or a time such as ``"30s"``, ``"5m"``, ``"2h"``: then the
            first epoch that ends so much later is saved.
        keep_last: how many of the numbered checkpoints are kept; None for all of them. An older one is
            removed only when the newer one is safely written.
        best: whether ``best.safetensors`` holds the weights of the lowest validation loss, brought up to
            date with every save. It is never removed.

    Raises:
        ConfigError: arguments that cannot be meant; or, when the training begins, a folder with checkpoints
            of later epochs than the trainer has done, which are those of another training.
        CheckpointError: a file cannot be written; older ones stay as they were.

    Example:
        >>> import tempfile
        >>> from xpnet import Trainer, data, nn
        >>> from xpnet.train import Checkpoints
        >>> X, y = data.two_gaussians_arrays(n=60, seed=0)
        >>> folder = tempfile.mkdtemp()
        >>> keeping = Checkpoints(folder, every=2, keep_last=2)
        >>> trainer = Trainer(nn.MLP([4], 2), "softmax_cross_entropy", backend="numpy", callbacks=[keeping])
        >>> history = trainer.fit(X, y, epochs=7)
        >>> sorted(path.name for path in keeping.folder.iterdir())
        ['epoch-000006.safetensors', 'epoch-000007.safetensors']
        >>> Trainer.load(keeping.path(6)).epoch
        6
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int | str = 1,
        keep_last: int | None = None,
        best: bool = True,
    ):
        self.folder = Path(folder)
        self.epochs, self.seconds = checks.interval("every", every)
        self.keep_last = checks.unless_none(checks.count, "keep_last", keep_last)
        self.best = checks.flag("best", best)
        self._saved = self._saved_best = 0
        self._clock = time.monotonic()

    def path(self, epoch: int) -> Path:
        """Return the file of the state after ``epoch``."""
        return self.folder / checkpoint_name(epoch)

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        """Refuse a folder in which another training has left its checkpoints."""
        later = [epoch for epoch in numbered(self.folder) if epoch > trainer.epoch]
        if later:
            raise ConfigError(
                f"Checkpoints: expected a folder without checkpoints of later epochs than the trainer's "
                f"{trainer.epoch}, found epoch {later[-1]} in '{self.folder}'; choose another folder, remove "
                "them, or go on from the newest: Trainer.load"
            )
        self.begin()

    def begin(self) -> None:
        """Count the time from here on."""
        self._clock = time.monotonic()

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Save if it is time."""
        if self.is_due(trainer.epoch):
            self.save(trainer)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Save the state after the last epoch, unless an epoch was cut short and left no such state."""
        if len(history) and trainer.step == history.rows[-1]["step"]:
            self.save(trainer)

    def is_due(self, epoch: int) -> bool:
        """Whether the state after ``epoch``, which has just ended, is to be saved."""
        if self.epochs is not None:
            return epoch % self.epochs == 0
        return time.monotonic() - self._clock >= self.seconds  # type: ignore[operator]  # one of both is set

    def save(self, trainer: Trainer) -> None:
        """Save the trainer as it is now, then remove checkpoints that are too many."""
        if trainer.epoch == self._saved:
            return
        if self.best and trainer.best is not None and trainer.best.epoch != self._saved_best:
            best_trainer(trainer).save(self.folder / "best.safetensors")
            self._saved_best = trainer.best.epoch
        trainer.save(self.path(trainer.epoch))
        self._saved = trainer.epoch
        self.begin()
        if self.keep_last is not None:
            for epoch in numbered(self.folder)[: -self.keep_last]:
                with contextlib.suppress(OSError):
                    self.path(epoch).unlink()


def checkpoint_name(epoch: int) -> str:
    """Return the name of the file of the state after ``epoch``.

    >>> checkpoint_name(50)
    'epoch-000050.safetensors'
    """
    return f"epoch-{epoch:06d}.safetensors"


def numbered(folder: Path) -> list[int]:
    """Return the epochs of which ``folder`` has numbered checkpoints, in their order."""
    found = [_NUMBERED.fullmatch(path.name) for path in folder.glob("epoch-*.safetensors")]
    epochs = sorted(int(match[1]) for match in found if match)
    return [epoch for epoch in epochs if (folder / checkpoint_name(epoch)).is_file()]


def best_trainer(trainer: Trainer) -> Trainer:
    """Return a trainer with the best weights and the history up to them; of one without, a copy."""
    other = trainer.copy()
    state, best = other.state, trainer.state.best
    if best is not None:
        state.variables, state.epoch = best.variables, best.epoch
        state.history = History([row for row in state.history if row["epoch"] <= best.epoch])
        state.step = state.history.rows[-1]["step"] if len(state.history) else 0
        # for going on there are the other checkpoints
        state.opt_state = state.best = state.last = state.average = None
    return other
