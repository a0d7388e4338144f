"""Estimators for scikit-learn: of arrays, with its own parameters and results, and of tables as they are.

They need scikit-learn (extra ``sklearn``). A line changes::

    from xpnet.estimators import MLPClassifier  # instead of: from sklearn.neural_network import MLPClassifier
"""

from __future__ import annotations

from xpnet.extras import require

require("sklearn", extra="sklearn")

from xpnet.estimators.mlp import MLPClassifier, MLPRegressor  # noqa: E402  # after the check
from xpnet.estimators.tabular import TabularClassifier, TabularRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]
