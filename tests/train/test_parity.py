"""Devices compared: what agrees, what is found where one of them errs, and what is refused."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import array_api_strict
import numpy as np
import pytest

from tests.support import widest
from tests.train.support import class_data, flat, make
from xpnet import losses, nn, optim, rng
from xpnet.autodiff.namespaces import namespace
from xpnet.backends.lacking import extended
from xpnet.errors import BackendError, ConfigError, DataError, DivergedError
from xpnet.nn.layer import LAYERS
from xpnet.train import parity
from xpnet.train.agreement.measurement import Case, measure
from xpnet.train.agreement.networks import NETWORKS, digits_inputs, digits_targets
from xpnet.train.rows import prepare

X, Y = class_data(40)
STRICT = "array_api_strict:CPU_DEVICE"
SQUARE = nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(8), nn.Dropout(0.3), nn.ReLU(), nn.Dense(3))


def compare(devices=("numpy", STRICT), **options):
    """Compare a small network of float64 numbers, whose middle layer is square."""
    settings = {
        "trainer": make(model=SQUARE),
        "X": X,
        "y": Y,
        "batch_size": 9,
        "steps": 6,
        "dtype": "float64",
    }
    return parity(devices, **(settings | options))


# ------------------------------------------------------------------------------- what agrees


def test_a_trainer_of_ones_own_agrees_everywhere(backend):
    trainer = make(optimizer=optim.SGD(0.1, momentum=0.9))
    report = compare(("numpy", backend), trainer=trainer, batch_size=None, steps=2, dtype=widest(backend))
    assert report.agree, str(report)
    checks = ["predictions", "weights", "loss", "gradient", "parameters", "optimizer", "predictions after"]
    seen = Counter((row.check, row.compile) for row in report.rows if row.device == backend.spec)
    assert {("draws", "off"), ("draws", "auto"), *itertools.product(checks, ("off", "auto"))} == set(seen)
    for row in report.rows:
        assert row.figure <= row.tolerance < 1e-3 or row.figure == row.tolerance == 0


@pytest.mark.parametrize("network", [network.name for network in NETWORKS])
def test_built_in_networks_agree(network):
    report = parity(("numpy", "array_api_strict:no_float64"), networks=[network], steps=2)
    assert report.agree, str(report)
    assert report.notes == ("array_api_strict:no_float64 has no float64: left out",)
    assert {row.dtype for row in report.rows if row.device == "numpy"} == {"integers", "float32", "float64"}
    assert {row.dtype for row in report.rows if row.device != "numpy"} == {"integers", "float32"}


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch:cpu", "cupy:0"], indirect=True)
@pytest.mark.parametrize("network", [network.name for network in NETWORKS])
def test_built_in_networks_agree_everywhere(backend, network):
    report = parity(("numpy", backend), networks=[network])
    assert report.agree, str(report)
    assert not any(row.undecided for row in report.rows if row.dtype == "float64")


def test_every_loss_is_in_a_network_and_has_targets():
    pairs = [(network, loss) for network in NETWORKS for loss in network.losses]
    assert {loss for _, loss in pairs} == set(losses.LOSSES)
    for one, loss in pairs:
        # Refuses what does not fit.
        prepare(one.trainer(loss).setup, digits_inputs(), digits_targets(loss), width=None)


def named(config):
    """Return the names of all layers in a layer's configuration."""
    inside = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    own = {config["layer"]} if isinstance(config, dict) and "layer" in config else set()
    return own.union(*map(named, inside))


def test_every_layer_that_trains_is_in_a_network():
    used = {layer for network in NETWORKS for layer in named(network.model.to_config())}
    # below Sign nothing learns, as its slope is 0
    assert used | {"Sign"} == {n for n, kind in LAYERS.items() if kind.__module__.startswith("xpnet")}


def test_bounds_of_the_built_in_networks_are_reached():
    """Clipping that never clips would prove nothing."""
    bounds = {}
    for network in NETWORKS:
        trainer = network.trainer(network.losses[0])
        X, y = digits_inputs(), digits_targets(network.losses[0])
        case = Case(network.name, "", trainer, X, y, None, network.batch_size, 2)
        found = measure(case, trainer.backend, "float64", "off")
        gradient = np.concatenate([x.ravel() for x in found["gradient"].values()])
        norms = [np.linalg.norm(x, axis=0).max() for x in found["parameters"].values() if x.ndim == 2]
        bounds[network.name] = np.linalg.norm(gradient), np.abs(gradient).max(), max(norms)
    assert bounds["dropout"][0] == pytest.approx(0.3)  # clip_norm
    assert 0.02 < bounds["layer norm"][1] < 0.026  # clip_value, and noise upon it
    assert bounds["batch norm"][2] == pytest.approx(1.0)  # max_norm


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


