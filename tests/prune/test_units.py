"""Units removed: smaller networks that compute the same where only dead units go."""

from __future__ import annotations

import numpy as np
import pytest

from tests.prune.support import fitted, give_parameters
from tests.support import host, relative_error, tolerance, widest
from tests.train.support import assert_same_training, class_data, value_data
from xpnet import Trainer, nn
from xpnet.errors import ConfigError
from xpnet.nn import BatchNorm, Dense, Dropout, LayerNorm, ReLU, Sequential, Tanh
from xpnet.prune import CRITERIA, prune_units

NETWORKS = {
    "plain": nn.MLP([12, 8], 3),
    "batch norm and dropout": nn.MLP([12, 8], 3, activation="tanh", batch_norm=True, dropout=0.2),
    "nested": Sequential(
        BatchNorm(),
        Sequential(Dense(12), Sequential(ReLU(), Dropout(0.1)), Dense(8, bias=False)),
        Sequential(Sequential(Tanh()), Dense(3)),
    ),
}
DEAD = {0: [0, 3, 4, 11], 1: [2, 7]}


def weights(trainer: Trainer) -> list[str]:
    return [name for name, shape in trainer.variables.params.layout.entries if len(shape) == 2]


def kill(trainer: Trainer) -> None:
    """Take the outgoing weights of some units away."""
    names = weights(trainer)
    for number, units in DEAD.items():
        matrix = np.array(host(trainer.variables.params[names[number + 1]]))
        matrix[units] = 0
        give_parameters(trainer, **{"w" + names[number + 1].replace(".", "_"): matrix})


@pytest.mark.parametrize("name", NETWORKS)
def test_without_dead_units_outputs_are_the_same(backend, name):
    X, _ = class_data()
    trainer = Trainer(NETWORKS[name], "softmax_cross_entropy", backend=backend, dtype=widest(backend))
    trainer.variables, trainer.input_shape = NETWORKS[name].init(0, 3, backend, trainer.dtype), (3,)
    kill(trainer)
    smaller = prune_units(trainer, [len(units) for units in DEAD.values()])
    shapes = [tuple(smaller.variables.params[name].shape) for name in weights(smaller)]
    assert shapes == [(3, 8), (8, 6), (6, 3)]
    assert relative_error(smaller.outputs(X), trainer.outputs(X)) < tolerance(trainer.dtype)
    kept = [sorted(set(range(12)) - set(DEAD[0])), sorted(set(range(8)) - set(DEAD[1]))]
    first = [host(t.variables.params[weights(t)[1]]) for t in (trainer, smaller)]
    np.testing.assert_array_equal(first[1], first[0][np.ix_(*kept)])


def test_the_given_trainer_stays_as_it_is():
    trainer, same = fitted(), fitted()
    smaller = prune_units(trainer, 0.5)
    smaller.fit(*class_data(), epochs=5, batch_size=10)
    assert_same_training(trainer, same)
    for one in (trainer, same):
        one.fit(*class_data(), epochs=5, batch_size=10)
    assert_same_training(trainer, same)


def test_layer_norm_is_cut_too():
    model = Sequential(Dense(6), LayerNorm(), ReLU(), Dense(3))
    trainer = fitted(model=model)
    smaller = prune_units(trainer, [2])
    assert smaller.variables.params["1.scale"].shape == smaller.variables.params["1.shift"].shape == (4,)
    assert np.all(np.isfinite(smaller.outputs(class_data()[0])))


def test_statistics_and_the_optimizer_go_with_their_units():
    trainer = fitted(model=NETWORKS["batch norm and dropout"])
    kill(trainer)
    smaller = prune_units(trainer, [len(units) for units in DEAD.values()])
    kept = np.setdiff1d(np.arange(12), DEAD[0])
    for part in ("mean", "variance"):
        old, new = (t.variables.state["1"][part] for t in (trainer, smaller))
        np.testing.assert_array_equal(new, old[kept])
    for slot in trainer.optimizer.slots:
        old, new = trainer.opt_state[slot], smaller.opt_state[slot]
        assert new.layout == smaller.variables.params.layout
        np.testing.assert_array_equal(new["0.weight"], old["0.weight"][:, kept])
        np.testing.assert_array_equal(new["1.scale"], old["1.scale"][kept])
    assert smaller.opt_state["step"] == trainer.opt_state["step"]


@pytest.mark.parametrize("compile", ["off", "numpy"])
def test_the_smaller_network_trains_and_is_saved(compile, tmp_path):
    X, y = class_data()
    smaller = prune_units(fitted(model=NETWORKS["nested"], compile=compile), 0.5)
    smaller.fit(X, y, epochs=6, batch_size=10)
    smaller.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert_same_training(loaded, smaller)
    for trainer in (loaded, smaller):
        trainer.fit(X, y, epochs=40, batch_size=10)
    assert_same_training(loaded, smaller)
    assert smaller.evaluate(X, y)["accuracy"] > 0.9


def test_a_mask_is_cut_with_the_matrices():
    trainer = fitted()
    mask = np.ones(trainer.variables.params.layout.size)
    mask[::3] = 0
    trainer.set_mask(mask)
    smaller = prune_units(trainer, 0.5)
    assert np.all(smaller.variables.params.flat[smaller.mask == 0] == 0)
    smaller.fit(*class_data(), epochs=6, batch_size=10)
    assert np.all(smaller.variables.params.flat[smaller.mask == 0] == 0)
    assert smaller.mask.sum() < smaller.mask.size < mask.size


