"""Networks with given weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import nn
from xpnet.nn import Variables
from xpnet.parameters import Parameters

__all__ = ["with_weights"]


def with_weights(model: nn.Layer, inputs: int, *arrays: Any) -> Variables:
    """Return variables of a model with these weights and biases, in the order of its layers."""
    layout = model.init(0, inputs, "numpy", "float64").params.layout
    flat = np.concatenate([np.ravel(np.asarray(array, dtype="float64")) for array in arrays])
    return Variables(Parameters(flat, layout), {})
