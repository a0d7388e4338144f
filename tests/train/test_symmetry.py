"""Units that begin identical: who is warned of, who is not, and that the warning tells the truth."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.train.support import class_data, make
from xpnet import Trainer, nn
from xpnet.train.identical_units import identical_units

X, Y = class_data(24)
ONES = {"weight_init": "constant"}
RAMP = {"weight_init": lambda key, shape: np.arange(shape[0] * shape[1], dtype=float).reshape(shape)}


def rows_of(value):
    """An initializer of equal columns that differ in their entries."""
    return lambda key, shape: np.repeat(np.arange(1.0, shape[0] + 1)[:, None] * value, shape[1], axis=1)


# model, the layers whose units are identical
CASES = {
    "random": (nn.MLP([5, 4], 3), []),
    "ones": (nn.MLP([5, 4], 3, **ONES), ["0", "2"]),
    "zeros": (nn.MLP([5], 3, weight_init="zeros"), ["0"]),
    "sigmoid": (nn.MLP([5], 3, activation="sigmoid", **ONES), ["0"]),
    "equal columns": (
        nn.Sequential(nn.Dense(4, weight_init=rows_of(0.1)), nn.Tanh(), nn.Dense(3, **ONES)), ["0"]
    ),
    "linear": (nn.Dense(3, weight_init="zeros"), []),
    "linear in a list": (nn.Sequential(nn.Dense(3, weight_init="zeros")), []),
    "one hidden unit": (nn.MLP([1], 3, **ONES), []),
    "random outgoing": (nn.Sequential(nn.Dense(4, **ONES), nn.ReLU(), nn.Dense(3)), []),
    "random incoming": (nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(3, weight_init="zeros")), []),
    "random biases": (nn.MLP([4], 3, bias_init="normal", **ONES), []),
    "constant biases": (nn.MLP([4], 3, bias_init="constant", **ONES), ["0"]),
    "no biases": (nn.Sequential(nn.Dense(4, bias=False, **ONES), nn.Dense(3, **ONES)), ["0"]),
    "distinct weights": (nn.Sequential(nn.Dense(4, **RAMP), nn.Dense(3, **ONES)), []),
    "batch norm": (nn.MLP([4], 3, batch_norm=True, **ONES), ["0"]),
    "layer norm": (nn.Sequential(nn.Dense(4, **ONES), nn.LayerNorm(), nn.Dense(3, **ONES)), ["0"]),
    "dropout": (nn.MLP([4], 3, dropout=0.5, **ONES), []),
    "dropout of the inputs": (nn.Sequential(nn.Dropout(0.5), nn.MLP([4], 3, **ONES)), ["1.0"]),
    "nested": (
        nn.Sequential(nn.Sequential(nn.Dense(4, **ONES), nn.ReLU()), nn.Sequential(nn.Dense(3, **ONES))),
        ["0.0"],
    ),
    "the middle one": (
        nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(3, **ONES), nn.ReLU(), nn.Dense(3, **ONES)), ["2"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_which_layers(name):
    model, expected = CASES[name]
    assert identical_units(model, model.init(0, 3, "numpy", "float64").params) == expected


def test_on_every_backend(backend):
    for model, expected in (CASES["ones"], CASES["random"], CASES["batch norm"]):
        assert identical_units(model, model.init(0, 3, backend).params) == expected


@pytest.mark.parametrize("name", sorted(name for name in CASES if CASES[name][1]))
def test_identical_units_stay_so(name):
    model, layers = CASES[name]
    trainer = make(model=model)
    trainer.fit(X, Y, epochs=3, batch_size=7)
    if model is CASES["zeros"][0]:
        assert not trainer.variables.params["0.weight"].any()
    for layer in layers:
        weight = trainer.variables.params[f"{layer}.weight"]
        np.testing.assert_allclose(weight, np.repeat(weight[:, :1], weight.shape[1], axis=1), rtol=1e-9)


def test_dropout_makes_them_differ():
    trainer = make(model=CASES["dropout"][0])
    trainer.fit(X, Y, epochs=3, batch_size=7)
    weight = trainer.variables.params["0.weight"]
    assert np.abs(weight - weight[:, :1]).max() > 1e-3


def test_the_warning_comes_once_and_names_layer_and_remedy(caplog, tmp_path):
    trainer = make(model=CASES["ones"][0])
    with caplog.at_level(logging.WARNING, "xpnet"):
        trainer.fit(X, Y, epochs=1)
        trainer.fit(X, Y, epochs=2)
        trainer.save(tmp_path)
        Trainer.load(tmp_path, "numpy").fit(X, Y, epochs=3)
    (record,) = caplog.records
    assert "layer 0 (5 units), 2 (4 units)" in record.getMessage()
    assert "glorot_uniform" in record.getMessage()


def test_no_warning_for_others(caplog):
    with caplog.at_level(logging.WARNING, "xpnet"):
        for name in ("random", "linear", "linear in a list", "one hidden unit"):
            make(model=CASES[name][0]).fit(X, Y, epochs=1)
    assert not caplog.records


def test_noise_makes_them_differ_and_silences_the_warning(caplog):
    trainer = make(model=CASES["ones"][0], gradient_noise=0.1)
    with caplog.at_level(logging.WARNING, "xpnet"):
        trainer.fit(X, Y, epochs=2, batch_size=7)
    weight = trainer.variables.params["0.weight"]
    assert np.abs(weight - weight[:, :1]).max() > 1e-6
    assert not caplog.records
