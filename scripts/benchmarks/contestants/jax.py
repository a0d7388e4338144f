"""JAX: the step compiled and called from Python, or scanned over the epoch within one program."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.contestants.rules import RULES
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["from_host", "per_step", "scanned"]


def per_step(work: Work, optimizer: Optimizer, device: str) -> Training:
    """One call a step; the state is donated, so that it is updated in place."""
    step, state, place = _begin(work, optimizer, device)
    X, y = (place(array) for array in work.data())
    call = jax.jit(lambda state, rows, X, y: step(state, X[rows], y[rows]), donate_argnums=0)

    def run(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            for rows in _order(work):
                state = call(state, rows, X, y)
        jax.block_until_ready(state)

    return Training(run, lambda: _weights(state))


def scanned(work: Work, optimizer: Optimizer, device: str) -> Training:
    """One call an epoch."""
    step, state, place = _begin(work, optimizer, device)
    X, y = (place(array) for array in work.data())

    def epoch(state: Any, order: Any, X: Any, y: Any) -> Any:
        return jax.lax.scan(lambda state, rows: (step(state, X[rows], y[rows]), None), state, order)[0]

    call = jax.jit(epoch, donate_argnums=0)

    def run(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            state = call(state, _order(work), X, y)
        jax.block_until_ready(state)

    return Training(run, lambda: _weights(state))


def from_host(work: Work, optimizer: Optimizer, device: str) -> Training:
    """One call a step, with batches gathered by NumPy and sent to the device."""
    step, state, place = _begin(work, optimizer, device)
    X, y = work.data()
    call = jax.jit(step, donate_argnums=0)

    def run(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            for rows in _order(work):
                state = call(state, place(X[rows]), place(y[rows]))
        jax.block_until_ready(state)

    return Training(run, lambda: _weights(state))


def _begin(work: Work, optimizer: Optimizer, device: str) -> tuple[Any, Any, Any]:
    """Return the step ``(state, x, targets) -> state``, the state, and what places arrays on the device."""
    home = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    rule, rate = RULES[optimizer.name], optimizer.learning_rate
    activation = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[work.activation]

    def objective(params: Any, x: Any, targets: Any) -> Any:
        for weight, bias in params[:-1]:
            x = activation(x @ weight + bias)
        outputs = x @ params[-1][0] + params[-1][1]
        if not work.classifies:
            return jnp.mean((outputs - targets) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], axis=1))

    def step(state: Any, x: Any, targets: Any) -> Any:
        count, params, *slots = state
        # As exact as everybody else's products on CUDA, where JAX would take TF32.
        with jax.default_matmul_precision("highest"):
            gradient = jax.grad(objective)(params, x, targets)
        count = count + 1
        leaves, structure = jax.tree.flatten(params)
        kept = [jax.tree.leaves(slot) for slot in slots]
        made = [
            rule(jnp, rate, count, *arrays)
            for arrays in zip(jax.tree.leaves(gradient), leaves, *kept, strict=True)
        ]
        return [count, *(jax.tree.unflatten(structure, column) for column in zip(*made, strict=True))]

    def place(array: Any) -> Any:
        return jax.device_put(array, home)

    params = jax.tree.map(place, work.weights())
    slots = [jax.tree.map(jnp.zeros_like, params) for _ in range(optimizer.slots)]
    return step, [place(np.float32(0)), params, *slots], place


def _order(work: Work) -> np.ndarray:
    return np.random.default_rng().permutation(work.rows).reshape(work.steps, work.batch)


def _weights(state: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array(weight), np.array(bias)) for weight, bias in state[1]]
