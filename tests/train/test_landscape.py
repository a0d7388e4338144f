"""Slices of the loss: the numbers of a quadratic, filter-normalized directions, and a trainer left alone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import host, widest
from tests.train.support import class_data, flat, make, value_data
from xpnet import nn
from xpnet.errors import ConfigError
from xpnet.train.diagnostics import filter_normalized, line, plane

X, Y = value_data(25)
LINEAR = {"model": nn.MLP([], 1), "loss": "squared_error"}


def loss(w):
    return np.mean((X @ w[:3] + w[3] - Y) ** 2)


def linear(**options):
    trainer = make(**{**LINEAR, **options})
    trainer.fit(X, Y, epochs=2)
    return trainer


def test_along_a_line(backend):
    dtype = widest(backend)
    trainer = linear(backend=backend, dtype=dtype)
    w = host(trainer.variables.params.flat)
    direction = np.asarray([1.0, -2.0, 0.5, 3.0])
    steps, losses = line(trainer, X, Y, direction, low=-0.5, high=2.0, points=11)
    assert steps == pytest.approx(np.linspace(-0.5, 2.0, 11))
    assert losses.dtype == np.float64
    assert losses == pytest.approx(
        [loss(w + t * direction) for t in steps], rel=1e-9 if dtype == "float64" else 1e-3
    )


def test_between_two_parameter_vectors():
    trainer, other = linear(), linear(seed=1)
    steps, losses = line(trainer, X, Y, to=other.variables.params, points=5)
    assert steps.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert losses[0] == pytest.approx(trainer.evaluate(X, Y)["loss"])
    assert losses[-1] == pytest.approx(other.evaluate(X, Y)["loss"])


def test_over_a_plane():
    trainer, (d, e) = linear(), np.random.default_rng(0).normal(size=(2, 4))
    a, b, losses = plane(trainer, X, Y, (d, e), low=-2.0, high=1.0, points=4)
    assert (a.tolist(), b.tolist(), losses.shape) == ([-2.0, -1.0, 0.0, 1.0], a.tolist(), (4, 4))
    w = flat(trainer)
    assert losses == pytest.approx(np.asarray([[loss(w + s * d + t * e) for t in b] for s in a]))


def test_random_directions_are_as_long_as_each_units_weights():
    """Li et al. 2018: ‖δⱼ‖ = ‖wⱼ‖ for each unit j; biases and BatchNorm stay."""
    trainer = make(model=nn.MLP([6], 3, batch_norm=True))
    trainer.fit(*class_data(), epochs=3)
    params = trainer.variables.params
    direction = filter_normalized(params, 0)
    for (part, shape), name in zip(params.layout.slices, params.layout.names, strict=True):
        if name.endswith("weight"):
            units = direction[part].reshape(shape)
            assert np.linalg.norm(units, axis=0) == pytest.approx(np.linalg.norm(params[name], axis=0))
        else:
            assert (direction[part] == 0).all()
    assert np.array_equal(direction, filter_normalized(params, 0))
    for other in (filter_normalized(params, 1), filter_normalized(params, 0, number=1)):
        assert abs(np.corrcoef(direction, other)[0, 1]) < 0.5


def test_random_slices_pass_through_the_parameters():
    data = class_data()
    trainer = make(model=nn.MLP([6], 3, batch_norm=True, dropout=0.5))
    trainer.fit(*data, epochs=5)
    here = trainer.evaluate(*data)["loss"]
    found = line(trainer, *data, points=5)
    assert found.losses[2] == pytest.approx(here)
    assert found.losses[0] != pytest.approx(here)
    over = plane(trainer, *data, points=3)
    assert over.losses[1, 1] == pytest.approx(here)
    assert len(set(over.losses.reshape(-1).tolist())) == 9
    assert not np.array_equal(found.losses, line(trainer, *data, points=5, seed=1).losses)


@pytest.mark.parametrize("trained", [False, True])
def test_the_trainer_is_unchanged(trained):
    trainer = linear() if trained else make(**LINEAR)
    before = flat(trainer) if trained else None
    line(trainer, X, Y, points=3)
    plane(trainer, X, Y, points=2, sample_weight=np.arange(25))
    if trained:
        assert np.array_equal(flat(trainer), before)
    else:
        assert trainer.variables is None
        trainer.fit(X, Y, epochs=2)
        assert np.array_equal(flat(trainer), flat(linear()))


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (line, {"direction": np.ones(3)}, r"direction: expected a vector of shape \(4,\) .*found \(3,\)"),
        (line, {"to": 1.0}, r"to: expected a vector of shape \(4,\) .*found float"),
        (line, {"direction": np.ones(4), "to": np.ones(4)}, "found both"),
        (line, {"low": 1.0, "high": 1.0}, "high: expected a finite number above low"),
        (line, {"points": 0}, "points: expected a whole number of at least 1"),
        (plane, {"directions": np.ones((2, 4))}, "directions: expected a pair of vectors, found ndarray"),
        (plane, {"directions": (np.ones(4), np.ones(5))}, r"directions: .*found \(5,\)"),
        (plane, {"low": float("nan")}, "high: expected a finite number above low"),
    ],
)
def test_what_cannot_be_drawn(call, options, message):
    with pytest.raises(ConfigError, match=message):
        call(make(**LINEAR), X, Y, **options)
