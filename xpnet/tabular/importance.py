"""Permutation importance: how much worse a model predicts if the cells of a column change places."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xpnet import rng
from xpnet.data import Encoder
from xpnet.text import shown

__all__ = ["Importance", "permutation_importance"]

_MOST = 60  # characters of a name


@dataclass(frozen=True)
class Importance:
    """Importance of the columns of a table, the most important one first.

    Attributes:
        metric: what was measured, such as accuracy; higher is better.
        baseline: its value on the table as it is.
        columns: names.
        mean: by how much the metric falls on average if the column's cells change places.
        spread: standard deviation of that over the repeats.
        repeats: how many permutations of each column were tried.
    """

    metric: str
    baseline: float
    columns: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    repeats: int

    def to_dict(self) -> dict[str, tuple[float, float]]:
        """Return mean and spread by the name of the column."""
        pairs = zip(self.mean, self.spread, strict=True)
        return dict(zip(self.columns, pairs, strict=True))

    def __str__(self) -> str:
        names = [shown(name, _MOST) for name in self.columns]
        width = max(map(len, names), default=0)
        rows = zip(names, self.mean, self.spread, strict=True)
        lines = [f"{name:{width}}  {m:8.4f} ± {s:.4f}" for name, m, s in rows]
        return "\n".join([f"{self.metric} {self.baseline:.4f}; by how much it falls:", *lines])

    def _repr_html_(self) -> str:
        """Return a table, as notebooks show it."""
        rows = "".join(
            f"<tr><th>{html.escape(shown(name, _MOST))}</th><td>{m:.4f} ± {s:.4f}</td></tr>"
            for name, (m, s) in self.to_dict().items()
        )
        caption = f"{self.metric} {self.baseline:.4f}; by how much it falls, of {self.repeats} permutations"
        return f"<table><caption>{html.escape(caption)}</caption>{rows}</table>"


def permutation_importance(
    encoder: Encoder,
    X: np.ndarray,
    score: Callable[[np.ndarray], float],
    *,
    metric: str,
    repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """Return by how much a score falls if the cells of one column after another change places.

    Args:
        encoder: made the features; those of one column change places together.
        X: features (rows, features).
        score: of features, higher is better.
        metric: its name.
        repeats: permutations of each column.
        seed: of the permutations.

    L. Breiman, "Random forests", 2001.
    """
    baseline, root = score(X), rng.key(seed).fold("importance")
    found: list[tuple[float, float, str]] = []
    start = 0
    for column in encoder.columns:
        stop = start + len(column.feature_names)
        falls = []
        for repeat in range(repeats):
            shuffled = X.copy()
            order = rng.permutation(root.fold(column.name, repeat), len(X))
            shuffled[:, start:stop] = X[order, start:stop]
            falls.append(baseline - score(shuffled))
        spread = float(np.std(falls, ddof=1)) if repeats > 1 else 0.0
        found.append((float(np.mean(falls)), spread, column.name))
        start = stop
    found.sort(key=lambda one: -one[0])
    means, spreads, names = zip(*found, strict=True) if found else ((), (), ())
    return Importance(metric, baseline, names, means, spreads, repeats)
