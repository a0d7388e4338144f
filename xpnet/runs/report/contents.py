"""Contents of a report: everything that is known about a finished run, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.data import Summary
from xpnet.runs.report.diagnostics import Diagnostics
from xpnet.runs.report.pictures import Picture
from xpnet.runs.settings import Settings

__all__ = ["Contents", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Predictions for a target.

    Attributes:
        target: its name.
        classes: names of its classes; none if it has numbers.
        truth: class indices (rows,), or values (rows,) on the scale of the target.
        predicted: likewise.
        picture: of both.
    """

    target: str
    classes: Sequence[Any]
    truth: np.ndarray
    predicted: np.ndarray
    picture: Picture


@dataclass(frozen=True)
class Contents:
    """Contents of a report.

    Attributes:
        title: what was trained on.
        results: as in ``results.json``.
        target_kind: what the loss takes as targets: values, counts, classes, binary or signs.
        settings: the run's, with everything resolved.
        defaults: what they would be if only the table and the target were given.
        environment: as in ``environment.json``.
        columns: what a table for prediction needs.
        summary: of the table's columns; None of runs that have none.
        rows: of the history.
        shown: the part whose predictions are shown: the rows that training has seen least of.
        predictions: what was predicted for them.
        curves: figures over epochs.
        diagnostics: of the layers, None without; with their figures.
        log: the lines of ``train.log``.
    """

    title: str
    results: Mapping[str, Any]
    target_kind: str
    settings: Settings
    defaults: Settings
    environment: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    shown: str
    predictions: Sequence[Prediction]
    curves: Sequence[Picture]
    diagnostics: Diagnostics | None = None
    diagnostic_pictures: Sequence[Picture] = ()
    log: Sequence[str] = ()
    summary: Summary | None = None
