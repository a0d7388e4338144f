"""Losses: the mean over a batch of one number for each row.

A loss takes the model's raw outputs and owns the link from them to predictions: softmax for
``softmax_cross_entropy``, the logistic function for ``binary_cross_entropy``, the exponential for
``poisson``. All have the form ``loss(predictions, targets, *, sample_weight=None) -> 0-d array``:

- predictions: (batch, outputs), or (batch,) where there is one output;
- targets: as stated with each loss; (batch,) and (batch, 1) mean the same for one output;
- sample_weight: (batch,), not negative; the mean is then Σ w l / Σ w;
- the loss of a row is the sum over its outputs, as in lecture note 004 (PyTorch's mean over all entries
  is this divided by the number of outputs).

>>> import numpy as np
>>> logits, labels = np.asarray([[2.0, 0.0], [0.0, 0.0]]), np.asarray([0, 1])
>>> float(softmax_cross_entropy(logits, labels).round(4))
0.41

Where a loss is asked for, its name will do, ``{"name": "huber", "delta": 0.5}`` with its options, or a
function: of the form above, or made of a formula for each row by :func:`make`.
"""

from __future__ import annotations

from xpnet.losses.functions import (
    absolute_error,
    binary_cross_entropy,
    distributions,
    hinge,
    huber,
    kl_divergence,
    multiclass_hinge,
    poisson,
    softmax_cross_entropy,
    squared_error,
    symmetric_kl,
)
from xpnet.losses.registry import KINDS, LOSSES, LossWithOptions, get, make, to_config

__all__ = [
    "KINDS",
    "LOSSES",
    "LossWithOptions",
    "absolute_error",
    "binary_cross_entropy",
    "distributions",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "make",
    "multiclass_hinge",
    "poisson",
    "softmax_cross_entropy",
    "squared_error",
    "symmetric_kl",
    "to_config",
]
