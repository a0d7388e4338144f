"""Nested dicts, lists and tuples of arrays: split into leaves and rebuilt from them.

Parameters, gradients, optimizer state and batches are such containers. A class of its own joins
in by offering two methods::

    def __leaves__(self) -> list: ...              # the arrays inside, in a fixed order
    def __rebuild__(self, leaves: list): ...       # the same object around other arrays

``None`` is an empty container, not a leaf.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from xpnet.errors import ConfigError

__all__ = ["leaves", "map_leaves", "rebuild", "split"]


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of ``tree`` in a fixed order (dicts in the order of their keys' insertion).

    >>> leaves({"w": 1.0, "b": [2.0, (3.0, None)]})
    [1.0, 2.0, 3.0]
    """
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(tree: Any, found: list[Any]) -> None:
    kind = _KINDS[type(tree)]
    if kind == "leaf":
        found.append(tree)
    elif kind == "dict":
        for value in tree.values():
            _collect(value, found)
    elif kind == "own":
        found.extend(tree.__leaves__())
    elif kind != "none":
        for value in tree:
            _collect(value, found)


class _Kinds(dict[type, str]):
    """Kinds of containers by class, remembered: training asks for them thousands of times a second."""

    def __missing__(self, cls: type) -> str:
        self[cls] = kind = self._kind(cls)
        return kind

    @staticmethod
    def _kind(cls: type) -> str:
        if cls is type(None):
            return "none"
        if issubclass(cls, dict):
            return "dict"
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return "namedtuple"
        if issubclass(cls, (list, tuple)):
            return "sequence"
        return "own" if hasattr(cls, "__leaves__") else "leaf"


_KINDS = _Kinds()


def rebuild(tree: Any, new_leaves: list[Any]) -> Any:
    """Return a container shaped like ``tree`` around ``new_leaves``.

    >>> rebuild({"w": 0, "b": (0, None)}, [1, 2])
    {'w': 1, 'b': (2, None)}
    """
    remaining = iter(new_leaves)
    made = _rebuild(tree, remaining)
    if next(remaining, remaining) is not remaining:
        raise ConfigError("rebuild: more leaves were given than the container holds")
    return made


def _rebuild(tree: Any, remaining: Iterator[Any]) -> Any:
    kind = _KINDS[type(tree)]
    if kind == "leaf":
        return _next(remaining)
    if kind == "dict":
        made = {} if type(tree) is dict else copy.copy(tree)  # of a subclass with all that it knows
        made.update({key: _rebuild(value, remaining) for key, value in tree.items()})
        return made
    if kind == "sequence":
        return type(tree)([_rebuild(value, remaining) for value in tree])
    if kind == "namedtuple":
        return type(tree)(*[_rebuild(value, remaining) for value in tree])
    return None if kind == "none" else tree.__rebuild__([_next(remaining) for _ in tree.__leaves__()])


def _next(remaining: Iterator[Any]) -> Any:
    leaf = next(remaining, remaining)  # no container holds the iterator over its own leaves
    if leaf is remaining:
        raise ConfigError("rebuild: fewer leaves were given than the container holds")
    return leaf


def split(tree: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """Return ``(leaves(tree), function that rebuilds tree around other leaves)``."""
    return leaves(tree), lambda new_leaves: rebuild(tree, new_leaves)


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``function`` to corresponding leaves of containers of one shape.

    >>> map_leaves(lambda p, g: p - g, {"w": 3, "b": [2]}, {"w": 1, "b": [2]})
    {'w': 2, 'b': [0]}

    Raises:
        ConfigError: the containers hold different numbers of leaves.
    """
    columns = [leaves(tree), *(leaves(other) for other in others)]
    if len({len(column) for column in columns}) > 1:
        counts = ", ".join(str(len(column)) for column in columns)
        raise ConfigError(
            f"map_leaves: expected containers with equally many leaves, found {counts}; "
            "pass containers that were made from one another"
        )
    return rebuild(tree, [function(*row) for row in zip(*columns, strict=True)])
