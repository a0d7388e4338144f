"""All learnable parameters as one flat vector with named views: the lecture notes' theta.

One vector means one optimizer call, one checkpoint tensor, one thing to clip, prune or hand to a
second-order method. A layout says which slice of it is called what.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest

__all__ = ["Layout", "Parameters"]


@dataclass(frozen=True)
class Layout:
    """Names, shapes and offsets of the arrays inside a flat vector.

    >>> layout = Layout((("0.weight", (2, 3)), ("0.bias", (3,))))
    >>> layout.size, layout.offsets
    (9, (0, 6))
    """

    entries: tuple[tuple[str, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        sizes = [math.prod(shape) for _, shape in self.entries]
        offsets = tuple(sum(sizes[:i]) for i in range(len(sizes)))
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "size", sum(sizes))
        slices = tuple((slice(o, o + n), e[1]) for o, n, e in zip(offsets, sizes, self.entries, strict=True))
        object.__setattr__(self, "slices", slices)
        object.__setattr__(self, "names", tuple(name for name, _ in self.entries))

    # All of these follow from the entries.
    offsets: tuple[int, ...] = field(init=False, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)
    slices: tuple[tuple[slice, tuple[int, ...]], ...] = field(init=False, compare=False, repr=False)
    names: tuple[str, ...] = field(init=False, compare=False, repr=False)

    def views(self, flat: Any) -> tuple[Any, ...]:
        """Return the named arrays inside ``flat``, in the order of :attr:`names`."""
        xp = array_namespace(flat)
        return tuple(
            flat[part] if len(shape) == 1 else xp.reshape(flat[part], shape) for part, shape in self.slices
        )

    def tree(self, views: tuple[Any, ...]) -> dict[str, Any]:
        """Return ``views`` as nested dicts: ``"0.weight"`` becomes ``["0"]["weight"]``."""
        root: dict[str, Any] = {}
        for name, view in zip(self.names, views, strict=True):
            *path, last = name.split(".")
            inner = root
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = view
        return root

    @staticmethod
    def inside(tree: dict[str, Any], name: str) -> Any:
        """Return the array of a name inside nested dicts such as those of `tree`."""
        for part in name.split("."):
            tree = tree[part]
        return tree


class Parameters(Mapping[str, Any]):
    """One flat vector and its layout, read like a dict from names to arrays.

    Args:
        flat: vector of shape (layout.size,); or one for each example of ``xpnet.autodiff.vmap``, (examples,
            layout.size), of which the arrays have the examples along their first axis.
        layout: names, shapes and offsets in it.

    Example:
        >>> import numpy as np
        >>> p = Parameters(np.arange(9.0), Layout((("0.weight", (2, 3)), ("0.bias", (3,)))))
        >>> p["0.bias"]
        array([6., 7., 8.])
    """

    def __init__(self, flat: Any, layout: Layout):
        if not flat.shape or flat.shape[-1] != layout.size:
            raise ConfigError(
                f"Parameters: expected a flat vector of shape ({layout.size},) for {len(layout.names)} "
                f"arrays, found shape {tuple(flat.shape)}"
            )
        self.flat, self.layout = flat, layout

    def __getitem__(self, name: str) -> Any:
        if name not in self.layout.names:
            raise KeyError(f"no parameter {name!r}{suggest(name, self.layout.names)}")
        part, shape = self.layout.slices[self.layout.names.index(name)]
        *examples, _ = self.flat.shape
        taken = self.flat[..., part] if examples else self.flat[part]
        return array_namespace(self.flat).reshape(taken, (*examples, *shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.names)

    def __len__(self) -> int:
        return len(self.layout.names)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}: {shape}" for name, shape in self.layout.entries)
        count = f"{self.flat.shape[0]} times " if len(self.flat.shape) > 1 else ""
        return f"Parameters({count}{self.layout.size} values in {named})"

    def __leaves__(self) -> list[Any]:
        return [self.flat]

    def __rebuild__(self, leaves: list[Any]) -> Parameters:
        return Parameters(leaves[0], self.layout)
