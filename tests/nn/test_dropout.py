"""Dropout: the same mask on every backend, at the rate asked for, from a key."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import host
from xpnet import nn, rng
from xpnet.autodiff import vjp
from xpnet.backends import Backend
from xpnet.errors import ConfigError


def _dropped(layer: nn.Layer, x: Any, key: Any) -> Any:
    return layer.apply(layer.init(0, x.shape[1], backend="numpy"), x, training=True, key=key)[0]


@pytest.mark.parametrize("shape", [(64, 33), (1, 1), (0, 5), (3, 5)], ids=str)
def test_masks_are_identical_on_every_backend(shape: tuple[int, int], backend: Backend) -> None:
    ones = np.ones(shape)
    want = _dropped(nn.Dropout(0.3), ones, rng.key(4).fold(2)) != 0
    got = _dropped(nn.Dropout(0.3), backend.asarray(ones, dtype="float32"), rng.key(4).fold(2))
    np.testing.assert_array_equal(host(got) != 0, want)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    y = _dropped(nn.Dropout(rate), np.ones((400, 250)), 1)
    kept = y != 0
    spread = np.sqrt(rate * (1 - rate) / y.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * spread
    np.testing.assert_allclose(y[kept], 1 / (1 - rate))


def test_the_mask_depends_on_key_and_place_and_on_nothing_else() -> None:
    x = np.ones((20, 30))
    model = nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Dropout(0.5))
    variables = model.init(0, 30, backend="numpy")
    first, second, other = (
        model.apply(variables, x, training=True, key=key)[0] for key in (7, rng.key(7), 8)
    )
    np.testing.assert_array_equal(first, second)
    assert np.any(first != other)
    assert set(np.unique(first)) == {0.0, 4.0}
    both = (first != 0).mean()
    assert abs(both - 0.25) < 0.1, "the two layers draw different masks"


def test_the_derivative_is_the_mask(backend: Backend) -> None:
    x = backend.asarray(np.full((8, 8), 2.0), dtype="float32")
    y, pullback = vjp(lambda x: _dropped(nn.Dropout(0.5), x, 3), x)
    np.testing.assert_array_equal(host(pullback(x * 0 + 1)[0]), host(y) / 2)


def test_nothing_is_dropped_in_evaluation_or_at_rate_0() -> None:
    x = np.ones((4, 4))
    variables = nn.Dropout(0.5).init(0, 4, backend="numpy")
    assert nn.Dropout(0.5).apply(variables, x) is x
    assert nn.Dropout(0.0).apply(variables, x, training=True)[0] is x


def test_training_needs_a_key() -> None:
    model = nn.MLP([3], 2, dropout=0.5)
    variables = model.init(0, 4, backend="numpy")
    with pytest.raises(ConfigError, match="expected a key in training, found None; call apply"):
        model.apply(variables, np.ones((2, 4)), training=True)
    model.apply(variables, np.ones((2, 4)))
