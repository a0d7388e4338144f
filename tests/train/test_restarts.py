"""Restarts: which are trained, which is kept, and what becomes of those that are lost."""

from __future__ import annotations

import csv
import logging
import statistics

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError, DivergedError
from xpnet.train import Callback, restarts
from xpnet.train.random_restarts import restart_seed

X, Y = class_data(40)
MODEL = nn.MLP([3], 3, activation="tanh", dropout=0.2)
FIT = {"epochs": 4, "batch_size": 7}


def alone(number, base=5, **fit):
    """Train what restart ``number`` is said to be, without restarts."""
    trainer = make(model=MODEL, seed=restart_seed(base, number), split_seed=base)
    trainer.fit(X, Y, **FIT, **fit)
    return trainer


@pytest.mark.parametrize("validation", [None, 0.25, (X[:9], Y[:9])], ids=["none", "share", "rows"])
def test_each_restart_and_the_choice(validation):
    found = restarts(make(model=MODEL, seed=5), X, Y, n=4, validation=validation, **FIT)
    each = [alone(number, validation=validation) for number in (1, 2, 3, 4)]
    column = "loss" if validation is None else "validation_loss"
    losses = [t.history["loss"][-1] if validation is None else t.best.loss for t in each]
    assert found.table[column] == losses
    assert found.table["seed"] == [trainer.seed for trainer in each]
    assert found.table["outcome"] == ["done"] * 4
    best = each[int(np.argmin(losses))]
    assert_same_training(found.trainer, best)
    assert found.best["seed"] == best.seed == found.trainer.seed
    assert (found.spread.count, found.spread.minimum, found.spread.maximum) == (4, min(losses), max(losses))
    assert found.spread.median == statistics.median(losses)
    assert found.spread.standard_deviation == pytest.approx(np.std(losses, ddof=1))
    assert not found.interrupted
    assert len({tuple(flat(trainer)) for trainer in each}) == 4


def test_the_choice_by_another_column():
    options = {"metrics": ["accuracy"], "monitor": "validation_accuracy", "optimizer": optim.SGD(0.01)}
    found = restarts(make(model=MODEL, seed=5, **options), X, Y, n=4, validation=0.5, **FIT)
    accuracies = found.table["validation_accuracy"]
    assert len(set(accuracies)) > 1
    assert found.best is found.table.rows[int(np.argmax(accuracies))]
    assert (found.spread.minimum, found.spread.maximum) == (min(accuracies), max(accuracies))


def test_the_first_is_the_trainer_itself_which_stays_untouched():
    trainer, straight = (make(model=MODEL, seed=5) for _ in range(2))
    found = restarts(trainer, X, Y, n=1, validation=0.25, **FIT)
    straight.fit(X, Y, validation=0.25, **FIT)
    assert_same_training(found.trainer, straight)
    assert trainer.variables is None
    assert len(trainer.history) == 0
    assert found.spread.standard_deviation == 0.0


def test_all_have_the_same_validation_rows(tmp_path):
    held_out = []

    class Noting(Callback):
        def on_fit_begin(self, trainer, epochs):
            from xpnet.train.rows import split

            held_out.append(split(trainer.setup, X, Y, None, None, 0.25, width=None)[1].X)

    found = restarts(make(callbacks=[Noting()], seed=5), X, Y, n=3, validation=0.25, **FIT)
    assert all(np.array_equal(rows, held_out[0]) for rows in held_out[1:])
    found.trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert loaded.split_seed == 5
    for one in (loaded, found.trainer):
        one.callbacks = []
        one.fit(X, Y, epochs=6, batch_size=7, validation=0.25)
    assert_same_training(loaded, found.trainer)


def test_a_function_that_makes_trainers():
    made = []

    def new(seed):
        made.append(make(model=MODEL, seed=seed))
        return made[-1]

    found = restarts(new, X, Y, n=3, validation=0.25, **FIT)
    assert [trainer.seed for trainer in made] == [restart_seed(0, number) for number in (1, 2, 3)]
    assert {trainer.split_seed for trainer in made} == {0}
    assert found.trainer in made


def test_the_best_weights_are_in_place_where_the_trainer_restores_them():
    trainer = make(model=MODEL, optimizer=optim.Adam(0.5), restore_best=True)
    found = restarts(trainer, X, Y, n=2, epochs=8, batch_size=7, validation=(X[:9], (Y[:9] + 1) % 3))
    assert found.trainer.last is not None
    assert found.trainer.evaluate(X[:9], (Y[:9] + 1) % 3)["loss"] == pytest.approx(found.spread.minimum)


