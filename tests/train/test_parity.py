"""Devices compared: what agrees, what is found where one of them errs, and what is refused."""

from __future__ import annotations

import json

import array_api_strict
import numpy as np
import pytest

from tests.train.support import class_data, flat, make
from xpnet.autodiff.namespaces import namespace
from xpnet import Trainer, losses, nn, optim, rng
from xpnet.backends.lacking import extended
from xpnet.errors import BackendError, ConfigError, DataError, DivergedError
from xpnet.nn.layer import LAYERS
from xpnet.train import parity
from xpnet.train.agreement.networks import NETWORKS, digits_targets

X, Y = class_data(40)
STRICT = "array_api_strict:CPU_DEVICE"
SQUARE = nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(8), nn.Dropout(0.3), nn.ReLU(), nn.Dense(3))


def compare(devices=("numpy", STRICT), **options):
    """Compare a small network of float64 numbers, whose middle layer is square."""
    settings = {"trainer": make(model=SQUARE), "X": X, "y": Y, "batch_size": 9, "steps": 6, "dtype": "float64"}
    return parity(devices, **(settings | options))


# ------------------------------------------------------------------------------- what agrees


def test_a_trainer_of_ones_own_agrees_everywhere(backend):
    report = compare(("numpy", backend), dtype=None, steps=3)
    assert report.agree, str(report)
    assert not any(row.undecided for row in report.rows)
    dtypes = ["integers", "float32", *([] if report.notes else ["float64"])]
    seen = {(row.dtype, row.compile) for row in report.rows if row.device == backend.spec}
    assert seen == {(dtype, mode) for dtype in dtypes for mode in ("auto", "off")}


@pytest.mark.full
@pytest.mark.parametrize("network", [network.name for network in NETWORKS])
def test_built_in_networks_agree_everywhere(backend, network):
    report = parity(("numpy", backend), networks=[network])
    assert report.agree, str(report)
    assert not any(row.undecided for row in report.rows)


def test_every_loss_is_in_one_network_and_has_targets():
    listed = [loss for network in NETWORKS for loss in network.losses]
    assert sorted(listed) == sorted(losses.LOSSES)
    for network in NETWORKS:
        for loss in network.losses:
            trainer = network.trainer(loss)
            trainer.fit(np.zeros((500, 64)), digits_targets(loss), epochs=1)  # refuses targets that do not fit


def test_every_layer_that_trains_is_in_one_network():
    used = {type(layer).__name__ for network in NETWORKS for layer in network.model.layers}
    # below Sign nothing learns, as its slope is 0; Sequential is what holds the layers
    assert used | {"Sign", "Sequential"} == {n for n, kind in LAYERS.items() if kind.__module__.startswith("xpnet")}


# ---------------------------------------------------------------- what is found where a device errs


def rounded(x):
    """Round to ten bits, as tensor cores do with float32."""
    host = np.asarray(x)
    step = 2.0 ** (np.floor(np.log2(np.where(host == 0, 1, np.abs(host)))) - 10)
    return array_api_strict.asarray((np.rint(host / step) * step).astype(host.dtype))


def _matmul_rounded(original):
    return lambda a, b: original(rounded(a), rounded(b))


def _transposed(original):
    def matmul(a, b):
        out = original(a, b)
        return out.mT if out.shape == (8, 8) else out  # the gradient of the square layer's weights

    return matmul


def _factor(share):
    return lambda original: lambda x: original(x) * (1.0 + share)


def _take_next(original):
    return lambda x, rows, *, axis: original(x, (rows + 1) % x.shape[0], axis=axis)


def _bit_flipped(original):
    def bits(key, shape, *, xp, device=None):
        words = original(key, shape, xp=xp, device=device)
        if "strict" not in xp.__name__:
            return words
        flat = xp.reshape(words, (-1,))
        other = xp.astype(xp.arange(flat.shape[0], device=device) == 7, words.dtype)
        return xp.reshape(flat ^ other, words.shape)

    return bits


# What is wrong, where, the dtype, and the check that finds it first.
ERRORS = {
    "a draw": ("bits", _bit_flipped, "float64", "draws"),
    "tanh": ("tanh", _factor(1e-11), "float64", "predictions"),
    "tanh in float32": ("tanh", _factor(1e-4), "float32", "predictions"),
    "products rounded to ten bits": ("matmul", _matmul_rounded, "float32", "predictions"),
    "a batch of other rows": ("take", _take_next, "float64", "loss"),
    "a transposed gradient": ("matmul", _transposed, "float64", "gradient"),
    "the root in Adam": ("sqrt", _factor(1e-10), "float64", "parameters"),
}


@pytest.fixture
def plant(monkeypatch):
    """Replace a function, of which namespaces hold copies."""

    def forget():
        extended.cache_clear()
        namespace.cache_clear()

    def planted(home, name, wrong):
        monkeypatch.setattr(home, name, wrong(getattr(home, name)))
        forget()

    yield planted
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_found(error, plant):
    name, wrong, dtype, check = ERRORS[error]
    plant(rng if name == "bits" else array_api_strict, name, wrong)
    report = compare(dtype=dtype)
    assert not report.agree
    assert report.differing[0].check == check
    modes = {row.compile for row in report.differing if row.check == check}
    assert modes == {"off", "auto"}
    assert all(row.verdict == "agree" for row in report.rows if row.device == "numpy")
    row = report.differing[0]
    assert row.figure > row.tolerance
    assert row.expected != row.found
    assert f"{STRICT} differs first in {check}" in str(report)
    assert row.where in str(report)
