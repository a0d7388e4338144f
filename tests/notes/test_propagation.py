"""Derivatives by the chain rule: notes 000 (3.4 and 4), 001 (2), 002 (graphs) and 003 (2.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw
from xpnet import losses, nn, record
from xpnet.autodiff import functions, grad, graph, jacobian, value_and_grad
from xpnet.backends import array_namespace
from xpnet.nn import Variables
from xpnet.parameters import Parameters


def test_difference_quotients_suffer_from_truncation_and_rounding_and_the_chain_rule_from_neither():
    """(Y(x + h) - Y(x)) / h is wrong by O(h) for large h and by O(ε/h) for small ones (note 000)."""

    def Y(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.exp(xp.sin(xp.tanh(x * x)))

    x = np.asarray(0.8)
    w = 0.8**2
    v, u = np.tanh(w), np.sin(np.tanh(w))
    exact = np.exp(u) * np.cos(v) * (1 - v**2) * 1.6
    errors = {k: abs((Y(x + 10.0**-k) - Y(x)) * 10.0**k / exact - 1) for k in range(1, 16)}
    for k in (3, 4, 5):  # truncation: a tenth of the step, a tenth of the error
        assert errors[k] / errors[k + 1] == pytest.approx(10, rel=0.1)
    assert errors[14] > 100 * min(errors.values())  # rounding
    assert min(errors.values()) > 1e-10
    assert abs(grad(Y)(x) / exact - 1) < 1e-15


@pytest.mark.parametrize("y", [0.0, 1.0])
def test_derivatives_of_the_logistic_function_and_its_logarithms(y):
    """Note 000: σ' = σ(1 - σ), ∂ log σ/∂wⱼ = xⱼ(1 - σ), ∂ log(1 - σ)/∂wⱼ = -xⱼσ."""
    x, w, b = draw(0, (4,)), draw(1, (4,)), 0.3
    sigma = 1 / (1 + np.exp(-(w @ x + b)))
    t = np.asarray(0.7)
    s = 1 / (1 + np.exp(-t))
    np.testing.assert_allclose(grad(functions.sigmoid)(t), s * (1 - s), rtol=1e-14)

    def log_sigma(w: Any) -> Any:
        return array_namespace(w).log(functions.sigmoid(x @ w + b))

    def log_rest(w: Any) -> Any:
        return array_namespace(w).log(1 - functions.sigmoid(x @ w + b))

    np.testing.assert_allclose(grad(log_sigma)(w), x * (1 - sigma), rtol=1e-13)
    np.testing.assert_allclose(grad(log_rest)(w), -x * sigma, rtol=1e-13)
    loss = grad(lambda w: -y * log_sigma(w) - (1 - y) * log_rest(w))
    np.testing.assert_allclose(loss(w), x * (sigma - y), rtol=1e-13)  # without the sign printed once


# --- The network of note 001 ----------------------------------------------------------------------------

INPUTS, AIMS = np.asarray([0.5, -1.0, 2.0]), np.asarray([1.0, -0.5])


def _loss(W: Any, a: Any, V: Any) -> Any:
    """H₁ = ReLU(W·x), H₂ = ReLU(a H₁), Oᵢ = vᵢ H₂ and L = Σ (Oᵢ - yᵢ)²."""
    xp = array_namespace(W)
    outputs = V * functions.relu(a * functions.relu(xp.sum(W * INPUTS)))
    return xp.sum((outputs - AIMS) ** 2)


def test_the_three_derivatives_of_note_001_share_their_upstream_terms():
    W, a, V = np.asarray([1.0, 0.2, 0.4]), np.asarray(0.7), np.asarray([1.5, -0.8])
    dW, da, dV = grad(_loss, (0, 1, 2))(W, a, V)
    first = W @ INPUTS
    second = a * first
    assert first > 0
    upstream = 2 * (V * second - AIMS)  # ∂L/∂Oᵢ, in all of the following
    np.testing.assert_allclose(dV, upstream * second, rtol=1e-14)  # ∂L/∂vᵢ = ∂L/∂Oᵢ ∂Oᵢ/∂vᵢ
    np.testing.assert_allclose(da, sum(upstream * V * first), rtol=1e-14)  # a sum over both outputs
    np.testing.assert_allclose(dW, sum(upstream * V) * a * INPUTS, rtol=1e-14)
    # ∂H₁/∂w₁ is x₁ whatever the other inputs are; they enter through the upstream terms alone.
    hidden = jacobian(lambda w: functions.relu(array_namespace(w).sum(w * INPUTS)))(W)
    assert hidden[0] == INPUTS[0]


