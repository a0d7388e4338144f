"""Derivatives of solutions: against closed forms, finite differences, dense linear algebra and JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import xpnet
from tests.support import draw, host, relative_error, widest
from xpnet import optim
from xpnet.autodiff import check_grads, grad, hessian, implicit, jacobian, jvp, value_and_grad, vmap
from xpnet.backends import Backend, array_namespace, backend_of
from xpnet.errors import ConfigError, RecordError
from xpnet.parameters import Layout, Parameters

X, Y = draw(1, (12, 4)), draw(2, (12,))
W, B = 0.3 * draw(3, (4, 4)), draw(4, (4,))
PENALTY = np.asarray(0.7)


def _limit(backend: Backend) -> float:
    return 1e-8 if widest(backend) == "float64" else 2e-3


def _on(backend: Backend, *arrays: np.ndarray) -> Any:
    made = [backend.asarray(x, dtype=widest(backend)) for x in arrays]
    return made if len(made) > 1 else made[0]


# --- Solvers, none of which can be differentiated ----------------------------------------------------


def ridge_loss(w: Any, penalty: Any, x: Any, y: Any) -> Any:
    error = x @ w - y
    return error @ error + penalty * (w @ w)


@implicit.minimum(ridge_loss)
def ridge(init: Any, penalty: Any, x: Any, y: Any) -> Any:
    backend, a = backend_of(x), host(x)
    w = np.linalg.solve(a.T @ a + float(penalty) * np.eye(a.shape[1]), a.T @ host(y))
    return backend.asarray(w, dtype=x.dtype)


def layer(x: Any, w: Any, b: Any) -> Any:
    return array_namespace(x, w, b).tanh(w @ x + b)


def _equilibrium(init: Any, w: Any, b: Any) -> Any:
    x = np.zeros(b.shape)
    for _ in range(200):
        x = np.tanh(host(w) @ x + host(b))
    return backend_of(w).asarray(x, dtype=w.dtype)


equilibrium = implicit.fixed_point(layer)(_equilibrium)


def cubic(x: Any, a: Any) -> Any:
    return x**3 + x - a


@implicit.root(cubic)
def cubic_root(init: Any, a: Any) -> Any:
    return scipy.optimize.brentq(lambda x: cubic(x, float(a)), -10, 10, xtol=1e-14)


# --- Truths ------------------------------------------------------------------------------------------


def _ridge_slopes(penalty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return w, w' = -(XᵀX + λ)⁻¹ w and w'' = 2 (XᵀX + λ)⁻² w."""
    inverse = np.linalg.inv(X.T @ X + penalty * np.eye(4))
    w = inverse @ X.T @ Y
    return w, -inverse @ w, 2 * inverse @ inverse @ w


def test_ridge_regression_by_the_penalty_in_both_modes_and_twice(backend: Backend) -> None:
    penalty, x, y = _on(backend, PENALTY, X, Y)
    w, slope, curvature = _ridge_slopes(0.7)

    def f(penalty: Any) -> Any:
        return ridge(None, penalty, x, y)

    assert relative_error(f(penalty), w) < _limit(backend)
    assert relative_error(jacobian(f)(penalty), slope) < _limit(backend)
    assert relative_error(jacobian(f, mode="forward")(penalty), slope) < _limit(backend)
    made, pushed = jvp(f, (penalty,), (penalty,))
    assert relative_error(made, w) < _limit(backend)
    assert relative_error(pushed, 0.7 * slope) < _limit(backend)
    second = jacobian(jacobian(f, mode="forward"))(penalty)
    assert relative_error(second, curvature) < _limit(backend)
    assert relative_error(grad(lambda y: ridge(None, penalty, x, y)[0])(y), _ridge_by_y()) < _limit(backend)


def _ridge_by_y() -> np.ndarray:
    return np.linalg.solve(X.T @ X + 0.7 * np.eye(4), X.T)[0]


def test_a_fixed_point_by_weights_and_bias(backend: Backend) -> None:
    w, b = _on(backend, W, B)
    x = host(equilibrium(None, w, b))
    slope = np.diag(1 - x**2)  # of tanh
    by_b = np.linalg.solve(np.eye(4) - slope @ W, slope)
    limit = _limit(backend)
    assert relative_error(jacobian(equilibrium, argnums=2)(None, w, b), by_b) < limit
    assert relative_error(jacobian(equilibrium, argnums=2, mode="forward")(None, w, b), by_b) < limit
    by_w, _ = grad(lambda w, b: equilibrium(None, w, b)[1], argnums=(0, 1))(w, b)
    assert relative_error(by_w, np.outer(by_b[1], x)) < limit
    if widest(backend) == "float64":
        check_grads(lambda w, b: equilibrium(None, w, b), (w, b))


