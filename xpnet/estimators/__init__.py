"""Estimators for scikit-learn: of arrays, with its own parameters and results, and of tables as they are.

They need scikit-learn (extra ``sklearn``). A line changes::

    from xpnet.estimators import MLPClassifier  # instead of: from sklearn.neural_network import MLPClassifier
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xpnet.extras import require

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLPClassifier, MLPRegressor
    from xpnet.estimators.tabular import TabularClassifier, TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]

require("sklearn", extra="sklearn")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xpnet.estimators' has no attribute {name!r}")
    home = "xpnet.estimators.mlp" if name.startswith("MLP") else "xpnet.estimators.tabular"
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
