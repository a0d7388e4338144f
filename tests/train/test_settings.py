"""Settings: one field each; and what follows from setup, settings and state: copies of trainers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import pickle
import re

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, checks, nn, optim
from xpnet.errors import ConfigError, DataError
from xpnet.train.attributes import takes_settings
from xpnet.train.settings import Settings, setting, settings_of, stored

X, Y = class_data(30)
FIT = {"batch_size": 7, "validation": 0.2}


def test_a_new_setting_is_one_field():
    @dataclasses.dataclass(frozen=True)
    class More(Settings):
        warmth: float = setting(0.5, checks.fraction, "how warm it is.", fixed="it is cold outside")

    @takes_settings(More)
    class Warm:
        """Args:
        <settings>
        """

        def __init__(self, **settings):
            self.setup = make().setup
            self.setup = dataclasses.replace(self.setup, settings=settings_of(More, settings))
            self.state = make().state

    assert inspect.signature(Warm).parameters["warmth"].default == 0.5
    assert "warmth: how warm it is." in Warm.__doc__
    warm = Warm(warmth=0.25)
    assert (warm.warmth, warm.l2) == (0.25, 0.0)
    assert stored(warm.setup.settings)["warmth"] == 0.25
    warm.warmth = np.float32(0.75)
    assert (warm.warmth, type(warm.warmth)) == (0.75, float)
    with pytest.raises(ConfigError, match="warmth: expected a number of at least 0 and below 1, found 2"):
        warm.warmth = 2


def test_the_trainer_takes_every_setting_by_name():
    known = inspect.signature(Trainer).parameters
    for field in dataclasses.fields(Settings):
        assert known[field.name].default == field.default
        assert f"\n        {field.name}: " in Trainer.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'patients'; did you mean 'patience'"):
        make(patients=3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("patience", 0, "patience: expected a whole number of at least 1, found 0"),
        ("compile", "fast", "compile: "),
        ("optimizer", "adm", "did you mean 'adam'"),
        ("optimizer", "l-bfgs", "optimizer l-bfgs: expected no clip_norm, found 1.0"),
        ("loss", "squared_error", "label_smoothing: expected a loss of probabilities"),
        ("model", [nn.Dense(3)], "Sequential"),
    ],
)
def test_an_attribute_is_checked_as_an_argument_is(name, value, message):
    trainer = make(clip_norm=1.0, label_smoothing=0.1)
    before = trainer.setup
    with pytest.raises(ConfigError, match=message):
        setattr(trainer, name, value)
    assert trainer.setup is before


@pytest.mark.parametrize(("name", "value"), [("dtype", "float32"), ("backend", "numpy")])
def test_trained_arrays_keep_their_dtype_and_place(name, value):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(ConfigError, match=f"{name}: expected no other one .*; save it, and load it"):
        setattr(trainer, name, value)


# --------------------------------------------------------------------------------------------- copies
def trained(backend="numpy", epochs=2, **options):
    trainer = make(backend=backend, dtype="float32", patience=5, model=nn.MLP([5], 3, dropout=0.2), **options)
    trainer.fit(X, Y, epochs=epochs, **FIT)
    return trainer


@pytest.mark.parametrize(
    "copied", [Trainer.copy, copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))],
    ids=["copy", "copy.copy", "deepcopy", "pickle"],
)  # fmt: skip
def test_a_copy_trains_on_alike_and_apart(backend, copied):
    trainer = trained(backend)
    kept, other = flat(trainer), copied(trainer)
    assert_same_training(trainer, other)
    other.fit(X, Y, epochs=4, **FIT)
    assert np.array_equal(flat(trainer), kept)
    assert len(trainer.history) == 2
    assert_same_training(other, trained(backend, epochs=4))


def test_a_pickled_trainer_has_host_arrays_only(backend):
    state = trained(backend).__getstate__()["state"]
    arrays = (state.variables.params.flat, state.best.variables.params.flat, state.opt_state["m"].flat)
    assert {type(x) for x in arrays} == {np.ndarray}


def test_reset_and_clone_begin_as_a_new_one():
    new, trainer = trained(), trained(epochs=3)
    clone = trainer.clone()
    assert (clone.variables, clone.epoch, len(clone.history)) == (None, 0, 0)
    assert clone.settings == trainer.settings
    trainer.reset()
    for one in (clone, trainer):
        one.fit(X, Y, epochs=2, **FIT)
        assert_same_training(one, new)


def test_partial_fit_trains_one_epoch_more():
    trainer, straight = make(), make()
    for _ in range(3):
        trainer.partial_fit(X, Y, batch_size=7)
    straight.fit(X, Y, epochs=3, batch_size=7)
    assert_same_training(trainer, straight)


@pytest.mark.parametrize(
    ("options", "epochs", "why"),
    [
        ({}, 2, "2 of 2 epochs are done; pass more epochs"),
        ({"max_steps": 5}, 9, "all of max_steps=5 are done; raise max_steps"),
        ({"patience": 1, "optimizer": optim.SGD(300.0)}, 9, "patience=1 was lost .*; set trainer.patience"),
    ],
)
def test_a_fit_with_nothing_left_to_train_says_so(options, epochs, why, caplog):
    trainer = make(**options)
    with caplog.at_level(logging.WARNING, "xpnet"):
        trainer.fit(X, Y, epochs=epochs, **FIT)
        assert "nothing is left" not in caplog.text
        before = len(trainer.history)
        trainer.fit(X, Y, epochs=epochs, **FIT)
    assert len(trainer.history) == before
    assert re.match(f"fit: nothing is left to train, as {why}", caplog.records[-1].getMessage())


# ---------------------------------------------------------------------------- what fit takes and tells
def test_other_rows_than_before_are_told(tmp_path, caplog):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path)
    for one in (trainer, Trainer.load(tmp_path, "numpy", dtype="float32")):
        with caplog.at_level(logging.WARNING, "xpnet"):
            one.fit(X, Y, epochs=2)
            assert not caplog.records
            one.fit(X[:20], Y[:20], epochs=3)
            (record,) = caplog.records
        assert record.getMessage().startswith("fit: the 20 rows differ from those of the 2 epochs before")
        caplog.clear()


@pytest.mark.parametrize(("rows", "optimizer", "steps"), [(64, "adam", 1), (65, "adam", 2), (65, "bfgs", 1)])
def test_the_usual_batch_size_is_that_of_the_command_line(rows, optimizer, steps):
    trainer = make(optimizer=optimizer)
    trainer.fit(*class_data(rows), epochs=1)
    assert trainer.step == steps


def test_a_loss_of_ones_own_gets_targets_in_the_shape_of_its_predictions():
    seen = []

    def squares(predictions, targets, *, sample_weight=None):
        xp = predictions.__array_namespace__()
        seen.append((predictions.shape, targets.shape))
        return xp.mean((predictions - targets) ** 2)

    own, known = (make(model=nn.Dense(1), loss=loss, compile="off") for loss in (squares, "squared_error"))
    for trainer in (own, known):
        trainer.fit(X, X[:, 0], epochs=2, batch_size=7)
        assert trainer.evaluate(X, X[:, 0])["loss"] < 10
    assert all(one == other for one, other in seen)
    np.testing.assert_allclose(flat(own), flat(known), rtol=1e-12)


@pytest.mark.parametrize(
    ("difference", "told"),
    [(lambda p, t: p - t, False), (lambda p, t: p[:, 0] - t, True), (lambda p, t: (p - t)[:, 0], False)],
)
def test_a_loss_that_compares_all_pairs_is_told(difference, told, caplog):
    def squares(predictions, targets, *, sample_weight=None):
        xp = predictions.__array_namespace__()
        return xp.mean(difference(predictions, targets) ** 2)

    with caplog.at_level(logging.WARNING, "xpnet"):
        make(model=nn.Dense(1), loss=squares).fit(X, X[:, 0], epochs=1)
    assert ("its value is the same if targets change places" in caplog.text) is told


@pytest.mark.parametrize(
    ("loss", "metric", "fitting"),
    [("squared_error", "accuracy", "mae, r2, rmse"), ("softmax_cross_entropy", "r2", "accuracy, balanced")],
)
def test_metrics_that_do_not_fit_the_loss_are_refused(loss, metric, fitting):
    with pytest.raises(ConfigError, match=f"metrics: expected .* found '{metric}'; choose among {fitting}"):
        make(loss=loss, metrics=[metric])


class Frame:
    """A table such as pandas has them: columns by name, arrays of objects where their types differ."""

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), columns
        self.shape = (len(next(iter(columns.values()))), len(columns))

    def __getitem__(self, names):
        return Frame(**{name: self._columns[name] for name in names})

    def to_numpy(self):
        kinds = {column.dtype.kind for column in self._columns.values()}
        dtype = object if len(kinds) > 1 else None
        return np.stack([column.astype(dtype) for column in self._columns.values()], axis=1)


def _frames():
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    return {"polars": polars.DataFrame, "pyarrow": arrow.table, "as pandas": lambda columns: Frame(**columns)}


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "as pandas"])
def test_columns_are_matched_by_name(kind, tmp_path):
    frame = _frames()[kind]
    columns = {"a": X[:, 0], "b": X[:, 1] > 0, "c": X[:, 2]}
    trainer, table = make(), frame(columns)
    trainer.fit(table, Y, epochs=2, validation=(frame(dict(reversed(columns.items()))), Y))
    assert trainer.history["loss"] != trainer.history["validation_loss"]
    trainer.save(tmp_path)
    for one in (trainer, Trainer.load(tmp_path, "numpy")):
        expected = one.predict_proba(np.stack([np.asarray(x, dtype=float) for x in columns.values()], axis=1))
        turned = frame({name: columns[name] for name in ("c", "a", "b")})
        np.testing.assert_array_equal(one.predict_proba(table), expected)
        np.testing.assert_array_equal(one.predict_proba(turned), expected)
        assert one.evaluate(turned, Y) == one.evaluate(table, Y)
        for names, message in [
            (("a", "b"), "found no 'c'"),
            (("a", "b", "d"), "found no 'c'.* and 'd', unknown to it; pass the same columns, in any order"),
        ]:
            other = frame({name: columns.get(name, X[:, 2]) for name in names})
            with pytest.raises(DataError, match=f"X: expected the 3 columns of the training, {message}"):
                one.predict(other)


# ------------------------------------------------------------------------------------------ how it looks
def test_a_trainer_and_its_history_say_what_they_are():
    trainer = make(model=nn.MLP([5], 3, dropout=0.5), optimizer="adam")
    made = "Dense(5) ReLU Dropout(0.5) Dense(3), softmax_cross_entropy, adam, numpy, float64"
    assert repr(trainer) == f"Trainer({made}; not trained)"
    assert repr(trainer.history) == "History(no epochs)"
    trainer.fit(X, Y, epochs=30, **FIT)
    assert "; 38 parameters, 30 epochs, 120 steps, loss " in repr(trainer)
    assert f"lowest validation loss {trainer.best.loss:.4g} in epoch {trainer.best.epoch}" in repr(trainer)
    assert repr(trainer.history).startswith("History(30 epochs, loss ")
    shown = trainer._repr_html_()
    assert shown.count("<tr>") == 22  # a head, the first and last ten, and what is left out between them
    assert "<td>…</td>" in shown


def test_a_history_can_be_drawn():
    pytest.importorskip("matplotlib").use("agg")
    trainer = make(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=3, **FIT)
    axes = trainer.history.plot()
    assert [line.get_label() for line in axes.lines] == ["loss", "validation loss"]
    assert axes.lines[0].get_ydata().tolist() == trainer.history["loss"]
    assert trainer.history.plot(["accuracy"], axes=axes) is axes
    assert len(axes.lines) == 3
