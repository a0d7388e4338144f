"""Results of library functions that lie in their arguments' memory, and arguments that lie in each other.

A lowered program gives the memory of a value away after its last use. What the library returns may be a look
at it: programs here compute other things behind each function, in the memory that is free by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_api_compat import device, to_device

from tests.program import cases
from tests.support import draw
from xpnet.backends import Backend, array_namespace, probe
from xpnet.backends import backend as open_backend
from xpnet.backends.lacking import extended
from xpnet.containers import leaves
from xpnet.program import record
from xpnet.program.compiling import lowered_program

_LOWERINGS = {"numpy": ["numpy", "numba"], "cupy": ["cupy"]}

# Functions that change nothing, so that a library may return what it was given, for arrays of dtypes.
_CHANGING_NOTHING: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "real": ("fc", lambda xp, x: xp.real(x)),
    "imag": ("c", lambda xp, x: xp.imag(x)),
    "conj": ("fc", lambda xp, x: xp.conj(x)),
    "positive": ("ifc", lambda xp, x: xp.positive(x)),
    "round": ("if", lambda xp, x: xp.round(x)),
    "floor": ("if", lambda xp, x: xp.floor(x)),
    "ceil": ("if", lambda xp, x: xp.ceil(x)),
    "trunc": ("if", lambda xp, x: xp.trunc(x)),
    "clip": ("if", lambda xp, x: xp.clip(x)),
    "astype": ("ifc", lambda xp, x: xp.astype(x, x.dtype, copy=False)),
    "asarray": ("ifc", lambda xp, x: xp.asarray(x)),
    "to_device": ("ifc", lambda xp, x: to_device(x, device(x))),
    "reshape": ("ifc", lambda xp, x: xp.reshape(x, (3, 3))),
    "squeeze": ("fc", lambda xp, x: xp.squeeze(xp.expand_dims(x, axis=0), axis=0)),
    "permute_dims": ("fc", lambda xp, x: xp.permute_dims(x, (0, 1))),
    "moveaxis": ("fc", lambda xp, x: xp.moveaxis(x, 0, 0)),
    "matrix_transpose": ("fc", lambda xp, x: xp.matrix_transpose(xp.matrix_transpose(x))),
    "broadcast_to": ("fc", lambda xp, x: xp.broadcast_to(x, (2, 3, 3))),
    "broadcast_arrays": ("fc", lambda xp, x: list(xp.broadcast_arrays(x, x[:1]))),
    "unstack": ("fc", lambda xp, x: list(xp.unstack(x))),
    "meshgrid": ("f", lambda xp, x: list(xp.meshgrid(x[0], x[1]))),
    "concat": ("ifc", lambda xp, x: xp.concat([x], axis=0)),
    "stack": ("fc", lambda xp, x: xp.stack([x])),
    "repeat": ("if", lambda xp, x: xp.repeat(x, 1, axis=0)),
    "tile": ("if", lambda xp, x: xp.tile(x, (1, 1))),
    "roll": ("if", lambda xp, x: xp.roll(x, 0, axis=0)),
    "flip": ("fc", lambda xp, x: xp.flip(xp.flip(x))),
    "take": ("if", lambda xp, x: xp.take(x, xp.asarray([0, 1, 2]), axis=0)),
    "getitem": ("ifc", lambda xp, x: [x[...], x[None, ...], x[::-1], x[1], x[1, 1], x[:, ::2]]),
    "tril": ("if", lambda xp, x: [xp.tril(x, k=5), xp.triu(x, k=-5)]),
    "sort": ("if", lambda xp, x: xp.sort(x[:, :1])),
    "sum over nothing": ("if", lambda xp, x: [xp.sum(x, axis=()), xp.max(x, axis=())]),
    "mean of one": ("f", lambda xp, x: xp.mean(x[:1], axis=0)),
    "cumulative sum of one": ("if", lambda xp, x: xp.cumulative_sum(x[:, :1], axis=1)),
    "diff": ("if", lambda xp, x: xp.diff(x, n=0)),
    "where": ("if", lambda xp, x: xp.where(x == x, x, x)),
    "assign": ("if", lambda xp, x: xp.assign(x, slice(0, 0), x[:0])),
    "place": ("f", lambda xp, x: xp.place(x, (slice(None), slice(None)), (3, 3))),
    "keep": ("f", lambda xp, x: xp.keep(x, x == x)),
    "matrix_power": ("fc", lambda xp, x: [xp.linalg.matrix_power(x, 1), xp.linalg.matrix_power(x, 0)]),
    "diagonal": ("f", lambda xp, x: xp.linalg.diagonal(x)),
    "fftshift": ("f", lambda xp, x: xp.fft.fftshift(x[:1], axes=0)),
    "transform of one": ("c", lambda xp, x: xp.fft.fft(x[:, :1])),
}  # fmt: skip
_DTYPES = {"i": "int32", "f": "float64", "c": "complex128"}


def _changing_nothing() -> dict[str, cases.Case]:
    found = {}
    for name, (kinds, function) in _CHANGING_NOTHING.items():
        for kind in kinds:
            x = draw(5, (3, 3), 1, 9).astype(_DTYPES[kind])
            found[f"{name} {kind}"] = (_of_planned(function), [x])
    return found


def _of_planned(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Return the function of an array that the program itself makes."""

    def run(x: Any) -> Any:
        space = array_namespace(x)
        return function(space if hasattr(space, "keep") else extended(space), x * x)

    return run


