"""Going on with other settings: what changed is told, and what cannot change is refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, make
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError
from xpnet.train.changes import find_changes

X, Y = class_data(24)
FIT = {"batch_size": 7, "validation": (X[:8], Y[:8])}
DROPPING = nn.MLP([5], 3, activation="tanh", dropout=0.2)

# what is passed to Trainer.load, what the log says
CHANGES = {
    "nothing": ({}, []),
    "the same": ({"l2": 0.0, "patience": None, "optimizer": optim.Adam(0.05)}, []),
    "l2": ({"l2": 0.001}, ["l2: 0.0 -> 0.001 (from epoch 3 on)"]),
    "two": (
        {"clip_norm": 1.5, "patience": 4},
        ["clip_norm: none -> 1.5 (from epoch 3 on)", "patience: none -> 4 (from epoch 3 on)"],
    ),
    "rate": ({"optimizer": optim.Adam(0.01)}, ["optimizer.learning_rate: 0.05 -> 0.01 (from epoch 3 on)"]),
    "schedule": (
        {"optimizer": optim.Adam(optim.Exponential(0.05, factor=0.5, every=9))},
        ["optimizer.learning_rate: 0.05 -> exponential(learning_rate=0.05, factor=0.5, every=9) "
         "(from epoch 3 on)"],
    ),
    "optimizer": (
        {"optimizer": optim.RMSProp(0.01)},
        ["optimizer: adam(learning_rate=0.05, beta1=0.9, beta2=0.999, epsilon=1e-08) -> "
         "rmsprop(learning_rate=0.01, rho=0.99, epsilon=1e-08) (from epoch 3 on)"],
    ),
    "model": (
        {"model": nn.MLP([5], 3, activation="tanh", dropout=0.4)},
        ["model.layers.2.rate: 0.2 -> 0.4 (from epoch 3 on)"],
    ),
    "dtype": ({"dtype": "float32"}, ["dtype: float64 -> float32 (from epoch 3 on)"]),
    "compile": ({"compile": "off"}, ["compile: auto -> off (from epoch 3 on)"]),
    "no setting of the training": ({"progress": False, "metrics": ["accuracy"]}, []),
}  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    trainer = make(model=DROPPING)
    trainer.fit(X, Y, epochs=2, **FIT)
    trainer.save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_changes_is_told(name, saved, caplog):
    options, expected = CHANGES[name]
    with caplog.at_level(logging.INFO, "xpnet"):
        trainer = Trainer.load(saved, "numpy", **options)
    assert [record.getMessage() for record in caplog.records] == expected
    trainer.fit(X, Y, epochs=3, **FIT)
    straight = make(model=DROPPING)
    straight.fit(X, Y, epochs=3, **FIT)
    if not expected and "metrics" not in options:
        assert_same_training(trainer, straight)
    elif name not in ("compile", "two", "no setting of the training"):
        one, other = (t.variables.params.flat for t in (trainer, straight))
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed: expected the 0 of the checkpoint .* found 1; .*split"),
        ({"split_seed": 3}, "split_seed: expected the None of"),
        ({"max_steps": 5}, "max_steps: expected at least the 8 steps .* found 5; raise it"),
        ({"l2": -1}, "l2: expected"),
    ],
)
def test_what_cannot_change_is_refused(options, message, saved):
    with pytest.raises(ConfigError, match=message):
        Trainer.load(saved, "numpy", **options)


def test_the_same_seed_and_as_many_steps_as_are_done_can_be_passed(saved):
    assert Trainer.load(saved, "numpy", seed=0, max_steps=8).fit(X, Y, epochs=9, **FIT)["step"] == [4, 8]


def test_tables_and_lists():
    old = {"a": 1, "b": {"name": "x", "c": [1, 2]}, "d": [1], "e": {"name": "x"}}
    new = {"a": 1, "b": {"name": "x", "c": [1, 3]}, "d": [1, 2], "e": None, "f": True}
    assert [str(change) for change in find_changes(old, new, 7)] == [
        "b.c.1: 2 -> 3 (from epoch 7 on)",
        "d: [1] -> [1, 2] (from epoch 7 on)",
        "e: x() -> none (from epoch 7 on)",
        "f: none -> True (from epoch 7 on)",
    ]
