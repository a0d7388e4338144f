"""Diagnostics of a network in training: measures of its layers, verdicts, and experiments around it.

:class:`Diagnostics` is a callback; the functions take a trainer, and leave it as it is.
"""

from xpnet.train.diagnostics.callback import Diagnostics, first_verdicts, read_rows
from xpnet.train.diagnostics.landscape import Line, Plane, filter_normalized, line, plane
from xpnet.train.diagnostics.noise import GradientNoise, gradient_noise
from xpnet.train.diagnostics.range_test import RangeTest, learning_rate_range
from xpnet.train.diagnostics.verdicts import Verdict

__all__ = [
    "Diagnostics",
    "GradientNoise",
    "Line",
    "Plane",
    "RangeTest",
    "Verdict",
    "filter_normalized",
    "first_verdicts",
    "gradient_noise",
    "learning_rate_range",
    "line",
    "plane",
    "read_rows",
]
