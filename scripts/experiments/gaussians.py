"""Exercises 2 and 3: the 2-3-5-3-1 sigmoid network on two Gaussians, with and without an L2 penalty."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpnet import Trainer, nn, optim
from xpnet.backends import array_namespace
from xpnet.data import two_gaussians_arrays
from xpnet.train import Callback

__all__ = [
    "ITERATIONS",
    "L2",
    "LOSSES",
    "RATE",
    "Data",
    "agreement",
    "network",
    "train",
    "trainer_of",
    "two_gaussians",
    "weights_of",
]

LOSSES = ("squared_error", "hinge")
ITERATIONS = 1000
RATE = 0.3
L2 = 0.003


class Data(NamedTuple):
    """Points (n, 2) and their classes ±1, (n,), for training and for testing."""

    X: np.ndarray
    t: np.ndarray
    X_test: np.ndarray
    t_test: np.ndarray


def two_gaussians(train: int = 40, test: int = 500) -> Data:
    """Return points around (1, 1) and (-1, -1) with standard deviation 1, of classes 1 and -1.

    No classifier is right more often than Φ(√2) = 92.1 % of the time. There are few points for training, so
    that it can be seen what a penalty is good for.
    """
    X, y = two_gaussians_arrays(n=train + test, noise=1.0, seed=0)
    t = 2.0 * y - 1.0
    return Data(X[:train], t[:train], X[train:], t[train:])


def network() -> nn.Sequential:
    """Return the network of the exercise: three layers of 3, 5 and 3 sigmoid units, an affine output."""
    return nn.MLP([3, 5, 3], 1, activation="sigmoid")


def agreement(outputs: Any, targets: Any) -> Any:
    """Return the share of rows whose output has the sign of the target: the accuracy, for either loss."""
    xp = array_namespace(outputs, targets)
    right = xp.reshape(outputs, (-1,)) * xp.reshape(targets, (-1,)) > 0
    return xp.mean(xp.astype(right, outputs.dtype))


def trainer_of(loss: str, l2: float = 0.0, **options: Any) -> Trainer:
    """Return a trainer of the network: full-batch gradient descent at a constant rate, in float64."""
    return Trainer(
        network(), loss, optim.SGD(RATE), backend="numpy", dtype="float64", seed=1, l2=l2,
        compile="numpy", progress=False, restore_best=False, **options,
    )  # fmt: skip


class _SizeOfWeights(Callback):
    """Adds Σ w² to the history."""

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        row["squared_weights"] = float(np.sum(weights_of(trainer) ** 2))


def train(loss: str, l2: float = 0.0, iterations: int = ITERATIONS) -> Trainer:
    """Return the network trained on `two_gaussians`.

    Its history has a row for each iteration, with ``agreement``, ``validation_agreement`` (of the test rows)
    and ``squared_weights``, Σ w² without biases.
    """
    data = two_gaussians()
    trainer = trainer_of(loss, l2, metrics=[agreement], callbacks=[_SizeOfWeights()])
    trainer.fit(data.X, data.t, epochs=iterations, batch_size=None, validation=(data.X_test, data.t_test))
    return trainer


def weights_of(trainer: Trainer) -> np.ndarray:
    """Return all weights, biases apart, as one vector."""
    params = trainer.variables.params  # type: ignore[union-attr]
    return np.concatenate([np.ravel(params[name]) for name in params if name.endswith("weight")])
