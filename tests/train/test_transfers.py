"""Between two log points nothing crosses between host and device but the numbers of the rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.train.support import class_data, make
from xpnet import nn, optim
from xpnet.backends import Backend
from xpnet.train import Callback

X, Y = class_data(60)


@pytest.fixture
def crossings(monkeypatch):
    """Count the calls that move arrays."""
    count: Counter[str] = Counter()
    for name in ("asarray", "to_host", "synchronize"):
        original = getattr(Backend, name)

        def counted(self, *args, _original=original, _name=name, **options):
            count[_name] += 1
            return _original(self, *args, **options)

        monkeypatch.setattr(Backend, name, counted)
    return count


class AtSteps(Callback):
    """Keeps the counts at each step and epoch."""

    def __init__(self, count):
        self.count, self.steps, self.epochs = count, [], []

    def on_step_end(self, trainer, step, steps):
        self.steps.append(Counter(self.count))

    def on_epoch_end(self, trainer, row):
        self.epochs.append(Counter(self.count))


OPTIONS = {
    "plain": {},
    "everything": {"model": nn.MLP([5], 3, dropout=0.2, batch_norm=True), "l1": 0.1, "l2": 0.1,
                   "clip_norm": 1.0, "max_norm": 0.5, "gradient_noise": 0.1, "label_smoothing": 0.1,
                   "clip_value": 1.0, "metrics": ["accuracy"], "optimizer": optim.SGD(optim.Inverse(0.1))},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("size", [None, 1, 7, 30])
@pytest.mark.parametrize("compile", ["auto", "off"])
def test_within_an_epoch_nothing_is_sent(crossings, size, name, compile):
    """Before it the order of the rows, and for compiled steps the numbers of each step."""
    watcher = AtSteps(crossings)
    trainer = make(callbacks=[watcher], compile=compile, **OPTIONS[name])
    trainer.fit(X, Y, epochs=3, batch_size=size, validation=(X, Y), sample_weight=np.ones(60))
    steps = len(watcher.steps) // 3
    for epoch in range(3):
        first, last = watcher.steps[epoch * steps], watcher.steps[(epoch + 1) * steps - 1]
        assert first == last
    for before, after in zip(watcher.epochs, watcher.epochs[1:], strict=False):
        moved = after - before
        # rates and steps; the words of dropout and of noise
        numbers = {"auto": 1 + 2 * (name == "everything"), "off": 0}[compile]
        assert moved["asarray"] == (0 if size is None else 1) + numbers
        assert moved["to_host"] <= 3  # losses, measures of training rows, measures of validation rows
        assert moved["synchronize"] == 0


def test_the_count_does_not_depend_on_the_number_of_steps(crossings):
    totals = set()
    for size in (1, 5, 60):
        crossings.clear()
        make().fit(X, Y, epochs=2, batch_size=size)
        totals.add((crossings["asarray"], crossings["to_host"]))
    assert len(totals) == 1


def test_fixed_batches_are_sent_once(crossings):
    watcher = AtSteps(crossings)
    make(callbacks=[watcher], batches="fixed", compile="off").fit(X, Y, epochs=3, batch_size=7)
    assert watcher.epochs[0]["asarray"] == watcher.epochs[2]["asarray"]


def test_no_number_is_asked_of_the_device_within_an_epoch(backend, monkeypatch):
    """float(), int(), bool() and index() of a device array wait for the device: none may occur in a step."""
    if backend.name == "numpy":
        pytest.skip("NumPy's own class cannot be watched")
    kind = type(backend.asarray(np.ones(2, dtype="float32")))
    asked = []
    trainer = make(
        model=nn.MLP([5], 3, dropout=0.2, batch_norm=True), backend=backend, dtype="float32", l2=0.1,
        clip_norm=1.0, clip_value=1.0,
    )  # fmt: skip
    trainer.fit(X, Y, epochs=1, batch_size=20)
    step = type(trainer)._take_steps
    watched = ("__float__", "__bool__", "__int__", "item", "tolist")

    def watching(self, *args, **options):
        with monkeypatch.context() as patch:
            for name in watched:
                original = getattr(kind, name, None)
                if original is None:
                    continue

                def noted(array, *args, _name=name, _original=original):
                    asked.append(_name)
                    return _original(array, *args)

                patch.setattr(kind, name, noted)
            return step(self, *args, **options)

    monkeypatch.setattr(type(trainer), "_take_steps", watching)
    trainer.fit(X, Y, epochs=2, batch_size=20)
    assert asked == []
