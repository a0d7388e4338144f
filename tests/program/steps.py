"""Functions that tests of programs record: training steps of small networks, and what else array code does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support import draw
from xpnet import losses, nn, optim
from xpnet.autodiff import hvp, value_and_grad
from xpnet.backends import array_namespace

__all__ = ["FUNCTIONS", "training_step"]


def training_step(
    optimizer: optim.Optimizer,
    *,
    sizes: tuple[int, ...] = (6, 5, 3),
    activation: str = "tanh",
    loss: str = "softmax_cross_entropy",
    dtype: str = "float64",
    batch: int = 8,
) -> tuple[Callable[..., Any], list[Any]]:
    """Return a step ``(flat, *slots, X, y, *scalars) -> (flat, *slots, loss)`` and arguments for it."""
    model = nn.MLP(sizes[1:-1], sizes[-1], activation=activation)
    params, state = model.init(0, sizes[0], "numpy", dtype)
    layout = params.layout
    opt_state = optimizer.init(params)
    slots = [opt_state[name].flat for name in optimizer.slots]
    X = draw(1, (batch, sizes[0])).astype(dtype)
    y = np.arange(batch) % sizes[-1] if "cross" in loss else draw(2, (batch, sizes[-1])).astype(dtype)
    scalars = [np.asarray(s, dtype=dtype) for s in optimizer.scalars(0.1, 3)]

    def step(flat: Any, *rest: Any) -> list[Any]:
        slots, (X, y), scalars = (
            rest[: len(opt_state) - 1],
            rest[len(opt_state) - 1 :][:2],
            rest[len(opt_state) + 1 :],
        )

        def objective(params: Any) -> Any:
            return losses.get(loss)(model.apply(nn.Variables(params, state), X), y)

        value, gradient = value_and_grad(objective)(type(params)(flat, layout))
        flat, slots = optimizer.rule(gradient.flat, slots, flat, *scalars)
        return [flat, *slots, value]

    return step, [params.flat, *slots, X, y, *scalars]


def _matrix(seed: int, *shape: int) -> np.ndarray:
    return draw(seed, shape, 0.2, 1.5)


# Array code by name: the function and its arguments.
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "chain": (lambda x: array_namespace(x).exp(x) * 2.0 - array_namespace(x).sqrt(x), [_matrix(1, 3, 4)]),
    "views": (
        lambda x: [x.mT @ x, x[1:, ::2] * 2, array_namespace(x).reshape(x, (-1,))[::3] + 1, x[:, None, ...] - x[0, 0]],
        [_matrix(2, 4, 6)],
    ),
    "an argument returned": (lambda x, y: [x, x + y, y[0]], [_matrix(3, 3), _matrix(4, 3)]),
    "the same twice": (lambda x: [x * x, x * x, (x * x) + (x * x)], [_matrix(5, 3)]),
    "constants": (lambda x: [array_namespace(x).zeros_like(x), x * np.asarray([1.0, 2.0, 3.0])], [_matrix(6, 3)]),
    "joined": (
        lambda x, y: array_namespace(x).concat([array_namespace(x).reshape(x @ y, (-1,)), x[0], array_namespace(x).sum(y, axis=0)]),
        [_matrix(7, 2, 3), _matrix(8, 3, 2)],
    ),
    "selected": (
        lambda x: array_namespace(x).where(x > 1, x**2, 0.0) + array_namespace(x).astype(x > 0.5, x.dtype),
        [_matrix(9, 5, 4)],
    ),
    "reductions": (
        lambda x: [getattr(array_namespace(x), f)(x, axis=a) for f in ("sum", "max", "min", "mean", "var", "prod") for a in (None, 0, (0, 1))],
        [_matrix(10, 3, 4, 2)],
    ),
    "gathered": (lambda x, i: array_namespace(x).take(x, i, axis=0) * 2, [_matrix(11, 5, 2), np.asarray([4, 0, 4])]),
    "decomposed": (lambda x: list(array_namespace(x).linalg.eigh(x @ x.mT)), [_matrix(12, 3, 3)]),
    "sorted": (lambda x: [array_namespace(x).sort(x), array_namespace(x).argsort(x), array_namespace(x).cumulative_sum(x)], [_matrix(13, 6)]),
    "assigned": (lambda x: _assigned(x), [_matrix(14, 4)]),
    "curvature": (lambda x: hvp(lambda y: array_namespace(y).sum(array_namespace(y).tanh(y) ** 3), x, x), [_matrix(15, 4)]),
    "scalars": (lambda x: x[0] * x[1] + array_namespace(x).maximum(x[2], 0.5), [_matrix(16, 3)]),
    "empty": (lambda x: [x * 2, array_namespace(x).sum(x), x @ x.mT], [np.zeros((0, 3))]),
    "integers": (lambda n: [n // 2, n % 3, n & 1, n > 2, ~n], [np.arange(7)]),
}  # fmt: skip


def _assigned(x: Any) -> Any:
    made = array_namespace(x).zeros((2, 4), dtype=x.dtype)
    made[0, :] = x
    made[1, :2] = x[2:] * 2
    x = x * 1.0
    x[0] = 7.0
    return made + x
