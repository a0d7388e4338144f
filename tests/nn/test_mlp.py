"""The multilayer perceptron of the lecture notes, written out with matrices, and its derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import losses, nn
from xpnet.autodiff import grad, value_and_grad
from xpnet.backends import Backend, backend_of
from xpnet.backends import backend as open_backend
from xpnet.nn import Variables
from xpnet.parameters import Parameters

SIGMA: dict[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "sign": np.sign,
    "softplus": lambda z: np.log1p(np.exp(z)),
}


@pytest.mark.parametrize(
    ("hidden", "activation"),
    [
        ([], "relu"),
        ([5], "tanh"),
        ([6, 5, 4], "relu"),
        ([3, 7], ["sigmoid", "softplus"]),
        ([4, 4], ["tanh", "sign"]),
    ],
    ids=str,
)
def test_formal_definition(hidden: list[int], activation: Any, backend: Backend) -> None:
    """h⁽ʲ⁾ = σ(W⁽ʲ⁾ h⁽ʲ⁻¹⁾ + b⁽ʲ⁾) for one column x, then an affine map (note 002), batch rows being xᵀ."""
    dtype = widest(backend)
    model = nn.MLP(hidden, 3, activation=activation, bias_init="uniform")
    params, state = model.init(seed=2, input_shape=4, backend=backend, dtype=dtype)
    x = draw(1, (5, 4))
    names = [activation] * len(hidden) if isinstance(activation, str) else activation
    matrices = [
        (host(params[f"{2 * i}.weight"]).T, host(params[f"{2 * i}.bias"])) for i in range(len(hidden) + 1)
    ]
    rows = []
    for column in x.astype(dtype).astype("float64"):
        h = column
        for (w, b), name in zip(matrices, names, strict=False):
            h = SIGMA[name](w @ h + b)
        w, b = matrices[-1]
        rows.append(w @ h + b)
    y = model.apply(Variables(params, state), backend.asarray(x, dtype=dtype))
    assert relative_error(y, np.stack(rows)) < tolerance(dtype)


def test_printed_derivatives_of_the_tanh_network(backend: Backend) -> None:
    """f = c + V σ(b + W X), L = -f_y + log Σ exp f: the derivatives as note 003 prints them."""
    dtype = widest(backend)
    p, hidden, classes, label = 4, 6, 3, 1
    model = nn.MLP([hidden], classes, activation="tanh", bias_init="normal")
    params, state = model.init(seed=5, input_shape=p, backend=backend, dtype=dtype)
    x = draw(3, (1, p))

    def loss(params: Any) -> Any:
        f = model.apply(Variables(params, state), backend.asarray(x, dtype=dtype))
        return losses.softmax_cross_entropy(f, backend.asarray(np.asarray([label])))

    value, gradient = value_and_grad(loss)(params)

    W, b = host(params["0.weight"]).T, host(params["0.bias"])[:, None]
    V, c = host(params["2.weight"]).T, host(params["2.bias"])[:, None]
    X = x.astype(dtype).astype("float64").T
    h = np.tanh(b + W @ X)
    f = c + V @ h
    e = np.eye(classes)[:, [label]]
    dL_df = -e + np.exp(f) / np.exp(f).sum()
    dL_dc, dL_dV = dL_df, dL_df @ h.T
    slope = 1 - np.tanh(b + W @ X) ** 2
    dL_db = slope * (V.T @ dL_df)
    dL_dW = (slope * (V.T @ dL_df)) @ X.T

    limit = 10 * tolerance(dtype)
    assert relative_error(value, np.asarray(-f[label, 0] + np.log(np.exp(f).sum()))) < limit
    assert relative_error(gradient["2.bias"], dL_dc[:, 0]) < limit
    assert relative_error(gradient["2.weight"], dL_dV.T) < limit
    assert relative_error(gradient["0.bias"], dL_db[:, 0]) < limit
    assert relative_error(gradient["0.weight"], dL_dW.T) < limit


def test_matrix_form_of_one_affine_layer() -> None:
    """dX = dY Wᵀ, dW = Xᵀ dY, db = Σ dY."""
    layer = nn.Dense(3)
    params, state = layer.init(seed=0, input_shape=4, backend="numpy", dtype="float64")
    x, dY = draw(1, (5, 4)), draw(2, (5, 3))

    def inner(params: Any, x: Any) -> Any:
        y = layer.apply(Variables(params, state), x)
        return y.__array_namespace__().sum(y.__array_namespace__().multiply(y, dY))

    dparams, dX = grad(inner, argnums=(0, 1))(params, x)
    np.testing.assert_allclose(dX, dY @ params["weight"].T, rtol=1e-13)
    np.testing.assert_allclose(dparams["weight"], x.T @ dY, rtol=1e-13)
    np.testing.assert_allclose(dparams["bias"], dY.sum(axis=0), rtol=1e-13)


def test_layers_of_a_linear_network_are_one_affine_map() -> None:
    """Without nonlinearities V W x is B x with B = V W (note 003)."""
    model = nn.MLP([5, 6], 2, activation="identity")
    variables = model.init(seed=0, input_shape=4, backend="numpy", dtype="float64")
    matrices = [variables.params[f"{i}.weight"] for i in (0, 2, 4)]
    x = draw(1, (3, 4))
    np.testing.assert_allclose(model.apply(variables, x), x @ np.linalg.multi_dot(matrices), rtol=1e-12)


def test_equal_weights_stay_equal() -> None:
    """All-equal weights make the units of a layer identical: so are their gradients (note 004)."""
    model = nn.MLP([5], 2, activation="tanh", weight_init={"name": "constant", "value": 0.3})
    params, state = model.init(seed=0, input_shape=4, backend="numpy", dtype="float64")
    x = draw(1, (6, 4))
    gradient = grad(lambda p: losses.squared_error(model.apply(Variables(p, state), x), draw(2, (6, 2))))(
        params
    )
    weight = gradient["0.weight"]
    np.testing.assert_allclose(weight, np.repeat(weight[:, :1], 5, axis=1), rtol=1e-13)


def test_what_an_mlp_is_made_of() -> None:
    model = nn.MLP([8, 4], 2, activation=["relu", nn.Tanh()], dropout=0.2, batch_norm=True)
    kinds = [type(layer).__name__ for layer in model]
    assert kinds == [
        "Dense",
        "BatchNorm",
        "ReLU",
        "Dropout",
        "Dense",
        "BatchNorm",
        "Tanh",
        "Dropout",
        "Dense",
    ]
    assert [layer.units for layer in model if isinstance(layer, nn.Dense)] == [8, 4, 2]
    assert [layer.weight_init for layer in model if isinstance(layer, nn.Dense)] == [
        "he_uniform", "glorot_uniform", "glorot_uniform",
    ]  # fmt: skip
    variables = model.init(seed=0, input_shape=3, backend="numpy")
    assert list(variables.state) == ["1", "5"]
    assert variables.params["4.weight"].shape == (8, 4)


# --- The first step of training is the same everywhere -----------------------------------------------


def _first_step(backend: Backend, dtype: str) -> tuple[Any, Parameters, Parameters]:
    """Return loss, parameters and gradient of the digits' model 64-128-10 at its first batch of 64 rows."""
    model = nn.MLP([128], 10)
    params, state = model.init(seed=0, input_shape=64, backend=backend, dtype=dtype)
    x = backend.asarray(draw(1, (64, 64), 0.0, 16.0).round() / 16, dtype=dtype)
    y = backend.asarray(np.random.default_rng(2).integers(0, 10, 64))
    value, gradient = value_and_grad(
        lambda p: losses.softmax_cross_entropy(model.apply(Variables(p, state), x, training=True)[0], y)
    )(params)
    return value, params, gradient


def test_gradients_of_the_first_step_agree(backend: Backend) -> None:
    """Draws are identical, and gradients agree to 1e-12 in float64, in norm and parameter by parameter."""
    dtype = widest(backend)
    value, params, gradient = _first_step(backend, dtype)
    want, want_params, want_gradient = _first_step(open_backend("numpy"), dtype)
    assert backend_of(gradient.flat).spec == backend.spec
    np.testing.assert_array_equal(host(params.flat), host(want_params.flat))
    assert relative_error(value, want) < tolerance(dtype)
    assert relative_error(gradient.flat, want_gradient.flat) < tolerance(dtype)
    for name in gradient:
        assert relative_error(gradient[name], want_gradient[name]) < tolerance(dtype)


def test_models_and_losses_pass_under_the_strictest_flags() -> None:
    """No boolean indexing, no shapes that depend on values, no extensions of the standard."""
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    with strict.ArrayAPIStrictFlags(
        boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    ):
        value, _, gradient = _first_step(open_backend("array_api_strict"), "float64")
    want, _, want_gradient = _first_step(open_backend("numpy"), "float64")
    assert relative_error(value, want) < 1e-12
    assert relative_error(gradient.flat, want_gradient.flat) < 1e-12
