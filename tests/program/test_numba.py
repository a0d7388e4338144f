"""The numba lowering beside the plain functions."""

from __future__ import annotations

import platform
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

import xpnet
from tests.program.entries import BINARY, DTYPES, NUMBERS, UNARY, applies, assert_close, entries
from tests.program.random_programs import Builder
from tests.program.steps import gathering_step, work
from xpnet import nn, optim
from xpnet.backends import array_namespace
from xpnet.errors import RecordError
from xpnet.program.lowerings import generic
from xpnet.program.program import Program, Ref

pytest.importorskip("numba", reason="numba (extra jit) is not installed")

from xpnet.program.looping import Loop, lowered_loop
from xpnet.program.lowerings import blas_libraries, numba


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinities are what this is about
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_functions(dtype: str) -> None:
    some = entries(dtype)
    x, y = np.repeat(some, len(some)), np.tile(some, len(some))
    builder = Builder(x, y)
    outputs = [builder.apply(name, Ref(0)) for name in UNARY if applies(getattr(xp, name), x)]
    for name in BINARY:
        for other in (Ref(1), *NUMBERS[np.dtype(dtype).kind]):
            if "shift" in name and (type(other) is Ref or other < 0):
                continue  # undefined by more bits than there are
            if applies(getattr(xp, name), x, y if type(other) is Ref else other):
                outputs.append(builder.apply(name, Ref(0), other))
    program = builder.program(*outputs)
    run = numba.lower(program)
    # Twice: memory must not remember.
    for arrays in ([y, x], [x, y]):
        expected, found = generic.lower(program)(arrays), run(arrays)
        for ref, a, b in zip(outputs, expected, found, strict=True):
            name = next(op.name for op in program.operations if op.results == (ref.number,))
            try:
                assert_close(a, b, 4)
            except AssertionError as error:
                raise AssertionError(name) from error


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["exp", "log", "log1p", "expm1", "tanh", "sin", "cos"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_functions_over_their_whole_range(name: str, dtype: str) -> None:
    draw, far = np.random.default_rng(0), {"float32": 110, "float64": 760}[dtype]
    parts = [draw.normal(size=9000), draw.normal(size=9000) * 1e-4, draw.uniform(-far, far, 9000)]
    x = np.concatenate([*parts, np.exp(parts[2] * 0.75)]).astype(dtype)
    builder = Builder(x)
    program = builder.program(builder.apply(name, Ref(0)))
    exact = getattr(np, name)(x.astype(np.longdouble)).astype(dtype)
    assert_close(exact, numba.lower(program)([x])[0], 3)


def test_casts() -> None:
    arrays = [np.asarray([0, 1, 2, 250]).astype(d) for d in DTYPES]
    builder = Builder(*arrays, np.asarray([0.5, -0.0, np.nan, -np.inf]))
    outputs = [
        builder.apply("astype", Ref(i), np.dtype(d))
        for i in range(len(arrays))
        for d in DTYPES
        if not (np.dtype(DTYPES[i]).kind == "f" and np.dtype(d).kind in "iu")
    ]
    outputs += [builder.apply("astype", Ref(len(arrays)), np.dtype(d)) for d in ("float32", "bool")]
    given_ = builder.arrays[: len(arrays) + 1]
    program = builder.program(*outputs)
    for a, b in zip(generic.lower(program)(given_), numba.lower(program)(given_), strict=True):
        assert_close(a, b, 0)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stacks_of_matrices_their_sums_and_joined_rows_are_compiled(dtype: str) -> None:
    """As the examples of a ``vmap`` are: by loops, by a BLAS, and from one matrix for all of them."""
    draw = np.random.default_rng(0)
    shapes = [(8, 32, 16), (8, 16, 20), (16, 20), (2, 1, 3, 4), (5, 4, 2), (8, 1, 16)]
    arrays = [draw.normal(size=shape).astype(dtype) for shape in shapes]
    builder = Builder(*arrays)
    turned = builder.apply("matrix_transpose", Ref(0))
    products = [(Ref(0), Ref(1)), (Ref(0), Ref(2)), (turned, Ref(0)), (Ref(3), Ref(4)), (Ref(5), Ref(1))]
    outputs = [builder.apply("matmul", *pair) for pair in products]
    outputs += [builder.apply("sum", Ref(n), axis=1, keepdims=n == 1) for n in (0, 1, 3)]
    outputs += [builder.apply("concat", *outputs[:2], axis=axis) for axis in (0, 1, -1)]
    program = builder.program(*outputs)
    run = numba.lower(program)
    assert "matmul" not in run.source
    assert "sum" not in run.source
    assert "concat" not in run.source
    for one, other in zip(generic.lower(program)(arrays), run(arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_reductions() -> None:
    draw = np.random.default_rng(0)
    shapes = [(), (7,), (5, 1), (2, 3, 4), (9000,), (300, 70), (300, 5)]
    arrays = [
        np.asarray(draw.normal(size=shape) * 50).astype("float64" if i % 2 else "float32")
        for i, shape in enumerate(shapes)
    ]
    arrays[3][0, 1, 2], arrays[3][1, 1, 0] = np.nan, -np.inf
    builder, outputs = Builder(*arrays), []
    for i, array in enumerate(arrays):
        axes = [None, *range(array.ndim), (0, 1), (1, 2)]
        for name in ("sum", "max", "min"):
            for axis in axes:
                top = max(axis) if isinstance(axis, tuple) else -1 if axis is None else axis
                if top < array.ndim:
                    kept = builder.apply(name, Ref(i), axis=axis, keepdims=True)
                    outputs += [builder.apply(name, Ref(i), axis=axis), builder.apply("add", Ref(i), kept)]
    program = builder.program(*outputs)
    exact = [x.astype(np.longdouble) for x in arrays]
    for a, b in zip(generic.lower(program)(exact), numba.lower(program)(arrays), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        # 1e5 is about the size of sums of thousands of entries without their signs.
        eps = np.finfo(b.dtype).eps
        np.testing.assert_allclose(b, a, rtol=8 * eps, atol=1e5 * eps)


# --- training steps -------------------------------------------------------------------------------------


@pytest.mark.full
def test_steps_without_a_blas_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy's BLAS is not found, products are NumPy calls between compiled functions."""
    monkeypatch.setattr(blas_libraries, "gemm_addresses", lambda: (0, 0))
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.Adam(0.01), nn.MLP([300], 3), loss, X, y, 16)
    assert numba.lower_loop(program, carried, 2) is None
    loop = lowered_loop(program, "numba", carried, 2)
    sequences = [np.stack([x] * 3) for x in inputs[carried + 2 :]]
    state, (found,) = loop(inputs[:carried], inputs[carried : carried + 2], sequences, False)
    plain, now = generic.lower(program), list(inputs)
    for i in range(3):
        out = plain(now)
        now[:carried] = out[:carried]
        np.testing.assert_allclose(found[i], out[carried], rtol=1e-11)
    for a, b in zip(now, state, strict=False):
        np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-13)


@pytest.mark.full
@pytest.mark.parametrize(
    ("loss", "activation", "dtype"),
    [
        ("squared_error", "sigmoid", "float32"),
        ("squared_error", "tanh", "float64"),
        ("binary_cross_entropy", "elu", "float32"),
        ("softmax_cross_entropy", "gelu", "float32"),
    ],
)
def test_loops_over_steps(loss: str, activation: str, dtype: str) -> None:
    function, X, y = work(loss, dtype)
    model = nn.MLP([6, 40], 3, activation=activation)
    program, inputs, carried = gathering_step(optim.Adam(0.01), model, function, X, y, 8)
    loop = numba.lower_loop(program, carried, 2)
    assert isinstance(loop, numba.CompiledLoop)
    rows = np.random.default_rng(1).integers(-40, 40, size=(20, 8))
    sequences = [rows, *(np.full(20, s) for s in inputs[carried + 3 :])]
    kept = [x.copy() for x in inputs]
    state, (found,) = loop(inputs[:carried], inputs[carried : carried + 2], sequences, False)
    plain, now, expected = generic.lower(program), inputs[:carried], []
    for i in range(20):
        out = plain([*now, *inputs[carried : carried + 2], *(x[i, ...] for x in sequences)])
        now = out[:carried]
        expected.append(out[carried])
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, np.stack(expected), rtol=tolerance)
    for a, b in zip(now, state, strict=True):
        np.testing.assert_allclose(b, a, rtol=10 * tolerance, atol=tolerance)
    for a, b in zip(kept, inputs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_matrix_products_of_any_layout() -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(n, k)) for n, k in [(40, 30), (30, 20), (20, 40), (30, 40)]]
    arrays += [draw.normal(size=30), draw.normal(size=(3, 4, 5)), draw.normal(size=(5, 2))]
    builder = Builder(*arrays)
    turned = [builder.apply("matrix_transpose", Ref(i)) for i in range(4)]
    part = builder.apply("getitem", Ref(3), slice(0, 20))
    outputs = [
        builder.apply("matmul", Ref(0), Ref(1)),
        builder.apply("matmul", turned[1], turned[0]),
        builder.apply("matmul", Ref(2), turned[3]),
        builder.apply("matmul", part, Ref(0)),
        builder.apply("matmul", builder.apply("getitem", turned[0], slice(0, 9)), turned[2]),
        builder.apply("matmul", Ref(0), Ref(4)),
        builder.apply("matmul", Ref(4), Ref(1)),
        builder.apply("matmul", builder.apply("getitem", Ref(4), slice(0, 20, 1)), Ref(2)),
        builder.apply("matmul", builder.apply("getitem", Ref(0), slice(0, 5)), Ref(4)),
        builder.apply("matmul", Ref(5), Ref(6)),
    ]
    program = builder.program(*outputs)
    for a, b in zip(generic.lower(program)(arrays), numba.lower(program)(arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# --- what callers may do --------------------------------------------------------------------------------


def _doubled() -> Program:
    builder = Builder(np.ones((3, 4)), np.ones((3, 4)))
    return builder.program(builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), 2.0)))


