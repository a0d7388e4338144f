"""The monitored column of the history: it chooses the best epoch, and patience waits for it to improve."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from xpnet.errors import ConfigError, use
from xpnet.train import metrics

__all__ = ["LOSS", "NO_STOPPING", "Monitor", "monitor_of"]

LOSS = "validation_loss"
NO_STOPPING: Mapping[str, Any] = {
    "patience": None,
    "min_delta": 0.0,
    "min_steps": None,
    "monitor": LOSS,
    "use_last_best_epoch": False,
}
"""Settings of a training without validation rows, by which nothing can be chosen."""


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A column of the history, and which of its values are better.

    Args:
        name: of the column.
        higher: whether higher values are better.

    >>> accuracy = Monitor("validation_accuracy", higher=True)
    >>> accuracy.cost({"validation_accuracy": 0.75}), accuracy.best
    (-0.75, 'highest validation accuracy')
    """

    name: str = LOSS
    higher: bool = False

    @property
    def words(self) -> str:
        """The column's name in words."""
        return self.name.replace("_", " ")

    @property
    def best(self) -> str:
        """Its best value, in words."""
        return f"{'highest' if self.higher else 'lowest'} {self.words}"

    @property
    def worst(self) -> float:
        """Its worst value."""
        return -math.inf if self.higher else math.inf

    def cost(self, row: Mapping[str, Any] | None) -> float | None:
        """Return the row's value such that lower ones are better; None if the row has none."""
        value = None if row is None else row.get(self.name)
        return -value if value is not None and self.higher else value

    def is_better(self, row: Mapping[str, Any], best: Mapping[str, Any] | None, *, ties: bool) -> bool:
        """Return whether a row is better than the best one so far, or as good, if ``ties`` count.

        What is NaN or infinitely bad is never better.
        """
        cost, least = self.cost(row), self.cost(best)
        if cost is None or not cost < math.inf:
            return False
        return least is None or cost < least or (ties and cost == least)


def monitor_of(name: str, measured: Mapping[str, Callable[..., Any]]) -> Monitor:
    """Return the monitor of a column.

    Args:
        name: of the column: ``validation_loss``, or ``validation_`` and the name of a metric.
        measured: the metrics that are measured, by name.

    Raises:
        ConfigError: no such metric is measured, or nobody says which of its values are better.
    """
    if name == LOSS:
        return Monitor()
    metric = name.removeprefix("validation_")
    if metric not in measured:
        known = ", ".join([LOSS, *(f"validation_{other}" for other in measured)])
        raise ConfigError(
            f"{use('monitor')}: expected a column that is measured ({known}), found {name!r}; choose one of "
            f"these, or measure it: metrics=[{metric!r}]"
        )
    higher = metrics.higher_is_better(metric, measured[metric])
    if higher is None:
        raise ConfigError(
            f"{use('monitor')}: expected a metric that says which values are better, found {metric!r}, a "
            f"function of your own; say so: {metric}.higher_is_better = False, say"
        )
    return Monitor(name, higher)
