"""Clipping by norm and by value: formulas, torch.nn.utils, every backend, no synchronisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from xpnet import optim
from xpnet.backends import Backend
from xpnet.containers import leaves, map_leaves
from xpnet.errors import ConfigError
from xpnet.parameters import Layout, Parameters

GRADS = {
    "w": np.random.default_rng(0).normal(size=(4, 3)),
    "b": [np.random.default_rng(1).normal(size=3), None],
}
NORM = math.sqrt(sum(float((g * g).sum()) for g in leaves(GRADS)))


def test_global_norm():
    np.testing.assert_allclose(optim.global_norm(GRADS), NORM, rtol=1e-14)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_long_gradient_is_shortened_to_the_bound(share):
    clipped = optim.clip_by_norm(GRADS, share * NORM)
    np.testing.assert_allclose(optim.global_norm(clipped), share * NORM, rtol=1e-14)
    for g, c in zip(leaves(GRADS), leaves(clipped), strict=True):
        np.testing.assert_allclose(c, share * g, rtol=1e-14)
    assert clipped["b"][1] is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_within_the_bound_is_unchanged_to_the_bit(dtype):
    grads = map_leaves(lambda g: g.astype(dtype), GRADS)
    for bound in (1.0001 * NORM, 7.1, 1e6):
        for g, c in zip(leaves(grads), leaves(optim.clip_by_norm(grads, bound)), strict=True):
            assert c.dtype == dtype
            assert (g == c).all()


def test_a_zero_gradient_stays_zero_and_a_nan_reaches_all():
    assert optim.clip_by_norm([np.zeros(3), np.zeros((2, 2))], 1.0)[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    clipped = optim.clip_by_norm([np.asarray([1.0, np.nan]), np.ones(1)], 1.0)
    assert all(np.isnan(c).all() for c in clipped)
    assert optim.clip_by_norm({"nothing": None}, 1.0) == {"nothing": None}


def test_every_array_keeps_its_dtype():
    clipped = optim.clip_by_norm([np.full(3, 5, dtype=np.float32), np.full((2, 1), 5.0)], 1.0)
    assert [c.dtype for c in clipped] == [np.float32, np.float64]
    np.testing.assert_allclose(optim.global_norm(clipped), 1.0, rtol=1e-6)


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
def test_agrees_with_torch(bound):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")

    def theirs(clip: Any) -> list[np.ndarray]:
        parameters = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in leaves(GRADS)]
        for p, g in zip(parameters, leaves(GRADS), strict=True):
            p.grad = torch.tensor(g)
        clip(parameters, bound)
        return [p.grad.numpy() for p in parameters]

    for ours, torchs in zip(
        leaves(optim.clip_by_norm(GRADS, bound)), theirs(torch.nn.utils.clip_grad_norm_), strict=True
    ):
        adjusted = torchs * (NORM + 1e-6) / NORM if bound < NORM else torchs  # torch's denominator
        np.testing.assert_allclose(ours, adjusted, rtol=1e-12)
    for ours, torchs in zip(
        leaves(optim.clip_by_value(GRADS, bound)), theirs(torch.nn.utils.clip_grad_value_), strict=True
    ):
        assert (ours == torchs).all()


def test_by_value():
    clipped = optim.clip_by_value({"w": np.asarray([[-5.0, -0.5, 0.0], [0.5, 5.0, np.nan]]), "n": None}, 1.0)
    np.testing.assert_array_equal(clipped["w"], [[-1.0, -0.5, 0.0], [0.5, 1.0, np.nan]])
    assert clipped["n"] is None


@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
def test_on_every_backend(clip, backend: Backend):
    grads = map_leaves(lambda g: backend.asarray(g, dtype="float32"), GRADS)
    clipped = clip(grads, 0.5)
    for c, expected in zip(leaves(clipped), leaves(clip(GRADS, 0.5)), strict=True):
        assert c.dtype == backend.dtype("float32")
        np.testing.assert_allclose(backend.to_host(c), expected, rtol=1e-5)


@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
def test_the_device_is_asked_for_no_value(clip):
    torch = pytest.importorskip("torch", reason="torch is not installed: no device without values")
    grads = [torch.empty(3, device="meta"), torch.empty((2, 2), device="meta")]  # float() on these raises
    assert [tuple(c.shape) for c in clip(grads, 1.0)] == [(3,), (2, 2)]


@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
def test_arguments_are_not_modified_and_parameters_stay_parameters(clip):
    flat = np.asarray([3.0, 4.0, 12.0])
    flat.flags.writeable = False
    clipped = clip(Parameters(flat, Layout((("w", (2,)), ("b", (1,))))), 1.0)
    assert isinstance(clipped, Parameters)
    assert flat.tolist() == [3.0, 4.0, 12.0]
    assert not np.shares_memory(clipped.flat, flat)


@pytest.mark.parametrize("clip", [optim.clip_by_norm, optim.clip_by_value])
@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf, "1", None, True])
def test_bad_bounds(clip, bound):
    with pytest.raises(ConfigError, match=rf"^{clip.__name__}: .*expected a finite number above 0, found"):
        clip(GRADS, bound)
