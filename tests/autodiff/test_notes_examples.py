"""The lecture notes' own examples, with the derivatives that the notes print, on every backend.

Each by ``grad``, and by both versions of back propagation on the example's graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet.autodiff import functions, grad, graph, hessian, jvp
from xpnet.backends import Backend, array_namespace

Way = Callable[..., tuple[Any, ...]]


def _by_grad(f: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    return grad(f, tuple(range(len(args))))(*args)


def _by_graph(version: int) -> Way:
    def gradients(f: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
        found = graph(f, *args).backward(version)
        return found if len(args) > 1 else (found,)

    return gradients


@pytest.fixture(params=["grad", "version 1", "version 2"])
def gradients(request: pytest.FixtureRequest) -> Way:
    """Return the gradients with respect to all arguments, in one of three ways."""
    return {"grad": _by_grad, "version 1": _by_graph(1), "version 2": _by_graph(2)}[request.param]


class _Arrays:
    """Arrays of a backend, and comparison with what the notes print."""

    def __init__(self, backend: Backend):
        self.backend, self.dtype = backend, widest(backend)

    def __call__(self, seed: int, *shape: int) -> Any:
        return self.backend.asarray(draw(seed, shape), dtype=self.dtype)

    def number(self, value: float) -> Any:
        return self.backend.asarray(value, dtype=self.dtype)

    def agree(self, got: Any, printed: np.ndarray) -> None:
        assert relative_error(got, np.asarray(printed)) < 10 * tolerance(self.dtype)


@pytest.fixture
def arrays(backend: Backend) -> _Arrays:
    return _Arrays(backend)


def test_linear_least_squares(arrays: _Arrays, gradients: Way) -> None:
    """Note 002: ŷ = Σ wⱼxⱼ + b, r = y - ŷ, ℓ = r²: ∂ℓ/∂wⱼ = -2r xⱼ and ∂ℓ/∂b = -2r."""
    x, y = arrays(1, 4), arrays.number(0.7)

    def loss(w: Any, b: Any) -> Any:
        xp = array_namespace(w)
        residual = xp.subtract(y, xp.sum(w * x) + b)
        return residual**2

    w, b = arrays(2, 4), arrays.number(-0.4)
    dw, db = gradients(loss, w, b)
    r = host(y) - (host(w) @ host(x) + host(b))
    arrays.agree(dw, -2 * r * host(x))
    arrays.agree(db, -2 * r)


def test_every_node_of_least_squares_has_the_printed_derivative(arrays: _Arrays) -> None:
    """Note 002 prints ∂ℓ/∂r = 2r and ∂ℓ/∂ŷ = -2r on the way to the parameters."""
    x, y = arrays(1, 4), arrays.number(0.7)

    def loss(w: Any, b: Any) -> Any:
        xp = array_namespace(w)
        return xp.square(xp.subtract(y, xp.sum(w * x) + b))

    for version in (1, 2):
        made = graph(loss, arrays(2, 4), arrays.number(-0.4))
        made.backward(version)
        prediction, residual, loss_node = [n for n in made.nodes if n.name in ("add", "subtract", "square")]
        r = host(residual.value)
        arrays.agree(loss_node.cotangent, np.asarray(1.0))
        arrays.agree(residual.cotangent, 2 * r)
        arrays.agree(prediction.cotangent, -2 * r)


def test_ridge_regression(arrays: _Arrays, gradients: Way) -> None:
    """Note 002: J = ℓ + λ wᵀw: ∂J/∂w = -2r x + 2λw and ∂J/∂b = -2r."""
    x, y, penalty = arrays(1, 4), arrays.number(0.7), 0.3

    def objective(w: Any, b: Any) -> Any:
        xp = array_namespace(w)
        residual = xp.subtract(y, xp.sum(w * x) + b)
        return residual**2 + penalty * xp.sum(w * w)

    w, b = arrays(2, 4), arrays.number(-0.4)
    dw, db = gradients(objective, w, b)
    r = host(y) - (host(w) @ host(x) + host(b))
    arrays.agree(dw, -2 * r * host(x) + 2 * penalty * host(w))
    arrays.agree(db, -2 * r)


def _logistic(arrays: _Arrays, y: float) -> tuple[Callable[[Any, Any], Any], np.ndarray]:
    """Return L = -y log σ - (1-y) log(1-σ) with σ = σ(⟨w, x⟩ + b), and x."""
    x = arrays(1, 4)

    def loss(w: Any, b: Any) -> Any:
        xp = array_namespace(w)
        sigma = functions.sigmoid(xp.sum(w * x) + b)
        return -y * xp.log(sigma) - (1 - y) * xp.log(1 - sigma)

    return loss, host(x)


@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
def test_logistic_regression(arrays: _Arrays, gradients: Way, y: float) -> None:
    """Note 000: ∇L = x (σ - y). (The note's line for one entry, -xⱼ(σ - y), has a sign too many.)"""
    loss, x = _logistic(arrays, y)
    w, b = arrays(2, 4), arrays.number(-0.4)
    dw, db = gradients(loss, w, b)
    sigma = 1 / (1 + np.exp(-(host(w) @ x + host(b))))
    arrays.agree(dw, x * (sigma - y))
    arrays.agree(db, sigma - y)


def test_logistic_regression_has_the_printed_hessian(arrays: _Arrays) -> None:
    """Note 000: ∇²L = x xᵀ σ (1 - σ), positive semidefinite, so the problem is convex."""
    loss, x = _logistic(arrays, 1.0)
    w, b = arrays(2, 4), arrays.number(-0.4)
    sigma = 1 / (1 + np.exp(-(host(w) @ x + host(b))))
    printed = np.outer(x, x) * sigma * (1 - sigma)
    found = hessian(lambda w: loss(w, b))(w)
    arrays.agree(found, printed)
    v = arrays(3, 4)
    arrays.agree(jvp(lambda w: grad(loss)(w, b), (w,), (v,))[1], printed @ host(v))
    made = graph(lambda w: grad(loss)(w, b), w)  # the gradient's own graph: its Jacobian is the Hessian
    for version in (1, 2):
        arrays.agree(made.backward(version, cotangent=v), printed @ host(v))


def test_tanh_network(arrays: _Arrays, gradients: Way) -> None:
    """Note 003: f = c + V σ(b + W X), L = -f_y + log Σ exp f, with its five printed derivatives."""
    p, hidden, classes, y = 5, 4, 3, 1
    X = arrays(1, p)

    def loss(c: Any, V: Any, b: Any, W: Any) -> Any:
        xp = array_namespace(c)
        f = c + xp.matmul(V, xp.tanh(b + xp.matmul(W, X)))
        return functions.logsumexp(f) - f[y]

    c, V, b, W = arrays(2, classes), arrays(3, classes, hidden), arrays(4, hidden), arrays(5, hidden, p)
    dc, dV, db, dW = gradients(loss, c, V, b, W)

    h = np.tanh(host(b) + host(W) @ host(X))
    f = host(c) + host(V) @ h
    dL_df = -np.eye(classes)[y] + np.exp(f) / np.exp(f).sum()
    slope = 1 - h**2  # of tanh
    arrays.agree(dc, dL_df)
    arrays.agree(dV, np.outer(dL_df, h))
    arrays.agree(db, slope * (host(V).T @ dL_df))
    arrays.agree(dW, np.outer(slope * (host(V).T @ dL_df), host(X)))


def test_the_outputs_of_the_tanh_network_have_the_printed_derivative(arrays: _Arrays) -> None:
    """Note 003: dL/df = -e_y + softmax(f), at the node f itself."""
    X, y = arrays(1, 5), 2

    def loss(c: Any, V: Any, b: Any, W: Any) -> Any:
        xp = array_namespace(c)
        f = xp.matmul(V, xp.tanh(b + xp.matmul(W, X))) + c
        return functions.logsumexp(f) - f[y]

    made = graph(loss, arrays(2, 3), arrays(3, 3, 4), arrays(4, 4), arrays(5, 4, 5))
    for version in (1, 2):
        made.backward(version)
        node = [n for n in made.nodes if n.name == "add"][-1]
        f = host(node.value)
        arrays.agree(node.cotangent, -np.eye(3)[y] + np.exp(f) / np.exp(f).sum())


def test_a_node_with_several_children(arrays: _Arrays, gradients: Way) -> None:
    """Note 002: ∂J/∂b = Σₖ ∂J/∂b⁽ᵏ⁾, first summed over the children, then ∂J/∂a = ∂J/∂b · ∂b/∂a."""

    def objective(a: Any) -> Any:
        xp = array_namespace(a)
        b = xp.tanh(a)
        return b**2 + 3 * b + xp.exp(b) * 0.5

    a = arrays.number(0.3)
    (da,) = gradients(objective, a)
    b = np.tanh(host(a))
    parts = [2 * b, 3.0, 0.5 * np.exp(b)]
    arrays.agree(da, sum(parts) * (1 - b**2))
    for version in (1, 2):
        made = graph(objective, a)
        made.backward(version)
        (node,) = (n for n in made.nodes if n.name == "tanh")
        assert [made.nodes[j].name for j in node.children] == ["pow", "multiply", "exp"]
        arrays.agree(node.cotangent, sum(parts))
        # summed first: the edge from a to b is used once, though three paths lead through it
        assert made.counts.paths == 3
        assert made.counts.products == made.counts.edges == 9


def test_composed_scalar_functions(arrays: _Arrays, gradients: Way) -> None:
    """Note 000: Y = y ∘ u ∘ v ∘ w: dY/dx = dY/du · du/dv · dv/dw · dw/dx."""

    def Y(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.exp(xp.sin(xp.tanh(xp.square(x))))

    (dx,) = gradients(Y, arrays.number(0.8))
    w = 0.8**2
    v = np.tanh(w)
    u = np.sin(v)
    arrays.agree(dx, np.asarray(np.exp(u) * np.cos(v) * (1 - v**2) * (2 * 0.8)))
