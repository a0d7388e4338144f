"""Sparse predictions equal dense ones, and need less memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.prune.support import fitted
from tests.support import host, relative_error, tolerance, widest
from tests.train.support import class_data, value_data
from xpnet import Trainer, nn
from xpnet.errors import ConfigError, DataError
from xpnet.nn import BatchNorm, Dense, Dropout, LayerNorm, ReLU, Sequential, Tanh
from xpnet.prune import magnitude_mask, sparse_predictor

MODELS = {
    "mlp": nn.MLP([24, 24], 3),
    "batch norm": nn.MLP([24], 3, batch_norm=True, dropout=0.3, activation="gelu"),
    "nested": Sequential(
        BatchNorm(), Sequential(Dense(20, bias=False), Sequential(LayerNorm(), Tanh())), Dense(3)
    ),
    "linear": Dense(3),
}


class Skipping(Sequential):
    """x + f(x): applies its layers in a way of its own."""

    def forward(self, params, state, x, *, training, key):
        y, state = super().forward(params, state, x, training=training, key=key)
        return x + y, state


MODELS["residual"] = Sequential(Dense(16), Skipping(Dense(16), ReLU(), Dropout(0.1)), Dense(3))


def pruned(model: nn.Layer, **options) -> Trainer:
    trainer = fitted(model=model, epochs=2, **options)
    trainer.set_mask(magnitude_mask(trainer.variables, 0.85, "layer"))
    return trainer


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_equal_the_dense_ones(name, dtype):
    X, _ = class_data(200)
    trainer = pruned(MODELS[name], dtype=dtype)
    predictor = sparse_predictor(trainer)
    outputs = predictor.outputs(X)
    assert outputs.dtype == np.dtype(dtype)
    assert relative_error(outputs, trainer.outputs(X)) < tolerance(dtype)
    np.testing.assert_array_equal(predictor.predict(X), trainer.predict(X))


def test_every_backend(backend):
    X, _ = class_data()
    trainer = Trainer(MODELS["mlp"], "softmax_cross_entropy", backend=backend, dtype=widest(backend))
    trainer.variables, trainer.input_shape = trainer.model.init(0, 3, backend, trainer.dtype), (3,)
    trainer.set_mask(magnitude_mask(trainer.variables, 0.9))
    outputs = sparse_predictor(trainer).outputs(X)
    assert relative_error(outputs, host(trainer.outputs(X))) < tolerance(trainer.dtype)


@pytest.mark.parametrize(
    ("loss", "outputs"), [("squared_error", 1), ("squared_error", 2), ("poisson", 1), ("huber", 2)]
)
def test_values_are_predicted_through_the_link(loss, outputs):
    X, y = value_data(outputs=outputs)
    trainer = Trainer(nn.MLP([30], outputs), loss, backend="numpy", dtype="float64")
    trainer.fit(X, np.abs(y), epochs=2)
    trainer.set_mask(magnitude_mask(trainer.variables, 0.9))
    predictions = sparse_predictor(trainer).predict(X)
    assert predictions.shape == trainer.predict(X).shape
    np.testing.assert_allclose(predictions, trainer.predict(X), rtol=1e-12)


def test_many_rows_are_computed_in_parts():
    X = np.tile(class_data()[0], (400, 1))
    trainer = pruned(MODELS["mlp"])
    assert relative_error(sparse_predictor(trainer).outputs(X), trainer.outputs(X)) < 1e-12


def test_memory_is_that_of_the_arrays():
    trainer = pruned(nn.MLP([24, 24], 3), dtype="float32")
    params = trainer.variables.params
    dense = 4 * params.layout.size
    predictor = sparse_predictor(trainer)
    # CSR: value and column of each entry, and where each of the rows, one a unit, begins
    saved = sum(
        4 * size - 8 * int(np.count_nonzero(params[name])) - 4 * (units + 1)
        for name, size, units in [("0.weight", 72, 24), ("2.weight", 576, 24), ("4.weight", 72, 3)]
        if 4 * size > 8 * int(np.count_nonzero(params[name])) + 4 * (units + 1)
    )
    assert predictor.nbytes == dense - saved
    assert predictor.sparse == 3


def test_dense_matrices_stay_dense():
    trainer = fitted()
    predictor = sparse_predictor(trainer)
    assert predictor.sparse == 0
    assert predictor.nbytes == 8 * trainer.variables.params.layout.size


def test_the_weights_are_those_of_its_making():
    X, y = class_data()
    trainer = pruned(MODELS["mlp"], rollback=False)
    predictor, before = sparse_predictor(trainer), np.array(trainer.outputs(X))
    trainer.fit(X, y, epochs=4, batch_size=10)
    assert relative_error(predictor.outputs(X), before) < 1e-12


def test_bad_input():
    predictor = sparse_predictor(pruned(MODELS["mlp"]))
    with pytest.raises(DataError, match=r"expected \(batch, 3\)"):
        predictor.predict(np.ones((4, 2)))
    with pytest.raises(ConfigError, match="expected a trainer that has been trained"):
        sparse_predictor(Trainer(nn.MLP([4], 3), "softmax_cross_entropy", backend="numpy"))


def test_without_scipy(monkeypatch):
    trainer = fitted()
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ConfigError, match=r"expected SciPy, found none .* pip install scipy"):
        sparse_predictor(trainer)
