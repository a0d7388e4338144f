"""Progress of a training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from typing import IO, Any

from xpnet.errors import ConfigError
from xpnet.streams import Patient, say
from xpnet.text import shown
from xpnet.train.callbacks import Callback
from xpnet.train.history import History

__all__ = ["ProgressBar", "ProgressLines", "abridge", "describe", "for_terminal"]


def describe(row: dict[str, Any]) -> str:
    """Return a history row as one line for people.

    >>> describe({"epoch": 3, "step": 60, "loss": 0.25, "accuracy": 0.93, "validation_loss": 0.31})
    'loss 0.2500  accuracy 0.9300  validation loss 0.3100'
    """
    hidden = ("epoch", "step", "learning_rate", "seconds")
    told = [(shown(name, 60).replace("_", " "), value) for name, value in row.items() if name not in hidden]
    return "  ".join(f"{name} {_brief(value)}" for name, value in told)


def abridge(row: dict[str, Any]) -> str:
    """Return a history row in half a line: of the validation only the numbers, in the same order.

    >>> abridge({"epoch": 3, "step": 60, "loss": 0.25, "accuracy": 0.93, "validation_loss": 0.31,
    ...          "validation_accuracy": 0.9})
    'loss 0.2500 accuracy 0.9300 val 0.3100/0.9000'
    """
    held_out = {name: value for name, value in row.items() if name.startswith("validation_")}
    trained = describe({name: value for name, value in row.items() if name not in held_out})
    numbers = "/".join(map(_brief, held_out.values()))
    return trained.replace("  ", " ") + (f" val {numbers}" if numbers else "")


def _brief(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"


class ProgressLines(Callback):
    """Writes a line for an epoch, about ``lines`` of them over the whole training, each after ``label``.

    Where patience may end a training long before its last epoch, lines follow at growing distances.
    """

    def __init__(self, stream: IO[str] | None = None, lines: int = 20, label: str = ""):
        self.stream, self.lines, self.label = stream, lines, label
        self.every, self.epochs, self.open, self._next = 1, 0, False, 1

    def on_fit_begin(self, trainer: Any, epochs: int) -> None:
        self.epochs, self.every = epochs, max(1, round(epochs / self.lines))
        self.open, self._next = is_open(trainer, epochs), trainer.epoch + 1

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        epoch = row["epoch"]
        due = epoch >= self._next if self.open else epoch in (1, self.epochs) or epoch % self.every == 0
        if due or (self.open and trainer.ending):
            self._next = epoch + max(1, epoch // 3)
            width = len(str(self.epochs))
            of = "" if self.open else f"/{self.epochs}"
            say(f"{self.label}epoch {epoch:{width}d}{of}  {describe(row)}", self.stream)


class ProgressBar(Callback):
    """A bar over the steps of all epochs, ``label`` before it and the newest numbers behind it; needs rich.

    Raises:
        ConfigError: rich is not installed.
    """

    steps_apart = 50

    def __init__(self, label: str = "") -> None:
        self.label = label
        if importlib.util.find_spec("rich") is None:
            raise ConfigError("a progress bar needs rich: pip install rich")
        self.bar: Any = None
        self.task: Any = None
        self.epochs, self.open = 0, False
        self._next = self._last = 0

    def on_fit_begin(self, trainer: Any, epochs: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        # what stands at its end is cut off where a terminal is narrow, rather than that all columns shrink
        self.open = is_open(trainer, epochs)
        whole = Column(no_wrap=True)
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False, table_column=whole),
            BarColumn(bar_width=10, table_column=Column(no_wrap=True)),
            *([] if self.open else [TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True))]),
            TextColumn("{task.fields[numbers]}", markup=False, table_column=rest),
            console=Console(file=Patient(sys.stderr)),  # type: ignore[arg-type]
            expand=True,
        )
        self.epochs, total = epochs, None if self.open else epochs
        self.task = self.bar.add_task(
            self._at(trainer.epoch), total=total, completed=trainer.epoch, numbers=""
        )
        self.bar.start()

    def on_step_end(self, trainer: Any, step: int, steps: int) -> None:
        if step >= self._next or step < self._last:  # twenty times an epoch
            self.bar.update(self.task, completed=trainer.epoch + step / steps)
            self._next = step + max(1, steps // 20)
        self._last = step

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        epoch = row["epoch"]
        self.bar.update(self.task, description=self._at(epoch), completed=epoch, numbers=abridge(row))

    def on_fit_end(self, trainer: Any, history: History) -> None:
        self.bar.stop()

    def _at(self, epoch: int) -> str:
        return f"{shown(self.label)}epoch {epoch}" + ("" if self.open else f"/{self.epochs}")


def is_open(trainer: Any, epochs: int) -> bool:
    """Whether a training is likely to end long before its last epoch, since patience is lost."""
    patience = getattr(trainer, "patience", None)
    return patience is not None and epochs - trainer.epoch > 10 * patience


def for_terminal(wanted: bool | None = None) -> Callback | None:
    """Return the callback that shows progress.

    Args:
        wanted: None for a bar if stderr is a terminal and rich is installed, else silence; True for lines in
            place of the silence; False for none at all.
    """
    if wanted is False:
        return None
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if terminal and importlib.util.find_spec("rich") is not None:
        return ProgressBar()
    return ProgressLines() if wanted else None
