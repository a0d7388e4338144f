"""Figures of a run with descriptions in words, for those who cannot see them too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.plot.svg import Axes
from xpnet.runs.words import number
from xpnet.text import count

__all__ = ["Picture", "describe_confusion", "describe_curve", "describe_predicted"]


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        path: its SVG file.
        drawing: what is in it.
        description: the picture in words.
    """

    path: Path
    drawing: Axes
    description: str

    @classmethod
    def saved(cls, path: Path, drawing: Axes, description: str) -> Picture:
        """Return a figure whose file has been written."""
        drawing.save(path)
        return cls(path, drawing, description)


def describe_curve(rows: Sequence[Mapping[str, Any]], column: str, label: str, best: int | None) -> str:
    """Return where the curve of a history column begins and ends, and where its weights were kept.

    >>> rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    >>> describe_curve(rows, "loss", "loss", None)
    'Training loss: 0.5000 after epoch 1, 0.2500 after epoch 2.'
    """
    told = []
    parts = {"training ": column, "validation ": f"validation_{column}"}
    if column == "learning_rate":
        parts = {"": column}
    for part, key in parts.items():
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            continue
        (first, begin), (last, end) = points[0], points[-1]
        if first != last and len({value for _, value in points}) == 1:
            told.append(f"{part}{label}: {number(column, begin)} in all epochs")
            continue
        words = [f"{number(column, begin)} after epoch {first}"]
        if part == "validation " and best in dict(points) and best not in (first, last):
            words.append(f"{number(column, dict(points)[best])} after epoch {best}, whose weights were kept")
        if last != first:
            words.append(f"{number(column, end)} after epoch {last}")
        told.append(f"{part}{label}: {', '.join(words)}")
    text = "; ".join(told) + "."
    return text[:1].upper() + text[1:]


def describe_confusion(true: np.ndarray, predicted: np.ndarray, classes: Sequence[Any], part: str) -> str:
    """Return how many rows are on the diagonal, and which mistake is the most frequent one."""
    right = int((true == predicted).sum())
    text = f"{right:,} of {count(len(true), f'{part} row')} are on the diagonal, predicted rightly."
    wrong = np.flatnonzero(true != predicted)
    if len(wrong):
        pairs, counts = np.unique(np.stack([true[wrong], predicted[wrong]]), axis=1, return_counts=True)
        often = int(np.argmax(counts))
        one, other = (classes[int(i)] for i in pairs[:, often])
        text += f" The most frequent mistake: {one} taken for {other}, {count(int(counts[often]), 'time')}."
    return text


def describe_predicted(true: np.ndarray, predicted: np.ndarray, target: str, part: str) -> str:
    """Return how far predictions are from true values."""
    error = np.abs(predicted - true)
    return (
        f"Predicted against true {target} of {count(len(true), f'{part} row')}; on the dashed line both are "
        f"equal. The root mean square error is {_short(math.sqrt(float(np.mean(error**2))))}, half of the "
        f"errors are below {_short(float(np.median(error)))}, the largest is {_short(float(error.max()))}."
    )


def _short(value: float) -> str:
    return number("", value)
