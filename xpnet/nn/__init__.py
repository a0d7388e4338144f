"""Layers and models as plain array functions; there is no backward code here.

>>> from xpnet import nn
>>> model = nn.MLP([16], 3)
>>> variables = model.init(seed=0, input_shape=4, backend="numpy")
>>> import numpy as np
>>> model.apply(variables, np.ones((2, 4), dtype="float32")).shape
(2, 3)
"""

from xpnet.nn import init
from xpnet.nn.activations import (
    ELU,
    GELU,
    SELU,
    Identity,
    LeakyReLU,
    Mish,
    ParametricActivation,
    ReLU,
    Sigmoid,
    Sign,
    SiLU,
    Softplus,
    Tanh,
    activation,
)
from xpnet.nn.columns import Columns
from xpnet.nn.dense import Dense
from xpnet.nn.dropout import Dropout
from xpnet.nn.embedding import Embedding
from xpnet.nn.ensemble import BatchEnsemble, Ensemble, EnsembleDense
from xpnet.nn.layer import LAYERS, Layer, Variables, from_config
from xpnet.nn.normalization import BatchNorm, LayerNorm
from xpnet.nn.numeric_embeddings import PeriodicEmbedding, PiecewiseLinearEmbedding, quantile_edges
from xpnet.nn.residual import Residual
from xpnet.nn.scale import Scale
from xpnet.nn.sequential import MLP, Sequential
from xpnet.nn.tabular_models import RealMLP, TabM

__all__ = [
    "ELU",
    "GELU",
    "LAYERS",
    "MLP",
    "SELU",
    "BatchEnsemble",
    "BatchNorm",
    "Columns",
    "Dense",
    "Dropout",
    "Embedding",
    "Ensemble",
    "EnsembleDense",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Mish",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "ReLU",
    "RealMLP",
    "Residual",
    "Scale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Sign",
    "Softplus",
    "TabM",
    "Tanh",
    "Variables",
    "activation",
    "from_config",
    "init",
    "quantile_edges",
]
