"""Baselines of targets, balance of classes, and features that alone predict the target nearly perfectly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.data.columns import Categorical, Column, Dates, Numeric
from xpnet.data.findings import Findings
from xpnet.errors import use

__all__ = ["Baseline", "Leakage", "advise_of_balance", "baseline_of"]

_NEARLY_ALL = 0.99  # accuracy, or share of the variance, that one feature explains
_BINS = 20
_FEWEST_ROWS = 50
_ROWS_PER_GROUP = 5  # fewer rows of a category would be told apart by chance
_UNBALANCED = 0.1  # share of the rows that the rarest of two classes has, times their number over two
_MOST_NUMBERS = 1000  # features beyond which no time is spent
_MOST_ROWS = 10_000  # that are looked at


@dataclass(frozen=True)
class Baseline:
    """What a prediction without features reaches.

    Attributes:
        target: the target column.
        value: the most frequent class, or the mean.
        metric: "accuracy" or "rmse".
        score: its value: the share of that class, or the standard deviation.
    """

    target: str
    value: Any
    metric: str
    score: float

    def __str__(self) -> str:
        """Return the baseline as a sentence."""
        if self.metric == "accuracy":
            value, score = f"class {self.value}", f"an accuracy of {100 * self.score:.2f} %"
        else:
            value, score = f"mean {self.value:.6g}", f"an RMSE of {self.score:.6g}"
        return f"always predicting the {value} of '{self.target}' gives {score}"

    def to_json(self) -> dict[str, Any]:
        """Return the baseline as JSON values."""
        return {"target": self.target, "value": self.value, "metric": self.metric, "score": self.score}


def baseline_of(target: Column, cells: Any) -> Baseline:
    """Return what the most frequent class, or the mean, of a fitted target reaches on its training cells.

    >>> import polars
    >>> print(baseline_of(Categorical("kind", "str", ("a", "b")), polars.Series(["a", "b", "a"])))
    always predicting the class a of 'kind' gives an accuracy of 66.67 %
    """
    if isinstance(target, Categorical):
        counts = np.bincount(target.codes(cells), minlength=len(target.categories))
        most = int(np.argmax(counts))
        return Baseline(target.name, target.categories[most], "accuracy", float(counts[most] / counts.sum()))
    values = cells[np.isfinite(cells)]
    return Baseline(target.name, float(values.mean()), "rmse", float(values.std()))


def advise_of_balance(target: Column, cells: Any, findings: Findings) -> None:
    """Note a target of which one class has far fewer rows than the others."""
    if not isinstance(target, Categorical):
        return
    counts = np.bincount(target.codes(cells), minlength=len(target.categories))
    share = counts / counts.sum()
    rarest, most = int(np.argmin(share)), int(np.argmax(share))
    if share[rarest] >= _UNBALANCED * 2 / len(share):
        return
    findings.decide(
        target.name,
        "has classes of very different sizes",
        f"{target.categories[rarest]!r} in {counts[rarest]:,} rows, {target.categories[most]!r} in "
        f"{counts[most]:,}; judge by the balanced accuracy or F1, and see {use('class_weight', 'balanced')}",
    )


class Leakage:
    """A search for features that alone predict a target nearly perfectly: they may be known only after it.

    Args:
        targets: the fitted targets, and the cells of each, all there.
        features: how many columns there are to predict from.
    """

    def __init__(self, targets: Sequence[tuple[Column, Any]], features: int):
        self.targets: list[tuple[Column, np.ndarray]] = []
        rows = len(targets[0][1]) if targets else 0
        self.step = -(-rows // _MOST_ROWS) or 1
        if not (2 <= features <= _MOST_NUMBERS and rows >= _FEWEST_ROWS):
            return
        for target, cells in targets:
            y = target.codes(cells) if isinstance(target, Categorical) else cells
            if isinstance(target, Categorical) or np.isfinite(cells).all():
                self.targets.append((target, y[:: self.step]))

    def look(self, column: Column, cells: Any, findings: Findings) -> None:
        """Note a feature, of whose cells in the rows of the targets a target follows."""
        for target, y in self.targets:
            found = cells[:: self.step]
            if isinstance(target, Categorical):
                score = _accuracy(_groups(column, found), y)
                measure = "an accuracy of {:.1%}"
            else:
                score, measure = _explained(column, found, y), "{:.1%} of the variance"
            if score is not None and score >= _NEARLY_ALL:
                findings.decide(
                    column.name,
                    f"alone predicts the target '{target.name}' nearly perfectly",
                    f"{measure.format(score).replace('%', ' %')}; if it is known only together with the "
                    f"target, leave it out with {use('drop', column.name)}",
                    warning=True,
                )


def _groups(column: Column, found: Any) -> np.ndarray | None:
    """Return for each row the number of its group: its category, or its bin among equally large ones."""
    if isinstance(column, Categorical):
        codes = np.maximum(column.codes(found), -1)
        return codes + 1 if len(codes) >= _ROWS_PER_GROUP * len(column.categories) else None
    values = found.astype(np.int64) if isinstance(column, Dates) else found
    if isinstance(column, Numeric):
        finite = np.isfinite(values)
        if not finite.any():
            return None
        values = np.where(finite, values, values[finite].min() - 1)
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= _BINS:
        return codes.reshape(-1)
    edges = np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def _accuracy(groups: np.ndarray | None, y: np.ndarray) -> float | None:
    """Return the share of rows with the most frequent class of their group; None if that says nothing."""
    counts = np.bincount(y)
    if groups is None or counts.max() / counts.sum() > 1 - 3 * (1 - _NEARLY_ALL):
        return None
    table = np.zeros((int(groups.max()) + 1, len(counts)))
    np.add.at(table, (groups, y), 1)
    return float(table.max(axis=1).sum() / len(y))


def _explained(column: Column, cells: Any, y: np.ndarray) -> float | None:
    """Return what share of the variance a line in a feature, or the means of its categories, explain."""
    total = float(np.sum((y - y.mean()) ** 2))
    if not 0 < total < np.inf:
        return None
    if isinstance(column, Categorical):
        groups = _groups(column, cells)
        if groups is None:
            return None
        sums, counts = np.bincount(groups, y), np.bincount(groups)
        means = sums / np.maximum(counts, 1)
        return 1.0 - float(np.sum((y - means[groups]) ** 2)) / total
    if isinstance(column, Dates):
        return None
    x = np.where(np.isfinite(cells), cells, column.mean)
    spread = float(np.sum((x - x.mean()) ** 2))
    if not 0 < spread < np.inf:
        return None
    return float(np.sum((x - x.mean()) * (y - y.mean())) ** 2) / spread / total
