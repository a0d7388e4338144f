"""The array namespace over tracers: the standard's functions, each recorded under its rule."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import array_api_compat

from xpnet.autodiff import operators  # noqa: F401  # gives traced arrays their operators
from xpnet.autodiff.rules import RULES
from xpnet.autodiff.rules.rule import Rule
from xpnet.autodiff.rules.special import ALIASES
from xpnet.autodiff.tracer import Lifted, Tracer, dispatch, is_floating_dtype, like, lowered
from xpnet.autodiff.views import is_scalar, viewing
from xpnet.backends.lacking import extended
from xpnet.backends.special import floating
from xpnet.errors import RecordError

__all__ = ["Namespace", "namespace"]


class Namespace:
    """A namespace of the standard whose functions take traced arrays beside plain ones.

    Functions are wrapped when they are first asked for. Everything that is not a function (dtypes,
    constants) is the wrapped namespace's own.
    """

    def __init__(self, xp: Any, lift: bool = False, prefix: str = "", outer: Namespace | None = None):
        self._xp = xp
        self._prefix = prefix
        self._outer = outer
        self._lifted: Lifted | None = Lifted(self) if lift else None
        if outer is not None:
            self._lifted = outer._lifted
        self.__name__ = f"xpnet.autodiff.namespace({xp.__name__}{', lift=True' if lift else ''})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and not name.startswith("__array"):
            raise AttributeError(name)
        value = getattr(self._xp, name)
        made = self._made(name, value)
        self.__dict__[name] = made  # the next look-up is a plain attribute
        return made

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._xp), *object.__dir__(self)})

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def wrap(self, out: Any) -> Any:
        """Return ``out`` with its arrays lifted, if this namespace lifts; else as it is."""
        return out if self._lifted is None else _wrap(out, self._lifted)

    def _made(self, name: str, value: Any) -> Any:
        if name in ("linalg", "fft", "special") and not self._prefix:
            return Namespace(value, self._lifted is not None, prefix=f"{name}.", outer=self)
        if isinstance(value, types.ModuleType):  # such as torch.special, whose functions know no tracers
            raise AttributeError(f"{self.__name__} has no attribute {name!r}")
        if isinstance(value, type) or not callable(value) or name.startswith("__"):
            return value
        rule = RULES.get(self._prefix + name)
        if rule is None and self._prefix == "linalg.":
            rule = RULES.get(name)  # linalg.matmul is matmul
        if self._prefix == "special.":
            return _described(_promoted(self, name, value), value)
        adapt = _ADAPTED.get(self._prefix + name)
        if adapt is not None:
            made = adapt(self, value)
        elif rule is None:
            made = _without_rule(self, self._prefix + name, value)
        elif rule.variadic:
            made = _gather(self._recorded(rule, _spread(value)))
        else:
            made = self._recorded(rule, value)
        return _described(made, value)

    def _recorded(self, rule: Rule, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._lifted is None:
            return dispatch(rule, function)
        made = dispatch(rule, function, self.wrap)
        return made if rule.view is None else viewing(rule, made, Tracer)


@functools.cache
def namespace(xp: Any, lift: bool = False) -> Namespace:
    """Return the namespace over tracers that computes with ``xp``, a namespace of the standard.

    Args:
        xp: such as ``array_api_compat.numpy`` or ``array_api_strict``.
        lift: every array that its functions make is a traced array too, also those of creation functions
            and of functions without derivative; the namespaces inside transforms are of this kind. Without
            it, functions of plain arrays return plain arrays.

    Example:
        >>> import array_api_compat.numpy as xp
        >>> float(namespace(xp).exp(xp.asarray(0.0)))
        1.0
        >>> namespace(xp, lift=True).arange(3)
        Tracer(array([0, 1, 2]))
    """
    return Namespace(extended(xp), lift)


def _wrap(out: Any, trace: Lifted) -> Any:
    kind = type(out)
    if kind is Tracer or kind in _PLAIN:
        return out
    if kind is dict:
        return {key: _wrap(value, trace) for key, value in out.items()}
    if isinstance(out, (list, tuple)):
        return like(out, [_wrap(item, trace) for item in out])
    return Tracer(out, trace, None) if array_api_compat.is_array_api_obj(out) else out


_PLAIN = (bool, int, float, complex, str, type(None), type)  # NumPy's dtypes are types


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays, **options: function(list(arrays), **options)


def _gather(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(arrays: Any, /, axis: Any = _ABSENT, **options: Any) -> Any:
        return function(*arrays, **options) if axis is _ABSENT else function(*arrays, axis=axis, **options)

    return call


_ABSENT: Any = object()  # None is an axis: all of them


def _described(made: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``made`` the name, docstring and signature of ``original``."""
    for name in ("__name__", "__qualname__", "__doc__"):
        if hasattr(original, name):
            setattr(made, name, getattr(original, name))
    with contextlib.suppress(TypeError, ValueError):  # built-in functions of some libraries have none
        made.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return made


