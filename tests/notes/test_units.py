"""What units can do: notes 000 and 001 (section 1), and the first half of note 002."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from scripts.experiments.initialization import best_line
from tests.notes.networks import with_weights
from tests.support import draw
from xpnet import Trainer, losses, nn, optim
from xpnet.autodiff import grad, jacobian
from xpnet.backends import array_namespace
from xpnet.data import xor_arrays
from xpnet.nn import Variables
from xpnet.parameters import Parameters

# --- Piecewise linear functions (001) -------------------------------------------------------------------


def test_a_piecewise_linear_function_has_a_unit_at_each_hinge():
    """The example of note 001, whose second term has to be max(0, x - 3): it is printed with 2."""
    model = nn.MLP([5], 1)
    variables = with_weights(
        model, 1, [[1, 1, -1, -1, 2]], [-2, -3, 6, 5, -12], [[1], [-1], [1], [-1], [1]], [-1]
    )
    x = np.linspace(0, 8, 161)
    drawn = np.interp(x, [0, 2, 3, 5, 6, 8], [0, 0, 1, 1, 0, 4])
    np.testing.assert_allclose(model.apply(variables, x[:, None])[:, 0], drawn, atol=1e-12)
    # The note says that up to 3 the function is max(0, x - 2); with the printed term it would be 0 there.
    printed = with_weights(
        model, 1, [[1, 1, -1, -1, 2]], [-2, -2, 6, 5, -12], [[1], [-1], [1], [-1], [1]], [-1]
    )
    early = x[x <= 3][:, None]
    np.testing.assert_allclose(model.apply(variables, early), np.maximum(0, early - 2), atol=1e-12)
    np.testing.assert_allclose(model.apply(printed, early), 0, atol=1e-12)


def test_a_unit_in_the_plane_is_a_ramp():
    """f(x₁, x₂) = max(0, 2x₁ + 3x₂): flat on one side of a line, of slope (2, 3) on the other."""
    model = nn.Sequential(nn.Dense(1, bias=False), nn.ReLU())
    variables = with_weights(model, 2, [2, 3])
    x = draw(0, (50, 2))
    height = model.apply(variables, x)[:, 0]
    np.testing.assert_allclose(height, np.maximum(0, 2 * x[:, 0] + 3 * x[:, 1]))
    slopes = grad(lambda x: array_namespace(x).sum(model.apply(variables, x)))(x)
    np.testing.assert_allclose(slopes, np.where(height[:, None] > 0, [2.0, 3.0], 0.0))


# --- More units than points (000) -----------------------------------------------------------------------


def _sweep(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[nn.Layer, Variables, np.ndarray]:
    """Return the note's network: a unit for each point, all in the direction w, one after the other."""
    along = x @ w
    order = np.argsort(along)
    epsilon = np.diff(along[order]).min()
    biases, outer = [], []
    for i in order:
        biases.append(epsilon - along[i])  # ⟨w, xᵢ⟩ + bᵢ = ε, and at most 0 at the points before
        before = sum(a * max(0.0, along[i] + b) for a, b in zip(outer, biases, strict=False))
        outer.append((y[i] - before) / epsilon)
    model = nn.MLP([len(x)], 1)
    return model, with_weights(model, len(w), np.tile(w[:, None], len(x)), biases, outer, [0]), order


def test_as_many_relu_units_as_points_fit_any_values():
    x, y = draw(1, (12, 3)), draw(2, (12,))
    w = draw(3, (3,))
    model, variables, order = _sweep(x, y, w / np.linalg.norm(w))
    np.testing.assert_allclose(model.apply(variables, x)[:, 0], y, rtol=1e-9, atol=1e-9)
    # What comes later leaves earlier points alone.
    params = variables.params.flat.copy()
    params[-2] += 100.0  # the outer weight of the last unit
    moved = model.apply(Variables(Parameters(params, variables.params.layout), {}), x)[:, 0]
    assert [i for i in order if abs(moved[i] - y[i]) > 1e-6] == [order[-1]]