def test_a_root_by_scipy_up_to_the_third_derivative(backend: Backend) -> None:
    a = _on(backend, np.asarray(2.0))  # where x = 1, x' = 1/4
    first = grad(cubic_root, argnums=1)
    second = grad(lambda a: first(None, a))
    limit = _limit(backend)
    assert relative_error(first(None, a), np.asarray(1 / 4)) < limit
    assert relative_error(second(a), np.asarray(-6 / 4**3)) < limit
    assert relative_error(grad(second)(a), np.asarray(-6 / 4**4 + 108 / 4**5)) < limit
    many = _on(backend, np.asarray([2.0, 10.0]))
    mapped = vmap(lambda a: first(None, a))(many)
    assert relative_error(mapped, np.asarray([1 / 4, 1 / 13])) < limit


def test_the_penalty_that_validation_chooses(backend: Backend) -> None:
    penalty, x, y = _on(backend, PENALTY, X, Y)
    held_x, held_y = _on(backend, draw(5, (9, 4)), draw(6, (9,)))

    def validation(penalty: Any) -> Any:
        w = ridge(None, penalty, x, y)
        xp = array_namespace(w)
        error = xp.subtract(xp.matmul(held_x, w), held_y)
        return error @ error

    w, slope, curvature = _ridge_slopes(0.7)
    error, direction = host(held_x) @ w - host(held_y), host(held_x) @ slope
    found = value_and_grad(validation)(penalty)[1]
    assert relative_error(found, np.asarray(2 * error @ direction)) < _limit(backend)
    want = 2 * direction @ direction + 2 * error @ host(held_x) @ curvature
    assert relative_error(hessian(validation)(penalty), np.asarray(want)) < 10 * _limit(backend)


def test_containers_whole_numbers_and_parameters() -> None:
    def loss(w: Any, theta: Any, settings: Any) -> Any:
        xp = array_namespace(w["slope"], theta["x"])
        error = xp.take(theta["x"], settings["columns"], axis=1) @ w["slope"] + w["offset"] - theta["y"]
        return error @ error + settings["factor"] * theta["penalty"] * (w["slope"] @ w["slope"])

    @implicit.minimum(loss)
    def fit(init: Any, theta: Any, settings: Any) -> Any:
        return optim.minimize(lambda w: loss(w, theta, settings), init, tolerance=1e-11, method="newton").x

    init = {"slope": np.zeros(2), "offset": np.asarray(0.0)}
    theta = {"x": np.asarray(X), "y": np.asarray(Y), "penalty": PENALTY}
    settings = {"columns": np.asarray([2, 0]), "factor": 2.0}
    made = grad(lambda theta: fit(init, theta, settings)["offset"])(theta)
    design = np.concatenate([X[:, [2, 0]], np.ones((12, 1))], axis=1)
    inverse = np.linalg.inv(design.T @ design + np.diag([1.4, 1.4, 0.0]))
    w = inverse @ design.T @ Y
    np.testing.assert_allclose(made["y"], (inverse @ design.T)[2], rtol=1e-8)
    np.testing.assert_allclose(made["penalty"], -2 * inverse[2, :2] @ w[:2], rtol=1e-8)
    assert not made["x"][:, [1, 3]].any()
    assert made["x"].any()


def test_parameters_transforms_in_any_order_and_compiled_functions() -> None:
    params = Parameters(0.2 * draw(10, (6,)), Layout((("weight", (2, 2)), ("bias", (2,)))))
    step = implicit.fixed_point(lambda x, p: layer(x, p["weight"], p["bias"]))

    @step
    def settled(init: Any, p: Any) -> Any:
        return _equilibrium(init, p["weight"], p["bias"])

    def f(p: Any) -> Any:
        return settled(None, p)[1]

    slope = grad(f)(params)
    assert type(slope) is Parameters
    by_weight, by_bias = grad(lambda w, b: equilibrium(None, w, b)[1], argnums=(0, 1))(
        params["weight"], params["bias"]
    )
    np.testing.assert_allclose(slope["weight"], by_weight, rtol=1e-9)
    np.testing.assert_allclose(slope["bias"], by_bias, rtol=1e-9)

    def by_bias_of(b: Any) -> Any:
        return jacobian(lambda b: equilibrium(None, W, b))(b)

    rows = draw(11, (3, 4))
    want = np.stack([by_bias_of(row) for row in rows])
    np.testing.assert_allclose(vmap(by_bias_of)(rows), want, rtol=1e-9)
    whole = jacobian(vmap(lambda b: equilibrium(None, W, b)))(rows)
    np.testing.assert_allclose(whole[range(3), :, range(3)], want, rtol=1e-9)

    compiled = xpnet.compile(grad(lambda w, b: equilibrium(None, w, b)[0], argnums=1))
    compiled(np.zeros((4, 4)), B)  # where one product suffices
    np.testing.assert_allclose(compiled(W, rows[0]), want[0][0], rtol=1e-9)


