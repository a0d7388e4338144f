"""Traced arrays: arrays of the standard that record the functions applied to them.

A :class:`Tracer` wraps a value for one trace (``trace.py``), what a transform keeps of its run. Its value may
be a tracer of an enclosing transform: levels nest, and a function always goes to the innermost (highest)
level among its arguments, which computes on the values one level below.

Its operators are in ``operators.py``, what is a view of what in ``views.py``.

Level 0 is that of *lifted* arrays (:class:`Lifted`): constants such as indices, masks and what creation
functions make. They record nothing; being tracers, they meet traced arrays in operators, comparisons and
assignments of every library. Real traces unwrap them, so that they never hold another tracer.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import array_api_compat

from xpnet.autodiff.rules import RULES, Rule
from xpnet.autodiff.trace import Trace
from xpnet.autodiff.views import check_writable, is_view_at, relate, write
from xpnet.backends import array_namespace
from xpnet.backends.lacking import assign
from xpnet.backends.special import name_in_scipy
from xpnet.errors import RecordError

__all__ = [
    "OF_NUMPY",
    "Lifted",
    "Tracer",
    "device_of",
    "dispatch",
    "is_complex",
    "is_floating",
    "is_floating_dtype",
    "like",
    "lowered",
    "option_without_derivative",
    "placement_of",
    "plain_namespace",
    "plain_value",
    "run_body",
    "traces_of",
    "without_derivative",
]


class Lifted(Trace):
    """The trace of constants: applies functions to the plain arrays inside and wraps what they return."""

    __slots__ = ()

    def __init__(self, space: Any):
        super().__init__(space)
        self.level = 0

    def record(self, rule: Rule, function: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
        return self.space.wrap(function(*map(lowered, args), **{k: lowered(x) for k, x in options.items()}))


def lowered(x: Any) -> Any:
    """Return ``x`` without the tracers of level 0 in it, also inside lists, tuples, dicts and slices."""
    kind = type(x)
    if kind is Tracer:
        return x if x.trace.level else x.value
    if kind is list or kind is tuple:
        return kind(map(lowered, x))
    if kind is dict:
        return {key: lowered(value) for key, value in x.items()}
    return x


def like(out: Any, items: list[Any]) -> Any:
    """Return ``items`` in a list or (named) tuple of the kind of ``out``."""
    kind = type(out)
    if hasattr(kind, "_make"):
        return kind._make(items)
    return kind(items)


def dispatch(
    rule: Rule, function: Callable[..., Any], wrap: Callable[[Any], Any] | None = None
) -> Callable[..., Any]:
    """Return ``function`` such that traced arguments are recorded under ``rule``; others just compute.

    ``wrap`` is applied to the results of plain arguments.
    """
    below = None if wrap is None else dispatch(rule, function)
    constant = dataclasses.replace(rule, constant=True)
    indexed = rule.indexed

    def call(*args: Any, **options: Any) -> Any:
        trace = None
        for x in args:
            if type(x) is Tracer:
                if trace is None or x.trace.level > trace.level:
                    trace = x.trace
            elif indexed and type(x) is tuple:
                for part in x:
                    if type(part) is Tracer and (trace is None or part.trace.level > trace.level):
                        trace = part.trace
        if options:
            for x in options.values():
                if type(x) is Tracer and (trace is None or x.trace.level > trace.level):
                    trace = x.trace
        if trace is None:
            return function(*args, **options) if wrap is None else wrap(function(*args, **options))
        if rule.composed and trace.level and not (trace.records or (trace.hides_axis and rule.batch)):
            return run_body(rule, trace.space, args, options)
        if options:
            options = {name: option_without_derivative(rule, name, x) for name, x in options.items()}
            dtype = options.get("dtype")
            if dtype is not None and not is_floating_dtype(trace.space, dtype):
                return trace.record(constant, below or made, args, options)  # sum(x, dtype=xp.int64)
        return trace.record(rule, below or made, args, options)

    made = call if rule.nested is None else _nesting(*rule.nested, function, call)
    made.__name__ = rule.name
    made.__doc__ = getattr(function, "__doc__", None)
    made.applied = getattr(function, "applied", function)  # type: ignore[attr-defined]  # to plain arrays
    return made


def _nesting(
    inner: Rule, outer: Rule, function: Callable[..., Any], call: Callable[..., Any]
) -> Callable[..., Any]:
    """Return ``call``, a function of one array, recorded under other rules in a transform of a transform."""
    around = dispatch(outer, function)

    def choose(x: Any) -> Any:
        if _is_differentiated(x) and _is_differentiated(x.value, through=True):
            return x.trace.record(inner, around, (x,), {})
        return call(x)

    return choose


def _is_differentiated(x: Any, through: bool = False) -> bool:
    """True for a tracer of a derivative; ``through``: also for one inside of others."""
    while through and type(x) is Tracer and x.trace.all_dtypes:
        x = x.value
    return type(x) is Tracer and x.trace.level > 0 and not x.trace.all_dtypes


def run_body(rule: Rule, space: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Run a function's body with every array traced or lifted, so that all operators work."""
    named = {name: space.wrap(x) for name, x in options.items()}
    out = rule.body(space, *map(space.wrap, args), **named)  # type: ignore[misc]
    return like(out, list(map(_alone, out))) if isinstance(out, tuple) else _alone(out)