def test_arguments_of_any_layout() -> None:
    run = numba.lower(_doubled())
    x = np.arange(12.0)
    locked = x.reshape(3, 4).copy()
    locked.flags.writeable = False
    for given_ in (x.reshape(4, 3).T, np.repeat(x, 2)[::2].reshape(3, 4), locked):
        np.testing.assert_array_equal(run([given_, locked])[0], given_ + 2 * locked)


@pytest.mark.parametrize("other", [np.ones((4, 3)), np.ones((3, 4), dtype=np.float32), np.ones(12)])
def test_other_arrays_are_refused(other: np.ndarray) -> None:
    with pytest.raises(RecordError, match="record the function anew"):
        numba.lower(_doubled())([np.ones((3, 4)), other])


def test_rows_out_of_bounds() -> None:
    builder = Builder(np.arange(10.0).reshape(5, 2), np.asarray([0, -1]))
    run = numba.lower(builder.program(builder.apply("take", Ref(0), Ref(1), axis=0)))
    np.testing.assert_array_equal(run([builder.arrays[0], np.asarray([-5, 4])])[0], [[0, 1], [8, 9]])
    for bad in (5, -6):
        with pytest.raises(IndexError, match="out of bounds"):
            run([builder.arrays[0], np.asarray([0, bad])])


