"""Every optimizer with every schedule: in two parts with a checkpoint between, the same to the last bit."""

from __future__ import annotations

import dataclasses

import pytest

from tests.optim.optimizer_cases import TABLE
from tests.train.support import assert_same_training, class_data, make
from xpnet import Trainer, nn, optim

X, Y = class_data(18)
FIT = {"batch_size": 9, "validation": (X[:6], (Y[:6] + 1) % 3)}
MODEL = nn.MLP([4], 3, activation="tanh", dropout=0.2)
STEPS = 40  # of 20 epochs; the cut is in the middle of each schedule and behind the shorter rise
BY_NAME = {one.name: one for one, *_ in TABLE}
OPTIMIZERS = {
    **BY_NAME,
    "sgd with momentum": optim.SGD(0.05, momentum=0.9),
    "sgd with nesterov": optim.SGD(0.05, momentum=0.9, nesterov=True),
}
PLAIN = {
    "constant": optim.Constant(0.05),
    "inverse": optim.Inverse(0.05, decay=0.1),
    "step": optim.Step(0.05, every=12),
    "exponential": optim.Exponential(0.05, factor=0.5, every=STEPS),
    "cosine": optim.Cosine(0.05, steps=STEPS - 4),
}
SCHEDULES = PLAIN | {f"warmup, {name}": optim.WarmUp(one, steps=8) for name, one in PLAIN.items()}
SCHEDULES["flat cosine"] = optim.FlatCosine(0.05, steps=STEPS - 4)
SCHEDULES["four waves"] = optim.CosLog(0.05, steps=STEPS)
SCHEDULES["long warmup"] = optim.WarmUp(0.05, steps=STEPS - 10)
CASES = [
    *((name, "warmup, cosine", "auto") for name in OPTIMIZERS),
    *(("adam", name, "auto") for name in SCHEDULES if name != "warmup, cosine"),
    # uncompiled steps ask a schedule for one rate at a time, whichever it is
    *(("adam", name, "off") for name in ("constant", "warmup, cosine")),
]


def new(optimizer, schedule, compile):
    made = dataclasses.replace(OPTIMIZERS[optimizer], learning_rate=SCHEDULES[schedule])
    return make(model=MODEL, optimizer=made, compile=compile, patience=13, min_delta=1e-4)


def test_the_tables_are_complete():
    assert set(BY_NAME) == set(optim.OPTIMIZERS)
    assert {one.name for one in SCHEDULES.values()} == set(optim.SCHEDULES)


@pytest.mark.parametrize(("optimizer", "schedule", "compile"), CASES)
def test_twenty_epochs_at_once_or_ten_and_ten(optimizer, schedule, compile, tmp_path):
    straight, first = (new(optimizer, schedule, compile) for _ in range(2))
    straight.fit(X, Y, epochs=20, **FIT)
    first.fit(X, Y, epochs=10, **FIT)
    first.save(tmp_path)
    second = Trainer.load(tmp_path, "numpy")
    assert second.optimizer == straight.optimizer
    second.fit(X, Y, epochs=20, **FIT)
    assert straight.epoch > 10
    assert_same_training(second, straight)


def test_patience_that_is_lost_behind_the_cut(tmp_path):
    straight, first = (new("adam", "cosine", "auto") for _ in range(2))
    straight.fit(X, Y, epochs=99, **FIT)
    assert 10 < straight.epoch < 99
    first.fit(X, Y, epochs=straight.epoch - 2, **FIT)
    first.save(tmp_path)
    second = Trainer.load(tmp_path, "numpy")
    second.fit(X, Y, epochs=99, **FIT)
    assert_same_training(second, straight)
