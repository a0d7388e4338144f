"""Epochs, steps, validation sets and the history that a fit returns."""

from __future__ import annotations

import copy
import csv

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make, value_data
from xpnet import nn, optim
from xpnet.data import split_rows
from xpnet.train import History

X, Y = class_data(30)


def test_the_history_has_one_row_an_epoch_and_says_what_happened():
    trainer = make(metrics=["accuracy"], optimizer=optim.SGD(optim.Inverse(0.1)))
    history = trainer.fit(X, Y, epochs=4, batch_size=8, validation=(X[:6], Y[:6]))
    assert history is trainer.history
    assert history.columns == [
        "epoch", "step", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate",
        "seconds",
    ]  # fmt: skip
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["step"] == [4, 8, 12, 16]
    assert history["learning_rate"] == [0.1 / k for k in (4, 8, 12, 16)]
    assert all(seconds > 0 for seconds in history["seconds"])
    measured = trainer.evaluate(X[:6], Y[:6])
    assert history["validation_loss"][-1] == measured["loss"]
    assert history["validation_accuracy"][-1] == measured["accuracy"]
    assert history["accuracy"][-1] == trainer.evaluate(X, Y)["accuracy"]
    assert history["loss"][-1] < history["loss"][0]


def test_the_loss_of_a_row_is_the_mean_over_the_epochs_rows():
    trainer = make(optimizer=optim.SGD(1e-12))  # parameters stand still, so batches add up to the whole
    history = trainer.fit(X, Y, epochs=1, batch_size=7)
    assert history["loss"][0] == pytest.approx(trainer.evaluate(X, Y)["loss"], rel=1e-9)


def test_the_history_as_csv(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=2, validation=0.2)
    trainer.history.to_csv(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(cell) for name, cell in row.items()} for row in rows] == trainer.history.rows


