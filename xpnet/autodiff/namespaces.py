"""The array namespace over tracers: the standard's functions, each recorded under its rule."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.rules import RULES
from xpnet.autodiff.tracer import Tracer, dispatch, plain_value
from xpnet.backends.lacking import extended
from xpnet.errors import RecordError

__all__ = ["Namespace", "namespace"]


class Namespace:
    """A namespace of the standard whose functions take traced arrays beside plain ones.

    Functions are wrapped when they are first asked for. Everything that is not a function (dtypes,
    constants) is the wrapped namespace's own.
    """

    def __init__(self, xp: Any, prefix: str = ""):
        self._xp = xp
        self._prefix = prefix
        self.__name__ = f"xpnet.autodiff.namespace({xp.__name__})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and not name.startswith("__array"):
            raise AttributeError(name)
        value = getattr(self._xp, name)
        made = self._wrap(name, value)
        self.__dict__[name] = made  # the next look-up is a plain attribute
        return made

    def _wrap(self, name: str, value: Any) -> Any:
        if name in ("linalg", "fft"):
            return Namespace(value, prefix=f"{name}.")
        if name == "asarray":
            return functools.partial(_asarray, self, value)
        if name == "astype":
            return functools.partial(_astype, self._xp, dispatch(RULES["astype"], value), value)
        if name == "clip":
            return _clip(dispatch(RULES["clip"], value))
        rule = RULES.get(self._prefix + name)
        if rule is None and self._prefix == "linalg.":
            rule = RULES.get(name)  # linalg.matmul is matmul
        if rule is not None:
            return _gather(dispatch(rule, _spread(value))) if rule.variadic else dispatch(rule, value)
        if isinstance(value, type) or not callable(value) or name.startswith("__"):
            return value
        return _without_rule(self._prefix + name, value)


@functools.cache
def namespace(xp: Any) -> Namespace:
    """Return the namespace over tracers that computes with ``xp``, a namespace of the standard.

    >>> import array_api_compat.numpy as xp
    >>> float(namespace(xp).exp(xp.asarray(0.0)))
    1.0
    """
    return Namespace(extended(xp))


def _spread(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arrays, **options: function(list(arrays), **options)


def _gather(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda arrays, /, **options: function(*arrays, **options)


def _clip(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, /, min=None, max=None: function(x, min, max)


def _asarray(
    space: Namespace, function: Callable[..., Any], x: Any, /, *, dtype: Any = None, **options: Any
) -> Any:
    if type(x) is Tracer:
        return x if dtype is None or dtype == x.dtype else space.astype(x, dtype)
    return function(x, dtype=dtype, **options)


def _astype(
    xp: Any, recorded: Callable[..., Any], plain: Callable[..., Any], x: Any, dtype: Any, /, **options: Any
) -> Any:
    if type(x) is not Tracer:
        return plain(x, dtype, **options)
    if xp.isdtype(dtype, ("real floating", "complex floating")):
        return recorded(x, dtype, **options)
    return plain(plain_value(x), dtype, **options)  # whole numbers have no derivative


def _without_rule(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        if any(type(x) is Tracer for x in (*args, *options.values())):
            raise RecordError(
                f"{name}: expected a function with a derivative rule, found none for it; express it by "
                "functions that have one (xpnet.autodiff.rules.RULES), or take stop_gradient of its "
                "arguments"
            )
        return function(*args, **options)

    return call
