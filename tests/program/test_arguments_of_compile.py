"""Arguments and surroundings of compiled functions: the program that is run fits them, or none is."""

from __future__ import annotations

import dataclasses
import functools
import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import xpnet
from tests.program.lowerings import assert_same, host_lowerings
from xpnet import autodiff
from xpnet.backends import array_namespace
from xpnet.errors import RecordError


def _ones() -> np.ndarray:
    return np.ones(2)


# --- the key of a program ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Frozen:
    k: float

    def times(self, x: Any) -> Any:
        return x * self.k


class _Changing:
    k = 2.0


VALUES = {
    "zeros of both signs": (lambda x, c: array_namespace(x).copysign(x, c), [0.0, -0.0, 0.0]),
    "zeros in a complex number": (lambda x, c: x * c, [0j, complex(0.0, -0.0), complex(-0.0, 0.0)]),
    "kinds of one": (lambda x, c: x * c, [1, 1.0, True, 1 + 0j]),
    "slices": (lambda x, c: x[c], [slice(0, 1), slice(1, 2), slice(0, 1)]),
    "nested slices": (lambda x, c: x[c], [(slice(0, 1), None), (slice(1, 2), None)]),
    "functions": (lambda x, c: c(x), [abs, operator.neg, functools.partial(operator.mul, 3.0)]),
    "methods": (lambda x, c: c(x), [_Frozen(2.0).times, _Frozen(3.0).times]),
    "nothing": (lambda x, c: x if c is None else -x, [None, Ellipsis]),
    "frozen dataclasses": (lambda x, c: x * c.k, [_Frozen(2.0), _Frozen(3.0), _Frozen(2.0)]),
    "dtypes": (lambda x, c: array_namespace(x).astype(x, c), [np.dtype("float32"), np.float64]),
}


@pytest.mark.parametrize("name", VALUES)
def test_other_constants_make_another_program(name: str) -> None:
    function, constants = VALUES[name]
    compiled = xpnet.compile(function)
    for constant in [*constants, *constants]:
        made, wanted = compiled(_ones(), constant), function(_ones(), constant)
        assert repr(made) == repr(wanted)  # signs and dtypes included
    different = {repr(x) for x in constants}
    assert (compiled.recordings, compiled.reason) == (len(different), "")


@pytest.mark.parametrize(
    ("function", "constant", "said"),
    [
        (lambda x, c: x * c.k, _Changing(), "_Changing"),
        (lambda x, c: x * c[0].k, [_Changing()], "_Changing"),
        (lambda x, c: x * len(c), {1, 2}, "set"),
        (lambda x, c: x * c(), functools.partial(len, {1}), "set"),
        (lambda x, c: x * c.normal(), np.random.default_rng(0), "Generator"),
        (lambda x, c: x * c(), np.random.default_rng(0).normal, "Generator"),
    ],
)
def test_arguments_that_may_change_are_not_compiled(function: Any, constant: Any, said: str) -> None:
    compiled = xpnet.compile(function)
    compiled(_ones(), constant)
    assert f"{said}, which may change" in compiled.reason


def test_changed_objects_are_seen_and_other_calls_are_compiled() -> None:
    compiled, changing = xpnet.compile(lambda x, c: x * getattr(c, "k", c)), _Changing()
    assert compiled(_ones(), changing).tolist() == [2.0, 2.0]
    changing.k = 3.0
    assert compiled(_ones(), changing).tolist() == [3.0, 3.0]
    assert compiled(_ones(), 4.0).tolist() == [4.0, 4.0]
    assert compiled.recordings == 1


@host_lowerings
def test_arrays_from_elsewhere_are_those_of_the_recording(lower: str) -> None:
    """In every lowering; each would see some changes otherwise, and not others."""
    weights, both = np.ones(2), [np.ones(2), np.ones(2)]

    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return x * weights + xp.asarray(both[0]), both[1]

    compiled = xpnet.compile(f, lower=lower)
    compiled(_ones())
    for array in (weights, *both):
        array[:] = 5.0
    moved, same = compiled(_ones())
    assert (moved.tolist(), same.tolist(), compiled.reason) == ([2.0, 2.0], [1.0, 1.0], "")


def test_a_traced_array_from_elsewhere_keeps_its_derivative() -> None:
    """A program would have its value alone: the function runs uncompiled, and says so."""
    programs = []

    def f(y: Any) -> Any:
        programs.append(xpnet.compile(lambda x: (x * y) @ _ones()))
        return programs[-1](_ones())

    assert float(autodiff.grad(f)(np.asarray(3.0))) == 2.0
    assert float(autodiff.jvp(f, (np.asarray(3.0),), (np.asarray(1.0),))[1]) == 2.0
    assert all("a program cannot keep a traced array from outside" in g.reason for g in programs)
    with pytest.raises(RecordError, match=r"traced array from outside \(test_arguments_of_compile.py:\d+\)"):
        autodiff.grad(lambda y: xpnet.record(lambda x: y)(_ones()) and y)(np.asarray(3.0))


# --- changes in place -------------------------------------------------------------------------------------


def _adds_in_place(x: Any) -> Any:
    x += 1
    return x * 2


def _writes_an_entry(x: Any) -> Any:
    x[0] = 7
    return x + x


