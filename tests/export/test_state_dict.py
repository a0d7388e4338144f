"""Weights go to PyTorch and come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import xpnet
from tests.nn.layer_cases import CHAIN, chained
from xpnet import export, nn
from xpnet.errors import ConfigError
from xpnet.export.state_dict import MODULES


def trained(model: nn.Layer, loss: str = "squared_error", **options: Any) -> xpnet.Trainer:
    X = np.random.default_rng(0).normal(size=(12, 4))
    trainer = xpnet.Trainer(model, loss, backend="numpy", compile="off", **options)
    trainer.fit(X, np.arange(12) % 3 if loss.startswith("softmax") else X[:, 0], epochs=1, batch_size=4)
    return trainer


ELSEWHERE = {
    nn.Sign, nn.Scale, nn.ParametricActivation, nn.Embedding, nn.PeriodicEmbedding,
    nn.PiecewiseLinearEmbedding, nn.Columns, nn.Residual, nn.BatchEnsemble, nn.EnsembleDense,
    nn.Ensemble,
}  # fmt: skip  # PyTorch has none
LAYERS = [layer for layer in CHAIN if type(layer) not in ELSEWHERE]


@pytest.mark.backends("torch")
def test_pytorch_computes_the_same_with_the_weights_and_gives_them_back(tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file as load_tensors

    every = chained(LAYERS, 3)  # of so many, single precision loses digits
    usual = nn.MLP([5, 4], 3, batch_norm=True)
    for model, dtype, near in ((usual, "float32", 1e-6), (every, "float64", 1e-9)):
        trainer = trained(model, "softmax_cross_entropy", dtype=dtype)
        path = export.torch(trainer, tmp_path / dtype)
        with safe_open(path, "np") as file:
            made = file.metadata()["sequential"]
        module, other = (eval(made, vars(torch.nn)).to(getattr(torch, dtype)) for _ in range(2))
        module.load_state_dict(load_tensors(path), strict=True)
        X = np.random.default_rng(1).normal(size=(9, 4)).astype(dtype)
        with torch.no_grad():
            found = module.eval()(torch.asarray(X)).numpy()
        np.testing.assert_allclose(found, trainer.outputs(X), rtol=0, atol=near)
        # the other way, weights of PyTorch's own, with running means that have moved
        other(torch.asarray(X))
        back = export.from_torch(other.state_dict(), trainer)
        expected = other.eval()(torch.asarray(X)).softmax(1).detach().numpy()
        np.testing.assert_allclose(back.predict_proba(X), expected, rtol=0, atol=near)
        assert back.epoch == 0


def test_what_comes_back_is_the_same(tmp_path: Path) -> None:
    trainer = trained(chained(LAYERS, 1))
    path = export.torch(trainer, tmp_path / "model.safetensors")
    assert trainer.variables is not None
    assert load_file(path)["0.weight"].shape == (4, 4)
    back = export.from_torch(path, trainer)
    np.testing.assert_array_equal(back.variables.params.flat, trainer.variables.params.flat)
    X = np.eye(4)
    np.testing.assert_array_equal(back.predict(X), trainer.predict(X))
    before = trainer.predict(X)
    back.fit(X, np.ones(4), epochs=1)
    assert (back.predict(X) != before).any()
    np.testing.assert_array_equal(trainer.predict(X), before)


def test_every_layer_is_in_the_table_or_named(tmp_path: Path) -> None:
    assert set(MODULES) | {nn.Sequential, *ELSEWHERE} == {
        layer for layer in nn.layer.LAYERS.values() if layer.__module__.startswith("xpnet.")
    }
    with pytest.raises(ConfigError, match="found Sign"):
        export.torch(trained(nn.Sequential(nn.Dense(2), nn.Sign(), nn.Dense(1))), tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("0.bias"), "found no '0.bias'"),
        (lambda w: w.update(other=np.ones(3)), "found 'other'"),
        (lambda w: w.update({"0.bias": np.ones(3)}), r"'0.bias' numbers of shape \(2,\), found shape \(3,\)"),
        (lambda w: w.update({"0.bias": np.asarray([1, np.nan])}), "not finite"),
    ],
)
def test_weights_that_do_not_fit(change: Any, said: str) -> None:
    weights = {"0.weight": np.ones((2, 5)), "0.bias": np.ones(2)}
    weights |= {"1.weight": np.ones((1, 2)), "1.bias": np.ones(1)}
    change(weights)
    with pytest.raises(ConfigError, match=said):
        export.from_torch(weights, xpnet.Trainer(nn.Sequential(nn.Dense(2), nn.Dense(1)), "squared_error"))


def test_a_file_that_is_there_stays_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("mine")
    trainer = trained(nn.Dense(1))
    with pytest.raises(ConfigError, match="exists already; use overwrite=True"):
        export.torch(trainer, path)
    with pytest.raises(ConfigError, match="is no file of safetensors"):
        export.from_torch(path, trainer)
    assert path.read_text() == "mine"
    export.torch(trainer, path, overwrite=True)
    assert set(load_file(path)) == {"weight", "bias"}
    with pytest.raises(ConfigError, match="cannot be read"):
        export.from_torch(tmp_path / "other", trainer)
