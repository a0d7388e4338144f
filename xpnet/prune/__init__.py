"""Pruning: networks with fewer weights or units that stay as good (lecture note 004, "Regularization").

Weights: :func:`magnitude_mask` says which are the smallest, ``Trainer.set_mask`` makes them 0 for good, and
:func:`sparse_predictor` multiplies with the others only. Units: :func:`prune_units` gives a smaller network.
:func:`prune` does either in rounds with retraining, and :class:`Report` shows what it cost and gained.
"""

from xpnet.prune.masks import count_weights, magnitude_mask, sparsity_of
from xpnet.prune.pruning import Pruned, prune
from xpnet.prune.report import Profile, Report, profile
from xpnet.prune.schedules import SCHEDULES
from xpnet.prune.sparse import SparsePredictor, sparse_predictor
from xpnet.prune.units import CRITERIA, prune_units

__all__ = [
    "CRITERIA",
    "SCHEDULES",
    "Profile",
    "Pruned",
    "Report",
    "SparsePredictor",
    "count_weights",
    "magnitude_mask",
    "profile",
    "prune",
    "prune_units",
    "sparse_predictor",
    "sparsity_of",
]
