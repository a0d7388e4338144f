"""What a derivative costs: recording, gradient against function, and beside HIPS autograd and PyTorch.

All compute the gradient of the mean softmax cross-entropy of an MLP with respect to its weights and biases,
each written as its users write it; xpnet twice, with its compound functions and with plain array operations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from scripts.benchmarks.batches import batch_calls, show_batches
from scripts.benchmarks.chains import chain_calls
from scripts.benchmarks.works import Work
from xpnet import autodiff
from xpnet.autodiff import functions
from xpnet.autodiff.reverse import ReverseTrace

__all__ = ["recording", "show_gradients", "time_gradients"]

Call = Callable[[], Any]


def recording(rounds: int, length: int = 1000) -> dict[str, float]:
    """Return microseconds an operation of a chain of 0-d ones: plain, recorded, and with its gradient."""
    x = np.asarray(0.5)

    def chain(x: Any) -> Any:
        space = autodiff.namespace(xp) if isinstance(x, autodiff.Tracer) else xp
        for _ in range(length):
            x = space.tanh(x)
        return x

    calls = {
        "plain": lambda: chain(x),
        "recorded": lambda: chain(ReverseTrace(xp).leaf(x)),
        "gradient": lambda: autodiff.grad(chain)(x),
    }
    return {name: statistics.median(t) / length for name, t in _in_turn(calls, rounds).items()}


def _in_turn(calls: dict[str, Call], rounds: int, repeats: int = 1) -> dict[str, list[float]]:
    """Return microseconds a call, one number a round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            call()  # what ran before may have left threads spinning and caches full
            begun = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - begun) / repeats * 1e6)
    return times


def _calls(work: Work) -> dict[str, Call]:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(work.batch, work.sizes[0])).astype(np.float32)
    rows = draw.integers(work.sizes[-1], size=work.batch)
    Y = np.eye(work.sizes[-1], dtype=np.float32)[rows]
    params = [
        (draw.normal(size=(n, k)).astype(np.float32) / np.float32(n**0.5), np.zeros(k, np.float32))
        for n, k in zip(work.sizes, work.sizes[1:], strict=False)
    ]

    def by_compounds(params: Any) -> Any:
        h = X
        for weight, bias in params[:-1]:
            h = functions.relu(functions.affine(h, weight, bias))
        loss = functions.cross_entropy(functions.affine(h, *params[-1]), Y)
        return loss.__array_namespace__().mean(loss) if isinstance(loss, autodiff.Tracer) else xp.mean(loss)

    def by_operations(params: Any) -> Any:
        traced = isinstance(params[0][0], autodiff.Tracer)
        space = params[0][0].__array_namespace__() if traced else xp
        h = X
        for weight, bias in params[:-1]:
            h = space.maximum(h @ weight + bias, 0)
        logits = h @ params[-1][0] + params[-1][1]
        top = space.max(logits, axis=-1, keepdims=True)
        total = space.log(space.sum(space.exp(logits - top), axis=-1)) + top[:, 0]
        return space.mean(total - space.sum(logits * Y, axis=-1))

    gradients = [autodiff.value_and_grad(f) for f in (by_compounds, by_operations)]
    calls: dict[str, Call] = {
        "xpnet, compounds: function": lambda: by_compounds(params),
        "xpnet, compounds: gradient": lambda: gradients[0](params),
        "xpnet, operations: function": lambda: by_operations(params),
        "xpnet, operations: gradient": lambda: gradients[1](params),
    }
    return calls | _autograd(params, X, Y) | _torch(params, X, rows)


def _autograd(params: Any, X: np.ndarray, Y: np.ndarray) -> dict[str, Call]:
    try:
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp
    except ImportError:
        return {}

    def objective(params: Any) -> Any:
        h = X
        for weight, bias in params[:-1]:
            h = anp.maximum(anp.dot(h, weight) + bias, 0)
        logits = anp.dot(h, params[-1][0]) + params[-1][1]
        return anp.mean(logsumexp(logits, axis=1) - anp.sum(logits * Y, axis=1))

    gradient = autograd.value_and_grad(objective)
    return {"autograd: function": lambda: objective(params), "autograd: gradient": lambda: gradient(params)}


def _torch(params: Any, X: np.ndarray, rows: np.ndarray) -> dict[str, Call]:
    try:
        import torch
    except ImportError:
        return {}
    leaves = [torch.tensor(array, requires_grad=True) for pair in params for array in pair]
    inputs, targets = torch.tensor(X), torch.tensor(rows)

    def objective() -> Any:
        h = inputs
        for i in range(0, len(leaves) - 2, 2):
            h = torch.relu(torch.addmm(leaves[i + 1], h, leaves[i]))
        return torch.nn.functional.cross_entropy(torch.addmm(leaves[-1], h, leaves[-2]), targets)

    def function() -> Any:
        with torch.no_grad():
            return objective()

    return {
        "PyTorch: function": function,
        "PyTorch: gradient": lambda: torch.autograd.grad(objective(), leaves),
    }


def time_gradients(works: list[Work], rounds: int) -> dict[str, Any]:
    """Return microseconds: of an operation under ``"recording"``, and by work of each contestant's rounds.

    Those of chains of operations are under ``"chains"``, of many derivatives at once under ``"batches"``.
    """
    found: dict[str, Any] = {
        "recording": recording(rounds),
        "chains": _in_turn(chain_calls(), rounds),
        "batches": _in_turn(batch_calls(), rounds),
    }
    for work in works:
        products = work.batch * sum(n * k for n, k in zip(work.sizes, work.sizes[1:], strict=False))
        found[work.name] = _in_turn(_calls(work), rounds, repeats=max(1, 20_000_000 // products))
    return found


def show_gradients(works: list[Work], found: dict[str, Any]) -> None:
    """Print what :func:`time_gradients` measured."""
    chain = found["recording"]
    figures = ", ".join(f"{name} {value:.2f}" for name, value in chain.items())
    print(f"\na chain of 0-d operations, µs an operation: {figures}")
    print(f"  recording adds {chain['recorded'] - chain['plain']:.2f} µs an operation")
    show_batches(found["chains"])
    show_batches(found["batches"])
    for work in works:
        times = found[work.name]
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"\ngradient of {work}")
        print(f"  {'':32}{'median µs':>11}{'min':>9}{'gradient/function':>20}{'/ xpnet':>10}")
        for name, values in times.items():
            who, _, what = name.partition(": ")
            ratio = f"{medians[name] / medians[f'{who}: function']:.2f}" if what == "gradient" else ""
            beside = f"{medians[name] / medians[f'xpnet, compounds: {what}']:.2f}"
            print(f"  {name:32}{medians[name]:11.0f}{min(values):9.0f}{ratio:>20}{beside:>10}")
