"""Nodes of a computation graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Node", "shape_of"]


@dataclass(slots=True)
class Node:
    """Node of a graph: an input, a constant, or the result of an operation on its parents.

    Attributes:
        number: place in topological order, counted from 0: parents come before their children.
        kind: "input", "constant" or "operation".
        name: of the operation, or the input's name in the function; a constant is called "constant".
        settings: what else the operation was told, such as ``axis=0``, as text.
        parents: numbers of the nodes it was computed from, one for each argument: (0, 0) for ``x * x``.
        children: numbers of the nodes that were computed from it, each once.
        depends: whether derivatives pass through it: it is a floating input or depends on one smoothly.
        value: its array or number; a tuple for an operation with several results.
        cotangent: derivative of the result with respect to it; None before ``backward``, and where the result
            does not depend on the node.
    """

    number: int
    kind: str
    name: str
    settings: str
    parents: tuple[int, ...]
    children: tuple[int, ...]
    depends: bool
    value: Any
    cotangent: Any = None

    @property
    def shape(self) -> Any:
        """Shape of the value; a tuple of shapes for several results."""
        return (
            tuple(shape_of(x) for x in self.value) if isinstance(self.value, tuple) else shape_of(self.value)
        )

    @property
    def dtype(self) -> Any:
        """Data type of the value; the type of a Python number."""
        value = self.value[0] if isinstance(self.value, tuple) else self.value
        return getattr(value, "dtype", type(value))


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array, () of a Python number."""
    return tuple(getattr(x, "shape", ()))