# --- Functions that need more than their rule --------------------------------------------------------


def _asarray(space: Namespace, plain: Callable[..., Any]) -> Callable[..., Any]:
    def asarray(x: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
        given = {"dtype": dtype, "device": device, "copy": copy}
        options = {name: value for name, value in given.items() if value is not None}
        if type(x) is not Tracer:
            if isinstance(x, (list, tuple)) and _holds_traced(x):
                return asarray(space.stack([asarray(item) for item in x]), **options)
            return space.wrap(plain(lowered(x), **options))
        same = dtype in (None, x.dtype) and device in (None, x.device)
        if same and not copy:
            return x  # the very tracer: assignment to one name shows under the other
        if not x.trace.level:
            return space.wrap(plain(x.value, **options))
        if device is not None:
            x = x.to_device(device)
        if dtype is not None and dtype != x.dtype:
            return space.astype(x, dtype)
        return again(x)

    def again(x: Any) -> Any:
        """Return a copy of a tracer: arrays in tracers never change. A scalar becomes a 0-d array."""
        if not is_scalar(x):
            return Tracer(x.value, x.trace, x.slot) if type(x) is Tracer else x
        if type(x) is not Tracer:
            return plain(x)
        return Tracer(again(x.value), x.trace, False if x.trace.hides_axis else x.slot)

    return asarray


def _holds_traced(x: Any) -> bool:
    """True for nested lists in which an array of a running transform lies."""
    if isinstance(x, (list, tuple)):
        return any(map(_holds_traced, x))
    return type(x) is Tracer and x.trace.level > 0


def _astype(space: Namespace, plain: Callable[..., Any]) -> Callable[..., Any]:
    to_floating = space._recorded(RULES["astype"], plain)
    to_whole = space._recorded(dataclasses.replace(RULES["astype"], constant=True), plain)

    def astype(x: Any, dtype: Any, /, **options: Any) -> Any:
        if options.get("copy") is False and type(x) is Tracer and x.dtype == dtype:
            return x  # the very tracer, as NumPy returns the very array
        floating = is_floating_dtype(space._xp, dtype)
        return (to_floating if floating else to_whole)(x, dtype, **options)

    return astype


def _clip(space: Namespace, plain: Callable[..., Any]) -> Callable[..., Any]:
    recorded = space._recorded(RULES["clip"], plain)

    def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
        return recorded(x, min, max)

    return clip


def _promoted(space: Namespace, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a special function, which takes whole numbers and Python's numbers as floating arrays."""
    rule, outer = RULES[ALIASES.get(name, f"special.{name}")], space._outer
    assert outer is not None
    if rule.body is not None and name in ALIASES:  # what programs compute, too
        plain = functools.partial(rule.body, outer._xp)
    recorded = space._recorded(rule, plain)

    def call(*args: Any) -> Any:
        return recorded(*floating(outer, name, args))

    return call


_ADAPTED = {"asarray": _asarray, "astype": _astype, "clip": _clip}


def _without_rule(space: Namespace, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        args, options = lowered(args), lowered(options)
        if any(map(_holds_traced, (*args, *options.values()))):
            raise RecordError(
                f"{name}: expected a function with a derivative rule, found none for it; express it by "
                "functions that have one (xpnet.autodiff.rules.RULES), give it one with "
                "xpnet.autodiff.custom_rule, or, but for vmap, take stop_gradient of its arguments"
            )
        return space.wrap(function(*args, **options))

    return call
