"""Full batches, mini-batches and single rows at equal work: the same number of gradients of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import Trainer, losses, nn, optim
from xpnet.data import digits_arrays

__all__ = ["BATCHES", "EPOCHS", "RATES", "loss_after", "train"]

# Rows in a step, and the rate of `RATES` with the lowest loss after `EPOCHS`: each is shown at its best.
BATCHES: dict[str, tuple[int | None, float]] = {
    "full batch": (None, 1.0),
    "mini-batches of 64": (64, 0.3),
    "single rows": (1, 0.03),
}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
EPOCHS = 10


def loss_after(outputs: Any, targets: Any) -> Any:
    """Return the cross entropy: as a metric, that of all rows at the end of an epoch."""
    return losses.softmax_cross_entropy(outputs, targets)


def train(
    batch_size: int | None, rate: float, epochs: int = EPOCHS, *, rows: int | None = None, copies: int = 1
) -> list[float]:
    """Return the loss on the digits after each epoch of a 64-32-10 network.

    Args:
        batch_size: rows of a step; None for all.
        rate: learning rate, constant.
        epochs: number of passes over the rows.
        rows: how many of the digits; all by default.
        copies: how often each row is repeated: 1 leaves the data as they are.
    """
    X, y = digits_arrays()
    X, y = np.tile(X[:rows] / 16, (copies, 1)), np.tile(y[:rows], copies)
    trainer = Trainer(
        nn.MLP([32], 10), "softmax_cross_entropy", optim.SGD(rate), backend="numpy", dtype="float64",
        compile="numpy", metrics=[loss_after], progress=False,
    )  # fmt: skip
    return trainer.fit(X, y, epochs=epochs, batch_size=batch_size)["loss_after"]
