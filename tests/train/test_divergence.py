"""NaN and infinity stop a training, name where they appeared, and cost no synchronisation."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from tests.train.support import class_data, flat, make, value_data
from xpnet import Trainer, autodiff, losses, nn, optim
from xpnet.errors import DivergedError
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.train.divergence import nonfinite_variable

X, Y = class_data(20)


@dataclasses.dataclass(frozen=True)
class _Failing(nn.Layer):
    """Gives what it gets, but ``value`` in one row wherever the first feature exceeds a bound."""

    bound: float = 1e9
    value: float = float("nan")

    def forward(self, params, state, x, *, training, key):
        from xpnet.backends import array_namespace

        xp = array_namespace(x)
        return xp.where(x > self.bound, self.value, x), state


def diverged(trainer, *args, **options):
    with pytest.raises(DivergedError) as caught:
        trainer.fit(*args, **options)
    error = caught.value
    assert f"epoch {error.epoch}, step {error.step}" in str(error)
    assert error.layer in str(error)
    assert re.search("lower the learning rate", str(error))
    return error


def test_a_huge_rate():
    trainer = make(optimizer=optim.SGD(1e30), model=nn.MLP([5], 3, activation="relu"), dtype="float32")
    error = diverged(trainer, X, Y, epochs=5, batch_size=5)
    assert (error.epoch, error.step, error.layer) == (1, 2, "2 (Dense)")
    assert "before the first epoch is kept" in str(error)
    assert error.exit_code == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_layer_in_which_it_appeared_and_what_is_kept(value):
    model = nn.Sequential(nn.Dense(4), nn.Tanh(), _Failing(0.9, value), nn.Dense(3))
    good = make(model=model, optimizer=optim.SGD(0.5), seed=1)
    trainer = make(model=model, optimizer=optim.SGD(0.5), seed=1)
    X = class_data(20)[0] * 0.2  # tanh is far from 0.9 at first
    error = diverged(trainer, X, Y, epochs=500, batch_size=4)
    assert error.layer == "2 (_Failing)"
    assert error.epoch == trainer.epoch + 1 > 1
    assert trainer.epoch * 5 < error.step <= error.epoch * 5
    assert trainer.step == trainer.epoch * 5 == trainer.history["step"][-1]
    assert f"after epoch {trainer.epoch} is kept" in str(error)
    good.fit(X, Y, epochs=trainer.epoch, batch_size=4)
    assert np.array_equal(flat(good), flat(trainer))
    assert trainer.predict(X).shape == (20,)


def test_an_inner_layer_of_nested_models():
    inner = nn.Sequential(nn.Dense(4), _Failing(-1e9))
    trainer = make(model=nn.Sequential(nn.Identity(), inner, nn.Dense(3)))
    assert diverged(trainer, X, Y, epochs=1).layer == "1.1 (_Failing)"
    assert diverged(make(model=_Failing(-1e9)), X, Y, epochs=1).layer == "0 (_Failing)"


def test_in_the_loss():
    assert diverged(make(loss=_infinite), X, Y, epochs=1).layer == "loss"


def _infinite(outputs, targets, *, sample_weight=None):
    return losses.softmax_cross_entropy(outputs, targets) * float("inf")


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_step_is_found_again_with_dropout_and_batch_norm(dropout):
    model = nn.Sequential(
        nn.Dense(6), nn.BatchNorm(), nn.Tanh(), nn.Dropout(dropout), _Failing(1.2), nn.Dense(3)
    )
    trainer = make(model=model, optimizer=optim.SGD(0.1))
    if not dropout:
        trainer.fit(X, Y, epochs=3, batch_size=3)  # tanh stays below 1; only 1 / (1 - rate) exceeds it
    else:
        assert diverged(trainer, X, Y, epochs=200, batch_size=3).layer == "4 (_Failing)"


def _exploding(step):
    return 1e-3 if step == 1 else 1e308


def test_a_parameter_that_becomes_infinite_in_the_very_last_step():
    trainer = make(model=nn.Sequential(nn.Dense(3)), optimizer=optim.SGD(_exploding), max_steps=2)
    X = 1e3 * np.random.default_rng(0).normal(size=(20, 3))
    error = diverged(trainer, X, Y, epochs=2)
    assert (error.epoch, error.step) == (2, 2)
    assert error.layer == "0 (Dense)"
    assert "parameter 0.weight is not finite" in str(error)
    assert (trainer.epoch, trainer.step) == (1, 1)
    assert np.isfinite(flat(trainer)).all()


def test_an_overflowing_gradient_under_adam_is_told():
    X, y = value_data(20)  # squared errors of 1e36 fit into float32, squared gradients of 1e40 do not
    trainer = make(model=nn.Dense(1), loss="squared_error", optimizer="adam", dtype="float32")
    error = diverged(trainer, X * 1e2, y * 1e18, epochs=3)
    assert "the optimizer's v of" in str(error)


def test_a_statistic_that_becomes_infinite():
    trainer = make(model=nn.Sequential(nn.BatchNorm(), nn.Dense(3)), dtype="float32")
    error = diverged(trainer, X * 1e30, Y, epochs=2)
    assert "state 0.variance is not finite" in str(error)
    assert error.layer == "0 (BatchNorm)"


def test_infinite_validation_losses_do_not_stop():
    X, y = value_data(20)
    trainer = make(model=nn.Dense(1), loss="squared_error", dtype="float32")
    history = trainer.fit(X, y, epochs=2, validation=(X * 1e30, y))
    assert history["validation_loss"] == [np.inf, np.inf]
    assert trainer.best is None


def test_training_goes_on_with_another_optimizer():
    relu = {"model": nn.MLP([5], 3), "dtype": "float32"}
    trainer = make(**relu, optimizer=optim.SGD(1e30, momentum=0.9), metrics=["accuracy"])
    diverged(trainer, X, Y, epochs=5, batch_size=5)
    trainer.optimizer = optim.Adam(0.05)
    history = trainer.fit(X, Y, epochs=30, batch_size=5)
    assert history["accuracy"][-1] > 0.9
    assert history["learning_rate"][-1] == 0.05
    other = make(**relu, optimizer=optim.Adam(0.05))
    other.fit(X, Y, epochs=30, batch_size=5)
    assert np.array_equal(flat(trainer), flat(other))


def test_a_changed_schedule_counts_the_steps_of_its_own_optimizer():
    trainer = make(optimizer=optim.SGD(0.1))
    trainer.fit(X, Y, epochs=2, batch_size=5)
    trainer.optimizer = optim.Adam(optim.Inverse(0.1))
    trainer.fit(X, Y, epochs=3, batch_size=5)
    assert trainer.history["learning_rate"] == [0.1, 0.1, 0.1 / 4]
    assert trainer.history["step"] == [4, 8, 12]


def test_a_long_epoch_is_looked_at_now_and_then(monkeypatch):
    monkeypatch.setattr("xpnet.train.epochs._LOG_STEPS", 4)
    steps = []
    model = nn.Sequential(nn.Dense(3), _Failing(1e9))

    class Counting(Trainer):
        def _take_steps(self, *args, **options):
            steps.append(self.step)
            return super()._take_steps(*args, **options)

    trainer = Counting(model, "softmax_cross_entropy", optim.SGD(1e30), backend="numpy", dtype="float64")
    error = diverged(trainer, X, Y, epochs=3, batch_size=1)
    assert error.step < 4
    assert len([s for s in steps if s >= 4]) == 0  # none beyond the first look
    whole = make()
    monkeypatch.setattr("xpnet.train.epochs._LOG_STEPS", 1000)
    whole.fit(X, Y, epochs=2, batch_size=1)
    for every in (4, 7, 20):
        monkeypatch.setattr("xpnet.train.epochs._LOG_STEPS", every)
        parts = make()
        parts.fit(X, Y, epochs=2, batch_size=1)
        assert parts.history["loss"] == whole.history["loss"]


def test_a_gradient_that_is_not_finite_is_told_too():
    from xpnet.backends import array_namespace

    def rooted(outputs, targets, *, sample_weight=None):
        xp = array_namespace(outputs)
        return xp.sum(xp.sqrt(xp.abs(outputs) * 0.0))  # slope infinite at 0: 0 · ∞

    with np.errstate(all="ignore"):
        assert np.isnan(autodiff.grad(lambda x: rooted(x, None))(np.ones(2))).all()
    error = diverged(make(loss=rooted, optimizer=optim.SGD(0.1)), X, Y, epochs=1)
    assert "parameter 0.weight is not finite" in str(error)


def test_one_number_in_a_long_vector(monkeypatch):
    monkeypatch.setattr("xpnet.train.divergence._LONG", 5)
    trainer = make()
    trainer.fit(X, Y, epochs=1, batch_size=10)
    params, state = trainer.variables
    for i in (0, 4, 5, len(params.flat) - 1):
        flat = np.array(params.flat)
        flat[i] = np.inf
        assert (
            nonfinite_variable(trainer.model, Variables(Parameters(flat, params.layout), state), {})
            is not None
        )
    assert nonfinite_variable(trainer.model, trainer.variables, trainer.opt_state) is None
