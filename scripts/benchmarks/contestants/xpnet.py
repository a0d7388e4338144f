"""xpnet's trainer, uncompiled and by each lowering."""

from __future__ import annotations

import numpy as np

import xpnet
from scripts.benchmarks.contestants import Training
from scripts.benchmarks.works import Optimizer, Work
from xpnet import nn, optim
from xpnet.parameters import Parameters

__all__ = ["train"]


def train(work: Work, optimizer: Optimizer, device: str, lower: str, *, rollback: bool = True) -> Training:
    """``Trainer.fit``, which checks its data in each call and the losses in each epoch."""
    backend = xpnet.backend("cuda" if device == "cuda" else "numpy")
    model = nn.MLP(work.sizes[1:-1], work.sizes[-1], activation=work.activation)
    trainer = xpnet.Trainer(
        model,
        work.loss,
        _optimizer(optimizer),
        backend=backend,
        compile=lower,
        rollback=rollback,
        progress=False,
    )
    variables = model.init(0, work.sizes[:1], backend)
    flat = np.concatenate([array.ravel() for pair in work.weights() for array in pair])
    params = Parameters(backend.asarray(flat), variables.params.layout)
    trainer.variables = nn.Variables(params, variables.state)
    trainer.input_shape = work.sizes[:1]
    X, y = (backend.asarray(array) for array in work.data())

    def run(epochs: int) -> None:
        trainer.fit(X, y, epochs=trainer.epoch + epochs, batch_size=work.batch)

    def weights() -> list[tuple[np.ndarray, np.ndarray]]:
        arrays = [backend.to_host(array) for array in trainer.variables.params.values()]  # type: ignore[union-attr]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    return Training(run, weights)


def _optimizer(optimizer: Optimizer) -> optim.Optimizer:
    if optimizer.name in ("sgd", "momentum", "nesterov"):
        return optim.SGD(optimizer.learning_rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    return optim.get({"name": optimizer.name, "learning_rate": optimizer.learning_rate})