def test_a_training_that_diverges_on_one_device(plant):
    plant(array_api_strict, "tanh", lambda original: lambda x: original(x) * np.inf)
    report = compare(("numpy", STRICT))
    row = next(row for row in report.differing if row.check == "parameters")
    assert row.figure is None
    assert "diverged in epoch 1" in row.note


def test_what_rounding_alone_decides_is_no_agreement():
    """The bias of a layer in front of batch normalization has the gradient 0, and in numbers rounding."""
    trainer = make(model=nn.MLP([6], 3, activation="tanh", batch_norm=True))
    report = compare(trainer=trainer)
    row = next(row for row in report.rows if row.check == "gradient")
    assert (row.verdict, row.undecided) == ("agree", ("0.bias",))
    assert row.tolerance < 1e-10
    assert "0.bias (gradient)" in str(report)
    assert "agree, 2 undecided" in str(report)


# --------------------------------------------------------------------------------- other trainings

TRAININGS = {
    "of second order": {"optimizer": optim.LBFGS(), "batch_size": None},
    "with a mask, from its third epoch": {"fitted": 2},
    "with weights": {"sample_weight": np.linspace(0.5, 1.5, 40), "class_weight": "balanced"},
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_trainings(kind):
    options = dict(TRAININGS[kind])
    trainer = make(optimizer=options.pop("optimizer", optim.Adam(0.05)))
    for _ in range(options.pop("fitted", 0)):
        trainer.fit(X, Y, epochs=trainer.epoch + 1, batch_size=9)
        trainer.set_mask(np.arange(flat(trainer).size) % 3 > 0)
    before = (trainer.epoch, trainer.step, len(trainer.history), trainer.variables, trainer.opt_state)
    report = compare(trainer=trainer, **options)
    assert report.agree, str(report)
    after = (trainer.epoch, trainer.step, len(trainer.history), trainer.variables, trainer.opt_state)
    assert all(a is b or a == b for a, b in zip(before, after, strict=True))
    drawn = [row for row in report.rows if row.check == "parameters"]
    assert drawn
    assert all(row.compared == 5 for row in drawn)  # four arrays, and how many steps were taken


def test_a_report_is_plain_data():
    report = compare(steps=1)
    told = json.loads(json.dumps(report.to_dict()))
    assert told["agree"] is True
    assert told["devices"] == ["numpy", STRICT]
    assert len(told["rows"]) == len(report.rows)
    assert set(told["versions"]) == {"xpnet", "numpy", "array_api_strict"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"devices": ("numpy",)}, ConfigError, "devices: expected at least two"),
        ({"devices": "numpy"}, ConfigError, "devices: expected at least two"),
        ({"devices": ("numpy", "torc")}, BackendError, "did you mean 'torch'"),
        ({"devices": ("numpy", "array_api_strict:no_float64")}, BackendError, "float64"),
        ({"dtype": "float16"}, ConfigError, "dtype: expected 'float32' or 'float64'"),
        ({"steps": 0}, ConfigError, "steps: expected a whole number of at least 1"),
        ({"trainer": SQUARE}, ConfigError, "trainer: expected an xpnet.Trainer"),
        ({"X": None}, ConfigError, "X, y: expected the rows to train on"),
        ({"y": Y[:5]}, DataError, "5"),
        ({"networks": ["dropout"]}, ConfigError, "networks: expected none with a trainer of your own"),
        ({"trainer": None}, ConfigError, "X: expected none with the built-in networks"),
        ({"trainer": None, "X": None, "y": None, "networks": []}, ConfigError, "networks: expected some of"),
        (
            {"trainer": make(model=nn.MLP([5], 3), optimizer=optim.SGD(1e30)), "dtype": "float32"},
            DivergedError,
            "diverged in epoch 1",
        ),
    ],
)
def test_what_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        compare(**options)
