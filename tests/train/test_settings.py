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
from xpnet.errors import ConfigError
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
