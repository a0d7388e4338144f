"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, with parameters and results of its own.

They need scikit-learn (extra ``sklearn``). A line changes::

    from xpnet.estimators import MLPClassifier  # instead of: from sklearn.neural_network import MLPClassifier
"""

from __future__ import annotations

from xpnet.extras import require

require("sklearn", extra="sklearn")

from xpnet.estimators.mlp import MLPClassifier, MLPRegressor  # noqa: E402  # after the check

__all__ = ["MLPClassifier", "MLPRegressor"]
