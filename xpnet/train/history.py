"""The history of a training: a row of numbers for each epoch."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

from xpnet.errors import ConfigError, suggest
from xpnet.files import write_atomically
from xpnet.nn import Variables

__all__ = ["Best", "History"]

_SHOWN = 20  # rows of a table in a notebook


@dataclasses.dataclass(frozen=True)
class Best:
    """The variables of the best epoch so far: that of the lowest validation loss, or as ``monitor`` says.

    Attributes:
        variables: after that epoch.
        epoch: its number.
        loss: its validation loss.
    """

    variables: Variables
    epoch: int
    loss: float


class History:
    """One row of numbers for each epoch.

    Every row has ``epoch`` and ``step`` (both counted from 1), ``loss`` (the mean over the epoch's training
    batches of what is minimized, L2 penalty included), ``learning_rate``, ``seconds``, and with a validation
    set ``validation_loss`` (without that penalty); each metric m adds ``m`` (on the training rows) and
    ``validation_m``, all measured at the epoch's end. A column that some rows lack is None there.

    Example:
        >>> history = History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])
        >>> history["loss"]
        [0.5, 0.25]
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None):
        self.rows = list(rows or [])

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        last, found = self.rows[-1], [f"{len(self.rows)} epoch{'s' * (len(self.rows) != 1)}"]
        for name in ("loss", "validation_loss"):
            values = [row[name] for row in self.rows if row.get(name) is not None]
            if values:
                words = name.replace("_", " ")
                found.append(f"{words} {last[name]:.4g} (lowest {min(values):.4g})")
        return f"History({', '.join(found)})"

    def _repr_html_(self) -> str:
        """Return the rows as a table, as notebooks show it."""
        columns, rows, half = self.columns, self.rows, _SHOWN // 2
        if len(rows) > _SHOWN:
            rows = [*rows[:half], dict.fromkeys(columns, "…"), *rows[-half:]]
        cells = ["".join(f"<td>{_cell(row.get(name, ''))}</td>" for name in columns) for row in rows]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><caption>{html.escape(repr(self))}</caption><tr>{head}</tr>{body}</table>"

    def plot(self, columns: Sequence[str] | None = None, *, axes: Any = None) -> Any:
        """Draw columns over the epochs; needs matplotlib (extra standard).

        Args:
            columns: their names; None: the losses that there are.
            axes: matplotlib axes to draw into; None makes some.

        Returns:
            The axes.

        Raises:
            ConfigError: matplotlib is not installed.
            KeyError: no such column.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ConfigError(
                f"history.plot: expected matplotlib, found none ({error}); pip install matplotlib"
            ) from error
        wanted = [n for n in ("loss", "validation_loss") if n in self.columns] if columns is None else columns
        axes = pyplot.subplots(layout="constrained")[1] if axes is None else axes
        for name in wanted:
            values = [math.nan if value is None else value for value in self[name]]
            axes.plot(self["epoch"], values, label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.legend()
        return axes

    def append(self, row: dict[str, Any]) -> None:
        """Add the row of one more epoch."""
        self.rows.append(row)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they appeared."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def row_of(self, epoch: int) -> dict[str, Any] | None:
        """Return the row of an epoch, where each follows that of the epoch before; None if there is none."""
        place = len(self.rows) - 1 - (self.rows[-1]["epoch"] - epoch) if self.rows else -1
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def __getitem__(self, column: str) -> list[Any]:
        if self.rows and column not in self.columns:
            raise KeyError(f"no column {column!r} in the history{suggest(column, self.columns)}")
        return [row.get(column) for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file, atomically; a cell is empty where a row lacks the column.

        Raises:
            OSError: it cannot be written; what was there before is unchanged.
        """
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(path, text.getvalue())


def _cell(value: Any) -> str:
    return html.escape(f"{value:.5g}" if isinstance(value, float) else str(value))
