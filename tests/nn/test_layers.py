"""Every layer: derivatives to parameters and inputs, the same on every backend, and as PyTorch has them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.nn.layer_cases import BATCH, CASES, FEATURES, KEY, Case, variables_on
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import nn
from xpnet.autodiff import check_grads, vjp
from xpnet.backends import Backend, backend_of
from xpnet.backends import backend as open_backend
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.nn.activations import ACTIVATIONS

# Entries stay away from the kinks at 0, and with the seed so do the hidden units of the models.
INPUTS = draw(14, (BATCH, FEATURES), 0.15, 1.5) * np.where(draw(15, (BATCH, FEATURES)) > 0, 1.0, -1.0)
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_mode = pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])


def _output(case: Case, state: Any, training: bool) -> Any:
    """Return the layer's output as a function of parameters and inputs."""

    def run(params: Any, x: Any) -> Any:
        result = case.layer.apply(Variables(params, state), x, training=training, key=KEY)
        return result[0] if training else result

    return run


def test_every_layer_is_in_the_table() -> None:
    own = {name for name, kind in nn.LAYERS.items() if kind.__module__.startswith("xpnet.")}
    assert {case.name for case in CASES} == own
    assert {kind.__name__ for kind in ACTIVATIONS.values()} <= own
    assert own <= set(nn.__all__)


@every_mode
@every_case
def test_first_and_second_derivatives_match_finite_differences(case: Case, training: bool) -> None:
    params, state = variables_on(open_backend("numpy"), case.layer, "float64")
    check_grads(_output(case, state, training), (params, INPUTS), order=2)


@pytest.mark.parametrize("backend", ["numpy", "array_api_strict:no_float64"], indirect=True)
@every_case
def test_derivatives_in_float32(case: Case, backend: Backend) -> None:
    params, state = variables_on(backend, case.layer, "float32")
    x = backend.asarray(INPUTS, dtype="float32")
    check_grads(
        _output(case, state, True), (params, x), order=1 if backend.name in ("jax", "torch") else 2, seed=1
    )


@every_mode
@every_case
def test_outputs_and_gradients_agree_on_every_backend(case: Case, training: bool, backend: Backend) -> None:
    dtype = widest(backend)
    results = []
    for home, kind in ((open_backend("numpy"), "float64"), (backend, dtype)):
        params, state = variables_on(home, case.layer, kind)
        y, pullback = vjp(_output(case, state, training), params, home.asarray(INPUTS, dtype=kind))
        pulled_params, pulled_x = pullback(home.asarray(draw(5, tuple(y.shape)), dtype=kind))
        results.append((y, pulled_params.flat, pulled_x))
    for got, want in zip(results[1], results[0], strict=True):
        assert str(got.dtype).endswith(dtype)
        assert relative_error(got, want) < 10 * tolerance(dtype)


