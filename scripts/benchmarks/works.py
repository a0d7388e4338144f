"""The works that are timed: a network, a batch, a loss; and the optimizers that they are trained with."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["OPTIMIZERS", "WORKS", "Optimizer", "Work"]


@dataclasses.dataclass(frozen=True)
class Work:
    """A training step: gather the batch, forward, backward, update; float32.

    Attributes:
        sizes: widths from the inputs to the outputs.
        activation: of the hidden layers, ``"relu"`` or ``"sigmoid"``.
        loss: ``"softmax_cross_entropy"``, or ``"squared_error"`` of one output.
        batch: rows of a step.
        steps: steps of an epoch.
        title: what it stands for.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    steps: int
    title: str = ""

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Numbers of inputs and outputs of each layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(n * k + k for n, k in self.layers)

    @property
    def activations(self) -> int:
        """Number of values of a batch: its inputs and the outputs of each layer."""
        return self.batch * sum(self.sizes)

    @property
    def classifies(self) -> bool:
        return self.loss == "softmax_cross_entropy"

    def data(self) -> tuple[Any, Any]:
        """Return inputs and targets, the same in each call; every class occurs."""
        import numpy as np

        draw = np.random.default_rng(0)
        X = draw.normal(size=(self.rows, self.sizes[0])).astype(np.float32)
        if self.classifies:
            return X, draw.permutation(np.arange(self.rows) % self.sizes[-1])
        return X, draw.normal(size=(self.rows, self.sizes[-1])).astype(np.float32)

    def weights(self) -> list[tuple[Any, Any]]:
        """Return weights (inputs, outputs) and bias of each layer to begin with, the same in each call."""
        import numpy as np

        draw = np.random.default_rng(1)
        layers = []
        for n, k in self.layers:
            bound = (6 / (n + k)) ** 0.5  # Glorot's
            layers.append((draw.uniform(-bound, bound, (n, k)).astype(np.float32), np.zeros(k, np.float32)))
        return layers

    def miniature(self) -> Work:
        """Return a work of the same kind that needs next to no memory, with long epochs."""
        sizes = (*(min(n, 8) for n in self.sizes[:-1]), self.sizes[-1])
        return dataclasses.replace(self, sizes=sizes, batch=min(self.batch, 8), steps=200)

    def __str__(self) -> str:
        widths = "-".join(str(n) for n in self.sizes)
        if self.title:
            widths = self.title
        loss = self.loss.replace("_", " ").replace("cross entropy", "cross-entropy")
        return f"{self.name}: {widths} {self.activation}, {loss}, batch {self.batch}"


_CLASSES, _VALUES = "softmax_cross_entropy", "squared_error"
WORKS = {
    work.name: work
    for work in (
        Work("T", (2, 3, 5, 3, 1), "sigmoid", _VALUES, 32, 50),
        Work("S", (64, 128, 10), "relu", _CLASSES, 64, 50),
        Work("M", (784, 512, 256, 10), "relu", _CLASSES, 128, 20),
        Work("L", (1024, 2048, 2048, 10), "relu", _CLASSES, 512, 4),
        Work("D", (64, *[64] * 20, 10), "relu", _CLASSES, 64, 50, "64-[64]×20-10"),
        Work("W", (20, 100, 1), "relu", _VALUES, 200, 50),
        Work("B", (64, 128, 10), "relu", _CLASSES, 1, 200),
    )
}


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An update rule with its hyperparameters, and how many arrays like the parameters it keeps."""

    name: str
    learning_rate: float
    slots: int
    momentum: float = 0.0
    nesterov: bool = False


OPTIMIZERS = {
    optimizer.name: optimizer
    for optimizer in (
        Optimizer("sgd", 0.01, 0),
        Optimizer("momentum", 0.01, 1, momentum=0.9),
        Optimizer("nesterov", 0.01, 1, momentum=0.9, nesterov=True),
        Optimizer("adagrad", 0.01, 1),
        Optimizer("adadelta", 1.0, 2),
        Optimizer("rmsprop", 1e-3, 1),
        Optimizer("adam", 1e-3, 2),
        Optimizer("adamw", 1e-3, 2),
    )
}
