"""Time limits, by a clock that tests set: what is not begun, given up, cut short, and left for later."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import nn
from xpnet.train import Callback, epochs
from xpnet.train.deadline import Deadline, Stopwatch

X, Y = class_data(24)
HELD_OUT = (X[:8], (Y[:8] + 1) % 3)
FIT = {"batch_size": 4, "validation": HELD_OUT}  # six steps an epoch
MODEL = nn.MLP([5], 3, dropout=0.2)


class Clock:
    """Stands still until it is set forward."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.others = 1.0  # how many times the process's time passes
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "process_time", lambda: (self.now - 1000.0) / self.others + 1.0)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Slow(Callback):
    """Lets each step take a second; the clock is looked at after two of them."""

    def __init__(self, clock, monkeypatch):
        self.clock, self.steps, self.epochs = clock, 0, []
        monkeypatch.setattr(epochs, "_LOG_STEPS", 2)

    def on_step_end(self, trainer, step, steps):
        self.clock.now += 1.0
        self.steps += 1

    def on_epoch_end(self, trainer, row):
        self.epochs.append(row["epoch"])


@pytest.fixture
def slow(clock, monkeypatch):
    return Slow(clock, monkeypatch)


# limit, settings: epochs that are done, the trainer's step, steps that were taken
CASES = {
    "within the second epoch": (9.0, {}, 1, 6, 9),
    "at the end of an epoch": (12.0, {}, 2, 12, 12),
    "before one that would not end": (17.0, {}, 2, 12, 12),
    "before one that just ends": (18.5, {}, 3, 18, 18),
    "within the first": (3.0, {}, 1, 3, 3),
    "after the first look at the clock": (0.1, {}, 1, 2, 2),
    "within one that cannot be taken back": (9.0, {"rollback": False}, 2, 9, 9),
    "after the last": (1000.0, {}, 4, 24, 24),
    "never": (None, {}, 4, 24, 24),
}


@pytest.mark.parametrize("name", CASES)
def test_where_a_limit_ends_a_fit(name, slow, caplog, tmp_path):
    limit, settings, done, step, taken = CASES[name]
    trainer = make(model=MODEL, time_limit=limit, callbacks=[slow], **settings)
    trainer.fit(X, Y, epochs=4, **FIT)
    assert (trainer.epoch, trainer.step, slow.steps) == (done, step, taken)
    assert trainer.timed_out is (done < 4)
    assert slow.epochs == trainer.history["epoch"] == list(range(1, done + 1))
    assert trainer.evaluate(*HELD_OUT)["loss"] == trainer.best.loss == min(trainer.history["validation_loss"])
    whole = step == 6 * done
    assert ("which count as one" in caplog.text) is not whole
    trainer.save(tmp_path)
    loaded = type(trainer).load(tmp_path, "numpy", time_limit=None)
    loaded.fit(X, Y, epochs=4, **FIT)
    assert loaded.epoch == 4
    if whole:  # it is as if there had been no limit
        straight = make(model=MODEL, **settings)
        straight.fit(X, Y, epochs=4, **FIT)
        assert_same_training(loaded, straight)


def test_a_limit_that_is_over_at_once(clock, caplog):
    """An epoch of few steps is trained all the same; so there is a model, and each fit gets on."""
    trainer = make()
    for done in (1, 2):
        deadline = Deadline(1.0)
        clock.now += 5.0
        trainer.fit(X, Y, epochs=3, deadline=deadline, **FIT)
        assert (trainer.epoch, trainer.step, trainer.timed_out) == (done, 6 * done, True)
    assert caplog.text.count("time_limit: is over after 5 s, before the first epoch") == 1


def test_the_deadline_may_have_begun_before(slow, clock):
    trainer, stopwatch = make(time_limit=None, callbacks=[slow]), Stopwatch()
    clock.now += 11.0
    trainer.fit(X, Y, epochs=9, deadline=Deadline(30.0, stopwatch, reserved=5.0), **FIT)
    assert (trainer.epoch, clock.now) == (2, 1000.0 + 11.0 + 12.0)


def test_time_for_evaluations_is_left(slow, clock, monkeypatch):
    """That of the epoch, and those after the training; the first is estimated by the steps before it."""
    from xpnet.train.evaluation import Evaluation

    measure = Evaluation.measure

    def measured(*args, **options):
        clock.now += 3.0 * options.get("with_loss", True)
        return measure(*args, **options)

    monkeypatch.setattr(Evaluation, "measure", measured)
    trainer = make(callbacks=[slow])
    deadline = Deadline(20.0, rows=2 * 8)
    trainer.fit(X, Y, epochs=9, deadline=deadline, **FIT)  # 9 s an epoch, and 6 s at the end
    assert (trainer.epoch, deadline.evaluation, deadline.left) == (1, 3.0, 20.0 - 9.0 - 6.0 - 2.0)
    fresh = Deadline(20.0)
    clock.now += 4.0
    fresh.expect_evaluation(clock.now - 4.0, trained=8, rows=6)
    assert fresh.evaluation == 1.0


def test_shares_of_the_time(clock):
    deadline = Deadline(100.0, reserved=10.0)
    for parts, seconds in ((3, 30.0), (2, 30.0), (1, 30.0)):
        share = deadline.share(parts)
        assert share.left == seconds
        clock.now += 30.0
        assert share.is_over()
    assert deadline.share(1).left == 0.0
    assert not Deadline().share(3).is_over(1e9)


@pytest.mark.parametrize(("seconds", "steps"), [(600.0, 2400), (5.0, 20), (0.001, 10)])
def test_steps_between_two_looks_at_the_clock(seconds, steps):
    assert Deadline(seconds).steps(100) == steps
    assert Deadline(1.0).steps(1) == 1
    assert Deadline().steps(1) > 10**9


def test_steps_are_compiled_if_there_is_time(clock):
    assert Deadline().may_compile(3.0)
    assert Deadline(4.0).may_compile(3.0)
    deadline = Deadline(10.0)
    clock.now += 6.0
    assert deadline.may_compile(3.0)
    clock.others = 2.0  # other processes take half of the time
    assert not deadline.may_compile(3.0)
    assert Deadline(10.0, deadline.stopwatch, reserved=1.0).left == 10.0 - 6.0 - 2.0
    clock.others = 100.0
    assert deadline.stopwatch.slowness == 8.0


def test_the_shortest_epoch_counts_and_not_the_first():
    deadline = Deadline(10.0)
    for seconds, shortest in ((0.1, 0.0), (0.4, 0.4), (0.2, 0.2), (0.3, 0.2)):
        deadline.see_epoch(seconds)
        assert deadline.epoch == shortest


def test_what_is_given_up_leaves_no_trace(slow):
    """Also of a mean of the weights and of the best ones."""
    options = {"model": nn.MLP([5], 3, batch_norm=True), "ema_decay": 0.9}
    trainer, straight = make(time_limit=15.0, callbacks=[slow], **options), make(**options)
    trainer.fit(X, Y, epochs=9, **FIT)
    assert slow.steps > trainer.step or trainer.epoch == 2
    straight.fit(X, Y, epochs=trainer.epoch, **FIT)
    assert_same_training(trainer, straight)
    assert np.array_equal(flat(trainer), flat(straight))