def _alone(x: Any) -> Any:
    """Return ``x``, made of views by a composed function, as an array of its own."""
    return (
        Tracer(x.value, x.trace, x.slot)
        if type(x) is Tracer and x.kin is not None and x.kin.base is not None
        else x
    )


def option_without_derivative(rule: Rule, name: str, x: Any) -> Any:
    """Return an option of a function as a constant; refuse one with a derivative."""
    if rule.constant:
        return without_derivative(x)
    x = lowered(x)
    if type(x) is Tracer and not x.trace.hides_axis:  # a batch refuses in its own words
        raise RecordError(
            f"{rule.name}: expected no traced array as {name}=, for it has no derivative there; "
            "take stop_gradient of it"
        )
    return x


class Tracer:
    """An array of the standard that records what happens to it.

    Attributes:
        value: the array (or the tracer of an enclosing transform) inside.
        trace: the recording it belongs to.
        slot: what the trace knows it by (its place on the tape, or its tangent).
        kin: the array that it is a view of, and its views; None if there are none.
    """

    __slots__ = ("__weakref__", "kin", "slot", "trace", "value")

    __traced__ = True
    __array_priority__ = 1000.0

    def __init__(self, value: Any, trace: Trace, slot: Any):
        self.value, self.trace, self.slot, self.kin = value, trace, slot, None

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.trace.space

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.value.shape
        return shape[1:] if self.trace.hides_axis else shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int | None:
        if self.trace.hides_axis:
            return math.prod(self.shape)
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
        return _to_device(self, device)

    def __repr__(self) -> str:
        return f"Tracer({self.value!r})"

    def __format__(self, how: str) -> str:
        if not how:
            return repr(self)
        value = self._number()
        if value.shape:
            raise RecordError(
                f"format {how!r}: expected a 0-d array, found shape {tuple(value.shape)}; format its entries "
                "one by one"
            )
        number = complex if is_complex(value) else float if is_floating(value) else int
        return format(number(value), how)  # arrays of some libraries have no formats of numbers

    def __copy__(self) -> Tracer:
        return Tracer(self.value, self.trace, self.slot)  # arrays in tracers never change

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RecordError("a traced array cannot be written to a file; take xpnet.autodiff.stop_gradient(x)")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return iter(self.trace.space.unstack(self))

    def __bool__(self) -> bool:
        if self.trace.all_dtypes:
            self.trace.check_number()
        return bool(self.value)

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        x = self._number()
        whole = not x.shape and array_namespace(x).isdtype(x.dtype, "integral")
        return int(x) if whole else operator.index(x)  # arrays of CuPy have no `__index__`

    def _number(self) -> Any:
        if self.trace.level:
            self.trace.check_number()
        return self.value

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Record ``array + x`` and the like, and SciPy's special functions; refuse NumPy's others."""
        special = name_in_scipy(function) if method == "__call__" and not options else ""
        if special:
            traced = next(x for x in inputs if type(x) is Tracer)
            return getattr(traced.trace.space.special, special)(*inputs)
        if not any(type(x) is Tracer and x.trace.level for x in inputs):
            done = getattr(function, method)(*map(lowered, inputs), **options)
            return done if "out" in options else self.trace.space.wrap(done)
        call = (
            OF_NUMPY.get(function.__name__)
            if method == "__call__" and type(inputs[0]) is not Tracer
            else None
        )
        in_place = "out" in options
        if call is None or options.pop("out", inputs)[0] is not inputs[0] or options:
            raise _not_by_numpy()
        if in_place and inputs[0].base is not None:
            raise RecordError(
                f"in-place {function.__name__}: expected an array of its own memory, found a view of a NumPy "
                "array, which cannot take traced values; make that array by x.__array_namespace__(), or "
                "write x = x op y"
            )
        return call(*inputs)  # of ``array += x`` too: the name is bound to the result

    def __array__(self, *args: Any, **options: Any) -> Any:
        if self.trace.level:
            raise _not_by_numpy()
        import numpy as np

        return np.asarray(self.value, *args, **options)

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        given = {name: value for name, value in options.items() if value is not None}
        return self._shared("__dlpack__").__dlpack__(**given)

    def __dlpack_device__(self) -> Any:
        return self._shared("__dlpack_device__").__dlpack_device__()

    def _shared(self, name: str) -> Any:
        if self.trace.level:
            raise RecordError(
                f"{name}: a traced array cannot be handed to another library, for its derivative would be "
                "lost; take xpnet.autodiff.stop_gradient(x) of it"
            )
        return self.value

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(self.trace.space, name):
            raise AttributeError(
                f"a traced array has the attributes of the standard, not {name!r}; call "
                f"x.__array_namespace__().{name}(x)"
            )
        raise AttributeError(f"a traced array has no attribute {name!r}")

    def __getitem__(self, index: Any) -> Any:
        index = _plain_index(index)
        out = _getitem(self, index)
        relate(out, self, (_VIEW, _getitem, (self, index), {}, 0, None))
        return out

    def __setitem__(self, index: Any, value: Any) -> None:
        """Record a copy with ``value`` at ``index``; this tracer stands for the copy from here on.

        The arrays that share its memory, as its slices do, change with it.
        """
        index = _plain_index(index)
        if type(value) is Tracer and is_view_at(value, self, index):
            return
        if not is_floating(self):
            value = without_derivative(value)
        self._write(_assign(self, index, value), "assignment")

    def _write(self, other: Tracer, what: str) -> Tracer:
        """Let this tracer stand for ``other``, and change with it what shares its memory."""
        check_writable(self, what)
        write(self, other, _assign)
        return self

    def _become(self, other: Tracer) -> Tracer:
        self.value, self.trace, self.slot = other.value, other.trace, other.slot
        return self


def _not_by_numpy() -> RecordError:
    return RecordError(
        "a NumPy function was applied to a traced array; use the functions of x.__array_namespace__() (or "
        "array_api_compat.array_namespace(x)) instead, or give a function that needs NumPy a rule with "
        "xpnet.autodiff.custom_rule"
    )


def _plain_index(index: Any) -> Any:
    """Return ``index`` with plain arrays and numbers in it."""
    kind = type(index)
    if kind is tuple or kind is list:
        return kind(map(_plain_index, index))
    if kind is slice:
        parts = (index.start, index.stop, index.step)
        return slice(*(operator.index(part) if type(part) is Tracer else part for part in parts))
    if kind is Tracer:
        if is_floating(index):
            raise RecordError(
                f"getitem: expected integers, slices or integer or boolean arrays as the index, found a "
                f"traced array of dtype {index.dtype}"
            )
        return lowered(index)
    return index


OF_NUMPY: dict[str, Callable[..., Any]] = {}  # the operators by their names in NumPy


_VIEW = RULES["getitem"].view
_getitem = dispatch(RULES["getitem"], operator.getitem)
_assign = dispatch(RULES["assign"], assign)
_to_device = dispatch(RULES["to_device"], array_api_compat.to_device)
Tracer.__hash__ = object.__hash__  # type: ignore[method-assign]


def traces_of(values: Iterable[Any]) -> set[Trace]:
    """Return the traces of all levels of ``values``, but for constants."""
    found: set[Trace] = set()
    for x in values:
        while type(x) is Tracer:
            if x.trace.level:
                found.add(x.trace)
            x = x.value
    return found


def plain_value(x: Any) -> Any:
    """Return the array inside ``x``, under all tracers."""
    while type(x) is Tracer:
        x = x.value
    return x


def without_derivative(x: Any) -> Any:
    """Return ``x`` as a constant: without the tracers of derivatives, which may hold one of a recording."""
    while type(x) is Tracer and not x.trace.all_dtypes:
        x = x.value
    if type(x) is Tracer and x.trace.hides_axis:
        return Tracer(without_derivative(x.value), x.trace, x.slot)
    return x


def device_of(x: Any) -> Any:
    """Return the device of the array inside ``x``, under all tracers; None if its library's have none."""
    try:
        return array_api_compat.device(plain_value(x))
    except AttributeError:  # MLX
        return None


