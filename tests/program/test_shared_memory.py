"""Results of library functions that lie in their arguments' memory, and arguments that lie in each other.

A lowered program gives the memory of a value away after its last use. What the library returns may be a look
at it: programs here compute other things behind each function, in the memory that is free by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.program import cases
from tests.support import draw
from xpnet.backends import Backend, array_namespace
from xpnet.backends.lacking import apart, extended, overwritable
from xpnet.containers import leaves
from xpnet.program import record
from xpnet.program.compiling import lowered_program
from xpnet.program.looping import Loop

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
    "to_device": ("ifc", lambda xp, x: xp.to_device(x, x.device)),
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
    """Run cases, each with others behind it, as one program, again for other numbers."""
    f, arguments, names = cases.joined({name: (_and_others(f), args) for name, (f, args) in given.items()})
    first = [backend.asarray(x) for x in arguments]
    with np.errstate(all="ignore"):
        run = lowered_program(record(f)(*first), lower)
        earlier = None
        for k in (1.0, 0.9):
            floating = ("real floating", "complex floating")
            now = [x * k if backend.xp.isdtype(x.dtype, floating) else x for x in first]
            want, got = leaves(f(*now)), run(now)
            for name, a, b in zip(names, got, want, strict=True):
                a, b = backend.to_host(a), backend.to_host(b)
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=name)
            if earlier is not None:
                for name, a, b in zip(names, *earlier, strict=True):
                    np.testing.assert_array_equal(backend.to_host(a), b, err_msg=f"{name}, returned before")
            earlier = got, [np.array(backend.to_host(x)) for x in got]


_LOWERINGS = [
    pytest.param("numpy", "numpy", id="numpy"),
    pytest.param("numpy", "numba", id="numba", marks=pytest.mark.full),
    pytest.param("cupy:0", "cupy", id="cupy"),
]
every_lowering = pytest.mark.parametrize(("backend", "lower"), _LOWERINGS, indirect=["backend"])


@pytest.mark.parametrize(
    ("backend", "lower"), [*_LOWERINGS, pytest.param("numpy", "generic", id="generic")], indirect=["backend"]
)
def test_a_new_array_is_no_argument(backend: Backend, lower: str) -> None:
    """Operations that change nothing are left out, but a caller may write to their results."""
    f = xpnet.compile(lambda x: [x * 1, x / 1, array_namespace(x).conj(x), x], lower=lower)
    x = backend.xp.ones(3, dtype=backend.xp.float64)
    *new, same = f(x)
    for y in new:
        y[...] = 7.0
    assert same is x
    np.testing.assert_array_equal(backend.to_host(x), 1.0)
    assert not f.reason


@every_lowering
def test_functions_that_change_nothing(backend: Backend, lower: str) -> None:
    _check(_changing_nothing(), backend, lower)


_PARTS = 8  # of the table of functions, for a program of all is too large to be compiled at once


@pytest.mark.full
@pytest.mark.parametrize("part", range(_PARTS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("backend", "lower"), [_LOWERINGS[0], _LOWERINGS[2]], indirect=["backend"])
def test_every_function(backend: Backend, lower: str, dtype: str, part: int) -> None:
    # Counts that stay arrays of NumPy, and values for one place, of which on a GPU any may stay.
    left = ("repeat-array", "repeat-array-flat") if backend.name == "cupy" else ()
    every = [(name, case) for name, case in cases.rules(dtype).items() if name not in left]
    _check(dict(every[part::_PARTS]), backend, lower)


# --- Arguments and results that lie in each other ---------------------------------------------------------


def _sum_and_product(x: Any, y: Any) -> Any:
    return x + 1.0, y * 2.0


@pytest.mark.parametrize("donate", [0, (0, 1)])
@every_lowering
def test_a_donated_array_may_be_another_argument_too(backend: Backend, lower: str, donate: Any) -> None:
    f = xpnet.compile(_sum_and_product, lower=lower, donate=donate)
    for x, y in [_two(backend), _two(backend, 1), _two(backend, 2)]:
        total, product = f(x, y)
        np.testing.assert_array_equal(backend.to_host(total), 2.0)
        np.testing.assert_array_equal(backend.to_host(product), 2.0)
    assert not f.reason


def _two(backend: Backend, kind: int = 0) -> tuple[Any, Any]:
    """Return two arrays of ones: apart, the same, or one that looks at the other upside down."""
    x = backend.xp.ones((3, 4), dtype=backend.xp.float64)
    return x, (backend.xp.ones((3, 4), dtype=x.dtype), x, x[::-1, :])[kind]


@every_lowering
def test_a_donated_state_may_be_a_constant_too(backend: Backend, lower: str) -> None:
    add = Loop(lambda state, constants, row: ([state[0] + row[0] * constants[0], state[1] * 2.0], []), lower)
    for kind in (0, 1, 2):
        x, y = _two(backend, kind)
        (total, doubled), _ = add([x, y], [x], [backend.xp.ones(4, dtype=x.dtype)], donate=True)
        np.testing.assert_array_equal(backend.to_host(total), 5.0)
        np.testing.assert_array_equal(backend.to_host(doubled), 16.0)
    assert not add.reason


@every_lowering
def test_a_donated_array_that_must_not_be_written_to(backend: Backend, lower: str) -> None:
    f = xpnet.compile(_sum_and_product, lower=lower, donate=0)
    x, y = _two(backend)
    f(x + 0.0, y)
    for given in (
        backend.xp.broadcast_to(x[0, :], x.shape),
        x[:, ::-1],
        backend.xp.zeros((3, 8))[:, ::2] + 1,
    ):
        total, _ = f(given, y)
        np.testing.assert_array_equal(backend.to_host(total), 2.0)
    np.testing.assert_array_equal(backend.to_host(x[0, :]), backend.to_host(x[2, :]))


@every_lowering
def test_looks_at_a_donated_array_of_another_order(backend: Backend, lower: str) -> None:
    """What is a copy of a transposed array is a look at any other, and the donated array is overwritten."""
    f = xpnet.compile(lambda x: (array_namespace(x).reshape(x, (-1,)), x * 2.0), lower=lower, donate=0)
    for _ in range(2):
        x = backend.asarray(np.arange(12.0).reshape(4, 3))
        for given in (backend.xp.matrix_transpose(x + 0.0), backend.asarray(np.arange(12.0).reshape(3, 4))):
            want = backend.to_host(given).copy()
            flat, doubled = f(given)
            np.testing.assert_array_equal(backend.to_host(flat), want.reshape(-1))
            np.testing.assert_array_equal(backend.to_host(doubled), 2 * want)
    assert not f.reason


@every_lowering
def test_results_that_are_constants_are_new_arrays(backend: Backend, lower: str) -> None:
    f = xpnet.compile(lambda x: (array_namespace(x).ones(3), x), lower=lower)
    x = backend.xp.zeros(3)
    f(x)[0][...] = 7.0
    np.testing.assert_array_equal(backend.to_host(f(x)[0]), 1.0)
    assert not f.reason


def test_apart_and_overwritable(backend: Backend) -> None:
    x = backend.xp.ones(4)
    other = apart(x, backend.xp.ones(4), x)
    assert apart(other, x) is other
    if backend.name == "jax":
        return  # its arrays never change
    for look in (x, x[1:], x[::-1] if backend.name != "torch" else x[:2]):
        other = apart(look, x)
        other[...] = 2.0
        np.testing.assert_array_equal(backend.to_host(x), 1.0)
    one, two, three = overwritable([x, x[1:], x], [0, 1])
    assert three is x
    one[...] = two[...] = 3.0
    np.testing.assert_array_equal(backend.to_host(x), 1.0)


@pytest.mark.backends("cupy")
def test_copies_stay_on_their_device() -> None:
    import cupy

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one CUDA device only")
    with cupy.cuda.Device(1):
        x = cupy.ones(3)
    with cupy.cuda.Device(0):
        assert apart(x, x).device == x.device
        assert overwritable([x, x], [0])[0].device == x.device


@every_lowering
def test_clip_is_no_call(backend: Backend, lower: str) -> None:
    def f(x: Any, low: Any, n: Any) -> Any:
        xp = array_namespace(x)
        of_x = [xp.clip(x, -1, 0.5), xp.clip(x, min=low), xp.clip(x, low, 1.0), xp.clip(x, max=low)]
        return [*of_x, xp.clip(x), xp.clip(x, 2.0, 1.0), xp.clip(n, 2, 300), xp.clip(n, -300, 3)]

    x = np.asarray([[-2.0, 0.25, np.nan], [3.0, 0.5, -np.inf]])
    given = x, np.asarray([-0.5, np.nan, 0.0]), np.arange(6, dtype="int8")
    arrays = [backend.asarray(x) for x in given]
    program = record(f)(*arrays)
    assert {op.name for op in program.operations} <= {"maximum", "minimum", "positive"}
    with np.errstate(invalid="ignore"):
        for got, want in zip(lowered_program(program, lower)(arrays), f(*given), strict=True):
            np.testing.assert_array_equal(backend.to_host(got), want)
            assert backend.to_host(got).dtype == want.dtype
