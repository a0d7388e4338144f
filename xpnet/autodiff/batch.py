"""Batches: a function runs once for many examples, which lie side by side along an axis of its arrays.

A tracer of a :class:`BatchTrace` looks like one example: it hides the first axis of the value inside. A
function of such tracers runs on the values, one level below, as the batching of its rule says
(``rules/batching.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import Rule
from xpnet.autodiff.rules.batching import Call, by_examples
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.tracer import Tracer, like, lowered, run_body
from xpnet.autodiff.views import is_numpy, is_scalar
from xpnet.backends import is_array
from xpnet.backends.lacking import copy, extended
from xpnet.errors import RecordError

__all__ = ["BatchTrace"]


class BatchTrace(Trace):
    """Runs each function on all examples at once.

    A tracer's slot says whether its examples are scalars of NumPy's, which never change and have no views.

    Attributes:
        size: how many examples there are.
    """

    __slots__ = ("size", "xp")

    all_dtypes = hides_axis = True

    def __init__(self, xp: Any, size: int):
        super().__init__(namespace(xp, lift=True), namespace(xp))
        self.xp, self.size = extended(xp), size

    def mapped(self, value: Any, scalar: bool = True) -> Tracer:
        """Return a tracer of the examples along the first axis of ``value``.

        ``scalar``: examples without axes are scalars, if the arrays are NumPy's, and no 0-d arrays.
        """
        value = lowered(value)
        return Tracer(value, self, scalar and len(value.shape) == 1 and is_numpy(value))

    def spread(self, x: Any) -> Any:
        """Return the values of all examples, copies of ``x`` where it is the same for all."""
        if type(x) is Tracer and x.trace is self:
            return x.value
        value = self.rule_space.broadcast_to(lowered(x), (self.size, *x.shape))
        return value if type(value) is Tracer else copy(value)  # not all of the other may be written to

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        self.check_open(rule)
        if rule.batch is None and rule.body is not None:
            return run_body(rule, self.space, args, options)
        for name, x in options.items():
            if type(x) is Tracer and x.trace is self:
                raise RecordError(
                    f"{rule.name}: expected the same {name}= for all examples, found a mapped array; loop "
                    "over the examples in place of vmap"
                )
        values: list[Any] = []
        mapped: list[Any] = []
        traced = False  # by a transform around this one
        for x in args:
            if type(x) is tuple:
                parts, flags = zip(*map(self._opened, x), strict=True) if x else ((), ())
                values.append(parts)
                mapped.append(flags)
                traced = traced or any(type(part) is Tracer for part in parts)
            else:
                value, is_mapped = self._opened(x)
                values.append(value)
                mapped.append(is_mapped)
                traced = traced or type(value) is Tracer
        call = Call(rule.name, function, self.rule_space if traced else self.xp, self.size, tuple(mapped))
        out = (rule.batch or by_examples)(call, *values, **options)
        scalar = _gives_scalars(rule, args)
        if isinstance(out, (list, tuple)):
            return like(out, [self.mapped(item, scalar) for item in out])
        return self.mapped(out, scalar) if is_array(out) else out

    def _opened(self, x: Any) -> tuple[Any, bool]:
        """Return the value of an argument, and whether it is mapped."""
        if type(x) is Tracer and x.trace is self:
            return x.value, True
        return lowered(x), False

    def check_number(self) -> None:
        raise RecordError(
            "a mapped array has a value for each example: it can neither decide Python's control flow nor "
            "become a number; use xp.where for a decision and xp.take for an index, or loop over the "
            "examples in place of vmap"
        )


# Of NumPy some functions return 0-d arrays, and some do where the argument is one.
_ARRAYS, _AS_GIVEN = frozenset({"assign", "erf", "tensordot", "where"}), frozenset({"astype", "imag", "real"})


def _gives_scalars(rule: Rule, args: tuple[Any, ...]) -> bool:
    """True if NumPy returns a scalar where the result has no axes: it does, but for most views."""
    if rule.name == "getitem":
        index = args[1] if isinstance(args[1], tuple) else args[1:]
        return not any(part is ... for part in index)
    if rule.name in _AS_GIVEN:
        return is_scalar(args[0])
    return rule.name == "unstack" or (rule.view is None and rule.name not in _ARRAYS)