def placement_of(x: Any) -> dict[str, Any]:
    """Return ``device=``, as keyword arguments, for a new array beside ``x``; none if it has no device."""
    device = device_of(x)
    return {} if device is None else {"device": device}


def plain_namespace(*arrays: Any) -> Any:
    """Return the plain namespace of the arrays inside ``arrays``, under all tracers."""
    return array_namespace(*(plain_value(x) for x in arrays))


_kinds: dict[Any, str] = {}  # by type and dtype: asking the library takes a microsecond each time


def _kind(x: Any) -> str:
    value = plain_value(x)
    key = type(value), getattr(value, "dtype", None)
    known = _kinds.get(key)
    if known is None:
        if not array_api_compat.is_array_api_obj(value):
            return ""
        isdtype = array_namespace(value).isdtype
        kinds = [kind for kind in ("real floating", "complex floating") if isdtype(value.dtype, kind)]
        known = _kinds[key] = "".join(kinds)
    return known


def is_floating(x: Any) -> bool:
    """True for an array (traced or not) whose dtype is real or complex floating; False for anything else."""
    return bool(_kind(x))


def is_floating_dtype(xp: Any, dtype: Any) -> bool:
    """True for a real or complex floating dtype of ``xp``, or for one by the library's own definition."""
    floating = ("real floating", "complex floating")
    try:
        return xp.isdtype(dtype, floating)
    except (TypeError, ValueError):  # NumPy takes names and Python's types too
        return xp.isdtype(xp.empty(0, dtype=dtype).dtype, floating)


def is_complex(x: Any) -> bool:
    """True for an array (traced or not) whose dtype is complex."""
    return _kind(x) == "complex floating"
