"""Optimizers of first and second order, learning-rate schedules and gradient clipping.

Those of first order take a step for each batch; `minimize` goes down a function of all data.

>>> import numpy as np
>>> from xpnet import optim
>>> optimizer = optim.Adam(optim.Cosine(0.1, steps=200))
>>> params = {"w": np.asarray([3.0, -2.0])}
>>> state = optimizer.init(params)
>>> for _ in range(200):
...     grads = {"w": 2 * params["w"]}  # of the loss w·w
...     params, state = optimizer.update(optim.clip_by_norm(grads, 1.0), state, params)
>>> bool(abs(params["w"]).max() < 1e-2)
True
"""

from xpnet.optim.adadelta import AdaDelta
from xpnet.optim.adagrad import AdaGrad
from xpnet.optim.adam import Adam
from xpnet.optim.adamw import AdamW
from xpnet.optim.base import OPTIMIZERS, Optimizer
from xpnet.optim.clipping import clip_by_norm, clip_by_value, global_norm
from xpnet.optim.registry import get
from xpnet.optim.rmsprop import RMSProp
from xpnet.optim.second_order import (
    BFGS,
    LBFGS,
    METHODS,
    ConjugateGradients,
    DampedNewton,
    GradientDescent,
    HessianFree,
    Method,
    Newton,
    Result,
    StuckError,
    minimize,
)
from xpnet.optim.sgd import SGD
from xpnet.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosLog,
    Exponential,
    FlatCosine,
    Inverse,
    Schedule,
    Step,
    WarmUp,
)

__all__ = [
    "BFGS",
    "LBFGS",
    "METHODS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "ConjugateGradients",
    "Constant",
    "CosLog",
    "Cosine",
    "DampedNewton",
    "Exponential",
    "FlatCosine",
    "GradientDescent",
    "HessianFree",
    "Inverse",
    "Method",
    "Newton",
    "Optimizer",
    "RMSProp",
    "Result",
    "Schedule",
    "Step",
    "StuckError",
    "WarmUp",
    "clip_by_norm",
    "clip_by_value",
    "get",
    "global_norm",
    "minimize",
]
