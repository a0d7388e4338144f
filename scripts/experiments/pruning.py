"""Exercise 3, second part: fewer weights (the L0 norm) by decay, pruning and retraining in rounds."""

from __future__ import annotations

import dataclasses

import numpy as np

from scripts.experiments.gaussians import L2, agreement, trainer_of, two_gaussians, weights_of
from xpnet import Trainer

__all__ = ["Round", "prune_in_rounds"]


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round of pruning did: the accuracy right after it, and after retraining."""

    weights: int
    pruned: float
    retrained: float
    test: float


def prune_in_rounds(loss: str, share: float = 0.15, iterations: int = 400) -> tuple[list[Round], Trainer]:
    """Return what happened in each round, and the network after the last one that was good enough.

    1. Train with an L2 penalty, under which weights that the loss does not need decay.
    2. Set the smallest ``share`` of the weights that are left to zero.
    3. Train on for ``iterations``, these weights staying zero and the others still decaying.
    4. Again from 2, until the training accuracy after retraining is below that of the whole network; that
       last round is taken back.
    """
    data, trainer = two_gaussians(), trainer_of(loss, L2)

    def accuracy(X: np.ndarray, t: np.ndarray) -> float:
        return float(agreement(trainer.outputs(X), t))

    def retrained(pruned: float | None = None) -> Round:
        trainer.fit(data.X, data.t, epochs=trainer.epoch + iterations, batch_size=None)
        after, test = accuracy(data.X, data.t), accuracy(data.X_test, data.t_test)
        return Round(np.count_nonzero(weights_of(trainer)), after if pruned is None else pruned, after, test)

    rounds = [retrained()]
    weights = _weights(trainer)
    kept = np.ones(len(weights), dtype=bool)
    while rounds[-1].retrained >= rounds[0].retrained:
        accepted = trainer.variables, kept
        kept = _without_the_smallest(trainer, kept, weights, share)
        trainer.set_mask(kept)
        rounds.append(retrained(accuracy(data.X, data.t)))
    trainer.variables, kept = accepted
    trainer.set_mask(kept)
    return rounds, trainer


def _weights(trainer: Trainer) -> np.ndarray:
    """Return which parameters are weights: biases are neither counted nor pruned."""
    layout = trainer.variables.params.layout  # type: ignore[union-attr]
    found = np.zeros(layout.size, dtype=bool)
    for part, shape in layout.slices:
        found[part] = len(shape) > 1
    return found


def _without_the_smallest(
    trainer: Trainer, kept: np.ndarray, weights: np.ndarray, share: float
) -> np.ndarray:
    """Return what is kept when the smallest of the weights that are left go, at least one of them."""
    left = np.flatnonzero(kept & weights)
    sizes = np.abs(np.asarray(trainer.variables.params.flat))[left]  # type: ignore[union-attr]
    smaller = kept.copy()
    smaller[left[np.argsort(sizes)[: max(1, round(share * len(left)))]]] = False
    return smaller
