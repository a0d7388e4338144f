"""Devices compared: what agrees, what is found where one of them errs, and what is refused."""

from __future__ import annotations

import json

import array_api_strict
import numpy as np
import pytest

from tests.train.support import class_data, flat, make
from xpnet import Trainer, losses, nn, optim, rng
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


@pytest.mark.parametrize("network", [network.name for network in NETWORKS])
def test_built_in_networks_agree(backend, network):
    report = parity(("numpy", backend), networks=[network], steps=10)
    assert report.agree, str(report)
    assert not any(row.undecided for row in report.rows)
    seen = {(row.device, row.dtype, row.compile) for row in report.rows if row.check == "gradient"}
    float64 = not report.notes
    assert len(seen) == (3 if float64 else 2) * (1 + float64) - (0 if float64 else 0) or backend.name == "numpy"


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
