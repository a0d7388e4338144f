"""Report of a run, ``report.html``: one page with everything about it, complete in itself."""

from __future__ import annotations

from xpnet.runs.report.contents import Contents, Prediction
from xpnet.runs.report.diagnostics import Diagnostics, draw_diagnostics, read_diagnostics, with_outcome
from xpnet.runs.report.page import render
from xpnet.runs.report.pictures import Picture, describe_confusion, describe_curve, describe_predicted
from xpnet.runs.report.tuning_page import render_tuning

__all__ = [
    "Contents",
    "Diagnostics",
    "Picture",
    "Prediction",
    "describe_confusion",
    "describe_curve",
    "describe_predicted",
    "draw_diagnostics",
    "read_diagnostics",
    "render",
    "render_tuning",
    "with_outcome",
]
