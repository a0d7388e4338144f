"""Callbacks, Ctrl-C and other exceptions: who is called when, and that the trainer stays consistent."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.errors import DivergedError
from xpnet.train import Callback, History
from xpnet.train.evaluation import Evaluation
from xpnet.train.monitor import Monitor

X, Y = class_data(20)


class Noting(Callback):
    """Writes down every call."""

    def __init__(self, name, calls, stop_at=0):
        self.name, self.calls, self.stop_at = name, calls, stop_at

    def on_fit_begin(self, trainer, epochs):
        self.calls.append((self.name, "begin", epochs, trainer.epoch))

    def on_step_end(self, trainer, step, steps):
        self.calls.append((self.name, "step", step, steps))

    def on_epoch_end(self, trainer, row):
        self.calls.append((self.name, "epoch", row["epoch"], trainer.epoch))
        return row["epoch"] == self.stop_at

    def on_fit_end(self, trainer, history):
        self.calls.append((self.name, "end", len(history), trainer.epoch))


def test_the_order_of_calls():
    calls = []
    trainer = make(callbacks=[Noting("a", calls), Noting("b", calls)])
    trainer.fit(X, Y, epochs=2, batch_size=10)
    epoch = [(n, "step", s, 2) for s in (1, 2) for n in "ab"]
    assert calls == [
        ("a", "begin", 2, 0), ("b", "begin", 2, 0),
        *epoch, ("a", "epoch", 1, 1), ("b", "epoch", 1, 1),
        *epoch, ("a", "epoch", 2, 2), ("b", "epoch", 2, 2),
        ("b", "end", 2, 2), ("a", "end", 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("stopper", ["a", "b"])
def test_true_stops_after_all_have_been_told(stopper):
    calls = []
    trainer = make(callbacks=[Noting(n, calls, stop_at=2 if n == stopper else 0) for n in "ab"])
    trainer.fit(X, Y, epochs=9)
    assert trainer.epoch == 2
    assert [call for call in calls if call[1] == "epoch" and call[2] == 2] == [
        ("a", "epoch", 2, 2),
        ("b", "epoch", 2, 2),
    ]
    assert [call[1] for call in calls[-2:]] == ["end", "end"]


def test_a_row_is_the_one_of_the_history_and_a_callback_may_add_to_it():
    class Adding(Callback):
        def on_epoch_end(self, trainer, row):
            row["mine"] = 2 * row["epoch"]

    trainer = make(callbacks=[Adding()])
    assert trainer.fit(X, Y, epochs=3)["mine"] == [2, 4, 6]


def test_a_callback_may_predict_and_save(tmp_path):
    class Using(Callback):
        def on_fit_begin(self, trainer, epochs):
            trainer.save(tmp_path / "begin")

        def on_epoch_end(self, trainer, row):
            assert trainer.predict(X).shape == (20,)
            trainer.save(tmp_path / str(row["epoch"]))

    trainer = make(callbacks=[Using()])
    trainer.fit(X, Y, epochs=2, batch_size=5)
    for name, epoch in (("begin", 0), ("1", 1), ("2", 2)):
        loaded = type(trainer).load(tmp_path / name, "numpy")
        assert loaded.epoch == epoch
        loaded.fit(X, Y, epochs=2, batch_size=5)
        assert_same_training(loaded, trainer)


class Raising(Callback):
    """Raises once, at a place and in an epoch."""

    def __init__(self, where, error, epoch=2, step=2):
        self.where, self.error, self.epoch, self.step = where, error, epoch, step

    def fire(self, where, epoch):
        if self.where == where and epoch == self.epoch:
            self.epoch = -1
            raise self.error

    def on_fit_begin(self, trainer, epochs):
        self.fire("begin", 2)

    def on_step_end(self, trainer, step, steps):
        if step == self.step:
            self.fire("step", trainer.epoch + 1)

    def on_epoch_end(self, trainer, row):
        self.fire("epoch", row["epoch"])

    def on_fit_end(self, trainer, history):
        self.fire("end", 2)


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize(("where", "epoch"), [("begin", 0), ("step", 1), ("epoch", 2), ("end", 4)])
def test_after_an_exception_training_goes_on_as_if_nothing_had_been(where, epoch, error):
    model = nn.MLP([4], 3, batch_norm=True, dropout=0.2)
    calls = []
    trainer = make(model=model, callbacks=[Noting("a", calls), Raising(where, error), Noting("b", calls)])
    with pytest.raises(type(error)):
        trainer.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    assert trainer.epoch == len(trainer.history) == epoch
    assert trainer.step == 4 * epoch
    assert ("a", "end", epoch, epoch) in calls  # whoever was told of the beginning is told of the end
    assert (("b", "end", epoch, epoch) in calls) is (where != "begin")
    trainer.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    straight = make(model=model)
    straight.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    assert_same_training(trainer, straight)


def interrupted_at(call, monkeypatch, owner, name):
    """Let the ``call``-th call of ``owner.name`` raise as Ctrl-C would, after its work is done."""
    original = getattr(owner, name)
    count = [0]

    def interrupted(*args, **options):
        result = original(*args, **options)
        count[0] += 1
        if count[0] == call:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(
    "place",
    [
        "Trainer._take_steps", "Monitor.is_better", "Evaluation.measure", "Evaluation.outputs",
        "History.append",
    ],
)  # fmt: skip
def test_ctrl_c_anywhere_in_an_epoch_leaves_the_last_whole_one(place, monkeypatch):
    owner, name = place.split(".")
    owners = {"Trainer": Trainer, "Evaluation": Evaluation, "History": History, "Monitor": Monitor}
    straight, trainer = (make(model=nn.MLP([4], 3, dropout=0.2)) for _ in range(2))
    straight.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    trainer.fit(X, Y, epochs=1, batch_size=5, validation=(X, Y))
    before = flat(trainer)
    with monkeypatch.context() as patch:
        interrupted_at(1, patch, owners[owner], name)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (1, 4, 1)
    assert trainer.best.epoch == 1
    assert np.array_equal(flat(trainer), before)
    trainer.fit(X, Y, epochs=4, batch_size=5, validation=(X, Y))
    assert_same_training(trainer, straight)


def test_an_error_before_training_leaves_an_untrained_trainer():
    from xpnet.errors import ConfigError

    trainer = make(patience=3)
    for options in ({}, {"validation": 0.2, "batch_size": 100}):
        with pytest.raises(ConfigError):
            trainer.fit(X, Y, epochs=1, **options)
    assert trainer.variables is None
    wider = np.hstack([X, X])
    trainer.fit(wider, Y, epochs=1, validation=0.2)
    assert trainer.input_shape == (6,)


class Together(Callback):
    """Wants to hear of four epochs at a time."""

    epochs_together = 4

    def __init__(self, stop_at=0):
        self.stop_at, self.told = stop_at, []

    def on_epoch_end(self, trainer, row):
        self.told.append((row["epoch"], trainer.epoch))
        return row["epoch"] == self.stop_at


@pytest.mark.parametrize("options", [{}, {"model": nn.MLP([4], 3, dropout=0.5)}])
def test_epochs_together_are_the_same_epochs(options, backend):
    """Of seven steps and a ragged one; the history has a row for each."""
    together, alone = Together(), Noting("a", [])
    trainers = [make(callbacks=[c], backend=backend, dtype="float32", **options) for c in (together, alone)]
    for trainer in trainers:
        trainer.fit(X, Y, epochs=6, batch_size=3)
    assert_same_training(*trainers)
    assert together.told == [(1, 4), (2, 4), (3, 4), (4, 4), (5, 6), (6, 6)]


def test_the_end_of_a_training_is_asked_for_after_epochs_together():
    trainer = make(callbacks=[Together(stop_at=2)])
    trainer.fit(X, Y, epochs=9, batch_size=10)
    assert trainer.epoch == 4


def test_epochs_together_that_diverge_are_trained_one_by_one():
    """So that the error names the epoch, and what was well before it is kept."""
    errors = []
    for callback in (Together(), Noting("a", [])):
        trainer = make(
            optimizer=optim.SGD(optim.Exponential(0.1, 1e30, every=10)),
            model=nn.MLP([5], 3),
            callbacks=[callback],
        )
        with pytest.raises(DivergedError) as caught:
            trainer.fit(X, Y, epochs=50, batch_size=10)
        errors.append((str(caught.value), trainer.epoch, flat(trainer).tolist()))
    assert errors[0] == errors[1]
    assert errors[0][1] > 2
