"""Counts of multiplications, by arrays that add up the cost of their functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered

__all__ = ["Counter"]

# One multiplication (or division, or power) for each entry of the result.
_ONE_EACH = frozenset(
    {"multiply", "divide", "square", "pow", "reciprocal", "mean", "linalg.outer", "linalg.cross"}
)


class Counter(Trace):
    """Counter of the multiplications of numbers in functions of its arrays.

    Products, quotients, powers and matrix products are counted; sums, ``exp`` and the like, and
    decompositions of matrices are not. Functions of several operations are counted by what they do inside.

    >>> import numpy as np
    >>> from xpnet.backends import array_namespace
    >>> counter = Counter(array_namespace(np.ones(1)))
    >>> x = counter.counted(np.ones((2, 3)))
    >>> _ = (x * 2.0) @ np.ones((3, 4))
    >>> counter.multiplications  # 2·3 and 2·3·4
    30
    """

    __slots__ = ("_inside", "multiplications")

    def __init__(self, xp: Any):
        super().__init__(namespace(xp, lift=True))
        self.multiplications = 0
        self._inside: list[Rule] = []

    def counted(self, value: Any) -> Tracer:
        """Return an array whose functions are counted."""
        return Tracer(lowered(value), self, None)

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        if rule.body is not None and not rule.constant and rule not in self._inside:
            self._inside.append(rule)
            try:
                return rule.body(self.space, *args, **options)
            finally:
                self._inside.pop()
        values = [x.value if type(x) is Tracer else x for x in args]
        out = function(*values, **options)
        self.multiplications += _multiplications(rule.name, values, out)
        if rule.constant:
            return self.space.wrap(out)
        return like(out, [self.counted(item) for item in out]) if rule.many else self.counted(out)


def _multiplications(name: str, values: list[Any], out: Any) -> int:
    if name in _ONE_EACH:
        return math.prod(out.shape)
    if name in ("prod", "cumulative_prod", "var", "std"):
        return math.prod(values[0].shape)
    if name in ("matmul", "vecdot", "tensordot"):
        sizes = [math.prod(x.shape) for x in values[:2]]
        if name == "tensordot":  # |a| |b| = |out| · (numbers in a sum)²
            return math.isqrt(sizes[0] * sizes[1] * math.prod(out.shape))
        return math.prod(out.shape) * values[0].shape[-1] if name == "matmul" else max(sizes)
    return 0
