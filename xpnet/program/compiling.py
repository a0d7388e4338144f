"""``compile``: a function that runs as a recorded, lowered program."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import array_api_compat

from xpnet.autodiff.tracer import Tracer
from xpnet.backends import Backend, array_namespace, backend_of, is_out_of_memory, precision
from xpnet.backends import backend as open_backend
from xpnet.backends.lacking import is_writeable, overwritable
from xpnet.backends.memory import tells
from xpnet.containers import leaves, map_leaves
from xpnet.errors import ConfigError
from xpnet.program.lowerings.base import LOWERINGS, LoweredProgram, choose, names
from xpnet.program.passes.simplify import simplify
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
        fn: array code for the standard. Python's course may depend on shapes and on arguments that are no
            arrays, not on values in arrays.
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
        and runs uncompiled with the same results. Inside a transform (``grad`` of it) it runs as ``fn``.

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

    Attributes:
        recordings: how often it was recorded: once for each structure, shape and dtype of the arguments.
        reason: why it runs uncompiled; empty if it does not.
    """

    def __init__(
        self, fn: Callable[..., Any], backend: Backend | None, donate: int | tuple[int, ...], lower: str
    ):
        functools.update_wrapper(self, fn)
        self._fn, self._backend, self._lower = fn, backend, lower
        self._donate = (donate,) if isinstance(donate, int) else tuple(donate)
        self._lock = threading.Lock()  # lowered programs have memory of their own
        self._cache: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.recordings = 0
        self.reason = ""

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
        args, options = map_leaves(
            lambda x: home.asarray(x) if array_api_compat.is_array_api_obj(x) else x, (args, options)
        )
        with home.activate():
            return self._call(*args, **options)

    def _call(self, *args: Any, **options: Any) -> Any:
        given = leaves((args, options))
        if self.reason or self._lower == "off" or any(type(x) is Tracer for x in given):
            return self._fn(*args, **options)
        key, arrays = _signature((args, options))
        with self._lock:
            known = self._cache.get(key)
            if known is None:
                name = getattr(self._fn, "__name__", "a function")
                try:
                    with compiling_time(name):
                        known = self._cache[key] = self._record(args, options, arrays)
                except ConfigError:
                    raise
                except Exception as error:  # code that is no array code of the standard can fail in any way
                    if is_out_of_memory(error):
                        raise
                    done = self._fn(*args, **options)  # raises what is not compiling's fault
                    self.reason = str(error) or type(error).__name__
                    _log.warning("%s runs uncompiled: %s", name, self.reason)
                    return done
                if len(self._cache) > _CACHE:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
            recorded, run, donated = known
            # Not the values of the recording: the first call gives the bits of all others.
            return recorded.result(run(overwritable(arrays, donated) if donated else arrays))

    def lowered(self, *args: Any, **options: Any) -> LoweredProgram:
        """Return what runs for these arguments, recording if need be."""
        self(*args, **options)
        return self._cache[_signature((args, options))[0]][1]

    def _record(self, args: Any, options: Any, arrays: list[Any]) -> _Kept:
        lower = choose(self._lower, array_namespace(*arrays))
        recorded = record_call(self._fn, args, options)
        self.recordings += 1
        donated = self._donations(recorded.program, args) if LOWERINGS[lower].overwrites else {}
        return recorded, lowered_program(recorded.program, lower, donated), frozenset(donated.values())

    def _donations(self, program: Program, args: tuple[Any, ...]) -> dict[int, int]:
        """Match arrays of donated arguments with outputs of the same shape and dtype, in order."""
        offered, position = [], 0
        for i, value in enumerate(args):
            for x in leaves(value):
                if array_api_compat.is_array_api_obj(x):
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
    if array_api_compat.is_array_api_obj(tree):
        arrays.append(tree)
        return type(tree), tuple(tree.shape), tree.dtype, str(array_api_compat.device(tree))
    if isinstance(tree, dict):
        return dict, tuple((key, _structure(value, arrays)) for key, value in tree.items())
    if isinstance(tree, (list, tuple)):
        return type(tree), tuple(_structure(value, arrays) for value in tree)
    if hasattr(tree, "__leaves__"):
        inside = tuple(_structure(x, arrays) for x in tree.__leaves__())
        return type(tree), getattr(tree, "layout", None), inside
    return type(tree), tree