def test_a_nonsmooth_minimum_is_a_fixed_point_of_the_proximal_step() -> None:
    rate = 0.9 / np.linalg.norm(X.T @ X, 2)

    def step(w: Any, penalty: Any) -> Any:
        xp = array_namespace(w, penalty)
        moved = w - rate * (xp.asarray(X.T) @ (xp.asarray(X) @ w - xp.asarray(Y)))
        return xp.sign(moved) * xp.maximum(xp.abs(moved) - rate * penalty, xp.zeros_like(moved))

    @implicit.fixed_point(step)
    def lasso(init: Any, penalty: Any) -> Any:
        for _ in range(3000):
            init = step(init, penalty)
        return init

    penalty = np.asarray(1.5)
    w = lasso(np.zeros(4), penalty)
    kept = w != 0
    assert 0 < kept.sum() < 4
    want = np.zeros(4)
    want[kept] = -np.linalg.solve(X[:, kept].T @ X[:, kept], np.sign(w[kept]))
    np.testing.assert_allclose(jacobian(lasso, argnums=1)(np.zeros(4), penalty), want, rtol=1e-8, atol=1e-12)


def test_the_start_has_no_derivative_and_may_be_mapped() -> None:
    @implicit.root(lambda x, a: x**2 - a)
    def square_root(init: Any, a: Any) -> Any:
        for _ in range(50):
            init = (init + a / init) / 2
        return init

    both = grad(square_root, argnums=(0, 1))(np.asarray(1.0), np.asarray(4.0))
    np.testing.assert_allclose(both, [0.0, 0.25])
    starts = np.asarray([1.0, -1.0])  # to the one root and to the other
    slopes = vmap(grad(square_root, argnums=1), in_axes=(0, None))(starts, np.asarray(4.0))
    np.testing.assert_allclose(slopes, [0.25, -0.25])