def _and_others(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with work behind it that takes the memory of what it was given."""

    def run(*args: Any) -> Any:
        results, others = leaves(function(*args)), []
        for x in args:
            xp = array_namespace(x)
            if xp.isdtype(x.dtype, ("real floating", "complex floating", "signed integer")) and x.shape:
                stored = [x * k for k in (3, 5, 7)]
                others += [xp.roll(y, 1, axis=0) for y in stored]  # which is no part of a loop with `x * k`
        return [*results, *others]

    return run


def _check(given: dict[str, cases.Case], backend: Backend, lower: str) -> None:
    """Run cases, each with others behind it, as one program, three times for other numbers."""
    f, arguments, names = cases.joined({name: (_and_others(f), args) for name, (f, args) in given.items()})
    first = [backend.asarray(x) for x in arguments]
    with np.errstate(all="ignore"):
        run = lowered_program(record(f)(*first), lower)
        earlier = None
        for k in (1, 2):
            now = [x * k if backend.xp.isdtype(x.dtype, "numeric") else x for x in first]
            want, got = leaves(f(*now)), run(now)
            for name, a, b in zip(names, got, want, strict=True):
                a, b = backend.to_host(a), backend.to_host(b)
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=name)
            if earlier is not None:
                for name, a, b in zip(names, *earlier, strict=True):
                    np.testing.assert_array_equal(backend.to_host(a), b, err_msg=f"{name}, returned before")
            earlier = got, [np.array(backend.to_host(x)) for x in got]


_EVERY = [
    pytest.param("numpy", "numpy"),
    pytest.param("numpy", "numba", marks=pytest.mark.full),
    pytest.param("cupy:0", "cupy", marks=pytest.mark.backends("cupy")),
    pytest.param("torch:cpu", "generic"),
]


@pytest.mark.parametrize(("spec", "lower"), _EVERY)
def test_functions_that_change_nothing(spec: str, lower: str) -> None:
    _check(_changing_nothing(), _opened(spec), lower)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("spec", "lower"), _EVERY[:3])
def test_every_function(spec: str, lower: str, dtype: str) -> None:
    _check(cases.rules(dtype), _opened(spec), lower)


def _opened(spec: str) -> Backend:
    state = probe(spec.partition(":")[0])
    if not state.usable:
        pytest.skip(f"{state.name}: {state.reason}")
    return open_backend(spec)
