"""Fits that were measured, a line of JSON each, and what follows from them."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "SHIFT",
    "Fit",
    "Summary",
    "append",
    "common",
    "errors_by_table",
    "load",
    "standard_error",
    "summaries",
]

SHIFT = 0.01
"""What is added to errors in their geometric mean, as in the paper on RealMLP (Holzmüller et al. 2024)."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """A contestant fitted on a split of a table.

    Attributes:
        table, contestant: names.
        split: its number.
        error: 1 - accuracy, or 1 - R², on the test rows.
        fit, predict: seconds by the clock and of the processor.
        threads: how many were allowed.
        version: of the contestant's package.
    """

    table: str
    contestant: str
    split: int
    error: float
    fit: tuple[float, float]
    predict: tuple[float, float]
    threads: int
    version: str

    @property
    def place(self) -> tuple[str, int]:
        """Table and split."""
        return self.table, self.split


@dataclasses.dataclass(frozen=True)
class Summary:
    """A contestant on several tables.

    Attributes:
        contestant: its name.
        mean: shifted geometric mean of its errors, exp(mean(log(error + 0.01))).
        rank: mean of its ranks on the splits, 1 for the least error; equal errors share theirs.
        interval: of the mean rank, 95 %, by the bootstrap over tables.
        times: geometric means of the seconds of fit and prediction, each by the clock and of the processor.

    Means are over the splits of each table, and then over tables. Of times it is the median of the splits,
    whose first one is cold.
    """

    contestant: str
    mean: float
    rank: float
    interval: tuple[float, float]
    times: list[list[float]]


def load(path: Path) -> list[Fit]:
    """Return the fits of a file, of several of one contestant on one split the last; none without a file."""
    found = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else (), 1):
        try:
            fit = Fit(**json.loads(line))
        except (ValueError, TypeError) as error:  # such as a line that a kill has cut
            print(f"{path}: line {number} is no fit and left out: {error}", file=sys.stderr)
            continue
        found[fit.contestant, *fit.place] = fit
    return list(found.values())


def append(path: Path, fields: dict[str, Any]) -> None:
    """Add a fit to a file, at once, on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(max(file.tell() - 1, 0))
        cut = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(cut + json.dumps(fields).encode() + b"\n")


def common(fits: Iterable[Fit], contestants: Collection[str]) -> list[Fit]:
    """Return the fits of contestants on the splits that all of them have."""
    taken = [fit for fit in fits if fit.contestant in contestants]
    by = defaultdict(set)
    for fit in taken:
        by[fit.place].add(fit.contestant)
    return [fit for fit in taken if len(by[fit.place]) == len(set(contestants))]


def errors_by_table(fits: Iterable[Fit]) -> dict[str, dict[str, list[float]]]:
    """Return the errors of each contestant by table."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for fit in fits:
        found[fit.contestant][fit.table].append(fit.error)
    return found


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean; NaN of one value.

    >>> standard_error([1.0, 2.0, 3.0])
    0.577...
    """
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def summaries(fits: Sequence[Fit]) -> list[Summary]:
    """Return the summary of each contestant, the best first; all have to have the same splits."""
    names = list(dict.fromkeys(fit.contestant for fit in fits))
    places = list(dict.fromkeys(fit.place for fit in fits))
    found = {(fit.contestant, *fit.place): fit for fit in fits}
    grid = [[found[name, *place] for place in places] for name in names]
    tables = np.unique([table for table, _ in places], return_inverse=True)[1]
    errors = np.asarray([[fit.error for fit in row] for row in grid])
    seconds = np.asarray([[(fit.fit, fit.predict) for fit in row] for row in grid])
    logs, ranks = (_by(tables, of, np.mean) for of in (np.log(errors + SHIFT), ranked(errors)))
    times = np.log(np.maximum(_by(tables, seconds, np.median), 1e-4))
    drawn = np.random.default_rng(0).integers(ranks.shape[1], size=(2000, ranks.shape[1]))
    bounds = np.quantile(ranks[:, drawn].mean(axis=2), [0.025, 0.975], axis=1)
    made = [
        Summary(
            name,
            float(np.exp(logs[i].mean())),
            float(ranks[i].mean()),
            tuple(bounds[:, i].tolist()),
            np.exp(times[i].mean(axis=0)).tolist(),
        )
        for i, name in enumerate(names)
    ]
    return sorted(made, key=lambda one: one.mean)


def _by(tables: np.ndarray, values: np.ndarray, mean: Callable[..., np.ndarray]) -> np.ndarray:
    """Return the means of the columns of each table."""
    return np.stack([mean(values[:, tables == table], axis=1) for table in range(tables.max() + 1)], axis=1)


def ranked(values: np.ndarray) -> np.ndarray:
    """Return the ranks in each column, 1 for the least; equal values share theirs.

    >>> ranked(np.asarray([[0.1, 0.5], [0.3, 0.2], [0.3, 0.1]]))
    array([[1. , 3. ], [2.5, 2. ], [2.5, 1. ]])
    """
    less = values[:, None] > values[None, :]
    equal = values[:, None] == values[None, :]
    return less.sum(axis=1) + (equal.sum(axis=1) + 1) / 2
