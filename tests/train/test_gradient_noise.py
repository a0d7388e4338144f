"""Gradient noise: against all single gradients of a linear regression, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support import widest
from tests.train.support import assert_same_training, class_data, make, value_data
from xpnet import nn
from xpnet.errors import ConfigError
from xpnet.train.diagnostics import gradient_noise

X, Y = value_data(24)
LINEAR = {"model": nn.MLP([], 1), "loss": "squared_error"}


def single_gradients(trainer):
    """Return the gradient of (x·w + b - y)² for each row, (rows, 4)."""
    w = trainer.variables.params
    w, b = np.asarray(w["0.weight"])[:, 0], np.asarray(w["0.bias"])[0]
    residuals = 2 * (X @ w + b - Y)
    return residuals[:, None] * np.hstack([X, np.ones((len(X), 1))])


def exact(gradients):
    """Return unbiased estimates of ‖G‖² and tr Σ from all gradients: the sample's mean and covariance."""
    noise = np.trace(np.cov(gradients.T))
    return np.sum(gradients.mean(axis=0) ** 2) - noise / len(gradients), noise


def test_single_rows_give_the_exact_values(backend):
    reference = make(**LINEAR)
    reference.begin((3,))
    signal, noise = exact(single_gradients(reference))
    dtype = widest(backend)
    found = gradient_noise(make(backend=backend, dtype=dtype, **LINEAR), X, Y, batch_size=1)
    close = {"rel": 1e-9 if dtype == "float64" else 1e-4}
    assert found.signal == pytest.approx(signal, **close)
    assert found.noise == pytest.approx(noise, **close)
    assert found.scale == pytest.approx(noise / signal, **close)


@pytest.mark.parametrize("size", [3, 8])
def test_batches_are_unbiased(size):
    """The mean over many draws of the batches comes to the exact values, within three standard errors."""
    trainer = make(**LINEAR)
    trainer.begin((3,))
    signal, noise = exact(single_gradients(trainer))
    drawn = []
    for seed in range(300):
        trainer.seed = seed
        found = gradient_noise(trainer, X, Y, batch_size=size)
        drawn.append((found.signal, found.noise))
    errors = np.std(drawn, axis=0) / math.sqrt(len(drawn))
    assert (np.abs(np.mean(drawn, axis=0) - (signal, noise)) < 3 * errors).all()
    assert errors[1] < 0.1 * noise


def test_rows_without_noise_and_rows_without_signal():
    trainer = make(**{**LINEAR, "model": nn.Sequential(nn.Dense(1, bias=False, weight_init="zeros"))})
    found = gradient_noise(trainer, np.ones((6, 1)), np.ones(6), batch_size=2)
    assert (found.signal, found.noise, found.scale) == (4.0, 0.0, 0.0)
    found = gradient_noise(trainer, np.ones((6, 1)), np.asarray([1, -1, 1, -1, 1, -1.0]), batch_size=1)
    assert found.signal < 0 < found.noise
    assert found.scale == math.inf


def test_the_trainer_is_unchanged_and_penalties_are_left_out():
    data = class_data()
    options = {"model": nn.MLP([5], 3, dropout=0.2, batch_norm=True)}
    tried, straight = make(**options), make(**options)
    for trainer in (tried, straight):
        trainer.fit(*data, epochs=2, batch_size=10)
    found = gradient_noise(tried, *data, batch_size=10)
    tried.l2, tried.clip_norm = 10.0, 1e-9
    assert gradient_noise(tried, *data, batch_size=10) == found
    tried.l2, tried.clip_norm = 0.0, None
    for trainer in (tried, straight):
        trainer.fit(*data, epochs=4, batch_size=10)
    assert_same_training(tried, straight)


@pytest.mark.parametrize("size", [13, 24, 100])
def test_fewer_than_two_batches(size):
    with pytest.raises(ConfigError, match=f"expected at least two batches in 24 rows, found {size}"):
        gradient_noise(make(**LINEAR), X, Y, batch_size=size)
