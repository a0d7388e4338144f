"""What is minimized: the loss, the L2 penalty, weights of rows and classes; and the bounds of gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import class_data, flat, make, value_data
from xpnet import nn, optim, record
from xpnet.autodiff import value_and_grad
from xpnet.train.objective import StepObjective
from xpnet.train.rows import Rows

X, Y = class_data(12)


def softmax_by_hand(X, Y, W, b, weight=None, l2=0.0):
    """Return loss and gradients of softmax regression, from the lecture notes' formulas."""
    weight = np.ones(len(X)) if weight is None else weight
    z = X @ W + b
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.sum(weight * np.log(p[np.arange(len(X)), Y])) / weight.sum() + l2 * np.sum(W**2)
    d = weight[:, None] * (p - np.eye(W.shape[1])[Y]) / weight.sum()
    return loss, X.T @ d + 2 * l2 * W, d.sum(axis=0)


def one_step(X=X, Y=Y, weight=None, **options):
    """Return parameters before and after a full-batch step of rate 1, and the row of the history."""
    trainer = make(model=nn.Dense(3, bias_init="normal"), optimizer=optim.SGD(1.0), **options)
    start = trainer.model.init(0, (3,), "numpy", "float64").params
    trainer.fit(X, Y, epochs=1, sample_weight=weight)
    end = trainer.variables.params
    return start, end, trainer.history.rows[0]


@pytest.mark.parametrize("l2", [0.0, 0.01, 1.5])
def test_l2_is_in_loss_and_gradient_and_spares_biases(l2):
    start, end, row = one_step(l2=l2)
    loss, dW, db = softmax_by_hand(X, Y, start["weight"], start["bias"], l2=l2)
    assert row["loss"] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(start["weight"] - end["weight"], dW, atol=1e-12)
    np.testing.assert_allclose(start["bias"] - end["bias"], db, atol=1e-12)


def test_the_penalty_is_no_part_of_an_evaluation():
    trainer = make(l2=10.0)
    history = trainer.fit(X, Y, epochs=1, validation=(X, Y))
    assert history["validation_loss"][0] == trainer.evaluate(X, Y)["loss"] < history["loss"][0]


# ------------------------------------------------------------------------------------------ bounds
def change(**options):
    start, end, _ = one_step(X * 50, **options)
    return start.flat - end.flat


def test_clip_norm_bounds_the_step_and_keeps_its_direction():
    free, bound = change(), change(clip_norm=0.5)
    assert np.linalg.norm(free) > 1
    assert np.linalg.norm(bound) == pytest.approx(0.5)
    np.testing.assert_allclose(bound / 0.5, free / np.linalg.norm(free), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(change(clip_norm=1e6), free, rtol=1e-12)


def test_clip_value_bounds_each_entry():
    free = change()
    np.testing.assert_allclose(change(clip_value=0.25), np.clip(free, -0.25, 0.25), atol=1e-12)


def test_both_bounds_entries_first():
    clipped = np.clip(change(), -0.25, 0.25)
    expected = clipped * min(1, 0.5 / np.linalg.norm(clipped))
    np.testing.assert_allclose(change(clip_value=0.25, clip_norm=0.5), expected, atol=1e-12)


# ----------------------------------------------------------------------------------------- weights
def trained(X, Y, **options):
    trainer = make()
    trainer.fit(X, Y, epochs=5, **options)
    return flat(trainer)


def test_weights_enter_the_loss_as_the_formula_says():
    weight = np.random.default_rng(0).uniform(0, 3, len(X))
    start, end, row = one_step(weight=weight)
    loss, dW, db = softmax_by_hand(X, Y, start["weight"], start["bias"], weight)
    assert row["loss"] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(start["weight"] - end["weight"], dW, atol=1e-12)
    np.testing.assert_allclose(start["bias"] - end["bias"], db, atol=1e-12)


def test_weights_are_repeated_rows():
    counts = np.arange(len(X)) % 4  # among them 0
    repeated = np.repeat(np.arange(len(X)), counts)
    weighted = trained(X, Y, sample_weight=counts)
    np.testing.assert_allclose(weighted, trained(X[repeated], Y[repeated]), rtol=1e-9)


def test_only_ratios_of_weights_matter():
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X))
    expected = trained(X, Y, sample_weight=weight)
    for factor in (1e-300, 0.1, 1e300):
        np.testing.assert_allclose(trained(X, Y, sample_weight=factor * weight), expected, rtol=1e-9)
    tiny = make(dtype="float32")
    tiny.fit(X, Y, epochs=2, sample_weight=1e-37 * weight)
    assert np.isfinite(flat(tiny)).all()
    np.testing.assert_allclose(trained(X, Y, sample_weight=np.full(len(X), 7)), trained(X, Y), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 4])
