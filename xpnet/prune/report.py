"""Costs and gains of pruning, measured before and after."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from xpnet import checks
from xpnet.backends import Backend
from xpnet.containers import leaves
from xpnet.prune.masks import count_weights
from xpnet.prune.sparse import SparsePredictor, sparse_predictor
from xpnet.train import Trainer
from xpnet.train.rows import check_inputs

__all__ = ["Profile", "Report", "profile", "timed"]

_UNCOUNTED = 3  # predictions, in which programs are compiled and caches filled
_SECONDS = 0.5
_ALIKE = 0.05  # share by which two times differ without a reason


@dataclasses.dataclass(frozen=True)
class Profile:
    """Quality, size and speed of a trained network.

    Attributes:
        metrics: the loss and the trainer's metrics on the given rows.
        weights, nonzero: number of weights (biases and scales not counted), and of those that are not 0.
        bytes: memory of parameters and statistics.
        sparse_bytes: the same with matrices in CSR format where that is smaller; None without SciPy.
        rows: how many rows were predicted at a time for the two times.
        milliseconds: shortest time of such a prediction; None if it was not measured.
        sparse_milliseconds: the same by the sparse predictor; None without SciPy.
    """

    metrics: dict[str, float]
    weights: int
    nonzero: int
    bytes: int
    sparse_bytes: int | None
    rows: int
    milliseconds: float | None
    sparse_milliseconds: float | None

    @property
    def sparsity(self) -> float:
        """The share of the weights that are 0."""
        return 1 - self.nonzero / self.weights

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON data."""
        return {**dataclasses.asdict(self), "sparsity": self.sparsity}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Profile:
        """Return the profile that `to_dict` wrote."""
        return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})


def profile(trainer: Trainer, X: Any, y: Any, *, rows: int = 1000, repeats: int = 100) -> Profile:
    """Measure a trained network.

    Args:
        trainer: one that has been trained.
        X, y: rows for the loss and the metrics; the first ones are predicted for the time.
        rows: how many of them at a time, at most.
        repeats: of how many predictions the shortest time is taken, at most; 0 measures no time.

    Raises:
        ConfigError: not trained, or numbers that cannot be meant.
        DataError: rows that do not fit.
    """
    rows, repeats = checks.count("rows", rows), checks.whole(0)("repeats", repeats)
    metrics = trainer.evaluate(X, y)
    params, state = trainer.variables
    known = check_inputs(trainer.setup, X, trainer.state.input_shape).shape[0]
    nonzero, weights = count_weights(params)
    predictor = _sparse(trainer)
    width = {"float32": 4, "float64": 8}[trainer.setup.dtype]
    found = Profile(
        metrics=metrics,
        weights=weights,
        nonzero=nonzero,
        bytes=width * sum(math.prod(leaf.shape) for leaf in leaves([params, state])),
        sparse_bytes=None if predictor is None else predictor.nbytes,
        rows=min(rows, known),
        milliseconds=None,
        sparse_milliseconds=None,
    )
    return timed([trainer], [found], X, repeats)[0] if repeats else found


def _sparse(trainer: Trainer) -> SparsePredictor | None:
    return sparse_predictor(trainer) if trainer.backend.name == "cupy" or find_spec("scipy") else None


def timed(
    trainers: Sequence[Trainer], profiles: Sequence[Profile], X: Any, repeats: int = 100
) -> list[Profile]:
    """Return the profiles with the times of predictions, all of the same rows.

    The networks take turns, dense and sparse, so that whatever slows the machine slows all of them alike, and
    the shortest time of each counts: what is above it is the machine's.

    Args:
        trainers: of one backend.
        profiles: of each of them.
        X: rows, of which as many as the profiles say are predicted.
        repeats: predictions of each, at most; half a second of them is enough.
    """
    first = trainers[0]
    some = check_inputs(first.setup, X, first.state.input_shape)[: profiles[0].rows, ...]
    predictors = [(trainer, _sparse(trainer)) for trainer in trainers]
    calls = [one.outputs if one is not None else None for pair in predictors for one in pair]
    shortest = _milliseconds([call for call in calls if call is not None], some, first.backend, repeats)
    times = [None if call is None else shortest.pop(0) for call in calls]
    return [
        dataclasses.replace(known, milliseconds=dense, sparse_milliseconds=sparse)
        for known, dense, sparse in zip(profiles, times[::2], times[1::2], strict=True)
    ]


def _milliseconds(
    calls: Sequence[Callable[[Any], Any]], rows: Any, home: Backend, repeats: int
) -> list[float]:
    """Return the shortest time of each call, in turns, once everything is compiled that will be."""
    shortest, begun = [math.inf] * len(calls), time.perf_counter()
    for number in range(_UNCOUNTED + repeats):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call(rows)
            home.synchronize()
            if number >= _UNCOUNTED:
                shortest[index] = min(shortest[index], 1000 * (time.perf_counter() - start))
        if number >= _UNCOUNTED + 2 and time.perf_counter() - begun > _SECONDS:
            break
    return [float(f"{value:.4g}") for value in shortest]


@dataclasses.dataclass(frozen=True)
class Report:
    """Two profiles side by side; ``print(report)`` shows them as a table."""

    before: Profile
    after: Profile

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON data."""
        return {"before": self.before.to_dict(), "after": self.after.to_dict()}

    def __str__(self) -> str:
        profiles = (self.before, self.after)
        lines = [("", "before", "after", "change")]
        for name in self.before.metrics:
            old, new = (p.metrics.get(name) for p in profiles)
            title = name.replace("_", " ")
            lines.append((title, _metric(name, old), _metric(name, new), _gain(name, old, new)))
        for title, attribute, form in _LINES:
            old, new = (getattr(p, attribute) for p in profiles)
            is_time = attribute.endswith("milliseconds")
            if is_time and (old is None or new is None):
                continue
            change = f"{new / old - 1:+.1%}" if old and new is not None else "-"
            if is_time and abs(new / old - 1) < _ALIKE:
                change = "same"
            title = title.format(rows=f"{self.after.rows:,} row{'s' if self.after.rows > 1 else ''}")
            lines.append((title, _shown(form, old), _shown(form, new), change))
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
        )


_LINES = (
    ("weights", "weights", "{:,}"),
    ("weights that are not 0", "nonzero", "{:,}"),
    ("bytes", "bytes", "{:,}"),
    ("bytes, sparse", "sparse_bytes", "{:,}"),
    ("milliseconds for {rows}", "milliseconds", "{:.3g}"),
    ("milliseconds for {rows}, sparse", "sparse_milliseconds", "{:.3g}"),
)


def _shown(form: str, value: Any) -> str:
    return "-" if value is None else form.format(value)


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if name == "accuracy" else f"{value:.4g}"


def _gain(name: str, old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return "-"
    return f"{100 * (new - old):+.2f} points" if name == "accuracy" else f"{new - old:+.4g}"
