"""Functions that tests of programs record: training steps of small networks, and other array code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support import draw
from xpnet import losses, nn, optim
from xpnet.autodiff import hvp, value_and_grad
from xpnet.backends import array_namespace
from xpnet.program import Program, record
from xpnet.program.passes.simplify import simplify

__all__ = ["FUNCTIONS", "gathering_step", "training_step", "work"]


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
        kept = len(optimizer.slots)
        slots, (X, y), scalars = rest[:kept], rest[kept : kept + 2], rest[kept + 2 :]

        def objective(params: Any) -> Any:
            return losses.get(loss)(model.apply(nn.Variables(params, state), X), y)

        value, gradient = value_and_grad(objective)(type(params)(flat, layout))
        flat, slots = optimizer.rule(gradient.flat, slots, flat, *scalars)
        return [flat, *slots, value]

    return step, [params.flat, *slots, X, y, *scalars]


def gathering_step(
    optimizer: optim.Optimizer, model: nn.MLP, loss: Any, X: np.ndarray, y: np.ndarray, batch: int
) -> tuple[Program, list[np.ndarray], int]:
    """Return a recorded step, its inputs (parameters, slots; X, y; rows, scalars), and the state's length."""
    variables = model.init(0, X.shape[1:], backend="numpy", dtype=str(X.dtype))
    state = optimizer.init(variables.params)
    slots = [state[name].flat for name in optimizer.slots]
    scalars = [np.asarray(s, dtype=X.dtype) for s in optimizer.scalars(0.01, 1)]

    def step(params: Any, slots: Any, X: Any, y: Any, rows: Any, scalars: Any) -> Any:
        space = array_namespace(X)
        X, y = space.take(X, rows, axis=0), space.take(y, rows, axis=0)

        def objective(params: Any) -> Any:
            return loss(model.apply(nn.Variables(params, variables.state), X), y)

        value, g = value_and_grad(objective)(params)
        flat, slots = optimizer.rule(g.flat, slots, params.flat, *scalars)
        return [flat, *slots, value]

    rows = np.arange(batch) * 3 % len(X)
    program = simplify(record(step)(variables.params, slots, X, y, rows, scalars))
    inputs = [variables.params.flat, *slots, X, y, rows, *scalars]
    return program, [np.array(x) for x in inputs], 1 + len(slots)


