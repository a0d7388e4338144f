"""``compile`` and ``record``: programs to read, one for each kind of arguments; what cannot be compiled."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import xpnet
from tests.program.steps import FUNCTIONS
from tests.support import host, widest
from xpnet.autodiff import grad, namespace
from xpnet.backends import Backend, array_namespace
from xpnet.errors import ConfigError, RecordError
from xpnet.program.looping import Loop
from xpnet.program.passes.simplify import drop_dead, fold_constants, merge_equal, separate, simplify
from xpnet.program.program import Program


def _softmax(x: Any) -> Any:
    xp = array_namespace(x)
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


# --- Recording and passes --------------------------------------------------------------------------------


def test_a_program_can_be_read_and_counted() -> None:
    program = xpnet.record(_softmax)(np.ones((2, 3)))
    assert str(program).splitlines() == [
        "%0 float64[2,3] = input 0",
        "%1 float64[2,1] = max(%0, axis=-1, keepdims=True)",
        "%2 float64[2,3] = subtract(%0, %1)",
        "%3 float64[2,3] = exp(%2)",
        "%4 float64[2,1] = sum(%3, axis=-1, keepdims=True)",
        "%5 float64[2,3] = divide(%3, %4)",
        "return %5",
    ]
    assert len(program) == 5
    assert program.bytes == 8 * (2 + 6 + 6 + 2 + 6)
    assert program.flops == 6 * 5
    assert xpnet.record(lambda x, y: x @ y)(np.ones((4, 5)), np.ones((5, 6))).flops == 2 * 4 * 5 * 6


def _names(program: Program) -> list[str]:
    return [operation.name for operation in program.operations]


def test_what_nothing_needs_is_dropped() -> None:
    def f(x: Any) -> Any:
        x * 3
        return x + 1

    assert _names(xpnet.record(f)(np.ones(2))) == ["multiply", "add"]
    assert _names(drop_dead(xpnet.record(f)(np.ones(2)))) == ["add"]


def test_what_is_computed_twice_is_computed_once() -> None:
    def f(x: Any) -> Any:
        return (x * 2 + 1) * (x * 2 + 1) + x * -0.0 + x * 0.0  # -0.0 and 0.0 are two constants

    program = drop_dead(merge_equal(xpnet.record(f)(np.ones(2))))
    assert _names(program).count("multiply") == 4
    assert len(xpnet.record(f)(np.ones(2))) == len(program) + 2


def test_what_changes_nothing_is_dropped() -> None:
    def f(x: Any) -> Any:
        xp = array_namespace(x)
        return xp.reshape(xp.astype(x * 1, x.dtype) / 1.0, (2,)) * 1.0 + 0.0  # adding 0.0 turns -0.0 into 0.0

    assert _names(drop_dead(fold_constants(xpnet.record(f)(np.ones(2))))) == ["add"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_passes_are_pure(name: str) -> None:
    f, args = FUNCTIONS[name]
    program = xpnet.record(f)(*args)
    text = str(program)
    shorter = simplify(program)
    assert str(program) == text
    assert len(shorter) <= len(separate(program))
    assert str(simplify(shorter)) == str(shorter)


# --- compile ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower", ["auto", "generic", "off"])
def test_compiled_functions_on_every_backend(lower: str, backend: Backend) -> None:
    x = backend.asarray(np.asarray([[0.5, 1.0], [2.0, -1.0]]), dtype=widest(backend))
    compiled = xpnet.compile(lambda p: {"y": _softmax(p["x"]), "n": 3}, lower=lower)
    for _ in range(3):
        result = compiled({"x": x})
        np.testing.assert_allclose(host(result["y"]), host(_softmax(x)), rtol=1e-6)
        assert result["n"] == 3
    assert compiled.recordings == (0 if lower == "off" else 1)
    assert not compiled.reason


def test_arguments_are_moved_to_the_backend(backend: Backend) -> None:
    compiled = xpnet.compile(lambda x, n: x * n, backend=backend.spec)
    for _ in range(2):
        result = compiled(np.asarray([1.0, 2.0], dtype="float32"), 3)
        assert array_namespace(result) is backend.xp
        np.testing.assert_array_equal(host(result), [3.0, 6.0])


def test_one_program_for_each_kind_of_arguments() -> None:
    compiled = xpnet.compile(lambda x, power: x**power)
    for shape, power in [((2,), 2), ((2,), 2), ((3,), 2), ((2,), 3), ((2,), 2)]:
        np.testing.assert_array_equal(compiled(np.full(shape, 3.0), power), 3.0**power)
    assert compiled.recordings == 3
    compiled(np.ones(2, dtype="float32"), 2)
    assert compiled.recordings == 4
    for n in range(40):
        compiled(np.ones(n + 5), 2)
    assert compiled.recordings == 44
    compiled(np.ones(5), 2)  # its program has made room for others
    assert compiled.recordings == 45


def test_what_cannot_be_compiled_says_so_once_and_runs(caplog: pytest.LogCaptureFixture) -> None:
    def size(x: Any) -> Any:
        return x if array_namespace(x).sum(x) > 0 else -x

    compiled = xpnet.compile(size)
    with caplog.at_level(logging.WARNING, logger="xpnet"):
        for sign in (1.0, -1.0, 1.0):
            np.testing.assert_array_equal(compiled(np.full(2, sign)), 1.0)
    assert len(caplog.records) == 1
    assert "size runs uncompiled" in caplog.text
    assert "test_compile.py:" in compiled.reason
    assert "use xp.where" in compiled.reason


@pytest.mark.parametrize("number", [float, int, bool, lambda x: [0, 1, 2][x]])
def test_recorded_values_do_not_become_numbers(number: Any) -> None:
    with pytest.raises(RecordError, match="cannot decide Python's control flow"):
        xpnet.record(lambda x: x * number(array_namespace(x).argmax(x)))(np.ones(3))


def test_compiled_functions_can_be_differentiated_and_lifted() -> None:
    compiled = xpnet.compile(lambda x: array_namespace(x).sum(x**3))
    np.testing.assert_array_equal(grad(compiled)(np.asarray([1.0, 2.0])), [3.0, 12.0])
    lifted = namespace(array_namespace(np.ones(1)), lift=True).asarray([1.0, 2.0])
    assert float(compiled(lifted)) == 9.0
    second = xpnet.compile(grad(grad(lambda x: x**3)))
    assert float(second(np.asarray(2.0))) == float(second(np.asarray(2.0))) == 12.0


def test_unknown_lowerings_and_wrong_libraries_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'numpy'"):
        xpnet.compile(_softmax, lower="nunpy")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(ConfigError, match="expected arrays of numpy"):
        xpnet.compile(_softmax, lower="numpy")(torch.ones(2))
    with pytest.raises(RecordError, match="expected an array among the arguments"):
        xpnet.record(lambda x: x)(1.0)


# --- Loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lower", ["auto", "generic", "off"])
def test_loops_on_every_backend(lower: str, backend: Backend) -> None:
    def step(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        return [carry[0] * 0.5 + row[0] * constants[0]], [carry[0]]

    start, two, rows = (
        backend.asarray(np.asarray(x), dtype="float32") for x in ([8.0, 4.0], 2.0, [[1.0, 1.0], [0.0, 3.0]])
    )
    loop = Loop(step, lower)
    for _ in range(2):
        (end,), (seen,) = loop([start], [two], [rows])
        np.testing.assert_array_equal(host(end), [3.0, 8.0])
        np.testing.assert_array_equal(host(seen), [[8.0, 4.0], [6.0, 4.0]])
        np.testing.assert_array_equal(host(start), [8.0, 4.0])


@pytest.mark.parametrize("lower", ["generic", "numpy"])
def test_scalars_of_numpy_cannot_be_overwritten(lower: str) -> None:
    compiled = xpnet.compile(lambda x: x * 2.0, lower=lower, donate=0)
    x = np.float64(1.5)
    assert [float(compiled(x)), float(compiled(x)), float(x)] == [3.0, 3.0, 1.5]
    assert not compiled.reason


def test_errors_of_the_function_itself_come_through() -> None:
    compiled = xpnet.compile(lambda x: x @ x)
    with pytest.raises(ValueError, match="matmul"):
        compiled(np.ones((2, 3)))
    assert not compiled.reason


def test_code_that_leaves_the_standard_runs_uncompiled() -> None:
    compiled = xpnet.compile(lambda x: np.cumsum(x).astype("float32"))
    np.testing.assert_array_equal(compiled(np.ones(3)), [1.0, 2.0, 3.0])
    assert "a NumPy function was applied" in compiled.reason
