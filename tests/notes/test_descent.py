"""What the notes say of descent: 002 (non-convex optimization) and 004 (19.123, 19.125 and 19.126)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from scripts.experiments.gaussians import two_gaussians
from tests.support import draw
from xpnet import Trainer, losses, nn, optim, record
from xpnet.autodiff import grad, hessian
from xpnet.backends import array_namespace
from xpnet.nn import Variables
from xpnet.parameters import Parameters


def _descend(optimizer: optim.Optimizer, gradients: Any, start: Any, steps: int) -> np.ndarray:
    """Return all points of a descent, (steps + 1, ...)."""
    x = np.asarray(start, dtype="float64")
    state, points = optimizer.init(x), [x]
    for step in range(steps):
        x, state = optimizer.update(gradients(x, step), state, x)
        points.append(x)
    return np.stack(points)


# --- Update rules (004, 19.123.2) -----------------------------------------------------------------------


def test_momentum_takes_larger_steps_in_a_constant_direction_and_smaller_ones_where_it_changes():
    """Δθ = η g + γ Δθ: steps tend to η g/(1 - γ), and to η g/(1 + γ) where g changes its sign each time."""
    optimizer = optim.SGD(0.1, momentum=0.9)
    constant = np.diff(_descend(optimizer, lambda x, step: np.ones(1), [0.0], 300)[:, 0])
    assert constant[-1] == pytest.approx(-0.1 / (1 - 0.9), rel=1e-9)
    turning = np.diff(_descend(optimizer, lambda x, step: (-1.0) ** step * np.ones(1), [0.0], 300)[:, 0])
    assert abs(turning[-1]) == pytest.approx(0.1 / (1 + 0.9), rel=1e-9)


@pytest.mark.parametrize("curvature", [1.0, 10.0])
def test_classical_momentum_carries_beyond_the_minimum_and_nesterovs_slows_down(curvature):
    beyond = {}
    for nesterov in (False, True):
        optimizer = optim.SGD(0.02, momentum=0.9, nesterov=nesterov)
        path = _descend(optimizer, lambda x, step: curvature * x, [1.0], 300)[:, 0]
        beyond[nesterov] = -path.min()
        assert abs(path[-1]) < 1e-3
    assert beyond[True] < 0.9 * beyond[False]
    assert beyond[False] > 0.2


def test_adam_has_the_settings_of_algorithm_1():
    assert dataclasses.asdict(optim.Adam()) == {
        "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8,
    }  # fmt: skip


def test_adaptive_methods_have_a_rate_for_each_dimension():
    """Gradients a thousand times as large in one dimension: the first steps are equally long."""
    for optimizer in (optim.AdaGrad(0.1), optim.AdaDelta(), optim.RMSProp(0.01), optim.Adam(0.1)):
        step = np.diff(
            _descend(optimizer, lambda x, _: np.asarray([1.0, 1000.0]), [0.0, 0.0], 1)[:, :], axis=0
        )
        assert step[0, 0] == pytest.approx(step[0, 1], rel=1e-3)
    plain = np.diff(_descend(optim.SGD(0.1), lambda x, _: np.asarray([1.0, 1000.0]), [0.0, 0.0], 1), axis=0)
    assert plain[0, 1] == pytest.approx(1000 * plain[0, 0])


# --- Second order (004, 19.125) -------------------------------------------------------------------------


def _curved(x: Any) -> Any:
    xp = array_namespace(x)
    return xp.exp(x[0]) + 2 * x[1] ** 2 + xp.sin(x[0] * x[1]) + x[0] ** 4


START = np.asarray([0.6, -0.4])


def test_the_expansion_of_second_order_has_a_half():
    """J(θ₀) + Δᵀ∇J + ½ ΔᵀHΔ is right up to the third order; the note's, without ½, only up to the second."""
    gradient, H = grad(_curved)(START), hessian(_curved)(START)
    errors = {0.5: [], 1.0: []}
    for size in (1e-1, 1e-2):
        step = size * np.asarray([0.8, 0.6])
        for factor, found in errors.items():
            found.append(
                abs(_curved(START + step) - _curved(START) - step @ gradient - factor * step @ H @ step)
            )
    assert errors[0.5][0] / errors[0.5][1] == pytest.approx(1000, rel=0.5)
    assert errors[1.0][0] / errors[1.0][1] == pytest.approx(100, rel=0.5)


