"""Exercise 1: a binary classification from weights that are all zero, all one, all equal, or random."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import Trainer, nn, optim
from xpnet.data import xor_arrays

__all__ = ["HIDDEN", "INITIALIZERS", "ITERATIONS", "best_line", "exclusive_or", "train"]

HIDDEN = 8
ITERATIONS = 400
INITIALIZERS: dict[str, Any] = {
    "all zero": "zeros",
    "all one": "constant",
    "all 0.3": {"name": "constant", "value": 0.3},
    "random, N(0, 1)": {"name": "normal", "std": 1.0},
    "random, Glorot": "glorot_uniform",
}


def exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    """Return points of a square and whether their signs differ: no line separates these classes."""
    return xor_arrays(n=200, noise=0.05, seed=0)


def train(name: str, *, hidden: int = HIDDEN, iterations: int = ITERATIONS, **options: Any) -> Trainer:
    """Return a network with one layer of tanh units, trained from an initialization of `INITIALIZERS`."""
    model = nn.MLP([hidden], 1, activation="tanh", weight_init=INITIALIZERS[name])
    trainer = Trainer(
        model, "binary_cross_entropy", optim.SGD(1.0), backend="numpy", dtype="float64",
        metrics=["accuracy"], compile="numpy", progress=False, **options,
    )  # fmt: skip
    trainer.fit(*exclusive_or(), epochs=iterations, batch_size=None)
    return trainer


def best_line(X: np.ndarray, y: np.ndarray) -> float:
    """Return the largest accuracy that a line in the plane has on points (n, 2) of the classes 0 and 1.

    Turned and moved, every line can be made to touch two points without any point changing its side. So it
    is enough to look at the lines through two points, these two being counted on the side that is right.
    """
    i, j = np.triu_indices(len(X), 1)
    along = X[j] - X[i]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    offsets = np.sum(across * X[i], axis=1)
    above = across @ X.T > offsets[:, None]
    rows = np.arange(len(i))
    right = []
    for positive in (above, ~above):  # either side of the line may be class 1
        hits = positive == (y == 1)
        hits[rows, i] = hits[rows, j] = True
        right.append(hits.sum(axis=1).max())
    return max(right) / len(X)
