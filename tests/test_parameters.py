"""One flat vector with named views."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import host, widest
from xpnet.backends import Backend
from xpnet.containers import leaves, map_leaves, rebuild
from xpnet.errors import ConfigError
from xpnet.parameters import Layout, Parameters

LAYOUT = Layout(
    (("0.weight", (2, 3)), ("0.bias", (3,)), ("1.scale", ()), ("2.inner.weight", (0, 4)), ("2.x", (1,)))
)


def test_layout() -> None:
    assert LAYOUT.size == 11
    assert LAYOUT.offsets == (0, 6, 9, 10, 10)
    assert LAYOUT.names == ("0.weight", "0.bias", "1.scale", "2.inner.weight", "2.x")
    assert Layout(LAYOUT.entries) == LAYOUT
    assert hash(Layout(LAYOUT.entries)) == hash(LAYOUT)
    assert Layout(LAYOUT.entries[:2]) != LAYOUT
    assert Layout(()).size == 0


def test_views_have_their_names_and_shapes(backend: Backend) -> None:
    params = Parameters(backend.asarray(np.arange(11.0), dtype=widest(backend)), LAYOUT)
    assert list(params) == list(LAYOUT.names)
    assert len(params) == 5
    np.testing.assert_array_equal(host(params["0.weight"]), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(host(params["0.bias"]), [6, 7, 8])
    assert float(params["1.scale"]) == 9.0
    assert tuple(params["2.inner.weight"].shape) == (0, 4)
    for (name, shape), view in zip(LAYOUT.entries, LAYOUT.views(params.flat), strict=True):
        assert tuple(view.shape) == shape == tuple(params[name].shape)
        np.testing.assert_array_equal(host(view), host(params[name]))


def test_arrays_of_many_vectors_have_the_examples_first(backend: Backend) -> None:
    flat = backend.asarray(np.arange(33.0).reshape(3, 11), dtype=widest(backend))
    many = Parameters(flat, LAYOUT)
    for name in LAYOUT.names:
        want = [host(Parameters(flat[n, ...], LAYOUT)[name]) for n in range(3)]
        np.testing.assert_array_equal(host(many[name]), np.stack(want))
    assert repr(many).startswith("Parameters(3 times 11 values")


def test_tree_nests_by_dots() -> None:
    tree = LAYOUT.tree(LAYOUT.views(np.arange(11.0)))
    assert list(tree) == ["0", "1", "2"]
    assert list(tree["0"]) == ["weight", "bias"]
    assert tree["1"]["scale"] == 9.0
    assert tree["2"]["inner"]["weight"].shape == (0, 4)
    assert tree["2"]["x"][0] == 10.0


def test_parameters_are_a_container_with_one_leaf() -> None:
    params = Parameters(np.arange(11.0), LAYOUT)
    assert leaves({"p": params})[0] is params.flat
    doubled = map_leaves(lambda flat: 2 * flat, {"p": params})["p"]
    assert isinstance(doubled, Parameters)
    assert doubled.layout is LAYOUT
    np.testing.assert_array_equal(doubled.flat, 2 * params.flat)
    assert rebuild(params, [np.zeros(11)])["1.scale"] == 0.0


def test_names_that_are_not_there() -> None:
    params = Parameters(np.arange(11.0), LAYOUT)
    with pytest.raises(KeyError, match=r"no parameter '0.weigth'; did you mean '0.weight'"):
        _ = params["0.weigth"]
    assert "0.bias" in params
    assert "bias" not in params


@pytest.mark.parametrize("shape", [(10,), (11, 1), (), (12,)], ids=str)
def test_a_vector_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"shape \(11,\) for 5 arrays, found shape"):
        Parameters(np.zeros(shape), LAYOUT)


def test_repr_names_what_is_inside() -> None:
    assert repr(Parameters(np.zeros(9), Layout(LAYOUT.entries[:2]))) == (
        "Parameters(9 values in 0.weight: (2, 3), 0.bias: (3,))"
    )
