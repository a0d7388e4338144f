"""Models of tables: `TableModel`, the encoder and the trainer of a table as one thing.

Everything loads when it is first used, as in :mod:`xpnet`: the command line reads the settings from here
before NumPy is there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.tabular.importance import Importance
    from xpnet.tabular.model import PRESETS, TableModel

__all__ = ["PRESETS", "Importance", "TableModel"]

_HOMES = {
    "Importance": "xpnet.tabular.importance",
    "PRESETS": "xpnet.tabular.model",
    "TableModel": "xpnet.tabular.model",
}


def __getattr__(name: str) -> Any:
    # a module is not "settings" or "frames" by this way: those are imported by their own names
    if name not in _HOMES:
        raise AttributeError(f"module 'xpnet.tabular' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
