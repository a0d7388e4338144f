"""Ensembles in training and prediction: the mean of the members' losses, and of their predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import losses, nn
from xpnet.autodiff import functions, value_and_grad
from xpnet.backends import Backend
from xpnet.errors import DataError
from xpnet.losses.registry import exponential
from xpnet.parameters import Parameters
from xpnet.train.members import combined
from xpnet.train.objective import StepObjective
from xpnet.train.rows import Rows

X = draw(1, (30, 4))
Y: dict[str, Any] = {
    "values": draw(2, (30, 3)), "counts": np.arange(30) % 5, "classes": np.arange(30) % 3,
    "binary": np.arange(30) % 2, "signs": np.arange(30) % 2 * 2 - 1,
}  # fmt: skip
UNITS = {"values": 3, "classes": 3}


def _model(units: int) -> nn.Sequential:
    first = nn.BatchEnsemble(6, 5, input_init="random_signs")
    return nn.Sequential(first, nn.Tanh(), nn.EnsembleDense(units, 5))


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


LINKS = {functions.softmax: _softmax, functions.sigmoid: lambda z: 1 / (1 + np.exp(-z)), exponential: np.exp}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_predictions_are_means_of_those_of_the_members(name: str, backend: Backend) -> None:
    loss = losses.LOSSES[name]
    units = UNITS.get(loss.targets, 1)
    model, outputs = _model(units), 4 * draw(3, (30, 5, units))
    made = combined(model, loss, backend.asarray(outputs, dtype=widest(backend)))
    link = LINKS.get(loss.link, lambda z: z)
    found = host(loss.link(made))
    assert found.shape == (30, units)
    assert relative_error(found, link(outputs).mean(axis=1)) < 10 * tolerance(widest(backend))


OF_EACH_LINK = ["softmax_cross_entropy", "squared_error", "binary_cross_entropy", "poisson"]


@pytest.mark.parametrize("name", OF_EACH_LINK)
def test_predictions_are_means_weighted_by_the_members_of_each_row(name: str, backend: Backend) -> None:
    loss, dtype = losses.LOSSES[name], widest(backend)
    units = UNITS.get(loss.targets, 1)
    outputs, weight = 4 * draw(3, (30, 5, units)), np.abs(draw(5, (30, 5)))
    weight[:9] = np.eye(5)[np.arange(9) % 5]  # rows out of fold
    made = combined(
        _model(units), loss, backend.asarray(outputs, dtype=dtype), backend.asarray(weight, dtype=dtype)
    )
    share = (weight / weight.sum(axis=1, keepdims=True))[..., None]
    expected = (share * LINKS.get(loss.link, lambda z: z)(outputs)).sum(axis=1)
    assert relative_error(host(loss.link(made)), expected) < 10 * tolerance(dtype)


def test_each_member_is_trained_on_its_folds_and_validated_on_its_own() -> None:
    """As it is alone with these weights: by plain gradient descent."""
    fold, members = np.arange(30) % 6, 3  # half of the rows are out of no member's folds
    own = (fold[:, None] == np.arange(members)).astype(float)
    options: dict[str, Any] = {"backend": "numpy", "dtype": "float64", "metrics": ["accuracy"]}
    fit: dict[str, Any] = {"epochs": 9, "order": "fixed"}

    def made(model: nn.Layer, rate: float) -> xpnet.Trainer:
        trainer = xpnet.Trainer(
            model, "softmax_cross_entropy", xpnet.optim.SGD(rate), restore_best=False, **options
        )
        trainer.begin((4,))
        return trainer

    together = made(nn.Ensemble(nn.MLP([6], 3), members), 1.5)
    begun = {name: x.copy() for name, x in together.variables.params.items()}
    last = together.fit(X, Y["classes"], sample_weight=1 - own, validation=(X, Y["classes"], own), **fit)
    held_out, found = fold < members, np.empty((30, 3))
    for number in range(members):
        alone = made(nn.MLP([6], 3), 0.5)
        for name, x in alone.variables.params.items():
            x[...] = begun[name][number]
        alone.fit(X, Y["classes"], sample_weight=1 - own[:, number], **fit)
        found[fold == number] = alone.outputs(X)[fold == number]
    loss = losses.softmax_cross_entropy(found[held_out], Y["classes"][held_out])
    assert last.rows[-1]["validation_loss"] == pytest.approx(float(loss), rel=1e-9)
    assert last.rows[-1]["validation_accuracy"] == np.mean(found.argmax(1) == Y["classes"], where=held_out)
    assert together.evaluate(X, Y["classes"], own)["loss"] == pytest.approx(float(loss), rel=1e-9)
    with pytest.raises(DataError, match=r"shape \(30, 2\); expected \(30,\): one for each row, or \(30, 3\)"):
        together.fit(X, Y["classes"], sample_weight=own[:, :2], **fit)


def test_certain_members_are_averaged_without_overflow() -> None:
    outputs = np.asarray([[[900.0, 0.0], [0.0, 900.0]], [[900.0, 0.0], [900.0, 0.0]]])
    model = nn.EnsembleDense(2, 2)
    made = combined(model, losses.softmax_cross_entropy, outputs)
    np.testing.assert_allclose(_softmax(made), [[0.5, 0.5], [1, 0]])
    made = combined(model, losses.binary_cross_entropy, outputs[..., :1] * np.asarray([[[1.0], [-1.0]]] * 2))
    np.testing.assert_allclose(made, [[np.log(0.5 + 0.25) - np.log(0.25)], [0.0]], atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_objective_is_the_mean_of_the_members_losses(name: str, weighted: bool) -> None:
    loss = losses.LOSSES[name]
    model = _model(UNITS.get(loss.targets, 1))
    smoothing = 0.1 if name == "softmax_cross_entropy" else 0.0
    trainer = xpnet.Trainer(model, name, backend="numpy", dtype="float64", label_smoothing=smoothing)
    params, state = model.init(0, 4, backend="numpy", dtype="float64")
    weight = draw(4, (30,), 0.5, 2.0) if weighted else None
    y = Y[loss.targets]
    objective = StepObjective(trainer.setup, params.layout)
    value, gradient = value_and_grad(
        lambda p: objective.value(p, state, Rows(X, y, weight), None)[0]
    )(params)  # fmt: skip

    def mean(p: Parameters) -> Any:
        outputs = model.apply(nn.Variables(p, state), X)
        targets = np.eye(3)[y] * (1 - smoothing) + smoothing / 3 if smoothing else y
        total = 0.0
        for i in range(5):
            total = total + loss(outputs[:, i, :], targets, sample_weight=weight) / 5
        return total

    expected, slope = value_and_grad(mean)(params)
    assert abs(float(value) - float(expected)) < 1e-12
    np.testing.assert_allclose(gradient.flat, slope.flat, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error", "binary_cross_entropy"])
def test_training_and_prediction(name: str, backend: Backend, tmp_path: Any) -> None:
    loss = losses.LOSSES[name]
    units = UNITS.get(loss.targets, 1)
    trainer = xpnet.Trainer(_model(units), name, backend=backend, compile="off", dtype=widest(backend))
    history = trainer.fit(X, Y[loss.targets], epochs=3, batch_size=7, validation=(X, Y[loss.targets]))
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]
    raw = host(trainer.model.apply(trainer.variables, backend.asarray(X, dtype=widest(backend))))
    assert raw.shape == (30, 5, units)
    mean = LINKS.get(loss.link, lambda z: z)(raw).mean(axis=1)
    if loss.targets == "values":
        found: Any = trainer.predict(X)
    else:
        found = trainer.predict_proba(X)
        mean = np.concatenate([1 - mean, mean], axis=1) if units == 1 else mean
        np.testing.assert_array_equal(trainer.predict(X), mean.argmax(axis=1))
    assert relative_error(found, mean) < 100 * tolerance(widest(backend))
    trainer.save(tmp_path)
    again = xpnet.Trainer.load(tmp_path, backend=backend)
    np.testing.assert_array_equal(again.predict(X), trainer.predict(X))


def test_a_users_own_loss_gets_rows_of_outputs() -> None:
    def own(predictions: Any, targets: Any, *, sample_weight: Any = None) -> Any:
        assert predictions.shape == targets.shape
        xp = predictions.__array_namespace__()
        return xp.mean((predictions - targets) ** 2)

    trainer = xpnet.Trainer(_model(1), own, backend="numpy", compile="off")
    trainer.fit(X, X[:, 0], epochs=2)
    assert trainer.predict(X).shape == (30,)
