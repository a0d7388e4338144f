"""``compile``: a function that runs as a recorded, lowered program."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import array_api_compat
import numpy as np

from xpnet.autodiff.tracer import Tracer
from xpnet.backends import Backend, array_namespace, backend_of, is_array, is_out_of_memory, precision
from xpnet.backends import backend as open_backend
from xpnet.backends.lacking import is_writeable, overwritable
from xpnet.backends.memory import tells
from xpnet.containers import leaves, map_leaves
from xpnet.errors import ConfigError
from xpnet.program.lowerings.base import LOWERINGS, LoweredProgram, choose, names
from xpnet.program.passes.simplify import constant_key, simplify
from xpnet.program.program import Program, Ref
from xpnet.program.recording import Recorded, record_call

__all__ = ["Compiled", "compile", "compiling_time", "lowered_program"]

_log = logging.getLogger("xpnet")
_CACHE = 16  # programs that a compiled function keeps


@contextlib.contextmanager
def compiling_time(what: str) -> Iterator[None]:
    """Say how long compiling took, if it took more than a second."""
    begun = time.perf_counter()
    yield
    seconds = time.perf_counter() - begun
    if seconds > 1:
        _log.warning("compiling %s took %.1f s; what is compiled is used from here on", what, seconds)


def lowered_program(program: Program, lower: str, donated: dict[int, int] | None = None) -> LoweredProgram:
    """Return a program, which need not be simplified, as a callable from inputs to outputs."""
    return LOWERINGS[lower].lower(simplify(program), donated or {})


def compile(
    fn: Callable[..., Any],
    *,
    backend: str | Backend | None = None,
    donate: int | tuple[int, ...] = (),
    lower: str = "auto",
) -> Compiled:
    """Return ``fn`` as a function that is recorded once for each kind of arguments, and runs as a program.

    Args:
        fn: array code for the standard. Python's control flow may depend on shapes and on arguments that
            are no arrays, not on values in arrays. Arguments that are no arrays are part of the program:
            others make another one. Values from elsewhere (closures, globals, attributes), arrays too, are
            part of it as they are when ``fn`` is recorded: later changes of them are not seen.
        backend: where to compute, as for :func:`xpnet.backend`: arrays among the arguments are moved there.
            None: where they are.
        donate: positions of arguments whose arrays may be overwritten: results of the same shape and dtype
            take their memory, as in a training step that gives new parameters for old ones.
        lower: ``"generic"`` (any backend, call by call), ``"numpy"`` (straight-line code in planned memory),
            ``"numba"`` (compiled loops, on NumPy arrays; extra ``jit``; the first call takes about a second),
            ``"cupy"`` (generated CUDA kernels, on CuPy arrays), ``"auto"`` for the fastest that is ready at
            once, or ``"off"`` to call ``fn`` itself.

    Returns:
        A :class:`Compiled`. What cannot be compiled is said once, as a log message and in its ``reason``,
        and runs uncompiled with the same results: code that decides by values, that changes its arguments in
        place, or calls with arguments that have no value to compare by (sets, generators of random numbers,
        objects of ordinary classes). Inside a transform (``grad`` of it) it runs as ``fn``. It may call
        itself, and be called by several threads.

    Raises:
        ConfigError: an unknown lowering, or one that does not fit the arrays.

    Example:
        >>> import numpy as np
        >>> from xpnet.backends import array_namespace
        >>> f = compile(lambda x: array_namespace(x).tanh(x) * 2.0)
        >>> f(np.zeros(3)), f.recordings
        (array([0., 0., 0.]), 1)
    """
    if lower not in names():
        choose(lower, None)
    return Compiled(fn, None if backend is None else open_backend(backend), donate, lower)


_Kept = tuple[Recorded, LoweredProgram, frozenset[int]]  # what runs, and the inputs it may overwrite


class Compiled:
    """A function with the programs that were made of it.

    Args:
        fn, backend, donate, lower: as for `compile`.
        freeze: as for `record_call`.

    Attributes:
        recordings: how often it was recorded: once for each structure, shape and dtype of the arguments.
        reason: why calls of it run uncompiled; empty if none does.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        backend: Backend | None = None,
        donate: int | tuple[int, ...] = (),
        lower: str = "auto",
        *,
        freeze: bool = True,
    ):
        functools.update_wrapper(self, fn)
        self._fn, self._backend, self._lower, self._freeze = fn, backend, lower, freeze
        self._donate = (donate,) if isinstance(donate, int) else tuple(donate)
        self._lock = threading.RLock()  # lowered programs have memory of their own
        self._running = False
        self._cache: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.recordings = 0
        self.reason = ""
        self._gave_up = False

    @tells(
        "a compiled function",
        lambda *given, **named: ["pass smaller arrays, or free others"],
        lambda compiled: compiled._cache.clear(),
        lambda compiled, *args, **options: compiled._backend or _home_of((args, options)),
    )
    def __call__(self, *args: Any, **options: Any) -> Any:
        home = self._backend
        if home is None:
            return self._call(*args, **options)
        args, options = map_leaves(lambda x: home.asarray(x) if is_array(x) else x, (args, options))
        with home.activate():
            return self._call(*args, **options)

    def _call(self, *args: Any, **options: Any) -> Any:
        given = leaves((args, options))
        if self._gave_up or self._lower == "off" or any(type(x) is Tracer for x in given):
            return self._fn(*args, **options)
        try:
            key, arrays = _signature((args, options))
            known = self._cache.get(key)
        except _NoValueError as error:
            self._say(str(error))
            return self._fn(*args, **options)
        if known is None:  # recorded without the lock, for the function may call any other one
            try:
                with compiling_time(self._name):
                    known = self._record(args, options, arrays)
            except ConfigError:
                raise
            except Exception as error:  # code that is no array code of the standard can fail in any way
                if is_out_of_memory(error):
                    raise
                return self._give_up(str(error) or type(error).__name__, args, options)
        with self._lock:
            if not self._running:
                self._keep(key, known)
                self._running = True
                try:
                    recorded, run, donated = known
                    # Not the values of the recording: the first call gives the bits of all others.
                    return recorded.result(run(overwritable(arrays, donated) if donated else arrays))
                finally:
                    self._running = False
        return self._fn(*args, **options)  # called from inside its own program

    @property
    def _name(self) -> str:
        return getattr(self._fn, "__name__", "a function")

    def _keep(self, key: Hashable, known: _Kept) -> None:
        self._cache[key] = known
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHE:
            self._cache.popitem(last=False)

    def _give_up(self, reason: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run uncompiled from here on, unless the function fails without compiling as well."""
        self._gave_up = True  # now, as the function may call itself
        try:
            done = self._fn(*args, **options)
        except BaseException:
            self._gave_up = False
            raise
        self._say(reason)
        return done

    def _say(self, reason: str) -> None:
        if not self.reason:
            self.reason = reason
            _log.warning("%s runs uncompiled: %s", self._name, reason)

    def lowered(self, *args: Any, **options: Any) -> LoweredProgram:
        """Return what runs for these arguments, recording if need be."""
        self(*args, **options)
        return self._cache[_signature((args, options))[0]][1]

    def _record(self, args: Any, options: Any, arrays: list[Any]) -> _Kept:
        lower = choose(self._lower, array_namespace(*arrays))
        recorded = record_call(self._fn, args, options, freeze=self._freeze)
        self.recordings += 1
        donated = self._donations(recorded.program, args) if LOWERINGS[lower].overwrites else {}
        return recorded, lowered_program(recorded.program, lower, donated), frozenset(donated.values())

    def _donations(self, program: Program, args: tuple[Any, ...]) -> dict[int, int]:
        """Match arrays of donated arguments with outputs of the same shape and dtype, in order."""
        offered, position = [], 0
        for i, value in enumerate(args):
            for x in leaves(value):
                if is_array(x):
                    if i in self._donate and is_writeable(x):  # NumPy's scalars are not
                        offered.append(position)
                    position += 1
        donated: dict[int, int] = {}
        for number, output in enumerate(program.outputs):
            for source in offered:
                same = type(output) is Ref and (
                    program.values[output.number] == program.values[program.inputs[source]]
                )
                if same and source not in donated.values():
                    donated[number] = source
                    break
        return donated


def _home_of(tree: Any) -> Backend:
    """Return the backend of the first array in ``tree``."""
    found = (x for x in _signature(tree)[1] if type(x) is not Tracer)
    return next(map(backend_of, found), open_backend("numpy"))


def _signature(tree: Any) -> tuple[Hashable, list[Any]]:
    """Return what decides which program is run, and the arrays in ``tree``."""
    arrays: list[Any] = []
    return (precision.current(), _structure(tree, arrays)), arrays


def _structure(tree: Any, arrays: list[Any]) -> Hashable:
    if is_array(tree):
        arrays.append(tree)
        return type(tree), tuple(tree.shape), tree.dtype, str(array_api_compat.device(tree))
    if isinstance(tree, dict):
        return dict, tuple((key, _structure(value, arrays)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)):
        return type(tree), tuple(_structure(value, arrays) for value in tree)
    if hasattr(tree, "__leaves__"):
        inside = tuple(_structure(x, arrays) for x in tree.__leaves__())
        return type(tree), getattr(tree, "layout", None), inside
    return _constant(tree)


class _NoValueError(Exception):
    """An argument has no value by which a program for it can be found again."""


# What an object of them does is fixed, or as good as fixed: a function's code, a library's functions.
_NAMED = (type, types.FunctionType, types.ModuleType, np.ufunc, Compiled, type(None), type(Ellipsis))


def _constant(x: Any) -> Hashable:
    """Return what is equal for equal arguments only.

    Raises:
        _NoValueError: the argument may change, and is the same object then.
    """
    kind = type(x)
    if isinstance(x, (float, complex, slice)):
        return constant_key(x)
    if kind in (types.MethodType, types.BuiltinFunctionType) and x.__self__ is not None:
        return kind, x.__name__, _constant(x.__self__)
    if kind is functools.partial:
        options = tuple((name, _constant(value)) for name, value in sorted(x.keywords.items()))
        return kind, _constant(x.func), tuple(map(_constant, x.args)), options
    by_identity = kind.__hash__ in (None, object.__hash__)
    if by_identity and not isinstance(x, _NAMED) and kind.__name__.lower() not in ("dtype", "device"):
        raise _NoValueError(
            f"an argument is a {kind.__module__}.{kind.__qualname__}, which may change and stay the same "
            "object; pass its numbers and arrays, or make it a frozen dataclass"
        )
    try:
        hash(x)
    except TypeError as error:
        raise _NoValueError(f"an argument cannot be compared with later ones: {error}") from error
    return kind, x