@pytest.mark.parametrize("function", [_adds_in_place, _writes_an_entry])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_arguments_changed_in_place_are_changed(function: Any, dtype: str) -> None:
    """As they are without compiling."""
    x, other = np.ones(2, dtype=dtype), np.ones(2, dtype=dtype)
    compiled = xpnet.compile(function)
    for _ in range(2):
        assert_same(compiled(x), function(other))
        assert_same(x, other)
    assert "array 1 of the arguments is changed in place" in compiled.reason


IN_PLACE = {
    "add to whole numbers": (operator.iadd, "int64", 1),
    "divide small whole numbers": (operator.ifloordiv, "int8", 2),
    "shift": (operator.ilshift, "uint8", 1),
    "and of bools": (operator.iand, "bool", True),
    "wider whole numbers": (operator.iadd, "int32", np.asarray([1, 2])),
    "wider floats": (operator.imul, "float32", np.asarray([1.5, 2.0])),
    "floats into complex numbers": (operator.imul, "complex128", 1.5),
    "power of whole numbers": (operator.ipow, "int64", 2),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_are_compiled(name: str) -> None:
    change, dtype, other = IN_PLACE[name]

    def f(x: Any) -> Any:
        made = x ^ x if dtype == "bool" else x * 1
        return change(made, other)

    x, compiled = np.asarray([1, 3]).astype(dtype), xpnet.compile(f)
    assert_same(compiled(x), f(x))
    assert compiled.reason == ""


@pytest.mark.parametrize(
    ("change", "dtype", "other"),
    [(operator.iadd, "int64", 0.5), (operator.itruediv, "int64", 2), (operator.imul, "float64", 1j),
     (operator.iadd, "uint8", np.asarray([1, -2]))],
)  # fmt: skip
def test_in_place_operators_that_lose_are_refused(change: Any, dtype: str, other: Any) -> None:
    """By NumPy as well."""

    def f(x: Any) -> Any:
        return change(x * 1, other)

    x = np.asarray([1, 3]).astype(dtype)
    with pytest.raises(TypeError):
        f(x)
    with pytest.raises(TypeError, match="in-place"):
        xpnet.record(f)(x)


# --- donated arrays ---------------------------------------------------------------------------------------


def _halves(a: Any, b: Any) -> Any:
    return a * 0.5, b + 1.0


_BYTES = bytearray(np.arange(8.0).tobytes())
SHARED: dict[str, Callable[[], tuple[Any, Any]]] = {
    "one array twice": lambda: (x := np.arange(4.0), x),
    "views that overlap": lambda: tuple(sliding_window_view(np.arange(5.0), 4)),
    "one array backwards": lambda: (x := np.arange(4.0), x[::-1]),
    "one buffer": lambda: (np.frombuffer(_BYTES, count=4), np.frombuffer(_BYTES, offset=8, count=4)),
    "a matrix and its transposed": lambda: (x := np.ones((3, 3)) + np.eye(3), x.T),
    "what must not be written to": lambda: (np.broadcast_to(np.ones(1), 4), np.arange(4.0)),
}


@host_lowerings
@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("donate", [0, 1, (0, 1)])
def test_donated_arrays_that_share_memory_are_copied(lower: str, name: str, donate: Any) -> None:
    given = SHARED[name]()
    wanted = _halves(*(x.copy() for x in given))
    compiled = xpnet.compile(_halves, lower=lower, donate=donate)
    for one, other in zip(compiled(*given), wanted, strict=True):
        assert_same(one, other)


# --- calls from inside, and from several threads ----------------------------------------------------------


def _finished(work: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what ``work`` gives, or fail if it never ends."""
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert done, "it hangs"
    return done[0]


def test_compiled_functions_may_call_themselves() -> None:
    @xpnet.compile
    def root(x: Any) -> Any:
        good = bool(array_namespace(x).all(abs(x * x - 2) < 1e-12))
        return x if good else root(x - (x * x - 2) / (2 * x))

    @xpnet.compile
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    np.testing.assert_allclose(_finished(lambda: root(np.ones(1))), [np.sqrt(2)])
    assert _finished(lambda: power(np.full(1, 2.0), 5)).tolist() == [32.0]
    assert (power.recordings, power.reason) == (1, "")


def test_compiled_functions_may_call_one_another_in_two_threads() -> None:
    """On arrays that no recording sees: each waits while it is recorded until the other one is, too."""
    both = threading.Barrier(2, timeout=10)
    calls: dict[str, Any] = {}

    def make(own: str, other: str) -> Any:
        def f(x: Any) -> Any:
            if x.shape == (3,):
                both.wait()
                return x + calls[other](np.ones(2))[0]
            return x * 2.0

        return xpnet.compile(f)

    calls.update(first=make("first", "second"), second=make("second", "first"))
    made: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda n=name: made.update({n: calls[n](np.ones(3))}), daemon=True)
        for name in calls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {name: x.tolist() for name, x in made.items()} == {name: [3.0, 3.0, 3.0] for name in calls}


@pytest.mark.parametrize("lower", ["numpy", "generic"])
def test_threads_get_results_of_their_own(lower: str) -> None:
    compiled = xpnet.compile(lambda x: array_namespace(x).tanh(x) * 2.0 + x, lower=lower)
    given = [np.full(50, float(i)) for i in range(4)]
    wanted, wrong = [np.tanh(x) * 2.0 + x for x in given], []

    def work(i: int) -> None:
        same = [np.array_equal(compiled(given[i]), wanted[i]) for _ in range(200)]
        wrong.extend([i] * same.count(False))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
