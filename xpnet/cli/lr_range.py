"""Command ``xpnet lr-range``: a learning-rate range test of the network that settings describe."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.errors import DivergedError
from xpnet.files import write_atomically
from xpnet.plot import figures
from xpnet.runs.settings import Settings
from xpnet.tabular.dataset import prepare
from xpnet.tabular.trainer import build_trainer, layer_widths, open_backend, with_rate
from xpnet.train.diagnostics import RangeTest, learning_rate_range

__all__ = ["Range", "range_of", "range_rows", "write_range"]

_SHOWN = 25


@dataclass(frozen=True)
class Range:
    """A range test, with a title that names network and table."""

    test: RangeTest
    title: str

    @property
    def advice(self) -> str:
        """The suggested rate as a flag, or why there is none."""
        if self.test.suggestion is None:
            return "none: the loss fell clearly at no rate; try a wider range, or more steps"
        best = f"--learning-rate {self.test.suggestion:.2g}"
        return f"{best}, a tenth of the rate at which the smoothed loss is lowest"

    def to_json(self) -> dict[str, Any]:
        """Return rates, losses and the suggestion as plain data."""
        test = self.test
        return {
            "rates": test.rates.tolist(),
            "losses": test.losses.tolist(),
            "smoothed": test.smoothed.tolist(),
            "suggestion": test.suggestion,
        }


def range_of(settings: Settings, own_loss: Callable[..., Any] | None = None, **options: Any) -> Range:
    """Return the range test of the network and the training rows that ``settings`` describe.

    Args:
        settings: as for a training; what concerns its length and its learning rate has no effect.
        own_loss: the loss, where it is code that the command line named.
        options: of `xpnet.train.diagnostics.learning_rate_range`: low, high, steps.

    Raises:
        ConfigError, DataError, BackendError: as for a training.
        DivergedError: the loss is not finite before the first step.
    """
    backend = open_backend(settings)
    prepared = prepare(with_rate(settings), own_loss=own_loss)
    trainer = build_trainer(prepared, backend)
    size, rows = prepared.settings.batch_size, prepared.parts["train"]
    batch = size if isinstance(size, int) else None
    test = learning_rate_range(
        trainer, rows.X, rows.y, batch_size=batch, class_weight=prepared.class_weight, **options
    )
    if len(test.rates) == 0:
        raise DivergedError("the loss is not finite before the first step; check the data's scale")
    return Range(test, f"{layer_widths(prepared)} on {Path(settings.data or '').name}, {settings.optimizer}")


def range_rows(found: Range) -> list[tuple[float, float, float]]:
    """Return rate, loss and smoothed loss of some 25 steps, evenly spread."""
    test = found.test
    every = -(-len(test.rates) // _SHOWN)
    columns = (test.rates, test.losses, test.smoothed)
    return list(zip(*(column[::every].tolist() for column in columns), strict=True))


def write_range(found: Range, path: Path, kind: str) -> None:
    """Write all steps as CSV, or a figure of them as SVG or PNG."""
    test = found.test
    if kind != ".csv":
        figure = figures.range_figure(
            test.rates, test.losses, test.smoothed, test.suggestion, title=found.title
        )
        figures.save_figure(figure, path)
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("learning_rate", "loss", "smoothed_loss"))
    writer.writerows(zip(test.rates.tolist(), test.losses.tolist(), test.smoothed.tolist(), strict=True))
    write_atomically(path, text.getvalue())
