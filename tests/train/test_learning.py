"""Every loss, optimizer and layer learns inside a trainer, and predicts in the targets' own terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make, value_data
from xpnet import Trainer, losses, nn, optim
from xpnet.errors import ConfigError
from xpnet.nn.activations import ACTIVATIONS

X, LABELS = class_data(30)
BINARY = (LABELS > 0).astype(int)
ONE_HOT = np.eye(3)[LABELS]
SOFT = 0.8 * ONE_HOT + 0.2 / 3
VALUES = value_data(30)[1]
PAIRS = value_data(30, outputs=2)[1]
COUNTS = np.floor(4 * np.abs(VALUES))


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, targets that fit it, and what predictions look like."""

    loss: str
    targets: np.ndarray
    outputs: int
    predicted: tuple[int, ...]  # shape behind the batch
    among: tuple[int, ...] = ()  # values that predictions take
    probabilities: int = 0  # columns; 0: none
    form: str = ""

    def __str__(self) -> str:
        return f"{self.loss}-{self.form or 'labels'}"


CASES = [
    Case("squared_error", VALUES, 1, (), form="values"),
    Case("squared_error", VALUES[:, None], 1, (), form="column"),
    Case("squared_error", np.rint(3 * VALUES).astype(np.int64), 1, (), form="whole-numbers"),
    Case("squared_error", PAIRS, 2, (2,), form="pairs"),
    Case("absolute_error", VALUES, 1, (), form="values"),
    Case("absolute_error", PAIRS, 2, (2,), form="pairs"),
    Case("huber", VALUES, 1, (), form="values"),
    Case("huber", PAIRS, 2, (2,), form="pairs"),
    Case("binary_cross_entropy", BINARY, 1, (), (0, 1), 2),
    Case("binary_cross_entropy", BINARY[:, None], 1, (), (0, 1), 2, form="column"),
    Case("binary_cross_entropy", BINARY == 1, 1, (), (0, 1), 2, form="booleans"),
    Case("binary_cross_entropy", 0.8 * BINARY + 0.1, 1, (), (0, 1), 2, form="probabilities"),
    Case("binary_cross_entropy", ONE_HOT, 3, (3,), (0, 1), 3, form="several"),
    Case("softmax_cross_entropy", LABELS, 3, (), (0, 1, 2), 3),
    Case("softmax_cross_entropy", LABELS[:, None], 3, (), (0, 1, 2), 3, form="column"),
    Case("softmax_cross_entropy", LABELS.astype(float), 3, (), (0, 1, 2), 3, form="whole-floats"),
    Case("softmax_cross_entropy", LABELS.astype(np.uint8), 3, (), (0, 1, 2), 3, form="uint8"),
    Case("softmax_cross_entropy", BINARY == 1, 2, (), (0, 1), 2, form="booleans"),
    Case("softmax_cross_entropy", ONE_HOT, 3, (), (0, 1, 2), 3, form="one-hot"),
    Case("softmax_cross_entropy", ONE_HOT.astype(int), 3, (), (0, 1, 2), 3, form="whole-one-hot"),
    Case("softmax_cross_entropy", SOFT, 3, (), (0, 1, 2), 3, form="probabilities"),
    Case("hinge", 2 * BINARY - 1, 1, (), (-1, 1), form="signs"),
    Case("hinge", 2.0 * BINARY[:, None] - 1, 1, (), (-1, 1), form="column"),
    Case("hinge", 2 * ONE_HOT - 1, 3, (3,), (-1, 1), form="several"),
    Case("multiclass_hinge", LABELS, 3, (), (0, 1, 2)),
    Case("multiclass_hinge", ONE_HOT, 3, (), (0, 1, 2), form="one-hot"),
    Case("kl_divergence", LABELS, 3, (), (0, 1, 2), 3),
    Case("kl_divergence", SOFT, 3, (), (0, 1, 2), 3, form="probabilities"),
    Case("symmetric_kl", LABELS, 3, (), (0, 1, 2), 3),
    Case("symmetric_kl", SOFT, 3, (), (0, 1, 2), 3, form="probabilities"),
    Case("poisson", COUNTS, 1, (), form="counts"),
    Case("poisson", COUNTS.astype(int)[:, None], 1, (), form="whole-column"),
]


