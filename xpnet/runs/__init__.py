"""Runs: trainings in folders of their own, with record, report, resumption, restarts, pruning and tuning.

>>> import tempfile
>>> run = train("two-gaussians", out=f"{tempfile.mkdtemp()}/run", epochs=2, backend="numpy")
>>> run.predict({"x0": [0.0], "x1": [0.0]})["prediction"].shape
(1,)

Everything loads when it is first used, as in :mod:`xpnet`: the command line reads the settings from here
before NumPy is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy

if TYPE_CHECKING:
    from xpnet.runs.run import Run, train
    from xpnet.runs.run import open_run as open
    from xpnet.runs.tuning import Tuning, resume_tuning, tune

__all__ = ["Run", "Tuning", "open", "resume_tuning", "train", "tune"]

_HOMES = {
    "Run": "xpnet.runs.run",
    "Tuning": "xpnet.runs.tuning",
    "open": "xpnet.runs.run:open_run",
    "resume_tuning": "xpnet.runs.tuning",
    "train": "xpnet.runs.run",
    "tune": "xpnet.runs.tuning",
}

__getattr__, __dir__ = lazy.attributes(__name__, _HOMES)