def test_cached_derivatives_are_used_once_for_each_edge():
    """Dynamic programming: as many products as edges, fewer than paths times their lengths."""
    made = graph(_loss, np.asarray([1.0, 0.2, 0.4]), np.asarray(0.7), np.asarray([1.5, -0.8]))
    made.backward()
    assert made.counts.products == made.counts.edges
    assert made.counts.products < made.counts.path_products


# --- Functions as nodes (002) ---------------------------------------------------------------------------

M, C = draw(2, (3, 4)), draw(3, (3,))


def _affine(a: Any) -> Any:
    return array_namespace(a).asarray(M) @ a + C  # c in R^n, though the note says c in R


def _curved(b: Any) -> Any:
    xp = array_namespace(b)
    return xp.stack([xp.sin(b[0] * b[1]), b[2] ** 2 * b[0]])


def test_the_derivative_of_an_affine_node_is_its_matrix():
    """b = M a + c: aⱼ + δ changes bᵢ by Mᵢⱼ δ, for any δ."""
    a = draw(4, (4,))
    np.testing.assert_array_equal(jacobian(_affine)(a), M)
    for j in range(4):
        for delta in (1e-3, 1.0, 100.0):
            moved = a + delta * np.eye(4)[j]
            np.testing.assert_allclose(_affine(moved) - _affine(a), M[:, j] * delta, rtol=1e-9)
    np.testing.assert_allclose(_affine(a)[1], sum(M[1, k] * a[k] for k in range(4)) + C[1], rtol=1e-14)


def test_a_small_change_is_passed_on_by_the_partial_derivatives():
    """b + ∂b/∂aⱼ δ, up to terms of the second order in δ."""
    b = draw(5, (3,))
    J = jacobian(_curved)(b)
    for j in range(3):
        errors = [
            abs(_curved(b + delta * np.eye(3)[j]) - (_curved(b) + J[:, j] * delta)).max()
            for delta in (1e-2, 1e-3)
        ]
        assert errors[1] == pytest.approx(errors[0] / 100, rel=0.1, abs=1e-15)


def test_changes_over_all_paths_are_summed():
    """∂cᵢ/∂aⱼ = Σₖ ∂cᵢ/∂bₖ ∂bₖ/∂aⱼ: the Jacobian of a composition is the product of the Jacobians."""
    a = draw(6, (4,))
    whole = jacobian(lambda a: _curved(_affine(a)))(a)
    np.testing.assert_allclose(whole, jacobian(_curved)(_affine(a)) @ M, rtol=1e-13)
    paths = [
        [sum(jacobian(_curved)(_affine(a))[i, k] * M[k, j] for k in range(3)) for j in range(4)]
        for i in (0, 1)
    ]
    np.testing.assert_allclose(whole, paths, rtol=1e-13)


# --- What a gradient costs (003) ------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[64], [64, 64], [32] * 6, [128, 16]])
def test_a_gradient_takes_about_the_time_of_its_function(sizes):
    """Operations of the loss with its gradient are less than four times those of the loss alone."""
    model = nn.MLP(sizes, 10)
    params, state = model.init(0, 64, "numpy", "float64")
    X, y = draw(7, (128, 64)), np.arange(128) % 10

    def loss(flat: Any) -> Any:
        return losses.softmax_cross_entropy(
            model.apply(Variables(Parameters(flat, params.layout), state), X), y
        )

    alone, both = record(loss)(params.flat), record(value_and_grad(loss))(params.flat)
    assert 1 < both.flops / alone.flops < 4


def test_sums_over_paths_grow_exponentially_with_depth_and_backpropagation_does_not():
    """m^L products along all paths against O(V + E) by back propagation (note 000)."""
    naive, shared = [], []
    for layers in (2, 4, 6):
        weights = np.random.default_rng(0).normal(size=(layers, 3, 3))

        def network(x: Any, weights: np.ndarray = weights) -> Any:
            xp = array_namespace(x)
            values = [x[i] for i in range(3)]
            for matrix in weights:
                values = [
                    xp.tanh(sum(float(w) * v for w, v in zip(row, values, strict=True))) for row in matrix
                ]
            return values[0]

        made = graph(network, np.asarray([0.1, 0.2, 0.3]))
        made.backward()
        naive.append(made.counts.paths)
        shared.append(made.counts.products)
    assert naive[1] / naive[0] == naive[2] / naive[1] == 9
    assert shared[2] - shared[1] == shared[1] - shared[0]
