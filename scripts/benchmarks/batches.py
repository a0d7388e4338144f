"""What ``vmap`` and sparsity save: Jacobians, Hessians, gradients of rows; beside loops, PyTorch, SciPy."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import xpnet
from xpnet import autodiff, nn
from xpnet.autodiff import functions
from xpnet.backends import array_namespace

__all__ = ["batch_calls", "show_batches"]

Call = Callable[[], Any]
_SIZE, _ROWS, _BANDED = 300, 64, 1000


def batch_calls() -> dict[str, Call]:
    """Return calls by name, ``"work: contestant"``."""
    draw = np.random.default_rng(0)
    W, x = draw.normal(size=(_SIZE, _SIZE)) / _SIZE**0.5, draw.normal(size=_SIZE)

    def layer(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.tanh(xp.matmul(W, x))

    def energy(x: Any) -> Any:
        return array_namespace(x).sum(layer(x) ** 2)

    calls: dict[str, Call] = {
        f"jacobian of {_SIZE} x {_SIZE}: xpnet": lambda: autodiff.jacobian(layer)(x),
        f"hessian of {_SIZE}: xpnet": lambda: autodiff.hessian(energy)(x),
    }
    model = nn.MLP([128], 10, activation="tanh")
    params, state = model.init(0, (64,), "numpy")
    rows = draw.normal(size=(_ROWS, 64)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[draw.integers(10, size=_ROWS)]

    def loss(params: Any, row: Any, target: Any) -> Any:
        y = model.apply(nn.Variables(params, state), row[None, :])
        return array_namespace(y).sum(functions.cross_entropy(y, target[None, :]))

    gradient = autodiff.grad(loss)
    together = autodiff.vmap(gradient, in_axes=(None, 0, 0))
    compiled = xpnet.compile(together)
    work = f"gradients of {_ROWS} rows"
    calls |= {
        f"{work}: xpnet": lambda: together(params, rows, targets),
        f"{work}: xpnet, compiled": lambda: compiled(params, rows, targets),
        f"{work}: xpnet, a loop": lambda: [
            gradient(params, *pair) for pair in zip(rows, targets, strict=True)
        ],
    }
    calls |= _banded() | _torch(W, x, [np.asarray(p) for p in params.values()], rows, targets)
    return calls


def _banded() -> dict[str, Call]:
    """Return calls for a tridiagonal Jacobian, and SciPy's differences with the same colours."""
    x = np.linspace(0.1, 1.0, _BANDED)

    def broyden(x: Any) -> Any:
        xp = array_namespace(x)
        wide = xp.concat([xp.zeros(1), x, xp.zeros(1)])
        return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1

    dense, sparse = autodiff.jacobian(broyden), autodiff.sparse_jacobian(broyden)
    compiled, work = xpnet.compile(sparse), f"tridiagonal jacobian of {_BANDED}"
    calls: dict[str, Call] = {
        f"{work}: xpnet": lambda: dense(x),
        f"{work}: xpnet, sparse": lambda: sparse(x),
        f"{work}: xpnet, sparse and compiled": lambda: compiled(x),
        f"{work}: xpnet, sparsity alone": lambda: autodiff.jacobian_sparsity(broyden)(x),
    }
    try:
        from scipy.optimize._numdiff import approx_derivative, group_columns
    except ImportError:
        return calls
    pattern = autodiff.jacobian_sparsity(broyden)(x).to_scipy()
    groups = group_columns(pattern)
    return calls | {
        f"{work}: SciPy, differences": lambda: approx_derivative(broyden, x, sparsity=(pattern, groups))
    }


def _torch(W: Any, x: Any, params: list[Any], rows: Any, targets: Any) -> dict[str, Call]:
    try:
        import torch
        from torch import func
    except ImportError:
        return {}
    matrix, point, inputs, wanted = map(torch.tensor, (W, x, rows, targets))
    weights = list(map(torch.tensor, params))

    def layer(x: Any) -> Any:
        return torch.tanh(matrix @ x)

    def loss(p: Any, row: Any, target: Any) -> Any:
        z = torch.tanh(row @ p[0] + p[1]) @ p[2] + p[3]
        return -(torch.log_softmax(z, -1) * target).sum()

    gradients = func.vmap(func.grad(loss), in_dims=(None, 0, 0))
    return {
        f"jacobian of {_SIZE} x {_SIZE}: PyTorch": lambda: func.jacrev(layer)(point),
        f"hessian of {_SIZE}: PyTorch": lambda: func.hessian(lambda x: torch.sum(layer(x) ** 2))(point),
        f"gradients of {_ROWS} rows: PyTorch": lambda: gradients(weights, inputs, wanted),
    }


def show_batches(found: dict[str, list[float]]) -> None:
    """Print microseconds of each call, by work."""
    works = dict.fromkeys(name.partition(": ")[0] for name in found)
    for work in works:
        times = {who: t for name, t in found.items() for w, _, who in [name.partition(": ")] if w == work}
        first = statistics.median(times["xpnet"])
        print(f"\n{work}")
        for who, values in times.items():
            median = statistics.median(values)
            print(f"  {who:32}{median:11.0f} µs{min(values):9.0f} at the least{median / first:10.2f} / xpnet")
