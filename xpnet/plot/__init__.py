"""Figures of trainings and predictions: matplotlib's axes in, axes out.

matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from xpnet.plot.axes import (
    calibration,
    confusion_matrix,
    diagnostics,
    importance,
    loss_curves,
    predicted_against_true,
)

__all__ = [
    "calibration",
    "confusion_matrix",
    "diagnostics",
    "importance",
    "loss_curves",
    "predicted_against_true",
]
