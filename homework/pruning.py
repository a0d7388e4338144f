"""Exercise 3, second part: fewer weights (the L0 norm) by decay, pruning and retraining in rounds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from homework.gaussians import L2, agreement, trainer_of, two_gaussians
from xpnet import Trainer
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.train import Callback

__all__ = ["Masked", "Round", "prune_in_rounds"]


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round of pruning did: the accuracy right after it, and after retraining."""

    weights: int
    pruned: float
    retrained: float
    test: float


class Masked(Callback):
    """Sets pruned parameters to zero after each step, so that retraining leaves them there."""

    def __init__(self) -> None:
        self.mask: Any = 1.0

    def on_step_end(self, trainer: Trainer, step: int, steps: int) -> None:
        self.apply(trainer)

    def apply(self, trainer: Trainer) -> None:
        """Multiply the parameters by the mask."""
        params, state = trainer.variables  # type: ignore[misc]
        trainer.variables = Variables(Parameters(params.flat * self.mask, params.layout), state)


def _prunable(trainer: Trainer) -> np.ndarray:
    """Return which entries of the parameters are weights: biases are not counted and not pruned."""
    layout = trainer.variables.params.layout  # type: ignore[union-attr]
    found = np.zeros(layout.size, dtype=bool)
    for (part, shape), _ in zip(layout.slices, layout.names, strict=True):
        found[part] = len(shape) > 1
    return found


def prune_in_rounds(
    loss: str = "squared_error", share: float = 0.15, tolerance: float = 0.0, iterations: int = 400
) -> tuple[list[Round], Trainer]:
    """Return what happened in each round, and the network after the last one that was good enough.

    1. Train with an L2 penalty, under which weights that the loss does not need decay.
    2. Set the smallest ``share`` of the weights that are left to zero.
    3. Train on, these weights staying zero and the others still decaying.
    4. Again from 2, until the training accuracy after retraining is more than ``tolerance`` below that of
       the whole network; that last round is taken back.
    """
    data, masked = two_gaussians(), Masked()
    trainer = trainer_of(loss, L2, callbacks=[masked])

    def retrained() -> tuple[float, float]:
        trainer.fit(data.X, data.t, epochs=trainer.epoch + iterations)
        return measured(data.X, data.t), measured(data.X_test, data.t_test)

    def measured(X: np.ndarray, t: np.ndarray) -> float:
        return float(agreement(trainer.outputs(X), t))

    whole, test = retrained()
    weights = _prunable(trainer)
    kept = weights.copy()
    rounds = [Round(int(kept.sum()), whole, whole, test)]
    while kept.any():
        before = trainer.variables, kept.copy()
        sizes = np.abs(np.asarray(trainer.variables.params.flat))  # type: ignore[union-attr]
        smallest = np.argsort(np.where(kept, sizes, np.inf))[: max(1, round(share * kept.sum()))]
        kept[smallest] = False
        masked.mask = np.where(weights, kept, True).astype(sizes.dtype)
        masked.apply(trainer)
        pruned = measured(data.X, data.t)
        accuracy, test = retrained()
        rounds.append(Round(int(kept.sum()), pruned, accuracy, test))
        if accuracy < whole - tolerance:
            trainer.variables, kept = before
            break
    return rounds, trainer
