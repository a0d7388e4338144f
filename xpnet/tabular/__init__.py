"""Models of tables: `TableModel`, the encoder and the trainer of a table as one thing.

Everything loads when it is first used, as in :mod:`xpnet`: the command line reads the settings from here
before NumPy is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy

if TYPE_CHECKING:
    from xpnet.tabular.importance import Importance
    from xpnet.tabular.model import PRESETS, TableModel

__all__ = ["PRESETS", "Importance", "TableModel"]

_HOMES = {
    "Importance": "xpnet.tabular.importance",
    "PRESETS": "xpnet.tabular.model",
    "TableModel": "xpnet.tabular.model",
}

__getattr__, __dir__ = lazy.attributes(__name__, _HOMES)