def test_every_loss_is_tested_here():
    assert {case.loss for case in CASES} == set(losses.LOSSES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses(case, dtype):
    model = nn.MLP([8], case.outputs, activation="tanh")
    trainer = make(model=model, loss=case.loss, dtype=dtype, restore_best=False)
    history = trainer.fit(X, case.targets, epochs=25, batch_size=7, validation=(X, case.targets))
    assert history["loss"][-1] < 0.9 * history["loss"][0] or history["loss"][-1] < 0.01
    assert history["validation_loss"][-1] == trainer.evaluate(X, case.targets)["loss"]

    predicted = trainer.predict(X)
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (30, *case.predicted)
    outputs = np.asarray(trainer.outputs(X))
    if case.among:
        assert predicted.dtype == np.int64
        assert set(np.unique(predicted)) <= set(case.among)
        truth = case.targets
        if truth.ndim == 2 and predicted.ndim == 1:
            truth = truth[:, 0] if truth.shape[1] == 1 else truth.argmax(1)
        assert np.mean(predicted == (np.rint(truth) if case.loss != "hinge" else truth)) > 0.8
    elif case.loss == "poisson":
        np.testing.assert_allclose(predicted, np.exp(outputs[:, 0]), rtol=1e-5)
    else:
        assert predicted.dtype == dtype
        assert np.array_equal(predicted, outputs[:, 0] if not case.predicted else outputs)

    if not case.probabilities:
        with pytest.raises(ConfigError, match=f"predict_proba: expected a loss with prob.*found {case.loss}"):
            trainer.predict_proba(X)
        return
    probabilities = trainer.predict_proba(X)
    assert probabilities.shape == (30, case.probabilities)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if case.form == "several":
        assert np.array_equal((probabilities > 0.5).astype(int), predicted)
        return
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=1), predicted)


def test_probabilities_by_hand():
    trainer = make()
    trainer.fit(X, LABELS, epochs=3)
    z = np.asarray(trainer.outputs(X))
    np.testing.assert_allclose(
        trainer.predict_proba(X), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-12
    )
    trainer = make(model=nn.MLP([5], 1), loss="binary_cross_entropy")
    trainer.fit(X, BINARY, epochs=3)
    positive = 1 / (1 + np.exp(-np.asarray(trainer.outputs(X))[:, 0]))
    np.testing.assert_allclose(trainer.predict_proba(X), np.stack([1 - positive, positive], 1), rtol=1e-12)


# ------------------------------------------------------------------------------------- optimizers
OPTIMIZERS: dict[str, Any] = {
    "sgd": [optim.SGD(0.3), optim.SGD(0.1, momentum=0.9), optim.SGD(0.1, momentum=0.9, nesterov=True)],
    "adagrad": [optim.AdaGrad(0.3)],
    "adadelta": [optim.AdaDelta()],
    "rmsprop": [optim.RMSProp(0.02)],
    "adam": [optim.Adam(0.05), optim.Adam(optim.WarmUp(optim.Cosine(0.1, steps=90), steps=10))],
    "adamw": [optim.AdamW(0.05, weight_decay=0.01)],
}


def test_every_optimizer_is_tested_here():
    assert set(OPTIMIZERS) == {
        name for name in optim.base.OPTIMIZERS if name in OPTIMIZERS or "sign" not in name
    }


@pytest.mark.parametrize("optimizer", [o for row in OPTIMIZERS.values() for o in row], ids=repr)
def test_optimizers(optimizer, tmp_path):
    model = nn.MLP([6], 3, activation="tanh", dropout=0.1, batch_norm=True)
    straight, parts = (make(model=model, optimizer=optimizer, metrics=["accuracy"]) for _ in range(2))
    history = straight.fit(X, LABELS, epochs=20, batch_size=7)
    assert history["loss"][-1] < history["loss"][0]
    assert history["accuracy"][-1] > 0.5
    parts.fit(X, LABELS, epochs=2, batch_size=7)
    parts.save(tmp_path)
    parts = Trainer.load(tmp_path, "numpy")
    assert parts.optimizer == optimizer
    parts.fit(X, LABELS, epochs=20, batch_size=7)
    assert_same_training(straight, parts)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizers_by_name(name):
    trainer = make(optimizer=name)
    trainer.fit(X, LABELS, epochs=1)
    assert trainer.optimizer == optim.get(name)


# ----------------------------------------------------------------------------------------- layers
LAYERS: dict[str, Any] = {
    "Dense": nn.Dense(4, bias=False),
    "Dropout": nn.Dropout(0.25),
    "BatchNorm": nn.BatchNorm(momentum=0.3),
    "LayerNorm": nn.LayerNorm(),
    "Sequential": nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.1)),
    "LeakyReLU": nn.LeakyReLU(0.2),
    "ELU": nn.ELU(0.5),
    "Scale": nn.Scale(),
    "Embedding": nn.Embedding([3] * 6, 2),
    "PeriodicEmbedding": nn.PeriodicEmbedding(),
    "PiecewiseLinearEmbedding": nn.PiecewiseLinearEmbedding([[-1.0, 0.0, 1.0]] * 6, 2),
    "Columns": nn.Columns(one=(2, nn.Identity()), other=(4, nn.Tanh())),
    "Residual": nn.Residual(nn.ReLU(), nn.Dense(6)),
    "BatchEnsemble": nn.BatchEnsemble(5, 3, input_init="random_signs"),
    "Ensemble": nn.Ensemble(nn.Dense(5), 3),
    "EnsembleDense": nn.EnsembleDense(5, 3),
    "ParametricActivation": nn.ParametricActivation("selu"),
} | {
    name: getattr(nn, name)()
    for name in ["Identity", "ReLU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Sigmoid", "Tanh", "Sign"]
}