def test_as_jax_differentiates_the_dense_solution() -> None:
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    np_of, start = jax.numpy, _equilibrium(None, W, B)

    def dense(w: Any, b: Any) -> Any:
        x = np_of.asarray(start)
        for _ in range(2):  # Newton's steps from the solution: its derivatives are exact up to the second
            image = np_of.tanh(w @ x + b)
            x = x - np_of.linalg.solve(np_of.eye(4) - (1 - image**2)[:, None] * w, x - image)
        return np_of.sum(x**3)

    def both(w: Any, b: Any) -> Any:
        return jax.grad(dense, argnums=(0, 1))(w, b), jax.hessian(dense, argnums=1)(w, b)

    with jax.enable_x64(True):
        want, want_second = jax.jit(both)(np_of.asarray(W), np_of.asarray(B))

    def f(w: Any, b: Any) -> Any:
        return array_namespace(w, b).sum(equilibrium(None, w, b) ** 3)

    for g, want_g in zip(grad(f, argnums=(0, 1))(W, B), want, strict=True):
        np.testing.assert_allclose(g, want_g, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(hessian(f, argnums=1)(W, B), want_second, rtol=1e-7, atol=1e-9)


# --- Linear systems ----------------------------------------------------------------------------------

N = 120  # more than GMRES keeps vectors
MATRICES = {
    "cg": np.diag(np.linspace(1.0, 50.0, N)) + np.ones((N, N)) / N,
    "gmres": 3 * np.eye(N) + draw(7, (N, N)) / 10,
    "skew": np.kron(np.eye(N // 2), np.asarray([[0.0, 2.0], [-2.0, 0.0]])),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_linear_systems_of_many_unknowns(kind: str, backend: Backend) -> None:
    A, b, g = MATRICES[kind], draw(8, (N,)), draw(9, (N,))
    linear = "cg" if kind == "cg" else "gmres"
    a, right, left = _on(backend, A, b, g)

    @implicit.root(lambda x, a, b: a @ x - b, linear=linear)
    def solution(init: Any, a: Any, b: Any) -> Any:
        return backend_of(b).asarray(np.linalg.solve(host(a), host(b)), dtype=b.dtype)

    u = np.linalg.solve(A.T, g)
    by_a, by_b = grad(lambda a, b: solution(None, a, b) @ left, argnums=(0, 1))(a, right)
    assert relative_error(by_b, u) < _limit(backend)
    assert relative_error(by_a, -np.outer(u, np.linalg.solve(A, b))) < _limit(backend)


def test_cotangents_as_small_as_numbers_get() -> None:
    tiny = np.asarray(1e-30, dtype=np.float32)
    made = grad(lambda a: tiny * cubic_root(None, a))(np.asarray(2.0, dtype=np.float32))
    np.testing.assert_allclose(made, 0.25e-30, rtol=1e-4)


def test_a_linear_solver_of_the_users_own() -> None:
    asked: list[int] = []

    def dense(product: Any, b: Any) -> Any:
        asked.append(b.shape[0])
        return np.linalg.solve(np.stack([product(e) for e in np.eye(4)], axis=1), b)

    mine = implicit.fixed_point(layer, linear=dense)(_equilibrium)
    want = jacobian(equilibrium, argnums=2, mode="forward")(None, W, B)
    np.testing.assert_allclose(jacobian(mine, argnums=2)(None, W, B), want, rtol=1e-8)
    assert set(asked) == {4}


# --- Refusals ----------------------------------------------------------------------------------------

ONE = np.asarray([1.0, 2.0])


def _slope(made: Any, theta: Any = ONE) -> Any:
    return grad(lambda a: array_namespace(a).sum(made(None, a)))(theta)


def _keep(init: Any, a: Any) -> Any:
    return a * 1.0


REFUSALS: dict[str, tuple[Any, str]] = {
    "too few products": (
        lambda: grad(lambda b: implicit.fixed_point(layer, steps=2)(_equilibrium)(None, W, b)[0])(B),
        r"fixed_point of layer: expected a solution .* found the relative residual .* at most 2 products",
    ),
    "singular": (
        lambda: _slope(implicit.root(lambda x, a: 0 * x + a)(_keep)),
        "relative residual 1.0e[+]00 by gmres, with at most 1000 products.*only where A = ∂F/∂x is regular",
    ),
    "singular in one direction": (
        lambda: _slope(implicit.root(lambda x, a: (x - a) * np.asarray([1.0, 0.0]))(_keep)),
        "relative residual .* by gmres",
    ),
    "a saddle": (
        lambda: _slope(
            implicit.minimum(lambda x, a: (x - a) @ ((x - a) * np.asarray([1.0, -1.0])))(_keep),
        ),
        "expected a positive definite matrix, .* found the curvature 0.0e[+]00",
    ),
    "a poor solver of the user's": (
        lambda: _slope(implicit.root(lambda x, a: x - a, linear=lambda product, b: 2 * b)(_keep)),
        "relative residual 1.0e[+]00 by the solver given",
    ),
    "another shape": (
        lambda: _slope(implicit.root(lambda x, a: (x - a)[:1])(_keep)),
        r"expected a result like the solution, shape \(2,\), found shape \(1,\)",
    ),
    "a pair": (
        lambda: _slope(implicit.root(lambda x, a: x - a)(lambda init, a: (a, 3))),
        "expected floating arrays as the solver's result.*return the solution alone",
    ),
    "complex": (lambda: _slope(implicit.root(_keep)(_keep), ONE * 1j), "expected real arrays, .*complex128"),
    "a solver that looks outside": (
        lambda: grad(lambda a: implicit.root(lambda x, b: x - a)(lambda init, b: a * 1.0)(None, ONE)[0])(ONE),
        "a traced array from outside.*pass it as an argument",
    ),
    "a condition that looks outside": (
        lambda: jvp(lambda a: implicit.root(lambda x, b: x * b - a)(_keep)(None, 2 * a), (ONE,), (ONE,)),
        "a traced array from outside.*pass it as an argument",
    ),
    "an option": (
        lambda: grad(lambda a: cubic_root(None, np.asarray(2.0), tolerance=[a]))(np.asarray(1.0)),
        "root of cubic: expected options that are constants, found a traced array as tolerance=",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_mistakes_are_named(name: str) -> None:
    run, message = REFUSALS[name]
    with pytest.raises(RecordError, match=message):
        run()


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="root of cubic: expected linear to be 'cg', 'gmres' or a function"):
        implicit.root(cubic, linear="gmress")
    with pytest.raises(ConfigError, match="tolerance"):
        implicit.root(cubic, tolerance=-1.0)
    with pytest.raises(ConfigError, match="steps"):
        implicit.minimum(ridge_loss, steps=0)