@every_mode
@pytest.mark.parametrize("case", [c for c in CASES if c.torch is not None], ids=str)
def test_values_and_gradients_match_pytorch(case: Case, training: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    params, state = variables_on(open_backend("numpy"), case.layer, "float64")
    module = case.torch(torch.nn).double().train(training)
    pairs = list(zip(params.layout.names, module.parameters(), strict=True))
    with torch.no_grad():
        for name, parameter in pairs:
            value = torch.tensor(np.asarray(params[name]))
            parameter.copy_(value.T if value.ndim == 2 else value)
        _copy_statistics(torch, module, state)
    x = torch.tensor(INPUTS, requires_grad=True)
    want = module(x)
    u = draw(5, tuple(want.shape))
    want.backward(torch.tensor(u))

    y, pullback = vjp(_output(case, state, training), params, INPUTS)
    pulled_params, pulled_x = pullback(u)
    assert relative_error(y, want.detach().numpy()) < 1e-12
    assert relative_error(pulled_x, x.grad.numpy()) < 1e-11
    for name, parameter in pairs:
        grad = parameter.grad.numpy()
        # The bias before a BatchNorm has no influence: both libraries find rounding errors around zero.
        difference = host(pulled_params[name]) - (grad.T if grad.ndim == 2 else grad)
        assert np.abs(difference).max() < 1e-12, name


def _copy_statistics(torch: Any, module: Any, state: Any) -> None:
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    own = [state] if "mean" in state else list(state.values())
    for norm, values in zip(norms, own, strict=True):
        norm.running_mean.copy_(torch.tensor(values["mean"]))
        norm.running_var.copy_(torch.tensor(values["variance"]))


@every_case
def test_configuration_survives_json(case: Case) -> None:
    written = json.loads(json.dumps(case.layer.to_config()))
    again = nn.from_config(written)
    assert again == case.layer
    assert again.to_config() == case.layer.to_config()
    one, other = (layer.init(seed=5, input_shape=FEATURES, backend="numpy") for layer in (case.layer, again))
    np.testing.assert_array_equal(one.params.flat, other.params.flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_case
def test_init_draws_the_same_on_every_backend(case: Case, dtype: str, backend: Backend) -> None:
    if dtype == "float64" != widest(backend):
        pytest.skip(f"{backend.spec}: no float64 on this device")
    want = case.layer.init(seed=9, input_shape=FEATURES, backend="numpy", dtype=dtype)
    params, state = case.layer.init(seed=9, input_shape=(FEATURES,), backend=backend, dtype=dtype)
    assert backend_of(params.flat).spec == backend.spec
    assert str(params.flat.dtype).endswith(dtype)
    np.testing.assert_array_equal(host(params.flat), host(want.params.flat))
    assert params.layout == want.params.layout
    assert list(state) == list(want.state)


@every_case
def test_shapes(case: Case, backend: Backend) -> None:
    variables = case.layer.init(seed=1, input_shape=FEATURES, backend=backend)
    x = backend.asarray(draw(1, (BATCH, FEATURES)), dtype="float32")
    outputs = case.layer.output_shape((FEATURES,))
    assert tuple(case.layer.apply(variables, x).shape) == (BATCH, *outputs)
    y, state = case.layer.apply(variables, x, training=True, key=KEY)
    assert tuple(y.shape) == (BATCH, *outputs)
    assert list(state) == list(variables.state)


# --- Kinks of the activations ------------------------------------------------------------------------

SLOPES_AT_0 = {
    "ReLU": 0.0,
    "LeakyReLU": 0.01,
    "ELU": 1.0,
    "SELU": 1.7580993408473766,
    "GELU": 0.5,
    "Mish": 0.6,
    "SiLU": 0.5,
    "Softplus": 0.5,
    "Sigmoid": 0.25,
    "Tanh": 1.0,
    "Identity": 1.0,
    "Sign": 0.0,
}


@pytest.mark.parametrize("name", SLOPES_AT_0)
def test_slope_at_zero(name: str, backend: Backend) -> None:
    x = backend.asarray(np.zeros((1, 1)), dtype="float32")
    slope = vjp(nn.LAYERS[name]().function, x)[1](x + 1)[0]
    assert float(slope[0, 0]) == np.float32(SLOPES_AT_0[name])


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_are_finite_for_very_large_inputs(name: str, backend: Backend) -> None:
    assert set(SLOPES_AT_0) == {kind.__name__ for kind in ACTIVATIONS.values()}
    x = backend.asarray(np.asarray([[-1e4, 1e4]]), dtype="float32")
    y, pullback = vjp(nn.activation(name).function, x)
    assert np.all(np.isfinite(host(y)))
    assert np.all(np.isfinite(host(pullback(y * 0 + 1)[0])))


@pytest.mark.parametrize(
    "spec", ["relu", "ReLU", "leaky_relu", "leakyrelu", nn.Tanh(), nn.LeakyReLU(0.3)], ids=str
)
def test_activations_by_name(spec: Any) -> None:
    assert isinstance(nn.activation(spec), nn.Layer)


# --- Bad input ---------------------------------------------------------------------------------------

_VARIABLES = nn.Dense(3).init(0, FEATURES, backend="numpy")
_NORM = nn.BatchNorm().init(0, FEATURES, backend="numpy")
_X = np.ones((2, FEATURES), dtype="float32")
BAD: dict[str, tuple[Any, str]] = {
    "input of another width": (
        lambda: nn.Dense(3).apply(_VARIABLES, _X[:, :2]),
        r"\(batch, 4\) for weights of shape \(4, 3\), found \(2, 2\)",
    ),
    "input as vector": (lambda: nn.Dense(3).apply(_VARIABLES, _X[0]), r"\(batch, 4\).*found \(4,\)"),
    "image rows": (
        lambda: nn.Dense(3).init(0, (8, 8)),
        r"Dense\(3\): .*\(in_features,\), found shape \(8, 8\)",
    ),
    "norm of another width": (
        lambda: nn.BatchNorm().apply(_NORM, _X[:, :3]),
        r"BatchNorm: .*\(batch, 4\), found \(2, 3\)",
    ),
    "norm of images": (lambda: nn.LayerNorm().init(0, (8, 8)), r"LayerNorm: .*found \(8, 8\)"),
    "parametrization": (
        lambda: nn.Dense(3, parametrization="ntkk"),
        "'standard' or 'ntk', found 'ntkk'.*'ntk'",
    ),
    "scale of another width": (
        lambda: nn.Scale().apply(nn.Scale().init(0, FEATURES, backend="numpy"), _X[:, :3]),
        r"Scale: .*\(batch, 4\), found \(2, 3\)",
    ),
    "parametric layer": (
        lambda: nn.ParametricActivation(nn.Dense(3)),
        "expected an activation .*found Dense",
    ),
    "no units": (lambda: nn.Dense(0), "Dense: units: .* at least 1, found 0"),
    "units as text": (lambda: nn.Dense("8"), "found '8'"),
    "one width": (lambda: nn.MLP(8, 2), r"MLP: expected a list of widths.*found 8; write \[8\]"),
    "negative units": (lambda: nn.Dense(-3), "found -3"),
    "fractional units": (lambda: nn.Dense(2.5), "found 2.5"),
    "units as truth": (lambda: nn.Dense(True), "found True"),
    "initializer": (lambda: nn.Dense(3, weight_init="saxe"), "initializer: .*'saxe'"),
    "bias initializer": (lambda: nn.Dense(3, bias_init="ones"), "initializer: .*'ones'"),
    "dropout of all": (lambda: nn.Dropout(1.0), "Dropout: rate: .* below 1, .* found 1.0"),
    "negative dropout": (lambda: nn.Dropout(-0.1), "found -0.1"),
    "dropout as text": (lambda: nn.Dropout("0.1"), "found '0.1'"),
    "dropout NaN": (lambda: nn.Dropout(float("nan")), "found nan"),
    "epsilon": (lambda: nn.BatchNorm(epsilon=0), "BatchNorm: epsilon: .* above 0, found 0"),
    "momentum": (lambda: nn.BatchNorm(momentum=1.5), "BatchNorm: momentum: .* from 0 to 1, found 1.5"),
    "activation": (lambda: nn.activation("rellu"), "did you mean 'relu'"),
    "layer class": (lambda: nn.Sequential(nn.ReLU), "write ReLU\\(\\) rather than ReLU"),
    "input shape": (lambda: nn.ReLU().init(0, 0), "positive sizes of one input row.*found 0"),
    "empty input shape": (lambda: nn.ReLU().init(0, ()), r"found \(\)"),
    "dtype": (lambda: nn.ReLU().init(0, 3, dtype="float16"), "'float32' or 'float64', found 'float16'"),
    "seed": (lambda: nn.ReLU().init(-1, 3), "seed: .*found -1"),
    "unknown layer": (lambda: nn.from_config({"layer": "Dens"}), "did you mean 'Dense'"),
    "name of another layer": (
        lambda: type("Scale", (nn.Layer,), {}),
        "layer Scale: .*call the class OwnScale",
    ),
    "no layer": (lambda: nn.from_config({}), "name of a layer, found None"),
    "unknown setting": (
        lambda: nn.from_config({"layer": "Dense", "unit": 3}),
        "layer Dense: expected its settings.*unit",
    ),
    "missing list": (lambda: nn.from_config({"layer": "Sequential"}), "layer Sequential"),
    "widths and activations": (
        lambda: nn.MLP([3, 3], 2, activation=["relu"]),
        "each of 2 hidden layers, found 1",
    ),
    "negative width": (lambda: nn.MLP([3, -1], 2), "found -1"),
    "own initializer": (
        lambda: nn.Dense(2, weight_init=lambda k, s: np.ones(s)).to_config(),
        "to be written down",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_what_was_found(name: str) -> None:
    run, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        run()


def test_hyperparameters_cannot_be_changed() -> None:
    layer: Any = nn.Dense(3)
    with pytest.raises(AttributeError):
        layer.units = 4


def test_the_batch_axis_of_an_input_shape_is_ignored() -> None:
    for shape in ((None, FEATURES), (-1, FEATURES), [FEATURES], FEATURES):
        assert nn.Dense(2).init(0, shape, backend="numpy").params.layout.entries[0] == (
            "weight",
            (FEATURES, 2),
        )


def test_numbers_of_numpy_are_settings_like_others():
    layers = nn.Sequential(nn.Dense(np.int64(3)), nn.Dropout(np.float32(0.5)), nn.BatchNorm(np.float64(1e-3)))
    assert layers == nn.Sequential(nn.Dense(3), nn.Dropout(0.5), nn.BatchNorm(1e-3))
    assert nn.from_config(json.loads(json.dumps(layers.to_config()))) == layers
