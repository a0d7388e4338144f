"""What the notes say of losses: 000 (section 3), 002 (softmax), 003 (3.4) and 004 (19.122 and 19.124)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import draw
from xpnet import Trainer, losses, nn, optim
from xpnet.autodiff import functions, grad
from xpnet.backends import array_namespace

LOGITS = 2 * draw(0, (6, 4))
LABELS = np.asarray([0, 3, 1, 1, 2, 0])
SOFT = np.exp(draw(1, (6, 4)))
SOFT /= SOFT.sum(axis=1, keepdims=True)


def _softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)


def test_cross_entropy_of_a_set_is_the_sum_of_its_rows():
    """Note 000 adds up rows; here the mean is taken, so that a rate does not depend on their number."""
    rows = [-np.log(_softmax(z)[k]) for z, k in zip(LOGITS, LABELS, strict=True)]
    assert 6 * losses.softmax_cross_entropy(LOGITS, LABELS) == pytest.approx(sum(rows), rel=1e-13)
    sigma, y = 1 / (1 + np.exp(-LOGITS[:, 0])), (LABELS > 0).astype(float)
    binary = sum(-y * np.log(sigma) - (1 - y) * np.log(1 - sigma))
    assert 6 * losses.binary_cross_entropy(LOGITS[:, 0], y) == pytest.approx(binary, rel=1e-13)


def test_squared_error_is_summed_over_outputs_and_averaged_over_rows():
    """Note 004: Σᵢ Σⱼ (tᵢⱼ - oᵢⱼ)²."""
    assert 6 * losses.squared_error(LOGITS, SOFT) == pytest.approx(np.sum((SOFT - LOGITS) ** 2), rel=1e-13)


def test_cross_entropy_has_a_minus_sign():
    """Note 004 prints Σ y log p, which is negative and would be maximized; the loss is -Σ y log p."""
    p = _softmax(LOGITS)
    printed = np.mean(np.sum(SOFT * np.log(p), axis=1))
    assert printed < 0
    assert losses.softmax_cross_entropy(LOGITS, SOFT) == pytest.approx(-printed, rel=1e-13)


def test_the_likelihood_of_the_classes_is_what_is_maximized():
    """Note 002: arg max Σ log softmax(f(x))_y; at its maximum nothing has a higher likelihood nearby."""
    X = draw(2, (40, 3))
    y = (X @ [1.0, -1.0, 0.5] + draw(3, (40,)) > 0).astype(int)
    trainer = Trainer(
        nn.Dense(2), "softmax_cross_entropy", optim.SGD(1.0), backend="numpy", dtype="float64",
        compile="numpy", progress=False,
    )  # fmt: skip
    history = trainer.fit(X, y, epochs=2000, batch_size=None)

    def likelihood() -> float:
        return float(np.sum(np.log(trainer.predict_proba(X)[np.arange(40), y])))

    best = likelihood()
    assert best == pytest.approx(-40 * history["loss"][-1], rel=1e-6)
    flat = trainer.variables.params.flat
    for i in range(len(flat)):
        for delta in (-0.1, 0.1):
            flat[i] += delta
            assert likelihood() < best
            flat[i] -= delta


def test_divergence_is_cross_entropy_less_the_entropy_of_the_targets():
    """D(t‖q) = Σ t ln(t/q): the same gradient as the cross entropy; 0 only for equal distributions."""
    entropy = -np.mean(np.sum(SOFT * np.log(SOFT), axis=1))
    crossed = losses.softmax_cross_entropy(LOGITS, SOFT)
    assert losses.kl_divergence(LOGITS, SOFT) == pytest.approx(crossed - entropy, rel=1e-12)
    gradients = [grad(loss)(LOGITS, SOFT) for loss in (losses.kl_divergence, losses.softmax_cross_entropy)]
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-15)
    assert losses.kl_divergence(np.log(SOFT), SOFT) == pytest.approx(0, abs=1e-15)
    assert losses.kl_divergence(LOGITS, SOFT) > 0


def test_the_symmetric_divergence_adds_both_directions():
    p = _softmax(LOGITS)
    one, other = (np.mean(np.sum(a * np.log(a / b), axis=1)) for a, b in ((SOFT, p), (p, SOFT)))
    assert losses.symmetric_kl(LOGITS, SOFT) == pytest.approx(one + other, rel=1e-12)
    assert abs(one - other) > 0.01  # each alone is not symmetric


def test_bhattacharyyas_distance_is_another_one():
    """Note 004 takes both names for one thing: -ln Σ √(t q) is symmetric, and at most half of D(t‖q)."""
    p = _softmax(LOGITS)
    distance = -np.log(np.sum(np.sqrt(SOFT * p), axis=1))
    divergence = np.sum(SOFT * np.log(SOFT / p), axis=1)
    assert (distance < 0.5 * divergence).all()


def test_the_loss_of_homework_2_of_note_003_is_not_zero_for_one_hot_outputs():
    """L = -f_y + log Σ exp f is log(e + K - 1) - 1 for f_y = 1 and the rest 0; it tends to 0 as f_y grows."""
    for classes in (2, 3, 10):
        one_hot = np.eye(classes)[:1]
        found = losses.softmax_cross_entropy(one_hot, np.asarray([0]))
        assert found == pytest.approx(np.log(np.e + classes - 1) - 1, rel=1e-13)
        assert found > 0.3
        grown = [losses.softmax_cross_entropy(size * one_hot, np.asarray([0])) for size in (5, 10, 40)]
        assert grown[0] > grown[1] > grown[2] >= 0
        assert grown[2] < 1e-15


@pytest.mark.parametrize(
    ("function", "kink", "slopes"),
    [
        (functions.relu, 0.0, (0.0, 1.0)),
        (lambda y: losses.hinge(array_namespace(y).reshape(y, (1,)), np.ones(1)), 1.0, (-1.0, 0.0)),
        (lambda y: losses.hinge(array_namespace(y).reshape(y, (1,)), -np.ones(1)), -1.0, (0.0, 1.0)),
    ],
    ids=["relu", "hinge of 1", "hinge of -1"],
)
def test_at_a_kink_a_subgradient_is_taken(function: Any, kink: float, slopes: tuple[float, float]):
    """g with f(y) ≥ f(x) + g (y - x) for all y. f is continuous; it is the derivative that jumps."""
    at = np.asarray(kink)
    found = float(grad(function)(at))
    assert slopes[0] <= found <= slopes[1]
    assert found == 0.0  # of all subgradients the one that is documented
    others = np.linspace(-3, 3, 601)
    values = np.asarray([float(function(np.asarray(y))) for y in others])
    assert (values >= float(function(at)) + found * (others - kink) - 1e-15).all()
    left, right = (float(grad(function)(at + side)) for side in (-1e-9, 1e-9))
    assert (left, right) == slopes
    assert abs(float(function(at + 1e-9)) - float(function(at - 1e-9))) < 1e-8
