"""Estimators for scikit-learn: of arrays, with its own parameters and results, and of tables as they are.

They need scikit-learn (extra ``sklearn``). A line changes::

    from xpnet.estimators import MLPClassifier  # instead of: from sklearn.neural_network import MLPClassifier
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy
from xpnet.extras import require

if TYPE_CHECKING:
    from xpnet.estimators.mlp import MLPClassifier, MLPRegressor
    from xpnet.estimators.tabular import TabularClassifier, TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]

require("sklearn", extra="sklearn")

_HOMES = {
    "MLPClassifier": "xpnet.estimators.mlp",
    "MLPRegressor": "xpnet.estimators.mlp",
    "TabularClassifier": "xpnet.estimators.tabular",
    "TabularRegressor": "xpnet.estimators.tabular",
}

__getattr__, __dir__ = lazy.attributes(__name__, _HOMES)