def test_every_layer_is_tested_here():
    assert set(LAYERS) == set(nn.__all__) & set(nn.LAYERS)
    assert set(ACTIVATIONS) <= {name.lower() for name in LAYERS}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers(name, tmp_path):
    last = nn.EnsembleDense(3, 3) if LAYERS[name].ensemble else nn.Dense(3)
    model = nn.Sequential(nn.Dense(6), LAYERS[name], last)
    trainer = make(model=model, metrics=["accuracy"])
    history = trainer.fit(X, LABELS, epochs=20, batch_size=7)
    assert history["loss"][-1] < history["loss"][0]
    assert history["accuracy"][-1] > 0.7
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert loaded.model == model
    assert np.array_equal(loaded.predict_proba(X), trainer.predict_proba(X))
    assert np.array_equal(trainer.predict_proba(X), trainer.predict_proba(X))  # no draws outside training


def test_batch_norm_predicts_by_running_statistics():
    model = nn.Sequential(nn.BatchNorm(momentum=0.25), nn.Dense(3))
    trainer = make(model=model)
    trainer.fit(X, LABELS, epochs=2)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(2):
        mean = mean + 0.25 * (X.mean(0) - mean)
        variance = variance + 0.25 * (X.var(0, ddof=1) - variance)
    state = trainer.variables.state["0"]
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(state["variance"], variance, rtol=1e-12)
    p = trainer.variables.params
    normal = (X - mean) / np.sqrt(variance + 1e-5) * p["0.scale"] + p["0.shift"]
    np.testing.assert_allclose(trainer.outputs(X), normal @ p["1.weight"] + p["1.bias"], rtol=1e-9)
    assert np.array_equal(trainer.predict(X[:1]), trainer.predict(X)[:1])


def test_measuring_after_an_epoch_leaves_the_statistics_alone():
    with_it, without = (make(model=nn.MLP([4], 3, batch_norm=True, dropout=0.2)) for _ in range(2))
    with_it.fit(X, LABELS, epochs=2, batch_size=7, validation=(X, LABELS))
    with_it.evaluate(X, LABELS)
    without.fit(X, LABELS, epochs=2, batch_size=7)
    assert np.array_equal(flat(with_it), flat(without))
    assert np.array_equal(with_it.variables.state["1"]["mean"], without.variables.state["1"]["mean"])


# --------------------------------------------------------------------------- of the user's own making
def test_a_loss_of_the_users_own_gets_targets_as_they_are():
    seen = []

    def likelihood(outputs, targets, *, sample_weight=None):
        from xpnet.autodiff.functions import log_softmax
        from xpnet.backends import array_namespace

        seen.append((targets.dtype, targets.shape, sample_weight is None))
        chosen = np.eye(3)[targets]
        xp = array_namespace(outputs)
        return -xp.sum(log_softmax(outputs) * chosen) * (1 / targets.shape[0])

    trainer, reference = make(loss=likelihood), make()
    for one in (trainer, reference):
        one.fit(X, LABELS, epochs=2, batch_size=10)
    assert set(seen) == {(np.dtype("int64"), (10,), True)}
    np.testing.assert_allclose(flat(trainer), flat(reference), rtol=1e-9)
    assert trainer.predict(X).shape == (30, 3)  # values, as far as anyone knows
    likelihood.targets = "classes"
    assert np.array_equal(trainer.predict(X), reference.predict(X))


def test_an_optimizer_without_a_name_and_a_layer_of_the_users_own():
    @dataclasses.dataclass(frozen=True)
    class Descent(optim.Optimizer):
        learning_rate: float = 0.3
        slots = ()

        def rule(self, g, slots, p, learning_rate, step):
            return p - learning_rate * g, ()

    @dataclasses.dataclass(frozen=True)
    class _Scaled(nn.Layer):
        factor: float = 2.0

        def forward(self, params, state, x, *, training, key):
            return x * self.factor, state

    trainer = make(model=nn.Sequential(_Scaled(3.0), nn.Dense(3)), optimizer=Descent())
    other = make(model=nn.Sequential(_Scaled(3.0), nn.Dense(3)), optimizer=optim.SGD(0.3))
    for one in (trainer, other):
        one.fit(X, LABELS, epochs=3)
    assert np.array_equal(flat(trainer), flat(other))
