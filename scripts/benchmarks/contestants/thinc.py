"""thinc, which takes its matrix products from BLIS."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc.api import (
    SGD,
    Adam,
    CategoricalCrossentropy,
    Linear,
    Model,
    NumpyOps,
    Relu,
    Sigmoid,
    Softmax,
    chain,
    use_ops,
)  # fmt: skip

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["train"]


def train(work: Work, optimizer: Optimizer, device: str) -> Training:
    """``begin_update``, ``backprop``, ``finish_update``; no averages and no clipping, as with all others."""
    with use_ops("numpy"):
        model = _model(work)
    ops = NumpyOps()
    X, y = work.data()
    crossentropy = CategoricalCrossentropy()
    plain: dict[str, Any] = {"use_averages": False, "grad_clip": 0.0}
    rate = optimizer.learning_rate
    if optimizer.name == "sgd":
        update = SGD(rate, **plain)
    else:
        update = Adam(rate, L2=0.01 if optimizer.name == "adamw" else 0.0, **plain)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x, targets in ops.multibatch(work.batch, X, y, shuffle=True):
                outputs, backprop = model.begin_update(x)
                if work.classifies:
                    gradient = crossentropy.get_grad(outputs, targets)
                else:
                    gradient = (outputs - targets) * (2 / len(targets))
                backprop(gradient)
                model.finish_update(update)

    def weights() -> list[tuple[np.ndarray, np.ndarray]]:
        return [(np.array(layer.get_param("W").T), np.array(layer.get_param("b"))) for layer in model.layers]

    return Training(run, weights)


def _model(work: Work) -> Model[Any, Any]:
    hidden = {"relu": Relu, "sigmoid": Sigmoid}[work.activation]
    layers = [hidden(k, n) for n, k in work.layers[:-1]]
    n, k = work.layers[-1]
    layers.append(Softmax(k, n) if work.classifies else Linear(k, n))
    model = chain(*layers).initialize()
    for layer, (weight, bias) in zip(layers, work.weights(), strict=True):
        transposed: Any = np.ascontiguousarray(weight.T)
        layer.set_param("W", transposed)
        layer.set_param("b", bias)
    return model
