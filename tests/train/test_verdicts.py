"""Verdicts: each on networks built to have the fault, none on networks that are well, over several seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xpnet import Trainer, nn, optim
from xpnet.data import digits_arrays, sine_arrays, spirals_arrays, two_gaussians_arrays
from xpnet.errors import DivergedError
from xpnet.train import Diagnostics
from xpnet.train.diagnostics import verdicts
from xpnet.train.diagnostics.layer_measures import LayerMeasures, Measures

ADAM, SGD = optim.Adam(1e-3), optim.SGD(0.1)
CE, SE = "softmax_cross_entropy", "squared_error"
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.full) for seed in (1, 2)))


def digits():
    X, y = digits_arrays()
    return X[:800] / 16, y[:800]


def images():
    X, _ = digits()
    return X, X


def gaussians():
    return two_gaussians_arrays(300, seed=0)


def sine():
    return sine_arrays(400, seed=0)


def nothing_to_learn():
    random = np.random.default_rng(0)
    return random.normal(size=(200, 3)), np.arange(200) % 2


def deep(width, depth, activation, outputs, weights):
    hidden = [layer for _ in range(depth) for layer in (nn.Dense(width, weight_init=weights), activation)]
    return nn.Sequential(*hidden, nn.Dense(outputs))


def times(factor):
    """Return an initializer whose weights are ``factor`` times those of He."""
    return lambda key, shape: factor * nn.init.he_uniform(key, shape)


def dying(key, shape):
    return np.full(shape, -100.0)


# name: model, loss, optimizer, data, batch size, epochs
HEALTHY = {
    "digits, Adam": (nn.MLP([64], 10), CE, ADAM, digits, 64, 12),
    "digits, wide, Adam 0.01": (nn.MLP([256], 10), CE, optim.Adam(0.01), digits, 64, 4),
    "digits, SGD": (nn.MLP([64], 10), CE, SGD, digits, 64, 15),
    "digits, momentum": (nn.MLP([32, 32], 10), CE, optim.SGD(0.05, momentum=0.9), digits, 64, 15),
    "digits, full batch": (nn.MLP([32], 10), CE, optim.SGD(0.5), digits, None, 110),
    "digits, dropout": (nn.MLP([64], 10, dropout=0.4), CE, ADAM, digits, 64, 12),
    "digits, warm-up": (nn.MLP([32], 10), CE, optim.SGD(optim.WarmUp(0.1, steps=500)), digits, 16, 4),
    "tanh": (nn.MLP([32, 32], 10, activation="tanh"), CE, ADAM, digits, 64, 12),
    "one layer of sigmoids": (nn.MLP([32], 10, activation="sigmoid"), CE, optim.Adam(0.01), digits, 64, 12),
    "gelu": (nn.MLP([32, 32], 10, activation="gelu"), CE, ADAM, digits, 64, 12),
    "deep ReLU, He": (deep(32, 12, nn.ReLU(), 10, "he_normal"), CE, ADAM, digits, 64, 12),
    "BatchNorm": (nn.MLP([32, 32], 10, batch_norm=True), CE, ADAM, digits, 64, 8),
    "sine, tanh": (nn.MLP([32], 1, activation="tanh"), SE, optim.Adam(0.01), sine, 32, 40),
    "sine, ReLU": (nn.MLP([32, 32], 1), SE, optim.Adam(0.01), sine, 32, 30),
    "autoencoder": (nn.MLP([32, 8, 32], 64), SE, ADAM, images, 64, 15),
    "autoencoder into [0, 1]": (
        nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(64), nn.Sigmoid()), SE, optim.Adam(0.01), images, 64,
        15,
    ),
    "logistic regression from 0": (
        nn.MLP([], 2, weight_init="zeros"), CE, optim.SGD(0.5, momentum=0.9), gaussians, None, 10,
    ),
    "last layer from 0": (
        nn.Sequential(nn.Dense(32), nn.Tanh(), nn.Dense(10, weight_init="zeros")), CE, ADAM, digits, None, 20,
    ),
    "logistic regression": (nn.MLP([], 2), CE, SGD, gaussians, 20, 30),
    "hinge": (nn.MLP([3, 5, 3], 1, activation="tanh"), "hinge", optim.Adam(0.01),
              lambda: (gaussians()[0], 2 * gaussians()[1] - 1), 20, 30),
    "spirals": (nn.MLP([32, 32], 2), CE, optim.Adam(0.01), lambda: spirals_arrays(400, seed=0), 32, 30),
}  # fmt: skip

AFTER_LARGE_UPDATES = {"dead units", "saturated units", "exploding gradients", "vanishing gradients"}

# name: network, what must be found, what may follow from it
FAULTY = {
    "20 layers of sigmoids": (
        (deep(32, 20, nn.Sigmoid(), 10, "glorot_uniform"), CE, ADAM, digits, 64, 2),
        {"vanishing gradients"}, (),
    ),
    "10 layers of sigmoids": (
        (deep(16, 10, nn.Sigmoid(), 10, "glorot_uniform"), CE, SGD, digits, 64, 2),
        {"vanishing gradients"}, (),
    ),
    "weights x10": (
        (nn.MLP([64, 64], 10, weight_init=times(10)), CE, ADAM, digits, 64, 2), {"exploding gradients"}, (),
    ),
    "weights x10, one hidden layer": (
        (nn.MLP([64], 10, weight_init=times(10)), CE, ADAM, digits, 64, 2), {"exploding gradients"}, (),
    ),
    "weights x10, 8 layers": (
        (deep(32, 8, nn.ReLU(), 10, times(10)), CE, ADAM, digits, 64, 1), {"exploding gradients"},
        {"updates too large"},
    ),
    "rate x1000, Adam": (
        (nn.MLP([64], 10), CE, optim.Adam(1.0), digits, 64, 2), {"updates too large"}, AFTER_LARGE_UPDATES,
    ),
    "rate x1000, SGD": (
        (nn.MLP([64], 10), CE, optim.SGD(100.0), digits, 64, 2), {"updates too large"}, AFTER_LARGE_UPDATES,
    ),
    "rate x1000, sine": (
        (nn.MLP([32], 1, activation="tanh"), SE, optim.Adam(10.0), sine, 32, 2), {"updates too large"},
        AFTER_LARGE_UPDATES,
    ),
    "rate / 100,000": (
        (nn.MLP([64], 10), CE, optim.Adam(1e-8), digits, 64, 2), {"updates too small"}, (),
    ),
    "weights 0": ((nn.MLP([64], 10, weight_init="zeros"), CE, ADAM, digits, 64, 2), {"identical units"}, ()),
    "weights 1": (
        (nn.MLP([8, 8], 1, activation="tanh", weight_init="constant"), "binary_cross_entropy", SGD, gaussians,
         20, 3),
        {"identical units"}, {"saturated units"},
    ),
    "a dead layer": (
        (nn.Sequential(nn.Dense(32), nn.ReLU(), nn.Dense(32, bias_init=dying), nn.ReLU(), nn.Dense(10)),
         CE, ADAM, digits, 64, 2),
        {"dead units"}, (),
    ),
    "saturated sigmoids": (
        (nn.MLP([32, 32], 10, activation="sigmoid", weight_init=times(100)), CE, ADAM, digits, 64, 1),
        {"saturated units"}, {"exploding gradients"},
    ),
    "a plateau": (
        (deep(8, 8, nn.Sigmoid(), 1, "glorot_uniform"), "binary_cross_entropy", SGD, gaussians, 20, 15),
        {"plateau", "vanishing gradients"}, (),
    ),
    "labels that the inputs do not tell": (
        (nn.MLP([], 2, weight_init="zeros"), CE, optim.SGD(1e-3), nothing_to_learn, 20, 15), {"plateau"}, (),
    ),
}  # fmt: skip


def kinds_found(case, seed):
    model, loss, optimizer, data, batch_size, epochs = case
    diagnostics = Diagnostics()
    trainer = Trainer(model, loss, optimizer, backend="numpy", seed=seed, callbacks=[diagnostics])
    try:
        trainer.fit(*data(), epochs=epochs, batch_size=batch_size)
    except DivergedError:
        assert optimizer.learning_rate >= 1.0
    return {verdict["kind"]: verdict for verdict in diagnostics.verdicts}


@pytest.mark.full
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_none_on_a_healthy_network(name, seed):
    assert kinds_found(HEALTHY[name], seed) == {}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_found(name, seed):
    case, wanted, allowed = FAULTY[name]
    found = kinds_found(case, seed)
    assert wanted <= found.keys() <= wanted | set(allowed)


def test_every_rule_has_a_network_with_its_fault():
    wanted = set().union(*(wanted for _, wanted, _ in FAULTY.values()))
    assert wanted == {rule.__name__.replace("_", " ") for rule in verdicts.RULES}


# --- the rules themselves, at their thresholds --------------------------------------------------------

HIDDEN = LayerMeasures("0 (Dense)", 6, 1.0, 1.0, 1.0, 1.0, None, None, 1.0, 1e-3)
ACTIVE = LayerMeasures("1 (ReLU)", 0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, None, None)
LAST = LayerMeasures("2 (Dense)", 3, 1.0, 1.0, 1.0, 1.0, None, None, 1.0, 1e-3)
WELL = Measures(3, 60, 0.9, 1.0, 1.0, (HIDDEN, ACTIVE, LAST))


def changed(hidden=None, active=None, last=None, **options):
    layers = [
        dataclasses.replace(layer, **(change or {}))
        for layer, change in zip(WELL.layers, (hidden, active, last), strict=True)
    ]
    return dataclasses.replace(WELL, layers=tuple(layers), **options)


def flat(epochs, loss=1.0, fall=0.0, steps=10):
    return [{"epoch": e, "step": e * steps, "loss": loss * (1 - fall * e)} for e in range(1, epochs + 1)]


AT = {
    "vanishing gradients": [({"hidden": {"signal": 9e-4}}, {"hidden": {"signal": 1e-3}})],
    "exploding gradients": [
        ({"hidden": {"signal": 21.0}}, {"hidden": {"signal": 20.0}}),
        ({"input_signal": 21.0}, {"input_signal": 20.0}),
    ],
    "dead units": [({"active": {"dead": 0.75}}, {"active": {"dead": 0.74}})],
    "saturated units": [({"active": {"saturated": 0.75}}, {"active": {"saturated": 0.74}})],
    "updates too small": [
        ({"hidden": {"update_ratio": 9e-6}, "last": {"update_ratio": 1e-7}},
         {"hidden": {"update_ratio": 9e-6}}),
    ],
    "identical units": [({"hidden": {"alike": 1e-5}}, {"hidden": {"alike": 2e-5}})],
    "updates too large": [
        ({"hidden": {"update_ratio": 0.42}, "last": {"update_ratio": 0.42}},
         {"hidden": {"update_ratio": 0.41}, "last": {"update_ratio": 0.41}}),  # 1.4142² = 2
        ({"last": {"update_ratio": float("inf")}}, {"last": {"update_ratio": None}}),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "fault", "well"), [(kind, *case) for kind in AT for case in AT[kind]])
def test_thresholds(kind, fault, well):
    (verdict,) = verdicts.judge(changed(**fault))
    assert (verdict.kind, bool(verdict.message)) == (kind, True)
    assert verdict.layer in {layer.layer for layer in WELL.layers}
    assert verdicts.judge(changed(**well)) == []
    learned = verdicts.judge(changed(**fault, loss=0.4))
    assert [v.kind for v in learned] == ([kind] if kind in ("identical units", "updates too large") else [])


def test_the_last_layer_may_be_saturated_and_its_units_alike():
    assert verdicts.judge(changed(last={"saturated": 1.0, "alike": 0.0})) == []


def test_small_updates_before_the_first_epoch_are_a_warm_up():
    small = changed(hidden={"update_ratio": 1e-9}, last={"update_ratio": 1e-9}, epoch=0)
    assert verdicts.judge(small) == []


@pytest.mark.parametrize(("step", "found"), [(0, True), (1, False), (3, True)])
def test_a_layer_that_began_at_0_grows_fast(step, found):
    kinds = [v.kind for v in verdicts.judge(changed(hidden={"update_ratio": 1.5}, step=step))]
    assert kinds == (["updates too large"] if found else [])


def test_no_verdict_where_no_gradient_is_left():
    """As where a hinge is satisfied on every row."""
    silent = {"signal": 0.0, "gradient_norm": 0.0, "update_ratio": 0.0}
    measured = changed(silent, {"signal": 0.0}, silent, input_signal=0.0, loss=0.0)
    assert verdicts.judge(measured) == []


@pytest.mark.parametrize(
    ("history", "loss", "found"),
    [
        (flat(11), 1.0, True),
        (flat(10), 1.0, False),  # too early
        (flat(11, steps=5), 1.0, False),  # ten epochs of five steps
        (flat(21, steps=5), 1.0, True),
        (flat(11, fall=0.002), 1.0, False),  # it falls by 2 %
        (flat(11, fall=0.0005), 1.0, True),
        (flat(11), 0.98, False),  # better than a constant: converged
    ],
)
def test_plateau(history, loss, found):
    kinds = [v.kind for v in verdicts.judge(dataclasses.replace(WELL, loss=loss), history)]
    assert kinds == (["plateau"] if found else [])


def test_what_follows_from_another_fault_is_not_told():
    together = changed(hidden={"alike": 0.0, "signal": 0.0}, active={"dead": 1.0})
    assert [verdict.kind for verdict in verdicts.judge(together)] == ["identical units"]
    together = changed(hidden={"signal": 0.0}, active={"dead": 1.0})
    assert [verdict.kind for verdict in verdicts.judge(together)] == ["dead units"]
