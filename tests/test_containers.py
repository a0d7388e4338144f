"""Nested containers, taken apart and put together again."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.containers import leaves, map_leaves, rebuild, split
from xpnet.errors import ConfigError

Pair = namedtuple("Pair", ["left", "right"])


class _Box:
    """A class that joins in by the two methods."""

    def __init__(self, *inside: Any):
        self.inside = list(inside)

    def __leaves__(self) -> list[Any]:
        return self.inside

    def __rebuild__(self, new: list[Any]) -> _Box:
        return _Box(*new)


trees = st.recursive(
    st.integers() | st.none() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@given(trees)
def test_rebuild_undoes_leaves(tree: Any) -> None:
    assert rebuild(tree, leaves(tree)) == tree
    found, again = split(tree)
    assert again(found) == tree
    assert None not in found


@given(trees)
def test_map_leaves_keeps_kinds_and_order(tree: Any) -> None:
    wrapped = map_leaves(lambda x: ("leaf", x), tree)
    assert [x for x in leaves(wrapped) if x != "leaf"] == leaves(tree) or "leaf" in leaves(tree)
    assert map_leaves(lambda x: x, tree) == tree
    assert type(wrapped) is type(tree) or not isinstance(tree, (dict, list, tuple))


def test_order_is_that_of_insertion() -> None:
    assert leaves({"b": 1, "a": 2}) == [1, 2]
    assert leaves(OrderedDict([("b", 1), ("a", 2)])) == [1, 2]


def test_classes_of_ones_own() -> None:
    tree = {"box": _Box(1, 2), "x": [3]}
    assert leaves(tree) == [1, 2, 3]
    again = rebuild(tree, [4, 5, 6])
    assert again["box"].inside == [4, 5]
    assert again["x"] == [6]


def test_several_containers_at_once() -> None:
    one, other = {"a": 1, "b": Pair(2, None)}, {"a": 10, "b": Pair(20, None)}
    assert map_leaves(lambda x, y: x + y, one, other) == {"a": 11, "b": Pair(22, None)}


def test_a_leaf_alone_is_a_container_too() -> None:
    assert leaves(3) == [3]
    assert rebuild(3, [4]) == 4
    assert leaves(None) == leaves([]) == leaves({}) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_number_of_leaves_must_fit(count: int) -> None:
    with pytest.raises(
        ConfigError, match=r"rebuild: (more|fewer) leaves were given than the container holds"
    ):
        rebuild({"a": 1, "b": [2]}, list(range(count)))


def test_containers_of_different_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="equally many leaves, found 2, 1"):
        map_leaves(lambda x, y: x, [1, 2], [1])


def test_containers_of_different_shape_with_equally_many_leaves() -> None:
    """Leaves correspond by their order; the first container gives the shape."""
    assert map_leaves(lambda x, y: x + y, {"a": 1, "b": 2}, [10, 20]) == {"a": 11, "b": 22}
