"""How many steps are taken together: as many as last so long that Ctrl-C is heard soon."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.train.support import class_data, make
from xpnet.backends import Backend
from xpnet.backends.pace import pace
from xpnet.train.steps import step_seconds, widths

X, Y = class_data(40)
GPU: Any = SimpleNamespace(ordinal=0)  # the number of a CUDA device, of whichever library


@pytest.mark.parametrize(
    ("size", "batch", "fewest", "most"),
    # Steps of a quarter of a second, if they take what a small GPU takes; not so few that the host is felt.
    [(536_000, 128, 300, 1000), (6_300_000, 512, 10, 100), (20_000_000, 1024, 2, 20), (10**9, 4096, 0, 1)],
)
def test_steps_of_large_networks_are_taken_together_on_gpus(size, batch, fewest, most) -> None:
    at = pace(GPU, "float32")
    assert fewest <= 0.5 / at.queued / step_seconds(size, batch, at) <= most
    assert step_seconds(size, batch, at) < step_seconds(size, batch, pace(GPU, "float64"))


@pytest.mark.parametrize("backend", ["numpy", "cupy:0"], indirect=True)
def test_the_trainer_asks_for_the_pace_of_its_device(backend: Backend) -> None:
    trainer = make(backend=backend, dtype="float32")
    trainer.fit(X, Y, epochs=1, batch_size=8)
    at, layout = pace(backend, "float32"), trainer.variables.params.layout
    seconds = step_seconds(layout.size, 8, at, widths(trainer.model, layout))
    assert trainer._steps.at_a_time(trainer.fitting.batches) == int(0.5 / at.queued / seconds)
    assert at.queued == (1 if backend.name == "numpy" else 2)  # as `GraphLoop` lets the host be ahead
