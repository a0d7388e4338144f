"""Early stopping by the validation loss, and the best weights restored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError
from xpnet.train import METRICS, Callback
from xpnet.train import trainer as trainer_module
from xpnet.train.early_stopping import Patience
from xpnet.train.evaluation import Evaluation

X, Y = class_data(24)
HELD_OUT = (X[:8], (Y[:8] + 1) % 3)  # wrong labels: what is learnt makes this loss rise


class Falling(Callback):
    """Replaces validation losses by given ones before anything sees them."""

    def __init__(self, monkeypatch, losses):
        measure = Evaluation.measure
        remaining = iter(losses)

        def measured(evaluation, setup, variables, rows, **options):
            found = measure(evaluation, setup, variables, rows, **options)
            return found | {"loss": next(remaining)} if options.get("with_loss", True) else found

        monkeypatch.setattr(Evaluation, "measure", measured)


def train(monkeypatch, losses, **options):
    Falling(monkeypatch, losses)
    trainer = make(**options)
    trainer.fit(X, Y, epochs=len(losses), batch_size=8, validation=HELD_OUT)
    return trainer


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "stops_after", "best"),
    [
        ([5, 4, 3, 2, 1], 1, 0.0, 5, 5),
        ([5, 4, 4, 3, 2], 1, 0.0, 3, 2),  # equal is no fall
        ([5, 4, 6, 3, 4, 5, 6], 2, 0.0, 6, 4),
        ([5, 4, 6, 3, 4, 5, 2], 3, 0.0, 7, 7),
        ([5, 4.9, 4.8, 4.7, 4.6], 3, 0.25, 5, 5),  # 4.7 falls by 0.3 since 5
        ([5, 4.9, 4.85, 4.8, 4.6], 3, 0.25, 4, 4),  # patience is lost, and the lowest is kept all the same
        ([math.nan, math.nan, 1, 2], 2, 0.0, 2, None),
        ([math.inf, 3, math.nan, 2, 4, 4], 2, 0.0, 6, 4),
    ],
)
def test_when_it_stops_and_what_is_kept(monkeypatch, losses, patience, min_delta, stops_after, best):
    trainer = train(monkeypatch, losses, patience=patience, min_delta=min_delta)
    assert trainer.epoch == stops_after
    assert (None if trainer.best is None else trainer.best.epoch) == best
    if best is not None:
        assert trainer.best.loss == losses[best - 1]


@pytest.mark.parametrize(
    ("accuracies", "options", "stops_after", "best"),
    [
        ([0.5, 0.7, 0.6, 0.8, 0.7], {"patience": 2}, 5, 4),
        ([0.5, 0.7, 0.7, 0.6, 0.9], {"patience": 2}, 4, 2),
        ([0.5, 0.7, 0.7, 0.6, 0.9], {"patience": 2, "use_last_best_epoch": True}, 4, 3),  # it waits no longer
        ([0.5, 0.55, 0.625, 0.65], {"patience": 2, "min_delta": 0.1}, 4, 4),
        ([math.nan, -math.inf, 0.2, 0.1], {}, 4, 3),
    ],
)
def test_a_metric_is_monitored(monkeypatch, accuracies, options, stops_after, best):
    """Higher is better, of equal ones the first; or the last, as for RealMLP in pytabkit."""
    remaining = iter(accuracies)
    measure = Evaluation.measure

    def measured(evaluation, setup, variables, rows, **choices):
        found = measure(evaluation, setup, variables, rows, **choices)
        return found | {"accuracy": next(remaining)} if choices.get("with_loss", True) else found

    monkeypatch.setattr(Evaluation, "measure", measured)
    trainer = make(metrics=["accuracy"], monitor="validation_accuracy", **options)
    trainer.fit(X, Y, epochs=len(accuracies), batch_size=8, validation=HELD_OUT)
    assert (trainer.epoch, trainer.best.epoch) == (stops_after, best)
    assert trainer.best.loss == trainer.history["validation_loss"][best - 1]
    assert f"highest validation accuracy {accuracies[best - 1]:.4g} in epoch {best}" in repr(trainer)
    alone = make()
    alone.fit(X, Y, epochs=best, batch_size=8)
    assert np.array_equal(flat(trainer), flat(alone))


def error(outputs, targets):
    return 1 - METRICS["accuracy"](outputs, targets)


def test_a_metric_of_ones_own_says_which_values_are_better(monkeypatch):
    with pytest.raises(ConfigError, match=r"error.higher_is_better = False"):
        make(metrics=[error], monitor="validation_error")
    monkeypatch.setattr(error, "higher_is_better", False, raising=False)
    one = make(metrics=[error], monitor="val_error")
    other = make(metrics=["accuracy"], monitor="val_acc")
    for trainer in (one, other):
        trainer.fit(X, Y, epochs=9, batch_size=8, validation=(X, Y))
    assert one.best.epoch == other.best.epoch == 1 + int(np.argmax(other.history["validation_accuracy"]))
    lowest = 1 - max(other.history["validation_accuracy"])
    assert f"lowest validation error {lowest:.4g} in epoch" in repr(one)


def test_another_column_is_monitored_from_some_epoch_on(tmp_path):
    """The best epoch so far stays the best until one is better by the new column."""
    trainer = make(metrics=["accuracy"], patience=30)
    trainer.fit(X, Y, epochs=3, batch_size=8, validation=HELD_OUT)
    best, rows = trainer.best.epoch, trainer.history.rows
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy", monitor="validation_accuracy")
    loaded.fit(X, Y, epochs=12, batch_size=8, validation=HELD_OUT)
    later = [row["validation_accuracy"] for row in loaded.history][2:]
    better = max(later) > rows[best - 1]["validation_accuracy"]
    assert loaded.best.epoch == (3 + int(np.argmax(later)) if better else best)


@pytest.mark.parametrize("name", ["validation_f1", "validation_losses"])
def test_a_column_that_is_not_measured(name):
    with pytest.raises(ConfigError, match=rf"validation_loss, validation_accuracy\), found '{name}'"):
        make(metrics=["accuracy"], monitor=name)


def test_the_best_weights_are_restored():
    trainer = make(patience=3)
    trainer.fit(X, Y, epochs=50, batch_size=8, validation=HELD_OUT)
    assert trainer.epoch == trainer.best.epoch + 3 < 50
    assert trainer.evaluate(*HELD_OUT)["loss"] == trainer.best.loss == min(trainer.history["validation_loss"])
    alone = make()
    alone.fit(X, Y, epochs=trainer.best.epoch, batch_size=8)
    assert np.array_equal(flat(alone), flat(trainer))


def test_restored_weights_come_with_their_state():
    model = nn.MLP([5], 3, batch_norm=True)
    trainer = make(model=model, patience=2)
    trainer.fit(X, Y, epochs=50, batch_size=8, validation=HELD_OUT)
    alone = make(model=model)
    alone.fit(X, Y, epochs=trainer.best.epoch, batch_size=8)
    for name in ("mean", "variance"):
        assert np.array_equal(trainer.variables.state["1"][name], alone.variables.state["1"][name])
    assert trainer.evaluate(*HELD_OUT)["loss"] == trainer.best.loss


@pytest.mark.parametrize(
    ("options", "restored"),
    [({}, True), ({"restore_best": False}, False), ({"patience": 40, "restore_best": False}, False)],
)  # fmt: skip
def test_who_restores(options, restored):
    trainer = make(**options)
    trainer.fit(X, Y, epochs=6, batch_size=8, validation=HELD_OUT)
    last = make()
    last.fit(X, Y, epochs=6, batch_size=8)
    assert trainer.best.epoch < 6
    assert np.array_equal(flat(trainer), flat(last)) is not restored
    assert (trainer.last is not None) is restored


def test_a_later_fit_goes_on_from_the_last_epoch():
    straight, parts = (make(restore_best=True) for _ in range(2))
    straight.fit(X, Y, epochs=7, batch_size=8, validation=HELD_OUT)
    for epochs in (3, 5, 7, 7):
        parts.fit(X, Y, epochs=epochs, batch_size=8, validation=HELD_OUT)
    assert_same_training(straight, parts)


def test_lost_patience_stays_lost(tmp_path):
    trainer = make(patience=2)
    trainer.fit(X, Y, epochs=50, batch_size=8, validation=HELD_OUT)
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    stopped_at = trainer.epoch
    for one in (trainer, loaded):
        one.fit(X, Y, epochs=50, batch_size=8, validation=HELD_OUT)
        assert one.epoch == stopped_at
    assert_same_training(trainer, loaded)
    trainer.patience = None
    trainer.fit(X, Y, epochs=stopped_at + 2, batch_size=8, validation=HELD_OUT)
    assert trainer.epoch == stopped_at + 2


def test_a_fit_without_validation_ends_with_its_own_weights():
    trainer = make(restore_best=None)
    trainer.fit(X, Y, epochs=3, batch_size=8, validation=HELD_OUT)
    trainer.fit(X, Y, epochs=6, batch_size=8)
    other = make()
    other.fit(X, Y, epochs=6, batch_size=8)
    assert np.array_equal(flat(trainer), flat(other))


def test_callbacks_at_the_end_see_the_restored_weights():
    seen = []

    class AtTheEnd(Callback):
        def on_fit_end(self, trainer, history):
            seen.append(flat(trainer))

    trainer = make(patience=2, callbacks=[AtTheEnd()])
    trainer.fit(X, Y, epochs=50, batch_size=8, validation=HELD_OUT)
    assert np.array_equal(seen[0], flat(trainer))


@pytest.mark.parametrize(
    ("min_steps", "stops_after"), [(None, 4), (1, 4), (12, 4), (13, 5), (17, 6), (99, 8)]
)
def test_patience_is_not_lost_before_some_steps(monkeypatch, min_steps, stops_after):
    losses = [5, 4, 4, 4, 4, 4, 4, 4]
    trainer = train(monkeypatch, losses, patience=2, min_steps=min_steps)  # three steps an epoch
    assert trainer.epoch == stops_after
    trainer.fit(X, Y, epochs=len(losses), batch_size=8, validation=HELD_OUT)
    assert trainer.epoch == stops_after


class Clock(Callback):
    """Lets a time pass in each epoch."""

    def __init__(self, monkeypatch, seconds):
        self.now, self.seconds, self.endings = 100.0, seconds, []
        monkeypatch.setattr(trainer_module.time, "monotonic", lambda: self.now)

    def on_step_end(self, trainer, step, steps):
        self.now += self.seconds / steps

    def on_epoch_end(self, trainer, row):
        self.endings.append(trainer.ending)


def test_a_time_limit_ends_a_fit_and_not_the_training(monkeypatch, tmp_path):
    clock = Clock(monkeypatch, 1.0)
    trainer, straight = (
        make(time_limit=2.5, callbacks=[clock], model=nn.MLP([5], 3, dropout=0.2)),
        make(model=nn.MLP([5], 3, dropout=0.2)),
    )
    straight.fit(X, Y, epochs=8, batch_size=8, validation=HELD_OUT)
    ends = []
    while trainer.epoch < 8:
        trainer.fit(X, Y, epochs=8, batch_size=8, validation=HELD_OUT)
        ends.append((trainer.epoch, trainer.timed_out))
        trainer.save(tmp_path)
        trainer = Trainer.load(tmp_path, "numpy", callbacks=[clock], progress=False)
    assert ends == [(2, True), (4, True), (6, True), (8, False)]  # a third epoch would not be over in time
    assert clock.endings == [False, True] * 4
    assert_same_training(trainer, straight)


def test_the_last_epoch_is_known_at_its_end(monkeypatch):
    clock = Clock(monkeypatch, 0.0)
    trainer = train(monkeypatch, [3, 2, 2, 2, 2], patience=2, callbacks=[clock])
    assert (trainer.epoch, clock.endings) == (4, [False, False, False, True])
    make(max_steps=4, callbacks=[clock]).fit(X, Y, epochs=9, batch_size=8)
    assert clock.endings[4:] == [False, True]


def test_patience_without_end():
    patience = Patience(None).after({"validation_loss": 1.0} for _ in range(100))
    assert patience.waited == 99
    assert not patience.lost
    assert Patience(1).after([{"loss": 1.0}] * 5).waited == 0


def test_a_single_held_out_row_is_enough():
    trainer = make(patience=1, optimizer=optim.SGD(1e-3))
    trainer.fit(X, Y, epochs=3, validation=(X[:1], Y[:1]))
    assert trainer.epoch == 3