def test_a_column_that_came_or_went_is_none_elsewhere(tmp_path):
    history = History([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "accuracy": 0.9}])
    assert history["accuracy"] == [None, 0.9]
    history.append({"epoch": 3, "loss": 0.25})
    assert history["accuracy"] == [None, 0.9, None]
    history.to_csv(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text().splitlines()[1:] == ["1,1.0,", "2,0.5,0.9", "3,0.25,"]
    with pytest.raises(KeyError, match="did you mean 'accuracy'"):
        history["acuracy"]
    assert History()["loss"] == []
    assert len(history) == 3
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_epochs_count_from_the_first_fit():
    straight, parts = make(), make()
    straight.fit(X, Y, epochs=5, batch_size=4)
    for epochs in (2, 2, 3, 5):
        parts.fit(X, Y, epochs=epochs, batch_size=4)
    assert parts.epoch == 5
    assert_same_training(straight, parts)


def test_the_same_seed_trains_the_same_and_another_does_not():
    results = []
    for seed in (1, 1, 2):
        trainer = make(seed=seed, model=nn.MLP([4], 3, dropout=0.3))
        trainer.fit(X, Y, epochs=2, batch_size=4)
        results.append(flat(trainer))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_inputs_are_not_written_to():
    X, y = class_data()  # read-only
    before = X.copy()
    make(model=nn.MLP([4], 3, batch_norm=True)).fit(X, y, epochs=2, batch_size=4)
    assert np.array_equal(X, before)


# ------------------------------------------------------------------------------------------- steps
def test_max_steps_cuts_an_epoch_short():
    trainer = make(max_steps=6)
    history = trainer.fit(X, Y, epochs=9, batch_size=8)  # 4 steps an epoch
    assert (trainer.step, trainer.epoch) == (6, 2)
    assert history["step"] == [4, 6]
    whole = make()
    assert whole.fit(X, Y, epochs=1, batch_size=8)["loss"] == history["loss"][:1]


def test_max_steps_at_the_end_of_an_epoch():
    trainer = make(max_steps=8)
    assert trainer.fit(X, Y, epochs=9, batch_size=8)["step"] == [4, 8]


def test_after_max_steps_nothing_more_is_trained():
    trainer = make(max_steps=6)
    trainer.fit(X, Y, epochs=9, batch_size=8)
    before = flat(trainer)
    trainer.fit(X, Y, epochs=99, batch_size=8)
    assert np.array_equal(flat(trainer), before)
    assert len(trainer.history) == 2


def test_more_steps_begin_the_next_epoch(tmp_path):
    trainer = make(max_steps=6)
    trainer.fit(X, Y, epochs=9, batch_size=8)
    trainer.save(tmp_path)
    again = type(trainer).load(tmp_path, "numpy", max_steps=14)
    trainer.max_steps = 14
    for one in (trainer, again):
        one.fit(X, Y, epochs=9, batch_size=8)
        assert one.history["step"] == [4, 6, 10, 14]
        assert one.history["epoch"] == [1, 2, 3, 4]
    assert_same_training(trainer, again)


# -------------------------------------------------------------------------------------- validation
def test_a_fraction_splits_off_rows_in_proportion_to_the_classes():
    trainer = make(seed=5)
    trainer.fit(X, Y, epochs=3, batch_size=4, validation=0.2)
    train, held_out, _ = split_rows(30, validation=0.2, seed=5, stratify=Y)
    assert np.bincount(Y[held_out]).tolist() == [2, 2, 2]
    given = make(seed=5)
    given.fit(X[train], Y[train], epochs=3, batch_size=4, validation=(X[held_out], Y[held_out]))
    assert_same_training(trainer, given)


def test_validation_as_a_list_and_with_weights():
    weight = np.arange(1.0, 31.0)
    trainer = make()
    history = trainer.fit(X, Y, epochs=1, validation=[X, Y, weight])
    expected = trainer.evaluate(X, Y, weight)["loss"]
    assert history["validation_loss"] == [expected]
    assert expected != trainer.evaluate(X, Y)["loss"]


@pytest.mark.parametrize("none", [None, 0, 0.0])
def test_no_validation(none):
    history = make().fit(X, Y, epochs=1, validation=none)
    assert "validation_loss" not in history.columns


def test_validation_does_not_change_the_training():
    with_it, without = make(), make()
    with_it.fit(X, Y, epochs=3, batch_size=4, validation=(X[:5], Y[:5]))
    without.fit(X, Y, epochs=3, batch_size=4)
    assert np.array_equal(flat(with_it), flat(without))


def test_split_off_rows_of_a_regression():
    X, y = value_data(20)
    trainer = make(model=nn.MLP([4], 1), loss="squared_error")
    trainer.fit(X, y, epochs=1, validation=np.float32(0.25))
    assert trainer.history["validation_loss"]


def test_numpy_numbers_are_numbers():
    trainer = make(
        seed=np.int64(3), l2=np.float32(0.5), clip_norm=np.float64(1), clip_value=np.int32(2),
        max_steps=np.int64(7), patience=np.int64(2),
    )  # fmt: skip
    trainer.fit(X, Y, epochs=np.int64(2), batch_size=np.int32(10), validation=np.float64(0.5))
    kinds = {type(getattr(trainer, name)) for name in ("seed", "max_steps", "patience")}
    assert kinds == {int}
    assert {type(getattr(trainer, name)) for name in ("l2", "clip_norm", "clip_value")} == {float}


def test_more_rows_than_are_evaluated_at_once(monkeypatch):
    trainer = make(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=1)
    whole = trainer.predict_proba(X), trainer.evaluate(X, Y)
    monkeypatch.setattr("xpnet.train.evaluation._ROWS", 7)
    np.testing.assert_allclose(trainer.predict_proba(X), whole[0], rtol=1e-12)
    assert trainer.evaluate(X, Y) == pytest.approx(whole[1])


def test_a_copy_of_a_trainer_is_a_trainer_of_its_own():
    trainer = make()
    trainer.fit(X, Y, epochs=2, batch_size=5)
    trainer.predict(X)
    other, kept = copy.copy(trainer), flat(trainer)
    other.fit(X, Y, epochs=5, batch_size=5)
    assert np.array_equal(flat(trainer), kept)
    assert not np.array_equal(flat(other), kept)
    assert np.array_equal(other.outputs(X), other.model.apply(other.variables, X))