def test_points_have_to_be_apart_in_the_direction_of_the_sweep():
    """Points ε apart can have equal projections: then no line tells them apart, and ε is 0 for that w."""
    x = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    with np.errstate(all="ignore"):
        model, variables, _ = _sweep(x, np.asarray([1.0, 2.0, 3.0]), np.asarray([1.0, 0.0]))
        assert not np.allclose(model.apply(variables, x)[:, 0], [1, 2, 3])
    w = np.asarray([np.cos(0.3), np.sin(0.3)])
    model, variables, _ = _sweep(x, np.asarray([1.0, 2.0, 3.0]), w)
    np.testing.assert_allclose(model.apply(variables, x)[:, 0], [1, 2, 3], rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_training_fits_random_labels_and_learns_nothing(seed):
    """More units than points solve ERM whatever the labels; a bound on the test error by VC says nothing."""
    model, draws = nn.MLP([40], 1), np.random.default_rng(seed)
    X, t = draws.normal(size=(20, 5)), draws.choice([-1.0, 1.0], 20)
    X_new, t_new = draws.normal(size=(2000, 5)), draws.choice([-1.0, 1.0], 2000)
    params, state = model.init(seed, 5, "numpy", "float64")

    def objective(flat: Any) -> Any:
        outputs = model.apply(Variables(Parameters(flat, params.layout), state), X)
        return losses.squared_error(outputs, t)

    found = optim.minimize(objective, params.flat, method="l-bfgs")
    assert found.fun < 1e-8
    fitted = Variables(Parameters(found.x, params.layout), state)
    assert (np.sign(model.apply(fitted, X)[:, 0]) == t).all()
    assert np.mean(np.sign(model.apply(fitted, X_new)[:, 0]) == t_new) == pytest.approx(0.5, abs=0.05)


# --- Features (002) -------------------------------------------------------------------------------------


def _accuracy_of_linear_model(features: np.ndarray, y: np.ndarray) -> float:
    trainer = Trainer(
        nn.Dense(1), "binary_cross_entropy", optim.SGD(1.0), backend="numpy", dtype="float64",
        metrics=["accuracy"], progress=False,
    )  # fmt: skip
    return trainer.fit(features, y, epochs=200, batch_size=None)["accuracy"][-1]


def test_a_linear_model_of_features_solves_what_no_linear_model_of_inputs_does():
    """f(x) = wᵀφ(x) with φ(x) = (x₁, x₂, x₁x₂), a polynomial kernel's features."""
    X, y = xor_arrays(n=200, noise=0.0, seed=0)
    assert _accuracy_of_linear_model(X, y) <= best_line(X, y) < 0.75
    assert _accuracy_of_linear_model(np.column_stack([X, X[:, 0] * X[:, 1]]), y) > 0.97


def test_intermediate_models_of_their_own_inputs():
    """The restaurant of note 002: food (3 inputs), walkable (1) and noise (2), and a linear predictor."""
    parts = {"food": slice(0, 3), "walkable": slice(3, 4), "noisy": slice(4, 6)}
    models = [nn.MLP([4], 1, activation="tanh") for _ in parts]
    variables = [
        model.init(i, part.stop - part.start, "numpy", "float64")
        for i, (model, part) in enumerate(zip(models, parts.values(), strict=True))
    ]
    w = np.asarray([1.0, 0.5, -2.0])

    def features(x: Any) -> Any:
        columns = [
            model.apply(v, x[:, part])
            for model, v, part in zip(models, variables, parts.values(), strict=True)
        ]
        return array_namespace(x).concat(columns, axis=1)

    x = draw(4, (1, 6))
    J = jacobian(features)(x)[0, :, 0, :]
    for row, part in zip(J, parts.values(), strict=True):
        outside = np.ones(6, dtype=bool)
        outside[part] = False
        assert row[part].all()
        assert not row[outside].any()
    total = grad(lambda x: array_namespace(x).sum(features(x) @ w))(x)
    np.testing.assert_allclose(total[0], w @ J, rtol=1e-12)


# --- Logical gates (002) --------------------------------------------------------------------------------

LIGHTS = np.asarray([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
EQUAL = np.asarray([True, False, False, True])


def _fires(weights: Any, thresholds: Any, inputs: np.ndarray) -> np.ndarray:
    """Return 1 where the weighted sum reaches the threshold: a perceptron of the sign function."""
    model = nn.Sequential(nn.Dense(len(thresholds)), nn.Sign())
    return (model.apply(with_weights(model, 2, weights, -np.asarray(thresholds)), inputs) >= 0).astype(float)


def _separable(points: np.ndarray, fires: np.ndarray) -> bool:
    scipy = pytest.importorskip("scipy.optimize", reason="SciPy is not installed: no linear programs")
    # sign · (w·x - θ) ≥ 1 has a solution (w, θ) where, scaled, w·x ≥ θ on one side and < θ on the other has.
    sign = np.where(fires, 1.0, -1.0)[:, None]
    rows = -sign * np.column_stack([points, -np.ones(len(points))])
    found = scipy.linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(len(points)), bounds=(None, None))
    return found.status == 0


def test_a_perceptron_detects_light_in_both_places():
    sums = LIGHTS @ [1.0, 1.0]
    assert sums.tolist() == [0, 1, 1, 2]
    assert _fires([[1], [1]], [2], LIGHTS)[:, 0].tolist() == [0, 0, 0, 1]
    assert _separable(LIGHTS, sums >= 2)


def test_no_perceptron_detects_equal_lights_and_two_layers_do():
    """The tables of note 002: hidden inputs, hidden outputs and output, and what has become separable."""
    assert not _separable(LIGHTS, EQUAL)
    inner = np.asarray([[1.0, -1.0], [1.0, -1.0]])
    assert (LIGHTS @ inner).tolist() == [[0, 0], [1, -1], [1, -1], [2, -2]]
    hidden = _fires(inner, [2, 0], LIGHTS)
    assert hidden.tolist() == [[0, 1], [0, 0], [0, 0], [1, 0]]
    assert _fires([[1], [1]], [1], hidden)[:, 0].tolist() == [1, 0, 0, 1]
    assert _separable(hidden, EQUAL)


def test_the_sign_function_teaches_nothing_to_what_is_before_it():
    """Note 002: not differentiable at 0, and its derivative is 0 elsewhere; sigmoid functions have slopes."""
    X, y = xor_arrays(n=50, seed=0)
    for activation, learns in (("sign", False), ("sigmoid", True), ("tanh", True)):
        model = nn.MLP([4], 1, activation=activation)
        params, state = model.init(0, 2, "numpy", "float64")
        gradient = grad(
            lambda p, m=model, s=state: losses.binary_cross_entropy(m.apply(Variables(p, s), X), y)
        )(params)
        assert gradient["2.weight"].any()
        assert bool(gradient["0.weight"].any()) is learns


def test_relu_is_faster_than_tanh_and_so_is_its_derivative():
    x = draw(5, (300_000,))

    def seconds(name: str, derivative: bool) -> float:
        function = nn.activation(name).function
        run = grad(lambda x: array_namespace(x).sum(function(x))) if derivative else function
        run(x)
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            run(x)
            times.append(time.perf_counter() - begun)
        return min(times)

    for derivative in (False, True):
        assert seconds("relu", derivative) < seconds("tanh", derivative)
