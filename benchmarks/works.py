"""The works that are timed: a network, a batch, a loss; the optimizer is Adam everywhere."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ["WORKS", "Work"]


@dataclasses.dataclass(frozen=True)
class Work:
    """A training step: gather the batch, forward, backward, Adam; float32.

    Attributes:
        sizes: widths from the inputs to the outputs.
        activation: of the hidden layers, ``"relu"`` or ``"sigmoid"``.
        loss: ``"softmax_cross_entropy"`` or ``"squared_error"``.
        batch: rows of a step.
        steps: steps of an epoch.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    steps: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets, the same in each call."""
        draw = np.random.default_rng(0)
        rows = self.batch * self.steps
        X = draw.normal(size=(rows, self.sizes[0])).astype(np.float32)
        if self.loss == "squared_error":
            return X, draw.normal(size=(rows, self.sizes[-1])).astype(np.float32)
        return X, draw.integers(self.sizes[-1], size=rows)

    def __str__(self) -> str:
        widths = "-".join(str(n) for n in self.sizes)
        return f"{self.name}: {widths} {self.activation}, {self.loss}, batch {self.batch}"


WORKS = {
    work.name: work
    for work in (
        Work("T", (2, 3, 5, 3, 1), "sigmoid", "squared_error", 32, 50),
        Work("S", (64, 128, 10), "relu", "softmax_cross_entropy", 64, 20),
        Work("M", (784, 512, 256, 10), "relu", "softmax_cross_entropy", 128, 10),
        Work("L", (1024, 2048, 2048, 10), "relu", "softmax_cross_entropy", 512, 2),
    )
}