def test_the_newton_step_minimizes_the_expansion_with_the_half():
    """With it ∇J + HΔ = 0 and Δ = -H⁻¹∇J, as printed; without it Δ would be half as long."""
    gradient, H = grad(_curved)(START), hessian(_curved)(START)
    assert np.linalg.eigvalsh(H)[0] > 0
    expansion = grad(lambda d, factor: gradient @ d + factor * (d @ (H @ d)))
    step = -np.linalg.solve(H, gradient)
    np.testing.assert_allclose(expansion(step, 0.5), 0, atol=1e-13)
    np.testing.assert_allclose(expansion(step / 2, 1.0), 0, atol=1e-13)
    quadratic = START + step - np.linalg.solve(H, gradient + H @ step)
    np.testing.assert_allclose(quadratic, START + step, rtol=1e-12)  # a second step changes nothing


def test_newtons_step_ascends_where_the_curvature_is_negative_and_damping_mends_it():
    """(H + αI)⁻¹∇J descends once α is above -λ_min, and tends to ∇J/α: gradient descent at rate 1/α."""

    def saddle(x: Any) -> Any:
        return x[0] ** 2 - x[1] ** 2 + x[1] ** 4

    x = np.asarray([0.4, 0.2])
    gradient, H = grad(saddle)(x), hessian(saddle)(x)
    values, vectors = np.linalg.eigh(H)
    assert values[0] < 0
    newton = -np.linalg.solve(H, gradient)
    assert (vectors[:, 0] @ newton) * (vectors[:, 0] @ gradient) > 0  # uphill along that eigenvector
    damped = -np.linalg.solve(H + (1.0 - values[0]) * np.eye(2), gradient)
    assert gradient @ damped < 0
    assert (vectors[:, 0] @ damped) * (vectors[:, 0] @ gradient) < 0
    for alpha in (1e3, 1e6):
        step = -np.linalg.solve(H + alpha * np.eye(2), gradient)
        np.testing.assert_allclose(step, -gradient / alpha, rtol=10 / alpha)


def test_a_hessian_costs_as_many_gradients_as_there_are_parameters():
    """One product with H, the price of a few gradients, for each of N columns."""
    ratios, X, y = [], draw(2, (30, 3)), draw(3, (30,))
    for hidden in (4, 8, 16):
        model = nn.MLP([hidden], 1, activation="tanh")
        params, state = model.init(0, 3, "numpy", "float64")

        def loss(flat: Any, model: Any = model, layout: Any = params.layout, state: Any = state) -> Any:
            return losses.squared_error(model.apply(Variables(Parameters(flat, layout), state), X), y)

        once, whole = (record(f(loss))(params.flat).flops for f in (grad, hessian))
        ratios.append(whole / once / params.layout.size)
    assert max(ratios) < 4
    assert max(ratios) / min(ratios) < 1.5


# --- Vanishing, exploding, flat and steep (002, and 004, 19.126.1) --------------------------------------


def _gradient_norms(
    activation: str, scale: float = 1.0, layers: int = 20, weight_init: Any = None
) -> np.ndarray:
    """Return the norm of the loss's gradient with respect to the weights of each layer."""
    options = {} if weight_init is None else {"weight_init": weight_init}
    model = nn.MLP([32] * layers, 10, activation=activation, **options)
    params, state = model.init(0, 32, "numpy", "float64")
    params = type(params)(scale * params.flat, params.layout)
    X, y = draw(0, (64, 32)), np.arange(64) % 10
    gradient = grad(lambda p: losses.squared_error(model.apply(Variables(p, state), X), np.eye(10)[y]))(
        params
    )
    return np.asarray([np.linalg.norm(gradient[name]) for name in gradient if name.endswith("weight")])


def test_gradients_vanish_through_sigmoids_and_not_through_relus():
    """Each sigmoid has a slope of at most 1/4. Note 002: for flat regions use ReLU instead."""
    vanished, kept = _gradient_norms("sigmoid"), _gradient_norms("relu")
    assert vanished[0] < 1e-8 * vanished[-1]
    assert (np.diff(np.log(vanished[:-1])) > 0).all()  # layer by layer
    assert 1e-2 < kept[0] / kept[-1] < 1e2


def test_gradients_explode_with_large_weights():
    exploded, kept = _gradient_norms("relu", scale=10.0), _gradient_norms("relu")
    assert exploded.min() > 1e15 * kept.max()


