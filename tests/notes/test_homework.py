"""Homework 2 and 3 of note 004: the 2-3-5-3-1 network, against matrix formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.experiments import gaussians, report
from scripts.experiments.gaussians import L2, RATE, agreement, network, trainer_of, two_gaussians, weights_of
from scripts.experiments.pruning import prune_in_rounds
from tests.notes.pages import DOCS, assert_shown
from xpnet import optim
from xpnet.autodiff import grad, value_and_grad
from xpnet.backends import array_namespace
from xpnet.losses import get
from xpnet.nn import Variables

LOSSES = pytest.mark.parametrize("loss", gaussians.LOSSES)

# --- 2. and 3. The 2-3-5-3-1 network: matrix form -------------------------------------------------------


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _matrices(params):
    """Return W⁽ˡ⁾ (units, fan-in) and b⁽ˡ⁾ (units, 1) of the four layers, as the notes write them."""
    return [(params[f"{2 * i}.weight"].T, params[f"{2 * i}.bias"][:, None]) for i in range(4)]


def _backpropagation(matrices, X, t, loss, l2=0.0):
    """Return the objective and its gradients dW, db of each layer, columns being samples.

    Forward: A⁰ = Xᵀ, Zˡ = Wˡ Aˡ⁻¹ + bˡ 1ᵀ, Aˡ = σ(Zˡ) for l < L, and O = Zᴸ.

    Squared error: J = 1/n Σ (o - t)² and δᴸ = ∂J/∂O = 2/n (O - T).
    Hinge:         J = 1/n Σ max(0, 1 - t o) and δᴸ = -1/n T ⊙ [T ⊙ O < 1].

    Backward: δˡ = (Wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ'(Zˡ) with σ'(Zˡ) = Aˡ ⊙ (1 - Aˡ),
    dWˡ = δˡ (Aˡ⁻¹)ᵀ and dbˡ = δˡ 1; the penalty λ Σ w² adds 2 λ Wˡ to dWˡ.
    """
    n, T = len(t), t[None, :]
    activations = [X.T]
    for W, b in matrices[:-1]:
        activations.append(_sigmoid(W @ activations[-1] + b))
    W, b = matrices[-1]
    O = W @ activations[-1] + b
    if loss == "squared_error":
        value, delta = np.sum((O - T) ** 2) / n, 2 / n * (O - T)
    else:
        value, delta = np.sum(np.maximum(0, 1 - T * O)) / n, -1 / n * T * (T * O < 1)
    value += l2 * sum(np.sum(W * W) for W, _ in matrices)
    gradients = []
    for layer in reversed(range(len(matrices))):
        W, _ = matrices[layer]
        A = activations[layer]
        gradients.insert(0, (delta @ A.T + 2 * l2 * W, delta.sum(axis=1, keepdims=True)))
        if layer:
            delta = W.T @ delta * A * (1 - A)
    return value, gradients


def _objective(loss, l2, X, t):
    """Return J of the network's parameters, by xpnet."""

    def objective(params):
        outputs = network().apply(Variables(params, {}), X)
        xp = array_namespace(params.flat)
        squares = [xp.sum(params[name] ** 2) for name in params if name.endswith("weight")]
        return get(loss)(outputs, t) + l2 * sum(squares)

    return objective


@LOSSES
@pytest.mark.parametrize("l2", [0.0, L2, 0.5])
def test_gradients_are_those_of_the_matrix_form(loss, l2):
    data = two_gaussians()
    for seed in range(3):
        params, _ = network().init(seed, 2, "numpy", "float64")
        params = type(params)(3 * params.flat + 0.1 * seed, params.layout)  # not only small weights
        value, gradient = value_and_grad(_objective(loss, l2, data.X, data.t))(params)
        expected, matrices = _backpropagation(_matrices(params), data.X, data.t, loss, l2)
        assert value == pytest.approx(expected, rel=1e-12)
        largest = max(abs(dW).max() for dW, _ in matrices)
        for i, (dW, db) in enumerate(matrices):
            np.testing.assert_allclose(gradient[f"{2 * i}.weight"].T, dW, rtol=0, atol=1e-10 * largest)
            np.testing.assert_allclose(gradient[f"{2 * i}.bias"], db[:, 0], rtol=0, atol=1e-10 * largest)


@LOSSES
@pytest.mark.parametrize("l2", [0.0, L2])
def test_a_loop_over_the_matrix_form_has_the_curve_of_the_trainer(loss, l2):
    data, iterations = two_gaussians(), 400
    trainer = trainer_of(loss, l2)
    matrices = _matrices(trainer.model.init(1, 2, "numpy", "float64").params)
    curve = []
    for _ in range(iterations):
        value, gradients = _backpropagation(matrices, data.X, data.t, loss, l2)
        curve.append(value)
        matrices = [
            (W - RATE * dW, b - RATE * db) for (W, b), (dW, db) in zip(matrices, gradients, strict=True)
        ]
    history = trainer.fit(data.X, data.t, epochs=iterations, batch_size=None)
    np.testing.assert_allclose(history["loss"], curve, rtol=1e-8)
    for (W, b), (theirs, other) in zip(_matrices(trainer.variables.params), matrices, strict=True):
        np.testing.assert_allclose(W, theirs, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(b, other, rtol=1e-6, atol=1e-8)


# --- 2. and 3. Curves and accuracies --------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    return {(loss, l2): gaussians.train(loss, l2) for loss in gaussians.LOSSES for l2 in (0.0, L2)}


@pytest.mark.full
@LOSSES
@pytest.mark.parametrize("l2", [0.0, L2])
def test_the_loss_falls(loss, l2, trained):
    values = np.asarray(trained[loss, l2].history["loss"])
    assert values[-1] < 0.3 * values[0]
    means = values.reshape(-1, 100).mean(axis=1)  # of the hinge, whose gradient jumps, they fall
    assert (np.diff(values if loss == "squared_error" else means) < 0).all()


@pytest.mark.full
@LOSSES
def test_accuracies_are_near_the_best_possible(loss, trained):
    """The Bayes classifier is right for Φ(√2) = 92.1 % of new points."""
    for l2 in (0.0, L2):
        last = trained[loss, l2].history.rows[-1]
        assert last["agreement"] >= 0.95
        assert last["validation_agreement"] > 0.89
    assert trained[loss, L2].history.rows[-1]["validation_agreement"] > 0.905


@LOSSES
def test_weights_shrink_under_the_penalty(loss, trained):
    free, bound = (trained[loss, l2].history for l2 in (0.0, L2))
    assert bound["squared_weights"][-1] < 0.7 * free["squared_weights"][-1]
    assert free["squared_weights"][-1] > free["squared_weights"][700]  # without it they go on growing
    assert bound["squared_weights"][-1] < 1.1 * bound["squared_weights"][700]
    assert np.sum(weights_of(trained[loss, L2]) ** 2) == bound["squared_weights"][-1]


@LOSSES
def test_the_penalty_helps_on_new_points(loss, trained):
    free, bound = (trained[loss, l2].history.rows[-1] for l2 in (0.0, L2))
    assert bound["validation_loss"] < 0.95 * free["validation_loss"]
    assert bound["validation_agreement"] > free["validation_agreement"]
    assert free["loss"] < bound["loss"]


def test_the_penalty_alone_is_weight_decay():
    """A step of rate η on λ Σ w² is w ← (1 - 2ηλ) w."""
    w, l2 = np.asarray([2.0, -1.0]), 0.05
    params, _ = optim.SGD(RATE).update(grad(lambda w: l2 * (w @ w))(w), {"step": 0}, w)
    np.testing.assert_allclose(params, (1 - 2 * RATE * l2) * w, rtol=1e-15)


# --- 3. Pruning ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pruned():
    return {loss: prune_in_rounds(loss) for loss in gaussians.LOSSES}


@pytest.mark.full
@LOSSES
def test_rounds_of_decay_pruning_and_retraining(loss, pruned):
    rounds, trainer = pruned[loss]
    assert rounds[0].weights == 6 + 15 + 15 + 3
    left = [done.weights for done in rounds]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left)
    accepted, refused = rounds[:-1], rounds[-1]
    assert all(done.retrained >= rounds[0].retrained for done in accepted)
    assert refused.retrained < rounds[0].retrained
    # The last network that was good enough is returned, with its zeros.
    data = two_gaussians()
    assert np.count_nonzero(weights_of(trainer)) == accepted[-1].weights <= 8
    assert agreement(trainer.outputs(data.X), data.t) == accepted[-1].retrained
    assert agreement(trainer.outputs(data.X_test), data.t_test) == accepted[-1].test > 0.91


@pytest.mark.full
@LOSSES
def test_what_is_left_is_a_line(loss, pruned):
    """One unit of the first layer sees both inputs; all else is a function of that unit alone."""
    params = pruned[loss][1].variables.params
    alive = [(params[f"{layer}.weight"] != 0).any(axis=1).nonzero()[0] for layer in (0, 2, 4, 6)]
    assert list(alive[0]) == [0, 1]
    assert len(alive[1]) == len(alive[3]) == 1
    assert pruned[loss][0][-1].test < 0.86  # a weight less, and one coordinate is gone: at most Φ(1)


@LOSSES
def test_retraining_recovers_what_pruning_cost(loss, pruned):
    rounds, _ = pruned[loss]
    hurt = [done for done in rounds[:-1] if done.pruned < rounds[0].retrained]
    assert hurt
    assert all(done.retrained > done.pruned for done in hurt)


def test_small_weights_can_go_without_a_difference(pruned):
    """Removing the smallest weights changes the outputs little: the accuracy stays in the first rounds."""
    rounds, _ = pruned["squared_error"]
    assert all(done.pruned == rounds[0].retrained for done in rounds[:4])


# --- The page shows what comes out ----------------------------------------------------------------------


def test_the_page_has_these_numbers(trained, pruned):
    assert_shown(DOCS / "homework.md", report.network_table(trained))
    for rounds, _ in pruned.values():
        assert_shown(DOCS / "homework.md", report.pruning_table(rounds))


def test_pictures_are_those_of_these_trainings(trained, pruned):
    panels = {
        "losses": report.network_panels(trained),
        "l2": report.regularization_panels(trained),
        "pruning": report.pruning_panels({loss: rounds for loss, (rounds, _) in pruned.items()}),
    }
    for name, drawn in panels.items():
        shown = (DOCS / "images" / f"homework-{name}.svg").read_text(encoding="utf-8")
        assert len(shown) < 60_000
        for panel in drawn:
            assert panel.title in shown
            assert all(curve.label in shown for curve in panel.curves)