def work(loss: str, dtype: str = "float64") -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a loss by its name, with inputs and targets for it."""
    draw = np.random.default_rng(0)
    X = draw.normal(size=(40, 5)).astype(dtype)
    targets: dict[str, Any] = {
        "softmax_cross_entropy": draw.integers(3, size=40),
        "squared_error": draw.normal(size=(40, 3)),
        "huber": draw.normal(size=(40, 3)),
        "binary_cross_entropy": draw.integers(2, size=(40, 3)).astype(dtype),
    }
    y = targets[loss]
    return getattr(losses, loss), X, y.astype(dtype) if y.dtype.kind == "f" else y


# --- Array code by name -----------------------------------------------------------------------------------


def _chain(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.exp(x) * 2.0 - xp.sqrt(x)


def _views(x: Any) -> Any:
    flat = array_namespace(x).reshape(x, (-1,))
    return [x.mT @ x, x[1:, ::2] * 2, flat[::3] + 1, x[:, None, ...] - x[0, 0]]


def _joined(x: Any, y: Any) -> Any:
    xp = array_namespace(x)
    return xp.concat([xp.reshape(x @ y, (-1,)), x[0], xp.sum(y, axis=0)])


def _selected(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.where(x > 1, x**2, 0.0) + xp.astype(x > 0.5, x.dtype)


def _reduced(x: Any) -> Any:
    xp = array_namespace(x)
    functions = [xp.sum, xp.max, xp.min, xp.mean, xp.var, xp.prod]
    return [function(x, axis=axis) for function in functions for axis in (None, 0, (0, 1))]


def _apart(x: Any) -> Any:
    xp = array_namespace(x)
    rows, columns, single = xp.unstack(x * 2), xp.unstack(x + 1, axis=1), xp.unstack(x[:1] - 1)
    return [rows[1], rows[3], *columns, *single, *xp.broadcast_arrays(x * 3, x[0] * 4)]


def _joined_turned(x: Any) -> Any:
    xp = array_namespace(x)
    a, b = x[0] * 2, x[1] * 3
    return xp.concat([xp.flip(a), b[::-1], xp.reshape(x * 4, (-1,))])


def _summed_turned(x: Any) -> Any:
    """Sums through arrays that NumPy lays out column by column, since what they were made of is."""
    xp = array_namespace(x)
    turned = x.mT * 2 + 0.1
    return [xp.sum(turned, axis=1), xp.sum(turned), xp.sum(xp.exp(turned), axis=0), turned[3] @ x]


def _sorted(x: Any) -> Any:
    xp = array_namespace(x)
    return [xp.sort(x), xp.argsort(x), xp.cumulative_sum(x)]


def _assigned(x: Any) -> Any:
    made = array_namespace(x).zeros((2, 4), dtype=x.dtype)
    made[0, :] = x
    made[1, :2] = x[2:] * 2
    x = x * 1.0
    x[0] = 7.0
    return made + x


def _cubes(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.sum(xp.tanh(x) ** 3)


def _some(seed: int, *shape: int) -> np.ndarray:
    return draw(seed, shape, 0.2, 1.5)


THREE = np.asarray([1.0, 2.0, 3.0])

# Each function with arguments for it.
FUNCTIONS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "chain": (_chain, [_some(1, 3, 4)]),
    "views": (_views, [_some(2, 4, 6)]),
    "an argument returned": (lambda x, y: [x, x + y, y[0]], [_some(3, 3), _some(4, 3)]),
    "the same twice": (lambda x: [x * x, x * x, (x * x) + (x * x)], [_some(5, 3)]),
    "constants": (lambda x: [array_namespace(x).zeros_like(x), x * THREE], [_some(6, 3)]),
    "joined": (_joined, [_some(7, 2, 3), _some(8, 3, 2)]),
    "selected": (_selected, [_some(9, 5, 4)]),
    "reduced": (_reduced, [_some(10, 3, 4, 2)]),
    "gathered": (
        lambda x, i: array_namespace(x).take(x, i, axis=0) * 2,
        [_some(11, 5, 2), np.asarray([4, 0, 4])],
    ),
    "decomposed": (lambda x: list(array_namespace(x).linalg.eigh(x @ x.mT)), [_some(12, 3, 3)]),
    "sorted": (_sorted, [_some(13, 6)]),
    "assigned": (_assigned, [_some(14, 4)]),
    "curvature": (lambda x: hvp(_cubes, x, x), [_some(15, 4)]),
    "scalars": (lambda x: x[0] * x[1] + array_namespace(x).maximum(x[2], 0.5), [_some(16, 3)]),
    "empty": (
        lambda x: [x * 2, array_namespace(x).sum(x), x @ x.mT, x.mT @ x, x[:, 0] @ x[:, 1]],
        [np.zeros((0, 3))],
    ),
    "columns gathered": (
        lambda x, i: array_namespace(x).take(x * 1.5, i, axis=1),
        [_some(17, 3, 5), np.asarray([4, 0, 4])],
    ),
    "taken apart": (_apart, [_some(18, 4, 3)]),
    "joined in another order": (_joined_turned, [_some(19, 2, 5)]),
    "summed in another order": (_summed_turned, [_some(20, 20, 9)]),
    "products of integers": (lambda n: [n @ n, n[:1] @ n[:1]], [np.arange(7)]),
    "integers": (lambda n: [n // 2, n % 3, n & 1, n > 2, ~n], [np.arange(7)]),
}