def test_batches_of_unweighted_rows_do_not_come_up(size):
    weight = np.where(Y == 0, 0.0, 1.0)
    trainer = make()
    trainer.fit(X, Y, epochs=2, batch_size=size, sample_weight=weight)
    kept = make()
    kept.fit(X[Y != 0], Y[Y != 0], epochs=2, batch_size=size)
    assert np.array_equal(flat(trainer), flat(kept))


def test_class_weights_are_weights_of_rows():
    X, Y = class_data(13)
    weights = {0: 1.0, 1: 0.5, 2: 4, 7: 9.0}  # more classes than there are do no harm
    rows = np.asarray([weights[k] for k in Y.tolist()])
    np.testing.assert_allclose(
        trained(X, Y, class_weight=weights), trained(X, Y, sample_weight=rows), rtol=1e-12
    )
    balanced = (len(Y) / (3 * np.bincount(Y)))[Y]
    np.testing.assert_allclose(
        trained(X, Y, class_weight="balanced"), trained(X, Y, sample_weight=balanced), rtol=1e-12
    )
    times = np.arange(len(Y)) % 3 + 1  # weights count as so many rows
    both = trained(X, Y, class_weight="balanced", sample_weight=times)
    repeated = trained(X.repeat(times, axis=0), Y.repeat(times), class_weight="balanced")
    np.testing.assert_allclose(both, repeated, rtol=1e-12)
    both = trained(X, Y, class_weight=weights, sample_weight=balanced)
    np.testing.assert_allclose(both, trained(X, Y, sample_weight=rows * balanced), rtol=1e-12)


def test_balanced_is_what_scikit_learn_calls_so():
    utils = pytest.importorskip("sklearn.utils.class_weight", reason="scikit-learn is not installed")
    X, Y = class_data(16)
    Y = np.where(np.arange(16) < 11, 0, Y)
    rows = utils.compute_sample_weight("balanced", Y)
    np.testing.assert_allclose(
        trained(X, Y, class_weight="balanced"), trained(X, Y, sample_weight=rows), rtol=1e-12
    )


def test_a_class_of_weight_zero_is_left_out():
    np.testing.assert_allclose(
        trained(X, Y, class_weight={0: 0, 1: 1, 2: 1}), trained(X[Y != 0], Y[Y != 0]), rtol=1e-12
    )


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_class_weights_of_two_classes(shape):
    y = (Y > 0).astype(float)
    rows = np.where(y == 1, 2.0, 5.0)
    results = []
    for options in ({"class_weight": {0: 5.0, 1: 2.0}}, {"sample_weight": rows}):
        trainer = make(model=nn.MLP([4], 1), loss="binary_cross_entropy")
        trainer.fit(X, y.reshape(shape), epochs=3, **options)
        results.append(flat(trainer))
    np.testing.assert_allclose(*results, rtol=1e-12)


@pytest.mark.parametrize("given", [True, False])
def test_class_weights_are_for_the_training_rows_alone(given):
    trainer = make()
    validation = (X, Y) if given else 0.25
    history = trainer.fit(X, Y, epochs=1, class_weight={0: 9.0, 1: 1.0, 2: 0.1}, validation=validation)
    rows = np.arange(12)
    if not given:
        from xpnet.data import split_rows

        rows = split_rows(12, validation=0.25, stratify=Y)[1]
    assert history["validation_loss"] == [pytest.approx(trainer.evaluate(X[rows], Y[rows])["loss"])]


def test_sample_weights_follow_their_rows_into_the_split():
    X, y = value_data(20)
    weight = np.random.default_rng(2).uniform(0.1, 1, 20)
    trainer = make(model=nn.MLP([4], 1), loss="squared_error")
    history = trainer.fit(X, y, epochs=1, sample_weight=weight, validation=0.5)
    from xpnet.data import split_rows

    rows = split_rows(20, validation=0.5)[1]
    expected = trainer.evaluate(X[rows], y[rows], weight[rows])["loss"]
    assert history["validation_loss"] == [pytest.approx(expected)]


def test_penalties_are_no_products_of_vectors():
    """numba leaves those to NumPy, so that a step with one would be no single compiled function."""
    trainer = make(model=nn.Dense(3), l1=0.1, l2=0.2)
    trainer.begin((3,))
    params, state = trainer.variables
    objective = StepObjective(trainer.setup, params.layout)
    differentiated = value_and_grad(lambda params: objective.value(params, state, Rows(X, Y, None), None)[0])
    program = record(differentiated)(params)
    products = [operation for operation in program.operations if operation.name == "matmul"]
    assert all(len(program.values[n].shape) == 2 for operation in products for n in operation.reads())
