"""Costs and gains of pruning, measured before and after."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from xpnet import checks
from xpnet.containers import leaves
from xpnet.prune.masks import count_weights
from xpnet.prune.sparse import sparse_predictor
from xpnet.train import Trainer
from xpnet.train.rows import check_inputs

__all__ = ["Profile", "Report", "profile"]


@dataclasses.dataclass(frozen=True)
class Profile:
    """Quality, size and speed of a trained network.

    Attributes:
        metrics: the loss and the trainer's metrics on the given rows.
        weights, nonzero: number of weights (biases and scales not counted), and of those that are not 0.
        bytes: memory of parameters and statistics.
        sparse_bytes: the same with matrices in CSR format where that is smaller; None without SciPy.
        rows: how many rows were predicted at a time for the two times.
        milliseconds: median time of such a prediction.
        sparse_milliseconds: the same by the sparse predictor; None without SciPy.
    """

    metrics: dict[str, float]
    weights: int
    nonzero: int
    bytes: int
    sparse_bytes: int | None
    rows: int
    milliseconds: float
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


def profile(trainer: Trainer, X: Any, y: Any, *, rows: int = 1000, repeats: int = 7) -> Profile:
    """Measure a trained network.

    Args:
        trainer: one that has been trained.
        X, y: rows for the loss and the metrics; the first ones are predicted for the time.
        rows: how many of them at a time, at most.
        repeats: of how many predictions the median time is taken, after two that are not counted.

    Raises:
        ConfigError: not trained, or numbers below 1.
        DataError: rows that do not fit.
    """
    rows, repeats = checks.count("rows", rows), checks.count("repeats", repeats)
    metrics = trainer.evaluate(X, y)
    params, state = trainer.variables
    nonzero, weights = count_weights(params)
    inputs = check_inputs(trainer.setup, X, trainer.state.input_shape)
    some = inputs[: min(rows, inputs.shape[0]), ...]
    predictor = sparse_predictor(trainer) if trainer.backend.name == "cupy" or find_spec("scipy") else None
    finish = trainer.backend.synchronize
    width = {"float32": 4, "float64": 8}[trainer.setup.dtype]
    return Profile(
        metrics=metrics,
        weights=weights,
        nonzero=nonzero,
        bytes=width * sum(math.prod(leaf.shape) for leaf in leaves([params, state])),
        sparse_bytes=None if predictor is None else predictor.nbytes,
        rows=some.shape[0],
        milliseconds=_milliseconds(lambda: trainer.outputs(some), finish, repeats),
        sparse_milliseconds=(
            None if predictor is None else _milliseconds(lambda: predictor.outputs(some), finish, repeats)
        ),
    )


def _milliseconds(predict: Callable[[], Any], finish: Callable[[], None], repeats: int) -> float:
    """Return the median time of a prediction, once everything is compiled that will be."""
    times = []
    for _ in range(2 + repeats):
        begun = time.perf_counter()
        predict()
        finish()
        times.append(1000 * (time.perf_counter() - begun))
    return round(statistics.median(times[2:]), 4)


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
            change = f"{new / old - 1:+.1%}" if old and new is not None else "-"
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
    ("milliseconds for {rows}", "milliseconds", "{:.3f}"),
    ("milliseconds for {rows}, sparse", "sparse_milliseconds", "{:.3f}"),
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