def test_glorots_variance_keeps_signals_and_gradients_in_size():
    """2 / (fan-in + fan-out): smaller weights let signals die out, larger ones saturate units."""
    glorot = _gradient_norms("tanh", weight_init="glorot_uniform")
    small = _gradient_norms("tanh", weight_init={"name": "normal", "std": 0.02})
    assert 1e-2 < glorot[0] / glorot[-2] < 1e2
    assert small[:-1].max() < 1e-8 * glorot[:-1].min()
    X, sizes = draw(1, (200, 32)), {}
    for name, initializer in (("glorot", "glorot_normal"), ("large", {"name": "normal", "std": 1.0})):
        model = nn.MLP([32] * 20, 1, activation="tanh", weight_init=initializer)
        variables = model.init(0, 32, "numpy", "float64")
        hidden = nn.Sequential(*list(model)[:-1])
        layout = variables.params.layout
        inner = type(layout)(layout.entries[:-2])
        outputs = hidden.apply(
            Variables(type(variables.params)(variables.params.flat[: inner.size], inner), {}), X
        )
        sizes[name] = np.mean(abs(outputs) > 0.99)
    assert sizes["glorot"] == 0
    assert sizes["large"] > 0.4


def test_a_cliff_throws_descent_far_away_and_a_bound_on_the_gradient_does_not():
    """w multiplied by itself 30 times, as in a recurrent network: L = (w³⁰ - 1)²."""

    def gradient(w: np.ndarray, _: int) -> np.ndarray:
        return grad(lambda w: array_namespace(w).sum((w**30 - 1) ** 2))(w)

    assert gradient(np.asarray([1.2]), 0)[0] > 1e5
    thrown = _descend(optim.SGD(1e-3), gradient, [1.2], 1)[-1, 0]
    assert abs(thrown) > 100
    bounded = _descend(
        optim.SGD(1e-3), lambda w, step: optim.clip_by_norm(gradient(w, step), 1.0), [1.2], 400
    )[-1, 0]
    assert bounded == pytest.approx(1.0, abs=2e-3)


def test_noise_leaves_a_saddle_point_where_descent_without_it_stays():
    """Note 002: SGD does not often end at a saddle point. x² - y² + y⁴ has one at 0, minima at y = ±1/√2."""

    def gradient(x: np.ndarray, _: int) -> np.ndarray:
        return np.stack([2 * x[..., 0], -2 * x[..., 1] + 4 * x[..., 1] ** 3], axis=-1)

    stuck = _descend(optim.SGD(0.05), gradient, [1.0, 0.0], 500)[-1]
    np.testing.assert_allclose(stuck, 0, atol=1e-12)
    draws = np.random.default_rng(0)
    noisy = _descend(
        optim.SGD(0.05), lambda x, step: gradient(x, step) + 0.01 * draws.normal(size=x.shape),
        np.tile([1.0, 0.0], (200, 1)), 500,
    )[-1]  # fmt: skip
    np.testing.assert_allclose(abs(noisy[:, 1]), np.sqrt(0.5), atol=0.05)


# --- Termination (004, 19.123.3) ------------------------------------------------------------------------


def test_long_training_overfits_and_early_stopping_ends_before():
    """When the validation loss goes up again while the training loss falls on, training is stopped."""
    data = two_gaussians(train=30, test=500)
    y, y_test = ((t + 1) / 2 for t in (data.t, data.t_test))

    def trained(**options: Any) -> Trainer:
        trainer = Trainer(
            nn.MLP([20], 1, activation="tanh"), "binary_cross_entropy", optim.Adam(0.05), backend="numpy",
            dtype="float64", compile="numpy", progress=False, **options,
        )  # fmt: skip
        trainer.fit(data.X, y, epochs=300, batch_size=None, validation=(data.X_test, y_test))
        return trainer

    whole, stopped = trained(), trained(patience=10)
    validation = whole.history["validation_loss"]
    lowest = int(np.argmin(validation))
    assert validation[-1] > 1.5 * validation[lowest]
    assert whole.history["loss"][-1] < 0.5 * whole.history["loss"][lowest]
    assert len(stopped.history) < 100
    assert stopped.best.epoch == lowest + 1
    assert stopped.evaluate(data.X_test, y_test)["loss"] == pytest.approx(validation[lowest])
