"""Built-in tables: what they hold, that they can be drawn again, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from xpnet import data
from xpnet.errors import ConfigError

GENERATORS = {
    "two-gaussians": data.two_gaussians_arrays,
    "spirals": data.spirals_arrays,
    "xor": data.xor_arrays,
    "sine": data.sine_arrays,
}


def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the same digits")
    X, y = data.digits_arrays()
    reference = sklearn.load_digits()
    np.testing.assert_array_equal(X, reference.data)
    np.testing.assert_array_equal(y, reference.target)


def test_digits_are_small_and_credited():
    folder = resources.files("xpnet.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 100_000
    assert "CC BY 4.0" in folder.joinpath("README.md").read_text("utf-8")


@pytest.mark.parametrize("name", data.BUILTIN)
def test_tables(name):
    pytest.importorskip("polars", reason="tables need polars")
    table = data.load(name)
    arrays = data.digits_arrays() if name == "digits" else GENERATORS[name]()
    assert table.name == name
    features = [column for column in table.frame.columns if column != table.target]
    np.testing.assert_array_equal(table.frame.select(features).to_numpy(), arrays[0])
    np.testing.assert_array_equal(table.frame[table.target].to_numpy(), arrays[1])
    assert data.infer_task(table.frame[table.target]) == (
        "regression" if name == "sine" else "classification"
    )


@pytest.mark.parametrize("name", GENERATORS)
def test_generators(name):
    draw = GENERATORS[name]
    X, y = draw(n=201, seed=3)
    assert X.shape[0] == 201
    assert y.shape == (201,)
    assert X.dtype == np.float64
    for again, same in ((draw(n=201, seed=3), True), (draw(n=201, seed=4), False)):
        assert np.array_equal(X, again[0]) == same
    assert not np.array_equal(X, draw(n=201, seed=3, noise=0.3)[0]) or name == "sine"
    if name != "sine":
        assert y.dtype == np.int64
        assert 60 < y.sum() < 140


def test_two_gaussians_have_their_moments():
    X, y = data.two_gaussians_arrays(n=20_000, noise=0.5)
    for label, centre in ((0, -1.0), (1, 1.0)):
        np.testing.assert_allclose(X[y == label].mean(axis=0), centre, atol=0.02)
        np.testing.assert_allclose(X[y == label].std(axis=0), 0.5, atol=0.02)


def test_spirals_are_told_apart_by_their_nearest_neighbour():
    X, y = data.spirals_arrays(n=600)
    distance = np.square(X[:, None] - X[None]).sum(axis=2) + 9.0 * np.eye(len(X))
    assert np.mean(y[distance.argmin(axis=1)] == y) > 0.97


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(
    "setting",
    [
        {"n": 1},
        {"n": -3},
        {"n": 2.5},
        {"n": True},
        {"noise": -0.1},
        {"noise": np.nan},
        {"noise": np.inf},
        {"seed": -1},
        {"seed": 0.5},
    ],
    ids=str,
)
def test_bad_settings(name, setting):
    with pytest.raises(ConfigError, match=f"{name}: {next(iter(setting))} must be"):
        GENERATORS[name](**setting)


def test_arrays_need_no_polars():
    code = (
        "import sys; sys.modules['polars'] = None\n"
        "from xpnet import data; data.digits_arrays(); data.spirals_arrays(); data.check_arrays([[1.0]])\n"
        "assert not {'sklearn', 'cupy', 'torch', 'jax', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