def test_state_that_changes_places() -> None:
    """Two arrays swapped at each step, one of them also seen as a result."""
    builder = Builder(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), np.asarray(0.0))
    half = builder.apply("multiply", Ref(1), 0.5)
    program = builder.program(Ref(1), Ref(0), Ref(0), builder.apply("add", half, Ref(2)))
    loop = numba.lower_loop(program, 2, 0)
    (a, b), (seen, halves) = loop(builder.arrays[:2], [], [np.asarray([0.0, 1.0, 2.0])])
    np.testing.assert_array_equal([a, b], [[3, 4], [1, 2]])
    np.testing.assert_array_equal(seen, [[1, 2], [3, 4], [1, 2]])
    np.testing.assert_array_equal(halves, [[1.5, 2], [1.5, 2], [3.5, 4]])


def test_a_donated_input_that_is_read_after_its_heir_is_computed() -> None:
    builder = Builder(np.arange(40.0), np.ones(40))
    new = builder.apply("add", Ref(0), Ref(1))
    program = builder.program(new, builder.apply("subtract", builder.apply("multiply", new, 2.0), Ref(0)))
    a, b = numba.lower(program, {0: 0})([x.copy() for x in builder.arrays[:2]])
    np.testing.assert_array_equal(a, np.arange(40.0) + 1)
    np.testing.assert_array_equal(b, np.arange(40.0) + 2)


def test_a_donated_input_that_is_read_across_rows() -> None:
    """Written over itself, a centred matrix must not be read after its rows are gone."""
    builder = Builder(np.arange(12.0).reshape(3, 4))
    mean = builder.apply("sum", Ref(0), axis=1, keepdims=True)
    turned = builder.apply("reshape", builder.apply("matrix_transpose", Ref(0)), (3, 4))
    out = builder.apply("add", builder.apply("subtract", Ref(0), mean), turned)
    program = builder.program(out)
    x = builder.arrays[0].copy()
    (expected,) = generic.lower(program)([x])
    (found,) = numba.lower(program, {0: 0})([x])
    np.testing.assert_array_equal(found, expected)
    assert found is x


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="others are fast with them")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loops_take_subnormal_numbers_for_zero_and_nobody_else_does(dtype: str) -> None:
    """Processors of x86 are much slower with them, and gradients of a trained network have many."""
    small = np.full((50,), np.finfo(dtype).tiny)

    def step(carry: list[Any], constants: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        return [carry[0] * 0.5], [array_namespace(*carry).take(constants[0], row[0])]

    loop = Loop(step, "numba")
    (after,), _ = loop([small], [small], [np.asarray([[0], [49]])])
    assert after.tolist() == [0.0] * 50
    assert np.all(small * 0.5 > 0)
    with pytest.raises(IndexError, match="out of bounds"):
        loop([small], [small], [np.asarray([[0], [50]])])
    assert np.all(small * 0.5 > 0)
    assert np.all(xpnet.compile(lambda x: x * 0.5, lower="numba")(small) > 0)
