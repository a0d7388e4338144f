"""The learning-rate range test: rates, losses, a suggestion that trains well, and a trainer left alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.data import digits_arrays
from xpnet.errors import ConfigError
from xpnet.train.diagnostics import learning_rate_range

X, Y = class_data(60)
CE = "softmax_cross_entropy"


def test_the_steps_are_those_of_an_optimizer_with_these_rates():
    """Gradient descent on the mean of (w - y)² in plain Python."""
    y = np.asarray([1.0, 3.0])
    model = nn.Sequential(nn.Dense(1, bias=False, weight_init="zeros"))
    trainer = make(model=model, loss="squared_error", optimizer=optim.SGD(123.0))
    found = learning_rate_range(trainer, np.ones((2, 1)), y, low=1e-3, high=1e-1, steps=5, batch_size=None)
    assert found.rates == pytest.approx([10 ** (-3 + k / 2) for k in range(5)])
    w, losses, average, smoothed = 0.0, [], 0.0, []
    for k, rate in enumerate(found.rates, start=1):
        losses.append(np.mean((w - y) ** 2))
        average = 0.9 * average + 0.1 * losses[-1]
        smoothed.append(average / (1 - 0.9**k))
        w -= rate * np.mean(2 * (w - y))
    assert found.losses == pytest.approx(losses)
    assert found.smoothed == pytest.approx(smoothed)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("optimizer", [optim.SGD(1.0), optim.SGD(1.0, momentum=0.9), optim.Adam(1.0)])
def test_the_suggestion_trains_well_on_digits(optimizer, seed):
    X, y = digits_arrays()
    X = X / 16
    test, train = slice(0, 400), slice(400, None)

    def trained_with(optimizer, epochs):
        trainer = Trainer(nn.MLP([64], 10), CE, optimizer, backend="numpy", seed=seed, metrics=["accuracy"])
        found = learning_rate_range(trainer, X[train], y[train])
        if epochs:
            chosen = copy.copy(optimizer)
            object.__setattr__(chosen, "learning_rate", found.suggestion)
            trainer.optimizer = chosen
            trainer.fit(X[train], y[train], epochs=epochs, batch_size=64)
        return trainer, found

    trainer, found = trained_with(optimizer, 15)
    assert len(found.rates) <= 100
    assert np.isfinite(found.losses).all()
    assert trainer.evaluate(X[test], y[test])["accuracy"] > 0.9


def test_it_stops_where_training_diverges():
    trainer = make(loss="squared_error", model=nn.MLP([8], 1, activation="tanh"), optimizer=optim.SGD(0.1))
    found = learning_rate_range(trainer, X, X[:, 0], high=1e6, steps=200)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 200
    lowest = int(np.argmin(found.smoothed))
    assert found.suggestion == pytest.approx(found.rates[lowest] / 10)
    assert found.suggestion < 1.0


@pytest.mark.parametrize("epochs", [0, 3])
def test_the_trainer_is_unchanged(epochs):
    options = {"model": nn.MLP([5], 3, dropout=0.2, batch_norm=True), "l2": 0.01, "patience": 5}
    tried, straight = (make(optimizer=optim.Adam(optim.Cosine(0.05, steps=40)), **options) for _ in range(2))
    fit = {"batch_size": 20, "validation": (X, Y)}
    if epochs:
        for trainer in (tried, straight):
            trainer.fit(X, Y, epochs=epochs, **fit)
    optimizer = tried.optimizer
    before = flat(tried) if epochs else None
    learning_rate_range(tried, X, Y, batch_size=10)
    assert tried.optimizer is optimizer
    if epochs:
        assert np.array_equal(flat(tried), before)
    else:
        assert tried.variables is None
        assert tried.opt_state is None
        assert tried.input_shape is None
    for trainer in (tried, straight):
        trainer.fit(X, Y, epochs=epochs + 3, **fit)
    assert_same_training(tried, straight)


def test_a_loss_that_does_not_fall_gives_no_suggestion():
    """Nothing can be learned about labels from inputs that are all 0, without biases."""
    trainer = make(model=nn.Sequential(nn.Dense(3, bias=False)))
    found = learning_rate_range(trainer, 0 * X, Y, steps=20)
    assert found.suggestion is None
    assert found.losses == pytest.approx([np.log(3)] * 20)


class Restless(optim.Optimizer):
    """One without a learning rate."""

    slots = ()

    def rule(self, g, slots, p, *scalars):
        return p, ()

    def learning_rate_at(self, step):
        return 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0}, "low: expected a finite number above 0"),
        ({"low": 1.0, "high": 1.0}, "high: expected a rate above low = 1.0, found 1.0"),
        ({"steps": 1}, "steps: expected at least 2, found 1"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
        ({"optimizer": Restless()}, "expected an optimizer with a learning rate"),
    ],
)
def test_what_cannot_be_tested(options, message):
    trainer = make(optimizer=options.pop("optimizer", optim.Adam(0.1)))
    with pytest.raises(ConfigError, match=message):
        learning_rate_range(trainer, X, Y, **options)


def test_on_every_backend(backend):
    options = {"dtype": "float32", "optimizer": optim.SGD(0.1)}
    want = learning_rate_range(make(backend="numpy", **options), X, Y, low=1e-3, high=1.0, steps=12)
    found = learning_rate_range(make(backend=backend, **options), X, Y, low=1e-3, high=1.0, steps=12)
    assert found.losses == pytest.approx(want.losses, rel=1e-4)
    assert found.suggestion == pytest.approx(want.suggestion)
