"""Runs: trainings in folders of their own, with record, report, resumption, restarts and pruning.

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

__all__ = ["Run", "open", "train"]

_NAMES = {"Run": "Run", "open": "open_run", "train": "train"}


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'xpnet.runs' has no attribute {name!r}")
    value = getattr(importlib.import_module("xpnet.runs.run"), _NAMES[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
