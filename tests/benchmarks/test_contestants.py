"""Every contestant does the work that it is timed for."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scripts.benchmarks", reason="the folder scripts/ is not there: run from the sources")

from scripts.benchmarks import targets
from scripts.benchmarks.contestants import CONTESTANTS, Training, contestants_on
from scripts.benchmarks.works import OPTIMIZERS, WORKS, Work
from xpnet import optim

# All rows in one step: whatever order a library draws, its gradient is the same.
WHOLE = {
    "classes": Work("C", (6, 7, 5, 4), "relu", "softmax_cross_entropy", 24, 1),
    "values": Work("V", (6, 7, 5, 1), "sigmoid", "squared_error", 24, 1),
}
TRAINERS = [name for name in contestants_on("cpu") if name not in targets.FLOORS]
COMPILED = ("xpnet", "xpnet generic", "xpnet numpy", "xpnet numba", "PyTorch compiled", "JAX scanned")


@pytest.fixture(autouse=True)
def _quiet_and_quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let others warn about themselves; PyTorch traces but calls no C++ compiler, and has one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not importlib.util.find_spec("torch"):
            yield
            return
        import torch

        threads, compile = torch.get_num_threads(), torch.compile
        monkeypatch.setattr(torch, "compile", lambda f, mode=None: compile(f, backend="eager"))
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


def begun(name: str, work: Work, optimizer: str, *, handling: bool = False) -> Training:
    reason = CONTESTANTS[name].missing(optimizer)
    if reason:
        pytest.skip(f"{name}: {reason}")
    return CONTESTANTS[name].training(work, OPTIMIZERS[optimizer], "cpu", handling=handling)


def flat(layers: list[tuple[Any, Any]]) -> np.ndarray:
    assert all(array.dtype == np.float32 for pair in layers for array in pair)
    return np.concatenate([array.ravel() for pair in layers for array in pair])


def loss_of(work: Work, layers: list[tuple[Any, Any]]) -> float:
    x, targets = work.data()
    for weight, bias in layers[:-1]:
        x = x @ weight + bias
        x = np.maximum(x, 0) if work.activation == "relu" else 1 / (1 + np.exp(-x))
    outputs = x @ layers[-1][0] + layers[-1][1]
    if not work.classifies:
        return float(np.mean((outputs - targets) ** 2))
    logits = outputs - outputs.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(targets)), targets]))


def cases() -> Iterator[Any]:
    for name in TRAINERS:
        for optimizer in CONTESTANTS[name].optimizers:
            for kind in WHOLE:
                # Others compile what they do uncompiled, which is compared for each optimizer.
                if optimizer == "adam" or (name not in COMPILED and kind == "classes"):
                    marks = [] if optimizer == "adam" else [pytest.mark.full]
                    yield pytest.param(name, optimizer, kind, id=f"{name}, {optimizer}, {kind}", marks=marks)


@pytest.mark.parametrize(("name", "optimizer", "kind"), list(cases()))
def test_all_train_alike(name: str, optimizer: str, kind: str) -> None:
    work = WHOLE[kind]
    training, reference = begun(name, work, optimizer), begun("xpnet uncompiled", work, optimizer)
    before = flat(work.weights())
    np.testing.assert_array_equal(flat(training.weights()), before)
    training.run(6)
    reference.run(6)
    after = flat(reference.weights())
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(flat(training.weights()), after, rtol=0, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "handling"),
    [(name, False) for name in TRAINERS] + [(name, True) for name in TRAINERS if CONTESTANTS[name].handling],
)
def test_all_learn_from_batches(name: str, handling: bool) -> None:
    work = Work("C", (6, 16, 4), "relu", "softmax_cross_entropy", 8, 3)
    training = begun(name, work, "adam", handling=handling)
    training.run(1)
    first = loss_of(work, training.weights())
    training.run(12)
    assert loss_of(work, training.weights()) < first - 0.05


def test_floor_has_each_product_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    monkeypatch.setattr(np, "matmul", lambda a, b, out: shapes.append((a.shape, b.shape, out.shape)))
    training = begun("matrix products", WORKS["M"], "adam")
    training.run(1)
    assert len(shapes) == 20 * 8
    assert ((128, 784), (784, 512), (128, 512)) in shapes
    assert ((784, 128), (128, 512), (784, 512)) in shapes
    assert ((128, 512), (512, 784), (128, 784)) not in shapes


def test_every_optimizer_of_xpnet_takes_part() -> None:
    assert {"sgd", "momentum", "nesterov"} | optim.Optimizer.known.keys() == OPTIMIZERS.keys()
    for chosen in OPTIMIZERS.values():
        same = optim.SGD(momentum=chosen.momentum) if "sgd" not in chosen.name and chosen.momentum else None
        made = same or optim.get(chosen.name)
        assert len(made.slots) == chosen.slots


@pytest.mark.parametrize("name", CONTESTANTS)
def test_whoever_is_not_installed_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.benchmarks.contestants.find_spec", lambda package: None)
    assert CONTESTANTS[name].missing("adam") == f"{CONTESTANTS[name].package} is not installed"
