"""Metrics against scikit-learn, and metrics of the user's own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.support import widest
from tests.train.support import class_data, make, value_data
from xpnet import nn
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.train import METRICS, accuracy, metrics, r2
from xpnet.train.metrics import entry_accuracy

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(40, 4))
LABELS = RANDOM.integers(4, size=40)
SIGNS = np.where(RANDOM.normal(size=40) > 0, 1, -1)


@pytest.fixture
def reference():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


@pytest.mark.parametrize(
    ("outputs", "targets", "predicted", "true"),
    [
        (SCORES, LABELS, SCORES.argmax(1), LABELS),
        (SCORES, LABELS[:, None], SCORES.argmax(1), LABELS),
        (SCORES, np.eye(4)[LABELS], SCORES.argmax(1), LABELS),
        (SCORES[:, :1], LABELS > 1, SCORES[:, 0] > 0, LABELS > 1),
        (SCORES[:, 0], (LABELS > 1) * 1.0, SCORES[:, 0] > 0, LABELS > 1),
        (SCORES[:, :1], SIGNS, np.where(SCORES[:, 0] > 0, 1, -1), SIGNS),
        (SCORES[:, :1], SIGNS[:, None], np.where(SCORES[:, 0] > 0, 1, -1), SIGNS),
    ],
)
def test_accuracy(reference, outputs, targets, predicted, true):
    assert float(accuracy(outputs, targets)) == pytest.approx(reference.accuracy_score(true, predicted))


def test_accuracy_of_several_labels_a_row_counts_entries(reference):
    targets = (RANDOM.normal(size=(40, 4)) > 0).astype(float)
    expected = reference.accuracy_score(targets.reshape(-1), SCORES.reshape(-1) > 0)
    assert float(entry_accuracy(SCORES, targets)) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_r2(reference, columns, dtype):
    shape = (40,) if columns is None else (40, columns)
    true = RANDOM.normal(size=shape).astype(dtype)
    predicted = (true + 0.3 * RANDOM.normal(size=shape)).astype(dtype)
    assert float(r2(predicted, true)) == pytest.approx(reference.r2_score(true, predicted), rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("off", [0.0, 0.5])
@pytest.mark.parametrize("constant", [0.25, 0.1])
def test_r2_of_a_constant_target(reference, constant, off, dtype):
    true = np.full((1000, 2), constant, dtype=dtype)
    true[:, 1] = np.arange(1000)
    predicted = true + np.asarray([off, 0], dtype=dtype)
    found = float(r2(predicted, true))
    assert found == pytest.approx(1.0 if off == 0 else 0.5)
    if constant == 0.25:  # the mean of many 0.1 is not 0.1, over which the reference stumbles
        assert found == pytest.approx(reference.r2_score(true, predicted))


RARE = np.where(RANDOM.random(40) < 0.1, 3, RANDOM.integers(2, size=40))  # no class 2
BITS = (RANDOM.normal(size=(40, 4)) > 0.5).astype(int)
NO_BITS = BITS * np.asarray([1, 1, 0, 1])


@pytest.mark.parametrize("labels", [LABELS, RARE, LABELS[:, None], np.eye(4)[RARE], RARE.astype(np.int8)])
def test_metrics_of_classes(reference, labels):
    plain = labels.argmax(axis=1) if labels.shape == SCORES.shape else labels.reshape(-1)
    scores = np.where(np.arange(4) == 2, -9.0, SCORES) if labels is RARE else SCORES
    predicted = scores.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's: classes that are predicted and not true
        want = reference.balanced_accuracy_score(plain, predicted)
    assert float(metrics.balanced_accuracy(scores, labels)) == pytest.approx(want)
    assert float(metrics.f1(scores, labels)) == pytest.approx(
        reference.f1_score(plain, predicted, average="macro")
    )


@pytest.mark.parametrize("true", [LABELS > 1, SIGNS, (LABELS > 1)[:, None] * 1.0])
def test_metrics_of_two_classes_on_one_output(reference, true):
    plain, predicted = true.reshape(-1) > 0, SCORES[:, 0] > 0
    for function in (metrics.balanced_accuracy, metrics.label_balanced_accuracy):
        assert float(function(SCORES[:, :1], true)) == pytest.approx(
            reference.balanced_accuracy_score(plain, predicted)
        )
    for function in (metrics.f1, metrics.label_f1):
        assert float(function(SCORES[:, 0], true)) == pytest.approx(
            reference.f1_score(plain, predicted, average="macro")
        )


@pytest.mark.parametrize("bits", [BITS, NO_BITS, 2 * BITS - 1, BITS.astype(bool)])
def test_metrics_of_several_labels(reference, bits):
    plain, predicted = (bits > 0).astype(int), (SCORES > 0).astype(int)
    for average in ("macro", "micro"):
        function = metrics.label_f1 if average == "macro" else metrics.f1_micro
        want = reference.f1_score(plain, predicted, average=average, zero_division=0)
        assert float(function(SCORES, bits)) == pytest.approx(want)
    assert float(metrics.subset_accuracy(SCORES, bits)) == reference.accuracy_score(plain, predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        each = [reference.balanced_accuracy_score(plain[:, i], predicted[:, i]) for i in range(4)]
    assert float(metrics.label_balanced_accuracy(SCORES, bits)) == pytest.approx(np.mean(each))


def test_nothing_true_and_nothing_predicted():
    outputs, targets = -np.ones((5, 2)), np.zeros((5, 2))
    assert float(metrics.f1_micro(outputs, targets)) == float(metrics.label_f1(outputs, targets)) == 0
    assert float(metrics.label_balanced_accuracy(outputs, targets)) == 1
    assert float(metrics.f1(outputs[:, 0], targets[:, 0])) == 1  # of the one class that there is


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_errors_of_values(reference, columns):
    shape = (40,) if columns is None else (40, columns)
    true = RANDOM.normal(size=shape)
    predicted = true + 0.3 * RANDOM.normal(size=shape)
    assert float(metrics.mae(predicted, true)) == pytest.approx(
        reference.mean_absolute_error(true, predicted)
    )
    assert float(metrics.rmse(predicted, true)) == pytest.approx(
        reference.root_mean_squared_error(true, predicted)
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_on_every_backend(name, backend):
    dtype = widest(backend)
    values = name in ("mae", "r2", "rmse")
    cases = [("values", SCORES, SCORES[::-1].copy())] if values else [("binary", SCORES, BITS)]
    if name in ("accuracy", "balanced_accuracy", "f1"):
        cases += [("classes", SCORES, LABELS), ("binary", SCORES[:, :1], BITS[:, 0])]
    for kind, outputs, targets in cases:
        _, function = metrics.get(name, kind)
        whole = targets.dtype.kind == "i"
        y = backend.asarray(targets) if whole else backend.asarray(targets, dtype=dtype)
        found = function(backend.asarray(outputs, dtype=dtype), y)
        assert tuple(found.shape) == ()
        assert found.dtype == backend.dtype(dtype)
        assert float(found) == pytest.approx(float(function(outputs, targets)), rel=1e-5)


def test_every_metric_is_tested_here():
    assert set(METRICS) == {
        "accuracy", "balanced_accuracy", "f1", "f1_micro", "mae", "r2", "rmse", "subset_accuracy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "shapes"), [(r2, ((5, 3), (5,))), (r2, ((5,), (5, 2))), (accuracy, ((5, 3), (5, 2)))]
)
def test_shapes_that_do_not_fit(metric, shapes):
    outputs, targets = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ConfigError, match=r"metric .*targets of shape \(5,.* outputs of shape \(5,"):
        metric(outputs, targets)


# --------------------------------------------------------------------------------- in the trainer
def test_metrics_agree_with_predictions(reference):
    X, Y = class_data()
    trainer = make(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=3)
    assert trainer.evaluate(X, Y)["accuracy"] == reference.accuracy_score(Y, trainer.predict(X))
    X, y = value_data(outputs=2)
    trainer = make(model=nn.MLP([4], 2), loss="huber", metrics=[r2])
    trainer.fit(X, y, epochs=3)
    assert trainer.evaluate(X, y)["r2"] == pytest.approx(reference.r2_score(y, trainer.predict(X)))


def test_r2_of_counts_is_that_of_the_rate(reference):
    X, y = value_data()
    y = np.floor(3 * np.abs(y))
    trainer = make(model=nn.MLP([4], 1), loss="poisson", metrics=["r2"])
    trainer.fit(X, y, epochs=30)
    assert trainer.evaluate(X, y)["r2"] == pytest.approx(reference.r2_score(y, trainer.predict(X)))


@pytest.mark.parametrize(("loss", "low"), [("binary_cross_entropy", 0), ("hinge", -1)])
def test_accuracy_of_several_labels_in_the_trainer(loss, low):
    X, y = value_data(outputs=3)
    labels = np.where(y > 0.3, 1, low)
    trainer = make(model=nn.MLP([4], 3), loss=loss, metrics=["accuracy"])
    trainer.fit(X, labels, epochs=20)
    assert trainer.evaluate(X, labels)["accuracy"] == pytest.approx(np.mean(trainer.predict(X) == labels))


def mean_output(outputs, targets):
    return array_namespace(outputs).mean(outputs)


def test_metrics_of_the_users_own():
    def as_number(outputs, targets):
        return 0.25

    def as_whole(outputs, targets):
        return array_namespace(outputs).asarray(7)

    class Callable:
        __name__ = "object"

        def __call__(self, outputs, targets):
            return np.float32(1.5)

    X, Y = class_data()
    history = make(metrics=[mean_output, as_number, as_whole, Callable(), "accuracy"]).fit(
        X, Y, epochs=1, validation=0.2
    )
    row = history.rows[0]
    assert (row["as_number"], row["as_whole"], row["object"]) == (0.25, 7.0, 1.5)
    assert row["validation_as_whole"] == 7.0
    assert isinstance(row["mean_output"], float)


def test_a_metric_that_is_no_number():
    trainer = make(metrics=[lambda outputs, targets: outputs])
    with pytest.raises(ConfigError, match=r"metric <lambda>: expected a 0-d array, found shape \(30, 3\)"):
        trainer.fit(*class_data(), epochs=1)
    assert trainer.epoch == 0
