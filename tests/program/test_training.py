"""Training for 200 steps: parameters that were trained by compiled steps are those of uncompiled ones."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from tests.program.cuda import from_device
from tests.program.lowerings import one_of_each_library
from tests.train.support import class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.program.lowerings.base import LOWERINGS

X, LABELS = class_data(28)

_SCHEDULED = optim.Adam(optim.Cosine(0.02, steps=200))

# One of each that is registered, and what their settings turn on.
OPTIMIZERS = [
    optim.SGD(0.1), optim.SGD(0.1, momentum=0.9), optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.AdaGrad(0.05), optim.AdaDelta(), optim.RMSProp(0.005), _SCHEDULED,
    optim.AdamW(0.01, weight_decay=0.1),
]  # fmt: skip


def _train(compile: str, *, batch: int, **options: Any) -> Trainer:
    backend = "numpy" if compile == "off" else LOWERINGS[compile].library or "numpy"
    trainer = make(backend=backend, compile=compile, seed=3, progress=False, **options)
    trainer.fit(X, LABELS, epochs=50, batch_size=batch)
    assert trainer.step == 200
    return trainer


def _assert_close(got: Trainer, want: Trainer) -> None:
    size = np.linalg.norm(flat(want))
    assert np.linalg.norm(flat(got) - flat(want)) <= 1e-9 * size
    np.testing.assert_allclose(got.history["loss"], want.history["loss"], rtol=1e-9)


@functools.cache
def _uncompiled(optimizer: optim.Optimizer) -> Trainer:
    return _train("off", batch=7, optimizer=optimizer)


def test_every_registered_optimizer_is_here() -> None:
    assert {type(optimizer) for optimizer in OPTIMIZERS} == set(optim.OPTIMIZERS.values())


@pytest.mark.full
@one_of_each_library
def test_an_optimizer_with_a_schedule(lower: str) -> None:
    _assert_close(_train(lower, batch=7, optimizer=_SCHEDULED), _uncompiled(_SCHEDULED))


@pytest.mark.full
@pytest.mark.parametrize("lower", ["numpy", pytest.param("cupy", marks=pytest.mark.backends("cupy"))])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_optimizers(optimizer: optim.Optimizer, lower: str) -> None:
    _assert_close(_train(lower, batch=7, optimizer=optimizer), _uncompiled(optimizer))


@pytest.mark.full
@one_of_each_library
def test_a_net_with_everything_in_it(lower: str) -> None:
    """Dropout, batch norm, layer norm, clipping, decay of weights, and a last batch of four rows."""
    # No bias before a batch norm: its derivative is nothing but rounding, which Adam divides by itself.
    layers = [
        nn.Dense(6, bias=False),
        nn.BatchNorm(),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Dense(5),
        nn.LayerNorm(),
    ]
    options: dict[str, Any] = {
        "model": nn.Sequential(*layers, nn.GELU(), nn.Dense(3)),
        "optimizer": optim.Adam(0.01),
        "l2": 0.01,
        "clip_norm": 0.8,
        "clip_value": 0.3,
    }
    one, other = (_train(how, batch=8, **options) for how in (lower, "off"))
    _assert_close(one, other)
    for name in ("mean", "variance"):
        mine, theirs = (from_device(trainer.variables.state["1"][name]) for trainer in (one, other))  # type: ignore[union-attr]
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)
