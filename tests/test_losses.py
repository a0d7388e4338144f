"""Losses: values and gradients against other libraries, targets in every form, kinks, very large logits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from tests.loss_cases import (
    BATCH,
    BITS,
    CASES,
    CLASSES,
    COUNTS,
    LABELS,
    LOGITS,
    ONE_HOT,
    PROBABILITIES,
    SIGNS,
    VALUES,
    Case,
)
from tests.support import draw, host, relative_error, tolerance, widest
from xpnet import losses
from xpnet.autodiff import check_grads, value_and_grad
from xpnet.backends import Backend
from xpnet.errors import ConfigError, DataError

every_case = pytest.mark.parametrize("case", CASES, ids=str)
one_of_each = pytest.mark.parametrize("case", {c.name: c for c in reversed(CASES)}.values(), ids=str)


def _loss(case: Case) -> Any:
    return functools.partial(losses.get(case.name), **case.options)


def _arrays(backend: Backend, case: Case, dtype: str) -> tuple[Any, Any]:
    """Return predictions and targets on ``backend``, floating ones in ``dtype``."""
    floating = case.targets.dtype.kind == "f"
    return backend.asarray(case.predictions, dtype=dtype), backend.asarray(
        case.targets, dtype=dtype if floating else None
    )


def test_every_loss_is_in_the_table() -> None:
    assert {case.name for case in CASES} == set(losses.LOSSES)
    assert set(losses.LOSSES) | {
        "KINDS", "LOSSES", "LossWithOptions", "distributions", "get", "make", "to_config",
    } == set(losses.__all__)  # fmt: skip


@every_case
def test_value_and_gradient_match_pytorch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    p = torch.tensor(case.predictions, requires_grad=True)
    want = case.torch(torch, torch.nn.functional, p, torch.tensor(case.targets))
    want.backward()
    value, gradient = value_and_grad(_loss(case))(case.predictions, case.targets)
    assert np.shape(value) == ()
    np.testing.assert_allclose(value, float(want.detach()), rtol=1e-13)
    assert relative_error(gradient, p.grad.numpy()) < 1e-13


@every_case
def test_first_and_second_derivatives_match_finite_differences(case: Case) -> None:
    check_grads(lambda p: _loss(case)(p, case.targets), (case.predictions,), order=2)
    if case.targets.dtype.kind == "f" and "one-hot" not in case.label:
        check_grads(_loss(case), (case.predictions, case.targets), order=1)


@one_of_each
def test_derivatives_in_float32(case: Case, backend: Backend) -> None:
    p, y = _arrays(backend, case, "float32")
    check_grads(lambda p: _loss(case)(p, y), (p,), order=1 if backend.name == "jax" else 2)


@every_case
def test_gradients_agree_on_every_backend(case: Case, backend: Backend) -> None:
    dtype = widest(backend)
    want, want_gradient = value_and_grad(_loss(case))(case.predictions, case.targets)
    p, y = _arrays(backend, case, dtype)
    value, gradient = value_and_grad(_loss(case))(p, y)
    assert value.dtype == gradient.dtype == p.dtype
    assert tuple(gradient.shape) == tuple(p.shape)
    assert relative_error(value, want) < tolerance(dtype)
    assert relative_error(gradient, want_gradient) < tolerance(dtype)


@one_of_each
def test_weights_count_like_repeated_rows(case: Case, backend: Backend) -> None:
    dtype = widest(backend)
    repeats = np.asarray([1, 3, 0, 2, 1, 0])
    rows = np.repeat(np.arange(BATCH), repeats)
    weighted = _loss(case)(
        *_arrays(backend, case, dtype), sample_weight=backend.asarray(repeats.astype(dtype))
    )
    repeated = _loss(case)(case.predictions[rows], case.targets[rows])
    assert relative_error(weighted, repeated) < tolerance(dtype)
    scaled = _loss(case)(
        *_arrays(backend, case, dtype), sample_weight=backend.asarray((7.5 * repeats).astype(dtype))
    )
    assert relative_error(scaled, repeated) < 10 * tolerance(dtype)


@one_of_each
def test_gradients_of_weighted_losses(case: Case) -> None:
    weight = draw(9, (BATCH,), 0.1, 2.0)
    check_grads(lambda p: _loss(case)(p, case.targets, sample_weight=weight), (case.predictions,), order=2)
    check_grads(lambda w: _loss(case)(case.predictions, case.targets, sample_weight=w), (weight,), order=2)


def test_equal_weights_change_nothing() -> None:
    plain = losses.squared_error(LOGITS, VALUES)
    np.testing.assert_allclose(losses.squared_error(LOGITS, VALUES, sample_weight=np.full(BATCH, 0.3)), plain)


def test_scipy_and_scikit_learn_agree() -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    log_q = special.log_softmax(LOGITS, axis=1)
    want = special.rel_entr(PROBABILITIES, np.exp(log_q)).sum(axis=1).mean()
    np.testing.assert_allclose(losses.kl_divergence(LOGITS, PROBABILITIES), want, rtol=1e-13)
    want += special.rel_entr(np.exp(log_q), PROBABILITIES).sum(axis=1).mean()
    np.testing.assert_allclose(losses.symmetric_kl(LOGITS, PROBABILITIES), want, rtol=1e-13)
    huber = special.huber(0.7, LOGITS - VALUES).sum(axis=1).mean()
    np.testing.assert_allclose(losses.huber(LOGITS, VALUES, delta=0.7), huber, rtol=1e-13)
    probabilities = np.exp(log_q)
    weight = draw(9, (BATCH,), 0.1, 2.0)
    np.testing.assert_allclose(
        losses.softmax_cross_entropy(LOGITS, LABELS, sample_weight=weight),
        metrics.log_loss(LABELS, probabilities, sample_weight=weight, labels=range(CLASSES)),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        losses.multiclass_hinge(LOGITS, LABELS),
        metrics.hinge_loss(LABELS, LOGITS, labels=range(CLASSES)),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        losses.hinge(LOGITS[:, 0], SIGNS[:, 0]), metrics.hinge_loss(SIGNS[:, 0], LOGITS[:, 0]), rtol=1e-13
    )


def test_jax_agrees() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")

    def want(p: Any) -> Any:
        return -(jax.numpy.asarray(PROBABILITIES) * jax.nn.log_softmax(p)).sum(-1).mean()

    value, gradient = value_and_grad(losses.softmax_cross_entropy)(LOGITS, PROBABILITIES)
    p = jax.numpy.asarray(LOGITS)
    np.testing.assert_allclose(value, float(want(p)), rtol=1e-13)
    assert relative_error(gradient, np.asarray(jax.grad(want)(p))) < 1e-13


# --- Large logits and kinks --------------------------------------------------------------------------

BIG = 1e4
# predictions, targets, value, gradient
EXTREMES: dict[str, tuple[str, list[Any], list[Any], float, list[Any]]] = {
    "certain and right": ("softmax_cross_entropy", [[BIG, -BIG, 0.0]], [0], 0.0, [[0.0, 0.0, 0.0]]),
    "certain and wrong": ("softmax_cross_entropy", [[BIG, -BIG, 0.0]], [1], 2 * BIG, [[1.0, -1.0, 0.0]]),
    "divergence, wrong": ("kl_divergence", [[BIG, -BIG, 0.0]], [1], 2 * BIG, [[1.0, -1.0, 0.0]]),
    "binary, right": ("binary_cross_entropy", [BIG, -BIG], [1, 0], 0.0, [0.0, 0.0]),
    "binary, wrong": ("binary_cross_entropy", [BIG, -BIG], [0, 1], BIG, [0.5, -0.5]),
    "multiclass hinge": ("multiclass_hinge", [[BIG, -BIG, 0.0]], [1], 1 + 2 * BIG, [[1.0, -1.0, 0.0]]),
    "hinge": ("hinge", [BIG, -BIG], [1, 1], (1 + BIG) / 2, [0.0, -0.5]),
    "poisson, rate zero": ("poisson", [-BIG], [0], 0.0, [0.0]),
    "huber": ("huber", [BIG], [0], BIG - 0.5, [1.0]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EXTREMES)
def test_stable_for_very_large_logits(name: str, dtype: str, backend: Backend) -> None:
    if dtype == "float64" != widest(backend):
        pytest.skip(f"{backend.spec}: no float64 on this device")
    loss, points, targets, want, want_gradient = EXTREMES[name]
    p, y = backend.asarray(np.asarray(points), dtype=dtype), backend.asarray(np.asarray(targets))
    value, gradient = value_and_grad(losses.get(loss))(p, y)
    np.testing.assert_allclose(float(value), want, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(host(gradient), want_gradient, rtol=1e-6, atol=1e-30)


def test_symmetric_divergence_stays_finite_where_a_target_is_zero(backend: Backend) -> None:
    p = backend.asarray(np.asarray([[BIG, -BIG, 0.0]]), dtype=widest(backend))
    value, gradient = value_and_grad(losses.symmetric_kl)(p, backend.asarray(np.asarray([1])))
    assert np.isfinite(float(value))
    assert np.all(np.isfinite(host(gradient)))


KINKS: dict[str, tuple[Any, list[Any], list[Any], list[Any]]] = {
    "absolute error at 0": (losses.absolute_error, [1.0, 2.0], [1.0, 0.0], [0.0, 0.5]),
    "hinge at margin 1": (losses.hinge, [1.0, -1.0], [1.0, -1.0], [0.0, 0.0]),
    "multiclass hinge at margin 1": (losses.multiclass_hinge, [[1.0, 0.0]], [0], [[0.0, 0.0]]),
    "multiclass hinge, runners-up tie": (losses.multiclass_hinge, [[0.0, 0.5, 0.5]], [0], [[-1.0, 0.5, 0.5]]),
    "huber at delta": (losses.huber, [1.0, -1.0], [0.0, 0.0], [0.5, -0.5]),
    "huber at 0": (losses.huber, [0.0], [0.0], [0.0]),
    "squared error at 0": (losses.squared_error, [0.0], [0.0], [0.0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_documented_subgradients(name: str, backend: Backend) -> None:
    loss, points, targets, want = KINKS[name]
    dtype = widest(backend)
    y = np.asarray(targets)
    y = backend.asarray(y, dtype=dtype if y.dtype.kind == "f" else None)
    gradient = value_and_grad(loss)(backend.asarray(np.asarray(points), dtype=dtype), y)[1]
    np.testing.assert_allclose(host(gradient), want, rtol=1e-6)


def test_zero_times_logarithm_of_zero_is_zero(backend: Backend) -> None:
    p = backend.asarray(LOGITS, dtype=widest(backend))
    one_hot = backend.asarray(ONE_HOT, dtype=widest(backend))
    labels = backend.asarray(LABELS)
    want = losses.softmax_cross_entropy(p, labels)
    np.testing.assert_allclose(float(losses.kl_divergence(p, one_hot)), float(want), rtol=1e-5)


def test_divergence_of_a_distribution_from_itself_is_zero() -> None:
    p = np.log(PROBABILITIES)
    for loss in (losses.kl_divergence, losses.symmetric_kl):
        value, gradient = value_and_grad(loss)(p, PROBABILITIES)
        np.testing.assert_allclose(value, 0.0, atol=1e-15)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-16)


def test_boolean_labels_are_classes_0_and_1(backend: Backend) -> None:
    p = backend.asarray(LOGITS[:, :2], dtype=widest(backend))
    booleans, whole = backend.asarray(BITS[:, 0] == 1), backend.asarray(BITS[:, 0])
    for name in ("softmax_cross_entropy", "multiclass_hinge"):
        assert float(losses.get(name)(p, booleans)) == float(losses.get(name)(p, whole))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_more_classes_than_the_dtype_of_the_labels_can_count(dtype: str, backend: Backend) -> None:
    p = backend.asarray(draw(5, (2, 300)), dtype=widest(backend))
    narrow = losses.softmax_cross_entropy(p, backend.asarray(np.asarray([0, 99]), dtype=dtype))
    want = losses.softmax_cross_entropy(draw(5, (2, 300)), np.asarray([0, 99]))
    np.testing.assert_allclose(float(narrow), want, rtol=1e-6)


# --- The registry and bad input ----------------------------------------------------------------------


def test_losses_are_found_by_name_and_carry_what_a_trainer_needs() -> None:
    assert losses.get("huber") is losses.huber
    own = lambda p, y, *, sample_weight=None: p  # noqa: E731
    assert losses.get(own) is own
    for name, loss in losses.LOSSES.items():
        assert loss.__name__ == name
        assert loss.__doc__
        assert loss.targets in ("values", "counts", "classes", "binary", "signs")
    z = np.asarray([[0.0, np.log(3.0)]])
    np.testing.assert_allclose(losses.softmax_cross_entropy.link(z), [[0.25, 0.75]])
    np.testing.assert_allclose(losses.binary_cross_entropy.link(z), [[0.5, 0.75]])
    np.testing.assert_allclose(losses.poisson.link(z), [[1.0, 3.0]])
    np.testing.assert_allclose(losses.squared_error.link(z), z)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hubert", "did you mean 'huber'"),
        ("zzz", "known: absolute_error"),
        (3, "found 3"),
        (None, "found None"),
    ],
)
def test_unknown_losses(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        losses.get(spec)


BAD: dict[str, tuple[Any, str]] = {
    "length": (lambda: losses.squared_error(LOGITS, VALUES[:3]), r"shape \(6, 4\), found \(3, 4\)"),
    "would broadcast": (lambda: losses.squared_error(LOGITS, VALUES[0]), r"shape \(6, 4\), found \(4,\)"),
    "one row short": (lambda: losses.hinge(LOGITS[:, 0], SIGNS[:5, 0]), r"shape \(6,\), found \(5,\)"),
    "outputs": (lambda: losses.binary_cross_entropy(LOGITS, BITS[:, :2]), r"shape \(6, 4\), found \(6, 2\)"),
    "no rows": (lambda: losses.squared_error(LOGITS[:0], VALUES[:0]), "at least one row, found none"),
    "labels for one output": (
        lambda: losses.softmax_cross_entropy(LOGITS[:, :1], LABELS),
        "at least 2 classes",
    ),
    "logits as vector": (
        lambda: losses.softmax_cross_entropy(LOGITS[:, 0], LABELS),
        "use binary_cross_entropy",
    ),
    "floating labels": (
        lambda: losses.softmax_cross_entropy(LOGITS, LABELS * 1.0),
        "class indices.*dtype float64",
    ),
    "too few labels": (
        lambda: losses.multiclass_hinge(LOGITS, LABELS[:2]),
        r"shape \(6,\).*targets of shape \(2,\)",
    ),
    "probability columns": (
        lambda: losses.kl_divergence(LOGITS, PROBABILITIES[:, :2]),
        r"found targets of shape \(6, 2\)",
    ),
    "weights": (
        lambda: losses.poisson(LOGITS[:, 0], COUNTS, sample_weight=np.ones(2)),
        r"shape \(6,\).*found \(2,\)",
    ),
    "weight column": (
        lambda: losses.squared_error(LOGITS, VALUES, sample_weight=np.ones((6, 1))),
        r"shape \(6,\).*found \(6, 1\)",
    ),
    "weight number": (
        lambda: losses.squared_error(LOGITS, VALUES, sample_weight=np.asarray(1.0)),
        r"found \(\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_shapes_that_do_not_fit_are_both_named(name: str) -> None:
    run, message = BAD[name]
    with pytest.raises(DataError, match=message):
        run()


@pytest.mark.parametrize("delta", [0, -1.0, float("nan")])
def test_huber_needs_a_positive_delta(delta: float) -> None:
    with pytest.raises(ConfigError, match="huber: delta: expected a finite number above 0"):
        losses.huber(LOGITS, VALUES, delta=delta)


def test_targets_and_predictions_are_not_written_to() -> None:
    """All arrays of this file are read-only, and integer targets stay what they were."""
    labels = LABELS.copy()
    losses.softmax_cross_entropy(LOGITS, labels)
    np.testing.assert_array_equal(labels, LABELS)
