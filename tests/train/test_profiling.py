"""What a profiler's time line shows of a training on CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.train.support import class_data, make
from xpnet import optim
from xpnet.backends import Backend
from xpnet.backends import backend as open_backend
from xpnet.backends.profiling import profiled
from xpnet.train import Callback

X, Y = class_data(20)


@pytest.fixture
def ranges(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the ranges in the order of their beginnings, indented by their depth."""
    nvtx, seen, depth = backend.xp.cuda.nvtx, [], [0]
    push, pop = nvtx.RangePush, nvtx.RangePop

    def pushed(text: str) -> None:
        seen.append("  " * depth[0] + text.removeprefix("xpnet: "))
        depth[0] += 1
        push(text)

    def popped() -> None:
        depth[0] -= 1
        pop()

    monkeypatch.setattr(nvtx, "RangePush", pushed)
    monkeypatch.setattr(nvtx, "RangePop", popped)
    return seen


@pytest.mark.parametrize("backend", ["cupy:0"], indirect=True)
def test_epochs_steps_and_evaluations_are_ranges(backend: Backend, ranges: list[str]) -> None:
    trainer = make(backend=backend, dtype="float32", metrics=["accuracy"])
    trainer.fit(X, Y, epochs=2, batch_size=8)
    epoch = ["  2 steps", "  1 steps", "  evaluation of 20 rows", "    outputs of 20 rows"]
    assert ranges == ["epoch 1", *epoch, "epoch 2", *epoch]
    ranges.clear()
    trainer.predict(X[:7])
    assert ranges == ["outputs of 7 rows"]
    ranges.clear()
    make(backend=backend, dtype="float32", optimizer=optim.get("bfgs"), compile="off").fit(X, Y, epochs=1)
    assert ranges == ["epoch 1", "  step of optimizer bfgs"]


@pytest.mark.parametrize("backend", ["cupy:0"], indirect=True)
def test_ranges_end_whatever_happens(backend: Backend, ranges: list[str]) -> None:
    class Stop(Callback):
        def on_step_end(self, trainer: Any, step: int, steps: int) -> None:
            raise KeyboardInterrupt

    trainer = make(backend=backend, dtype="float32", callbacks=[Stop()])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, epochs=1)
    assert ranges == ["epoch 1", "  1 steps"] * 2


def test_other_devices_have_no_ranges() -> None:
    with profiled(open_backend("numpy"), "nothing"):
        assert np.ones(2).sum() == 2
