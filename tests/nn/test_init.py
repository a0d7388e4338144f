"""Initializers: their distributions, the same draws everywhere, and names that stand for them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from xpnet import nn, rng
from xpnet.errors import ConfigError
from xpnet.nn import init

SHAPE = (200, 300)
# mean, standard deviation and bound (None: unbounded) for fan_in 200 and fan_out 300
EXPECTED: dict[str, tuple[float, float, float | None]] = {
    "zeros": (0.0, 0.0, 0.0),
    "constant": (1.0, 0.0, 1.0),
    "normal": (0.0, 0.05, None),
    "uniform": (0.0, 0.05 / math.sqrt(3), 0.05),
    "glorot_uniform": (0.0, math.sqrt(2 / 500), math.sqrt(6 / 500)),
    "glorot_normal": (0.0, math.sqrt(2 / 500), None),
    "he_uniform": (0.0, math.sqrt(2 / 200), math.sqrt(6 / 200)),
    "he_normal": (0.0, math.sqrt(2 / 200), None),
    "lecun_normal": (0.0, math.sqrt(1 / 200), None),
    "orthogonal": (0.0, math.sqrt(1 / 300), None),
    "random_signs": (0.0, 1.0, 1.0),
    "unit_variance": (0.0, math.sqrt(1 / 200), None),
    "he_plus": (0.0, 0.0, 0.0),
}


def test_every_initializer_is_in_the_table() -> None:
    assert set(EXPECTED) == set(init.INITIALIZERS)
    assert set(EXPECTED) <= set(init.__all__)


@pytest.mark.parametrize("name", EXPECTED)
def test_moments_and_bounds(name: str) -> None:
    mean, std, bound = EXPECTED[name]
    drawn = init.get(name)(rng.key(0), SHAPE)
    assert drawn.dtype == np.float64
    assert drawn.shape == SHAPE
    count = math.prod(SHAPE)
    assert abs(drawn.mean() - mean) <= 5 * std / math.sqrt(count)
    assert abs(drawn.std() - std) <= 5 * std / math.sqrt(count)
    if bound is not None:
        assert np.abs(drawn).max() <= bound
        assert np.abs(drawn).max() >= 0.99 * bound


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (1, 4), (4, 1)], ids=str)
def test_orthogonal_rows_or_columns(shape: tuple[int, int]) -> None:
    q = init.orthogonal(rng.key(1), shape, gain=2.0)
    product = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-13)


def test_orthogonal_draws_both_signs() -> None:
    signs = [np.sign(np.linalg.det(init.orthogonal(rng.key(seed), (3, 3)))) for seed in range(20)]
    assert {-1.0, 1.0} == set(signs)


def test_options() -> None:
    drawn = init.get({"name": "normal", "mean": 2.0, "std": 0.5})(rng.key(0), (100, 100))
    assert abs(drawn.mean() - 2) < 0.03
    assert abs(drawn.std() - 0.5) < 0.02
    low = init.get({"name": "uniform", "low": 1.0, "high": 3.0})(rng.key(0), (100, 100))
    assert 1.0 <= low.min() < 1.01
    assert 2.99 < low.max() < 3.0


@pytest.mark.parametrize("name", EXPECTED)
def test_draws_depend_on_the_key_alone(name: str) -> None:
    function = init.get(name)
    one, again, other = (function(key, (6, 5)) for key in (rng.key(1), rng.key(1), rng.key(2)))
    np.testing.assert_array_equal(one, again)
    assert (name in ("zeros", "constant", "he_plus")) == np.array_equal(one, other)


def test_layers_draw_from_keys_of_their_own() -> None:
    params = nn.MLP([4, 4], 4, weight_init="normal", bias_init="normal").init(0, 4, backend="numpy").params
    arrays = [params[name].ravel() for name in params]
    for i, one in enumerate(arrays):
        for other in arrays[i + 1 :]:
            assert not np.isin(one, other).any()


@pytest.mark.parametrize(
    "spec",
    [
        "he_normal",
        {"name": "constant", "value": 2.0},
        init.glorot_normal,
        init.get({"name": "normal", "std": 2.0}),
    ],
)
def test_configuration_round_trip(spec: Any) -> None:
    again = init.get(init.to_config(spec))
    np.testing.assert_array_equal(again(rng.key(3), (4, 5)), init.get(spec)(rng.key(3), (4, 5)))


def test_an_own_function_is_an_initializer() -> None:
    layer = nn.Dense(2, weight_init=lambda key, shape: np.full(shape, 7.0))
    assert float(layer.init(0, 3, backend="numpy").params["weight"][0, 0]) == 7.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("he_norm", "did you mean 'he_normal'"),
        (None, "found None"),
        (3, "found 3"),
        ({"value": 3}, "found None"),
        ({"name": "normal", "sd": 3}, "initializer normal: found the option 'sd'; did you mean 'std'"),
        ({"name": "zeros", "value": 3}, "initializer zeros: found the option 'value'"),
    ],
)
def test_unknown_names_and_options(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        init.get(spec)


@pytest.mark.parametrize(
    "name",
    [n for n in EXPECTED if n not in ("zeros", "constant", "normal", "uniform", "he_plus", "random_signs")],
)
def test_fans_need_a_matrix(name: str) -> None:
    with pytest.raises(ConfigError, match=r"shape \(fan_in, fan_out\), found \(3,\); use normal or uniform"):
        init.get(name)(rng.key(0), (3,))