class Spoiling(Callback):
    """Makes the restarts of some numbers diverge."""

    def __init__(self, numbers):
        self.numbers, self.number = numbers, 0

    def on_fit_begin(self, trainer, epochs):
        self.number += 1
        if self.number in self.numbers:
            trainer.variables.params.flat[0] = float("nan")


def test_a_restart_that_diverges_is_lost(caplog):
    spoiled = make(callbacks=[Spoiling({1, 3})])
    with caplog.at_level(logging.WARNING, "xpnet"):
        found = restarts(spoiled, X, Y, n=4, **FIT)
    assert found.table["outcome"] == ["diverged", "done", "diverged", "done"]
    assert found.table["loss"][0] is found.table["loss"][2] is None
    assert found.best["restart"] in (2, 4)
    assert found.spread.count == 2
    messages = [record.getMessage() for record in caplog.records]
    assert [message[:24] for message in messages] == ["restart 1 of 4 is lost: ", "restart 3 of 4 is lost: "]
    assert "diverged in epoch 1" in messages[0]


def test_all_diverged():
    with pytest.raises(DivergedError, match="all 2 restarts diverged, the first in epoch 1") as caught:
        restarts(make(callbacks=[Spoiling({1, 2})]), X, Y, n=2, **FIT)
    assert caught.value.epoch == 1


class Interrupting(Callback):
    def __init__(self, restart, epoch):
        self.at, self.restart = (restart, epoch), 0

    def on_fit_begin(self, trainer, epochs):
        self.restart += 1

    def on_step_end(self, trainer, step, steps):
        if (self.restart, trainer.epoch) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("at", "outcomes", "count"),
    [((3, 0), ["done", "done", "interrupted"], 2), ((3, 2), ["done", "done", "interrupted"], 3),
     ((1, 1), ["interrupted"], 1)],
)  # fmt: skip
def test_ctrl_c_keeps_the_best_so_far(at, outcomes, count):
    found = restarts(make(callbacks=[Interrupting(*at)]), X, Y, n=4, validation=0.25, **FIT)
    assert found.interrupted
    assert found.table["outcome"] == outcomes
    assert found.spread.count == count
    assert found.trainer.best.loss == found.spread.minimum


def test_ctrl_c_before_anything_is_trained():
    with pytest.raises(KeyboardInterrupt):
        restarts(make(callbacks=[Interrupting(1, 0)]), X, Y, n=4, **FIT)


@pytest.mark.parametrize("init", ["zeros", "constant"])
def test_weights_that_are_not_drawn_are_warned_of(init, caplog):
    with caplog.at_level(logging.WARNING, "xpnet"):
        found = restarts(make(model=nn.MLP([3], 3, weight_init=init)), X, Y, n=3, **FIT)
    messages = [record.getMessage() for record in caplog.records]
    assert sum("restarts do not help here" in message for message in messages) == 1
    assert sum("layer 0 (3 units) begin with equal weights" in message for message in messages) == 3
    assert len(found.table) == 3


def test_no_warning_for_drawn_weights_or_one_restart(caplog):
    with caplog.at_level(logging.WARNING, "xpnet"):
        restarts(make(), X, Y, n=2, **FIT)
        restarts(make(model=nn.Dense(3, weight_init="zeros")), X, Y, n=1, **FIT)
    assert not caplog.records


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n: expected a whole number of at least 1, found 0"),
        ({"n": 2.5}, "n: expected"),
        ({"n": 2, "trainer": "adam"}, "restarts: expected a trainer, .* found 'adam'"),
        ({"n": 2, "batch_size": 99}, "batch_size"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        restarts(arguments.pop("trainer", make()), X, Y, **{**FIT, **arguments})


def test_a_trainer_that_has_been_trained():
    trainer = make()
    trainer.fit(X, Y, **FIT)
    with pytest.raises(ConfigError, match="not been trained, found one after epoch 4"):
        restarts(trainer, X, Y, n=2, **FIT)


def test_the_table_as_a_file(tmp_path):
    found = restarts(make(), X, Y, n=3, validation=0.25, **FIT)
    found.table.to_csv(tmp_path / "restarts.csv")
    with (tmp_path / "restarts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation_loss"]) for row in rows] == found.table["validation_loss"]


def test_on_every_backend(backend):
    trainer = make(backend=backend, dtype="float32", optimizer=optim.SGD(0.1))
    found = restarts(trainer, X, Y, n=2, epochs=1, batch_size=20, validation=0.25)
    reference = restarts(make(dtype="float32", optimizer=optim.SGD(0.1)), X, Y, n=2, epochs=1, batch_size=20,
                         validation=0.25)  # fmt: skip
    assert found.table["seed"] == reference.table["seed"]
    np.testing.assert_allclose(found.table["loss"], reference.table["loss"], rtol=1e-4)
