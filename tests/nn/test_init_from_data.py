"""Initializers that depend on data: pytabkit's, layer after layer, and the same on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import draw, host
from xpnet import nn, rng
from xpnet.backends import Backend
from xpnet.nn import init

X = draw(3, (50, 6), -1.0, 2.0) * np.asarray([1.0, 10.0, 0.1, 1.0, 1.0, 0.0])
DATA = {"weight_init": "unit_variance", "bias_init": "he+5"}
NTK = {"parametrization": "ntk", **DATA}
MODEL = nn.Sequential(
    nn.Sequential(nn.Dense(40, **NTK), nn.ParametricActivation("mish")),
    nn.Dropout(0.5),
    nn.Dense(30, **DATA),
    nn.SELU(),
    nn.Dense(2, bias=False, weight_init="unit_variance"),
)


def test_each_dense_has_outputs_of_variance_1_and_kinks_among_the_data() -> None:
    drawn = MODEL.init(0, 6, backend="numpy", dtype="float64")
    params = MODEL.init_from_data(drawn, X, 0).params
    x = X
    for name in ("0.0", "2", "4"):
        layer = nn.Dense(1, **NTK) if name == "0.0" else nn.Dense(1)
        y = x @ params[f"{name}.weight"] * layer.gain(x.shape[1])
        np.testing.assert_allclose(y.std(axis=0), 1.0, rtol=1e-12)
        if name != "4":
            bias = params[f"{name}.bias"]
            assert (y.min(axis=0) < -bias).all()
            assert (-bias < y.max(axis=0)).all()
            assert len(np.unique(bias)) == len(bias)
            x = nn.Mish().function(y + bias) if name == "0.0" else nn.SELU().function(y + bias)
    np.testing.assert_array_equal(params["0.1.activation"], 1.0)
    assert params.layout == drawn.params.layout


def test_other_models_stay_as_they_are() -> None:
    model = nn.MLP([5], 2, batch_norm=True)
    drawn = model.init(0, 6, backend="numpy")
    assert model.init_from_data(drawn, X, 0) is drawn
    assert not nn.Dense(2, bias=False, bias_init="he_plus").needs_data


def test_units_of_constant_inputs_keep_their_weights() -> None:
    layer = nn.Dense(3, weight_init="unit_variance")
    drawn = layer.init(0, 2, backend="numpy")
    for constant in (np.ones((5, 2)), np.full((7, 2), 0.3)):  # of which a deviation has rounding errors
        found = layer.init_from_data(drawn, constant, 0)
        np.testing.assert_array_equal(found.params.flat, drawn.params.flat)


def test_every_backend_begins_alike(backend: Backend) -> None:
    want = MODEL.init_from_data(MODEL.init(0, 6, backend="numpy"), X, 0).params
    found = MODEL.init_from_data(MODEL.init(0, 6, backend=backend), X, 0).params
    assert found.flat.dtype == backend.dtype("float32")
    np.testing.assert_array_equal(host(found.flat), want.flat)


def test_a_fit_begins_with_variables_adapted_to_its_training_rows(backend: Backend) -> None:
    rows, y = np.concatenate([X, X + 1e-3]), np.arange(100) % 2
    trainer = xpnet.Trainer(MODEL, "softmax_cross_entropy", backend=backend, compile="off", dtype="float32")
    seen: list[Any] = []

    class Begin(xpnet.train.Callback):
        def on_fit_begin(self, trainer: Any, epochs: int) -> None:
            seen.append(host(trainer.variables.params.flat))

    trainer.callbacks.append(Begin())
    trainer.fit(rows, y, epochs=1, validation=(X, y[:50]))
    used = rows.astype("float32")
    want = MODEL.init_from_data(MODEL.init(0, 6, backend="numpy"), used, 0).params.flat
    np.testing.assert_array_equal(seen[0], want)


# --- pytabkit ---------------------------------------------------------------------------------------------


def _pytabkit() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    module = pytest.importorskip("pytabkit.models.nn_models.nn", reason="pytabkit is not installed")
    return torch, module


def test_weights_are_those_of_pytabkit(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, module = _pytabkit()
    from pytabkit.models.data.data import DictDataset, TensorInfo

    layer = nn.Dense(4, parametrization="ntk", weight_init="unit_variance")
    drawn = layer.init(0, 5, backend="numpy", dtype="float64")
    monkeypatch.setattr(torch, "randn", lambda *a, **k: torch.tensor(drawn.params["weight"]))
    x = X[:, :5]
    rows = DictDataset({"x_cont": torch.tensor(x)}, {"x_cont": TensorInfo(feat_shape=[5])})
    made = module.WeightFitter(4, weight_param="ntk", weight_init_mode="std").fit(rows)
    params, state = layer.init_from_data(drawn, x, 0)
    np.testing.assert_allclose(params["weight"], made.weight.detach().numpy(), rtol=1e-12)
    y = layer.apply(nn.Variables(params, state), x) - params["bias"]
    np.testing.assert_allclose(y, made.forward_cont(torch.tensor(x)).detach().numpy(), rtol=1e-12)


def test_biases_are_those_of_pytabkit(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, module = _pytabkit()
    y, key = X[:, :5], rng.key(4)
    adapt = init.adaptation("he+5")
    assert adapt is not None
    found = adapt(key, np.zeros(5), y)
    chosen = (rng.uniform(key.fold("rows"), (5, 5)) * len(y)).astype(int)
    shares = -np.log1p(-rng.uniform(key.fold("shares"), (5, 5)))
    monkeypatch.setattr(torch, "randint", lambda *a, **k: torch.tensor(chosen.T))
    monkeypatch.setattr(
        torch.distributions.Exponential, "sample", lambda self, shape: torch.tensor(shares.T.copy())
    )
    want = module.BiasFitter(bias_init_mode="he+5").heplus_bias(torch.tensor(y), 5)
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-12)
