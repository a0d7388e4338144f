"""A trainer that nobody has any more is gone at once, with its memory on the device: by counting alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.train.support import class_data, make
from xpnet import nn, optim
from xpnet.backends import Backend
from xpnet.train import Diagnostics

X, Y = class_data(40)

TRAININGS: dict[str, dict[str, Any]] = {
    "batches": {"batch_size": 9},
    "everything": {"model": nn.MLP([5], 3, dropout=0.2, batch_norm=True), "l1": 0.1, "clip_norm": 1.0,
                   "gradient_noise": 0.1, "metrics": ["accuracy"], "patience": 9, "validation": 0.2},
    "uncompiled": {"compile": "off", "batch_size": 9},
    "looked at": {"callbacks": [Diagnostics()], "batch_size": 9},
    "second order": {"optimizer": "hessian-free"},
    "second order, uncompiled": {"optimizer": optim.get("bfgs"), "compile": "off"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def _train(name: str, backend: Backend) -> list[weakref.ref[Any]]:
    """Train, predict, and return references that do not keep alive: to the trainer and what it had."""
    options = dict(TRAININGS[name])
    fit = {key: options.pop(key) for key in ("batch_size", "validation") if key in options}
    trainer = make(backend=backend, dtype="float32", progress=False, **options)
    for epochs in (2, 3):
        trainer.fit(X, Y, epochs=epochs, **fit)
    trainer.predict(X)
    trainer.evaluate(X, Y)
    return [weakref.ref(x) for x in (trainer, trainer.variables.params, trainer._steps)]


@pytest.mark.parametrize("name", sorted(TRAININGS))
@pytest.mark.parametrize("backend", ["numpy", "cupy:0"], indirect=True)
def test_no_reference_runs_in_a_circle(name: str, backend: Backend) -> None:
    assert [kept() for kept in _train(name, backend)] == [None] * 3


@pytest.mark.parametrize("count", [10, pytest.param(200, marks=pytest.mark.full)])
@pytest.mark.parametrize("backend", ["cupy:0"], indirect=True)
def test_memory_on_the_device_stays_as_it_is(count: int, backend: Backend) -> None:
    pool, taken = backend.xp.get_default_memory_pool(), []
    pool.free_all_blocks()
    for _ in range(count):
        _train("batches", backend)
        taken.append((pool.used_bytes(), pool.total_bytes()))
    assert taken == taken[:1] * count


@pytest.mark.parametrize("batch_size", [None, 500])
@pytest.mark.parametrize("backend", ["cupy:0"], indirect=True)
def test_a_fit_takes_the_place_of_the_last_one(batch_size: int | None, backend: Backend) -> None:
    """The device never has the rows of two fits."""
    trainer, pool = (
        make(backend=backend, dtype="float32", progress=False),
        backend.xp.get_default_memory_pool(),
    )
    X, Y = class_data(20_000)
    trainer.fit(X, Y, epochs=1, batch_size=batch_size)
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + X.size * 4 // 2)
    try:
        trainer.fit(X[:, ::-1], Y, epochs=2, batch_size=batch_size)
    finally:
        pool.set_limit(size=0)
    assert trainer.epoch == 2
