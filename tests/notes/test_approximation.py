"""What networks can approximate and how they are fitted: the second half of note 002."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.notes.networks import with_weights
from xpnet import Trainer, losses, nn, optim
from xpnet.autodiff import check_grads, grad
from xpnet.data import xor_arrays
from xpnet.nn import Variables
from xpnet.parameters import Parameters

# --- Approximation (002) --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function", "activation", "limit"),
    [
        ("x²", np.square, "tanh", 0.02),
        ("sin x", lambda x: np.sin(np.pi * x), "sigmoid", 0.02),
        ("|x|", np.abs, "sigmoid", 0.06),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_three_units_approximate_a_curve(name, function, activation, limit):
    """The pictures of note 002, from Bishop: 3 hidden units, 50 points in [-1, 1]."""
    model = nn.MLP([3], 1, activation=activation)
    x = np.linspace(-1, 1, 50)[:, None]
    y = function(x)
    errors = []
    for seed in range(4):  # the loss is not convex: the best of several starts
        params, state = model.init(seed, 1, "numpy", "float64")

        def objective(flat: Any, layout: Any = params.layout, state: Any = state) -> Any:
            return losses.squared_error(model.apply(Variables(Parameters(flat, layout), state), x), y)

        found = optim.minimize(objective, 3 * params.flat, method="bfgs", max_iterations=1500)
        fitted = Variables(Parameters(found.x, params.layout), state)
        errors.append(abs(model.apply(fitted, x) - y).max())
    assert min(errors) < limit


def test_the_error_of_one_wide_layer_goes_to_zero():
    """The approximation theorem, by construction: a ReLU at each of N equal steps draws the polygon."""
    x = np.linspace(-2, 2, 1001)
    y = np.exp(-x) * np.sin(3 * x)
    errors = []
    for units in (4, 8, 16, 32, 64, 128):
        at = np.linspace(-2, 2, units + 1)
        heights = np.interp(at, x, y)
        slopes = np.diff(heights) / np.diff(at)
        model = nn.MLP([units], 1)
        variables = with_weights(
            model, 1, np.ones(units), -at[:-1], np.diff(slopes, prepend=0.0), [heights[0]]
        )
        errors.append(abs(model.apply(variables, x[:, None])[:, 0] - y).max())
    assert all(later < earlier / 2 for earlier, later in itertools.pairwise(errors[1:]))
    assert errors[-1] < 0.01


def test_deeper_is_more_parameters_and_the_same_definition():
    for hidden, parameters in (([3], 10), ([3, 3], 22), ([7], 22)):
        assert nn.MLP(hidden, 1).init(0, 1, "numpy").params.layout.size == parameters


# --- Fitting the ten parameters (002) -------------------------------------------------------------------


def _three_units() -> tuple[Any, Parameters]:
    model = nn.MLP([3], 1, activation="tanh", bias_init="uniform")
    params, state = model.init(1, 1, "numpy", "float64")
    x = np.linspace(-1, 1, 20)[:, None]

    def objective(flat: Any) -> Any:
        outputs = model.apply(Variables(Parameters(flat, params.layout), state), x)
        return losses.squared_error(outputs, np.sin(3 * x))

    return objective, params


def test_the_network_of_three_units_has_ten_parameters_and_a_differentiable_risk():
    objective, params = _three_units()
    assert dict(params.layout.entries) == {
        "0.weight": (1, 3), "0.bias": (3,), "2.weight": (3, 1), "2.bias": (1,),
    }  # fmt: skip
    assert params.layout.size == 10
    check_grads(objective, (params.flat,))


def test_the_risk_is_not_convex():
    """Exchanging two hidden units changes nothing; the mean of both networks is a worse one."""
    objective, params = _three_units()
    found = optim.minimize(objective, params.flat, method="bfgs", max_iterations=300).x
    exchanged = found.copy()
    for one, other in ((0, 1), (3, 4), (6, 7)):  # weights in, biases, weights out of units 0 and 1
        exchanged[[one, other]] = found[[other, one]]
    assert objective(exchanged) == pytest.approx(objective(found), rel=1e-9)
    assert objective((found + exchanged) / 2) > 2 * objective(found)


def test_convex_functions_of_convex_functions_need_not_be_convex():
    """-u is convex, x² is convex, -(x²) is not."""
    second = grad(grad(lambda x: -(x**2)))(np.asarray(0.3))
    assert second < 0


def test_descents_from_different_starts_end_in_different_minima():
    """Note 002: a bad local minimum, and what to do: run again from another initialization."""
    X, y = xor_arrays(n=200, noise=0.0, seed=0)
    ends = []
    for seed in range(8):
        trainer = Trainer(
            nn.MLP([3], 1, activation="tanh"), "binary_cross_entropy", optim.SGD(1.0), backend="numpy",
            dtype="float64", seed=seed, compile="numpy", progress=False,
        )  # fmt: skip
        ends.append(trainer.fit(X, y, epochs=600, batch_size=None)["loss"][-1])
    assert min(ends) < 0.15
    assert max(ends) > 2 * min(ends)
