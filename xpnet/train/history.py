"""What happened in each epoch."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterator
from typing import Any

from xpnet.errors import suggest
from xpnet.files import write_atomically
from xpnet.nn import Variables

__all__ = ["Best", "History"]


@dataclasses.dataclass(frozen=True)
class Best:
    """The variables with the lowest validation loss so far."""

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

    def append(self, row: dict[str, Any]) -> None:
        """Add the row of one more epoch."""
        self.rows.append(row)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they appeared."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

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