@pytest.mark.parametrize("criterion", CRITERIA)
def test_criteria_are_norms(criterion):
    trainer = fitted(model=nn.MLP([6], 3))
    incoming, outgoing = (np.asarray(trainer.variables.params[name]) for name in ("0.weight", "2.weight"))
    into, out = np.linalg.norm(incoming, axis=0), np.linalg.norm(outgoing, axis=1)
    scores = {"norm": into * out, "incoming": into, "outgoing": out}[criterion]
    smaller = prune_units(trainer, [4], criterion=criterion)
    best = np.sort(np.argsort(scores)[4:])
    np.testing.assert_array_equal(smaller.variables.params["0.weight"], incoming[:, best])
    biases = [t.variables.params["0.bias"] for t in (trainer, smaller)]
    np.testing.assert_array_equal(biases[1], biases[0][best])


def test_the_default_criterion_does_not_see_the_scale_of_a_relu_unit():
    trainer = fitted(model=nn.MLP([6], 3))
    smaller = prune_units(trainer, 0.5)
    params = trainer.variables.params
    factors = np.asarray([1e3, 1e-3, 10, 1, 0.1, 7])
    give_parameters(
        trainer,
        w0_weight=params["0.weight"] * factors,
        w0_bias=params["0.bias"] * factors,
        w2_weight=params["2.weight"] / factors[:, None],
    )
    X, _ = class_data()
    assert relative_error(prune_units(trainer, 0.5).outputs(X), smaller.outputs(X)) < 1e-12


def test_behind_batch_norm_the_size_of_incoming_weights_does_not_matter():
    model = nn.MLP([4], 2, batch_norm=True)
    trainer = _on_values(model)
    give_parameters(trainer, w0_weight=[1e4, 1.0, 1.0, 1.0], w1_scale=[0.1, 1, 2, 3], w3_weight=1.0)
    kept = np.asarray(prune_units(trainer, [1]).variables.params["1.scale"])
    np.testing.assert_array_equal(kept, [1, 2, 3])


def _on_values(model: nn.Layer) -> Trainer:
    trainer = Trainer(model, "squared_error", backend="numpy", dtype="float64")
    trainer.fit(*value_data(outputs=2), epochs=1)
    return trainer


def test_a_criterion_of_the_users_own():
    trainer = fitted(model=nn.MLP([6], 3))
    smaller = prune_units(trainer, [2], criterion=lambda incoming, outgoing: np.asarray([5, 0, 4, 3, 1, 2.0]))
    np.testing.assert_array_equal(
        smaller.variables.params["0.weight"], trainer.variables.params["0.weight"][:, [0, 2, 3, 5]]
    )
    with pytest.raises(ConfigError, match=r"criterion: expected scores of shape \(6,\).*found shape \(\)"):
        prune_units(trainer, [2], criterion=lambda incoming, outgoing: np.float64(1))


def test_a_layer_keeps_one_unit():
    smaller = prune_units(fitted(model=nn.MLP([2, 8], 3)), 0.99)
    assert [layer.units for layer in smaller.model if isinstance(layer, Dense)] == [1, 1, 3]


def test_nothing_removed_is_the_same_network():
    trainer = fitted()
    same = prune_units(trainer, 0)
    assert same.model is trainer.model
    np.testing.assert_array_equal(same.variables.params.flat, trainer.variables.params.flat)


class Square(nn.Layer):
    """A layer of the user's own, of which nobody knows whether it works entry by entry."""

    def forward(self, params, state, x, *, training, key):
        return x * x, state


@pytest.mark.parametrize(
    ("model", "remove", "options", "message"),
    [
        (nn.MLP([], 3), 0.5, {}, "expected a model with a hidden Dense layer"),
        (Sequential(Dense(4), Square(), Dense(3)), 0.5, {}, "between Dense layers, found Square"),
        (nn.MLP([4, 4], 3), [1], {}, "a number of units for each of 2 hidden layers, found 1"),
        (nn.MLP([4], 3), [4], {}, "whole numbers from 0 to 3 for a layer of 4 units"),
        (nn.MLP([4], 3), [-1], {}, "found -1"),
        (nn.MLP([4], 3), [1.5], {}, "found 1.5"),
        (nn.MLP([4], 3), [True], {}, "found True"),
        (nn.MLP([4], 3), 1.0, {}, "remove: expected a number of at least 0 and below 1"),
        (nn.MLP([4], 3), "half", {}, "found 'half'"),
        (nn.MLP([4], 3), 0.5, {"criterion": "nrom"}, "did you mean 'norm'"),
    ],
)
def test_bad_settings(model, remove, options, message):
    trainer = fitted(model=model, epochs=1)
    before = np.array(trainer.variables.params.flat)
    with pytest.raises(ConfigError, match=message):
        prune_units(trainer, remove, **options)
    np.testing.assert_array_equal(trainer.variables.params.flat, before)


def test_an_untrained_trainer():
    with pytest.raises(ConfigError, match="expected a trainer that has been trained"):
        prune_units(Trainer(nn.MLP([4], 3), "softmax_cross_entropy", backend="numpy"), 0.5)
