"""Runs: trainings in folders of their own, with record, report, resumption, restarts, pruning and tuning.

>>> import tempfile
>>> run = train("two-gaussians", out=f"{tempfile.mkdtemp()}/run", epochs=2, backend="numpy")
>>> run.predict({"x0": [0.0], "x1": [0.0]})["prediction"].shape
(1,)

Everything loads when it is first used, as in :mod:`xpnet`: the command line reads the settings from here
before NumPy is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.runs.run import Run, train
    from xpnet.runs.run import open_run as open
    from xpnet.runs.tuning import Tuning, resume_tuning, tune

__all__ = ["Run", "Tuning", "open", "resume_tuning", "train", "tune"]

_NAMES = {
    "Run": "run.Run",
    "Tuning": "tuning.Tuning",
    "open": "run.open_run",
    "resume_tuning": "tuning.resume_tuning",
    "train": "run.train",
    "tune": "tuning.tune",
}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'xpnet.runs' has no attribute {name!r}")
    module, _, known = _NAMES[name].partition(".")
    value = getattr(importlib.import_module(f"xpnet.runs.{module}"), known)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
