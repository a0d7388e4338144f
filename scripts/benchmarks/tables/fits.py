"""Fits of one contestant on one table, in a process of their own, which imports nothing else.

``python -m scripts.benchmarks.tables.fits JOB`` prints a line of JSON for each split; `in_a_process` starts
it and yields them as they come.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["FitError", "Job", "fits", "in_a_process"]


class FitError(Exception):
    """The process failed; the message says why."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process does.

    Attributes:
        table: its name.
        contestant: as it was asked for.
        splits: their numbers, which are also the seeds of the contestant.
        threads: how many each library may use.
        cache: folder of the downloaded packages.
    """

    table: str
    contestant: str
    splits: list[int]
    threads: int
    cache: str


def in_a_process(job: Job) -> Iterator[dict[str, Any]]:
    """Yield what `fits` finds, in a process of its own.

    Raises:
        FitError: it ended with an error.
    """
    names = ("OPENBLAS", "OMP", "MKL", "NUMBA", "BLIS")
    environment = {f"{name}_NUM_THREADS": str(job.threads) for name in names}
    command = [sys.executable, "-W", "ignore", "-m", "scripts.benchmarks.tables.fits"]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(dataclasses.asdict(job))],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        )
        assert process.stdout is not None
        with process:
            for line in process.stdout:
                yield json.loads(line)
        if process.returncode:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"ended with {process.returncode}"]
            raise FitError(lines[-1])


def fits(job: Job) -> Iterator[dict[str, Any]]:
    """Yield the fields of a `scripts.benchmarks.tables.results.Fit` for each split."""
    import numpy as np

    from scripts.benchmarks.tables.catalogue import TABLES
    from scripts.benchmarks.tables.contestants import Setup, contestant
    from scripts.benchmarks.tables.reading import read, split

    table, entered = TABLES[job.table], contestant(job.contestant)
    frame = read(table, Path(job.cache))
    X, y = frame.drop(columns=table.target), frame[table.target].to_numpy()
    categories = list(X.select_dtypes("category"))
    for number in job.splits:
        train, test = split(y, table.task, number)
        parts = [X.iloc[rows].reset_index(drop=True) for rows in (train, test)]
        setup = Setup(table.task, categories, number, job.threads, entered.settings)
        with warnings.catch_warnings(action="ignore"):  # of others, about themselves
            estimator = entered.make(setup)
            clocks = [_clocks()]
            estimator.fit(parts[0], y[train])
            clocks.append(_clocks())
            predicted = np.asarray(estimator.predict(parts[1])).reshape(-1)
            clocks.append(_clocks())
        fit, predict = (
            [round(b - a, 4) for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(clocks)
        )
        yield {
            "table": table.name,
            "contestant": entered.name,
            "split": number,
            "error": error(predicted, y[test], table.task),
            "fit": fit,
            "predict": predict,
            "threads": job.threads,
            "version": version(entered.package),
        }


def version(package: str) -> str:
    """Return the version of a package that is imported already."""
    return getattr(sys.modules[package], "__version__", None) or importlib.metadata.version(package)


def error(predicted: Any, true: Any, task: str) -> float:
    """Return 1 - accuracy, or 1 - R².

    >>> import numpy as np
    >>> error(np.asarray(["a", "b"]), np.asarray(["a", "a"], object), "classification")
    0.5
    >>> error(np.asarray([1.0, 2.0]), np.asarray([0.0, 2.0]), "regression")
    0.5
    """
    if task == "classification":
        return float((predicted.astype(str) != true.astype(str)).mean())
    return float(((predicted - true) ** 2).sum() / ((true - true.mean()) ** 2).sum())


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _main(text: str) -> None:
    out = os.fdopen(os.dup(1), "w")  # for the lines alone: what libraries print goes to stderr
    os.dup2(2, 1)
    for found in fits(Job(**json.loads(text))):
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1])
