"""What one operation of a derivative costs: gradients of chains of operations, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import autodiff

__all__ = ["chain_calls"]

Call = Callable[[], Any]
_LENGTH = 100
_SIZES = (10, 100_000)


def _chains(tanh: Callable[[Any], Any], exp: Callable[[Any], Any]) -> dict[str, Callable[[Any, Any], Any]]:
    """Return steps of chains, functions of an array and a constant, by name."""
    return {
        "products": lambda x, c: x * c,
        "sums": lambda x, c: x + c,
        "tanh": lambda x, c: tanh(x),
        "six operations": lambda x, c: exp(-0.1 * (tanh(x) * c + x)) - c,
    }


def chain_calls() -> dict[str, Call]:
    """Return calls by name, ``"work: contestant"``: the gradient of the sum of what a chain ends in."""
    calls: dict[str, Call] = {}
    for size in _SIZES:
        x, c = np.linspace(0.1, 1.0, size), np.full(size, 1.0001)
        for name in _chains(abs, abs):
            work = f"{_LENGTH} times {name}, {size} entries"
            calls[f"{work}: xpnet"] = _xpnet(name, x, c)
            calls |= {f"{work}: {who}": call for who, call in _torch(name, x, c).items()}
    return calls


def _run(step: Callable[[Any, Any], Any], x: Any, c: Any) -> Any:
    for _ in range(_LENGTH):
        x = step(x, c)
    return x


def _xpnet(name: str, x: np.ndarray, c: np.ndarray) -> Call:
    def f(x: Any) -> Any:
        xp = x.__array_namespace__()
        return xp.sum(_run(_chains(xp.tanh, xp.exp)[name], x, c))

    gradient = autodiff.grad(f)
    return lambda: gradient(x)


def _torch(name: str, x: np.ndarray, c: np.ndarray) -> dict[str, Call]:
    try:
        import torch
    except ImportError:
        return {}
    step, leaf, constant = _chains(torch.tanh, torch.exp)[name], torch.tensor(x), torch.tensor(c)
    leaf.requires_grad_()
    return {"PyTorch": lambda: torch.autograd.grad(_run(step, leaf, constant).sum(), leaf)}
