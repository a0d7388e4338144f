"""Traced arrays: arrays of the standard that tell a transform which functions were applied to them.

A :class:`Tracer` wraps a value for one :class:`Trace`, the recording that a transform keeps. Its value may
be a tracer of an enclosing transform: levels nest, and a function always goes to the innermost (highest)
level among its arguments, which computes on the values one level below.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import array_api_compat

from xpnet.autodiff.rules import RULES, Rule
from xpnet.backends import array_namespace
from xpnet.errors import RecordError

__all__ = ["Trace", "Tracer", "device_of", "dispatch", "is_floating", "plain_namespace", "plain_value"]

_levels = itertools.count(1)


class Trace:
    """One recording; subclasses say what is kept of each function that was applied.

    Attributes:
        level: later transforms have higher levels; the highest among the arguments records first.
        space: the namespace over tracers, which ``Tracer.__array_namespace__`` returns.
        open: False once the transform has finished.
    """

    __slots__ = ("level", "open", "space")

    def __init__(self, space: Any):
        self.level = next(_levels)
        self.space = space
        self.open = True

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        """Apply ``function`` to the values of ``args`` and record it; returns tracers of this trace."""
        raise NotImplementedError

    def check_open(self, rule: Rule) -> None:
        """Refuse to record after the transform has finished."""
        if not self.open:
            raise RecordError(
                f"{rule.name}: expected arrays of a running transform, found a traced array that escaped "
                "from a finished one; return it from the differentiated function instead of storing it, or "
                "pass it through xpnet.autodiff.stop_gradient first"
            )


def dispatch(rule: Rule, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` such that traced arguments are recorded under ``rule``; others just compute."""

    def call(*args: Any, **options: Any) -> Any:
        trace = None
        for x in args:
            if type(x) is Tracer and (trace is None or x.trace.level > trace.level):
                trace = x.trace
        if trace is None:
            return function(*args, **options)
        return trace.record(rule, call, args, options)

    call.__name__ = rule.name
    call.__doc__ = getattr(function, "__doc__", None)
    return call


class Tracer:
    """An array of the standard that records what happens to it.

    Attributes:
        value: the array (or the tracer of an enclosing transform) inside.
        trace: the recording it belongs to.
        slot: what the trace knows it by (its place on the tape, or its tangent).
    """

    __slots__ = ("slot", "trace", "value")

    __traced__ = True
    __array_priority__ = 1000.0

    def __init__(self, value: Any, trace: Trace, slot: Any):
        self.value, self.trace, self.slot = value, trace, slot

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.trace.space

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def size(self) -> int | None:
        return self.value.size if type(self.value) is Tracer else array_api_compat.size(self.value)

    @property
    def device(self) -> Any:
        return device_of(self.value)

    @property
    def T(self) -> Tracer:
        if len(self.shape) != 2:
            raise RecordError(f"T: expected a matrix, found shape {tuple(self.shape)}; use xp.permute_dims")
        return self.trace.space.matrix_transpose(self)

    @property
    def mT(self) -> Tracer:
        return self.trace.space.matrix_transpose(self)

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tracer:
        if device == self.device:
            return self
        raise RecordError(
            f"to_device: expected the device {self.device}, found {device}; move arrays before the transform"
        )

    def __repr__(self) -> str:
        return f"Tracer({self.value!r})"

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def _refuse_number(self) -> Any:
        raise RecordError(
            "a traced array cannot become a Python number, for its derivative would be lost; keep it an "
            "array, or take the number of xpnet.autodiff.stop_gradient(x)"
        )

    __float__ = __int__ = __complex__ = __index__ = _refuse_number

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Record ``array + x`` and the like, which NumPy hands over; refuse its other functions."""
        call = (
            _OF_NUMPY.get(function.__name__)
            if method == "__call__" and type(inputs[0]) is not Tracer
            else None
        )
        if call is None or options.pop("out", inputs)[0] is not inputs[0] or options:
            return self.__array__()
        return call(*inputs)  # of ``array += x`` too: the name is bound to the result

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise RecordError(
            "a NumPy function was applied to a traced array; use the functions of "
            "x.__array_namespace__() (or array_api_compat.array_namespace(x)) instead"
        )

    def __getitem__(self, index: Any) -> Any:
        return _getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise RecordError(
            "a traced array cannot be assigned to in place; build the result with xp.where, xp.concat or "
            "xp.stack"
        )


_OF_NUMPY: dict[str, Callable[..., Any]] = {}  # the operators by their names in NumPy


def _operator(rule: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the method for ``x op y`` and the one for the reflected ``y op x``."""
    call = dispatch(RULES[rule], function)
    _OF_NUMPY["power" if rule == "pow" else rule] = call
    return (lambda self, other: call(self, other)), (lambda self, other: call(other, self))


_getitem = dispatch(RULES["getitem"], operator.getitem)
for _symbol, _rule in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow", "matmul": "matmul",
    "mod": "remainder", "floordiv": "floor_divide",
}.items():  # fmt: skip
    _forward, _reflected = _operator(_rule, getattr(operator, _symbol))
    setattr(Tracer, f"__{_symbol}__", _forward)
    setattr(Tracer, f"__r{_symbol}__", _reflected)
for _symbol, _rule in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(Tracer, f"__{_symbol}__", _operator(_rule, getattr(operator, _symbol))[0])
for _symbol, _rule in {"neg": "negative", "pos": "positive", "abs": "abs"}.items():
    setattr(Tracer, f"__{_symbol}__", dispatch(RULES[_rule], getattr(operator, _symbol)))
Tracer.__hash__ = object.__hash__  # type: ignore[method-assign]


def plain_value(x: Any) -> Any:
    """Return the array inside ``x``, under all tracers."""
    while type(x) is Tracer:
        x = x.value
    return x


def device_of(x: Any) -> Any:
    """Return the device of the array inside ``x``, under all tracers."""
    return array_api_compat.device(plain_value(x))


def plain_namespace(*arrays: Any) -> Any:
    """Return the plain namespace of the arrays inside ``arrays``, under all tracers."""
    return array_namespace(*(plain_value(x) for x in arrays))


_floating: dict[Any, bool] = {}  # by type and dtype: asking the library takes a microsecond each time


def is_floating(x: Any) -> bool:
    """True for an array (traced or not) whose dtype is real or complex floating; False for anything else."""
    value = plain_value(x)
    kind = type(value), getattr(value, "dtype", None)
    known = _floating.get(kind)
    if known is None:
        if not array_api_compat.is_array_api_obj(value):
            return False
        space = array_namespace(value)
        known = _floating[kind] = space.isdtype(value.dtype, ("real floating", "complex floating"))
    return known
