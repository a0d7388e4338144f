"""HIPS autograd: NumPy code, differentiated while it runs."""

from __future__ import annotations

from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
from autograd.scipy.special import logsumexp

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.contestants.rules import RULES
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["train"]


def train(work: Work, optimizer: Optimizer, device: str) -> Training:
    """``autograd.grad`` of the loss, and an update rule in NumPy."""
    X, y = work.data()
    targets = np.eye(work.sizes[-1], dtype=np.float32)[y] if work.classifies else y
    arrays = [array for pair in work.weights() for array in pair]
    slots = [[np.zeros_like(array) for _ in range(optimizer.slots)] for array in arrays]
    rule, step = RULES[optimizer.name], 0

    def objective(arrays: Any, x: Any, t: Any) -> Any:
        for weight, bias in zip(arrays[:-2:2], arrays[1:-2:2], strict=True):
            x = anp.dot(x, weight) + bias
            x = anp.maximum(x, 0) if work.activation == "relu" else 1 / (1 + anp.exp(-x))
        outputs = anp.dot(x, arrays[-2]) + arrays[-1]
        if not work.classifies:
            return anp.mean((outputs - t) ** 2)
        return anp.mean(logsumexp(outputs, axis=1) - anp.sum(outputs * t, axis=1))

    gradient = autograd.grad(objective)

    def run(epochs: int) -> None:
        nonlocal step
        for _ in range(epochs):
            order = np.random.default_rng().permutation(work.rows).reshape(work.steps, work.batch)
            for rows in order:
                step += 1
                for i, g in enumerate(gradient(arrays, X[rows], targets[rows])):
                    arrays[i], *slots[i] = rule(np, optimizer.learning_rate, step, g, arrays[i], *slots[i])

    return Training(run, lambda: list(zip(arrays[::2], arrays[1::2], strict=True)))
