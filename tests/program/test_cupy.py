"""The CuPy lowering: its kernels and products on the device, beside the functions on NumPy."""

from __future__ import annotations

import dataclasses
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from tests.program.comparisons import checked
from tests.program.cuda import CountingDevice, for_cupy, from_device, to_device
from tests.program.entries import BINARY, DTYPES, NUMBERS, UNARY, applies, assert_close, entries
from tests.program.lowerings import assert_same
from tests.program.random_programs import Builder
from xpnet.errors import RecordError
from xpnet.program import record
from xpnet.program.lowerings import cupy, generic
from xpnet.program.lowerings.cupy import kernels
from xpnet.program.lowerings.cupy.elements import can_be_grouped
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Operation, Program, Ref

pytestmark = pytest.mark.backends("cupy")


# --- functions ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinities are what this is about
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_functions(dtype: str, device: CountingDevice) -> None:
    some, least = entries(dtype), 0.0
    if dtype == "float32":  # subnormals are zero in all kernels that CuPy compiles
        least = float(np.finfo(dtype).tiny)
        some = some[(some == 0) | ~(np.abs(some) < least)]
    x, y = np.repeat(some, len(some)), np.tile(some, len(some))
    builder = Builder(x, y)
    outputs = [builder.apply(name, Ref(0)) for name in UNARY if applies(getattr(xp, name), x)]
    for name in BINARY:
        for other in (Ref(1), *NUMBERS[np.dtype(dtype).kind]):
            if "shift" in name and (type(other) is Ref or other < 0):
                continue  # undefined by more bits than there are
            if name == "pow" and other == 0.5:
                continue  # NumPy's own answer for -inf depends on its version
            if applies(getattr(xp, name), x, y if type(other) is Ref else other):
                outputs.append(builder.apply(name, Ref(0), other))
    program = builder.program(*outputs)
    # The others are functions of CuPy's own.
    program = _of(program, [op for op in program.operations if can_be_grouped(op, program.values)])
    run = cupy.lower(for_cupy(program), {}, device)
    assert not run.calls
    for arrays in ([y, x], [x, y]):
        expected, found = generic.lower(program)(arrays), run([to_device(x) for x in arrays])
        for operation, a, b in zip(program.operations, expected, found, strict=True):
            try:
                assert_close(a, from_device(b), 8, least=least)
            except AssertionError as error:
                raise AssertionError(operation.name) from error


def _of(program: Program, operations: list[Operation]) -> Program:
    """Return a program with the results of these operations alone."""
    outputs = tuple(Ref(op.results[0]) for op in operations)
    return dataclasses.replace(program, operations=tuple(operations), outputs=outputs)


def test_casts(device: CountingDevice) -> None:
    arrays = [np.asarray([0, 1, 2, 125]).astype(d) for d in DTYPES]
    builder = Builder(*arrays, np.asarray([0.5, -0.0, np.nan, -np.inf]))
    outputs = [builder.apply("astype", Ref(i), np.dtype(d)) for i in range(len(arrays)) for d in DTYPES]
    outputs += [builder.apply("astype", Ref(len(arrays)), np.dtype(d)) for d in ("float32", "bool")]
    whole = [i for i, d in enumerate(DTYPES) if np.dtype(d).kind in "iu"]
    outputs += [builder.apply("divide", Ref(i), builder.apply("add", Ref(i), 1)) for i in whole]
    program = builder.program(*outputs)
    checked(program, builder.arrays[: len(arrays) + 1], device, 0)


_SHAPES = [(), (7,), (5, 1), (2, 3, 4), (9000,), (300, 70), (2000, 5), (3, 2500), (40, 33), (33, 40)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("dtype", "blocks"), [("float32", 1024), ("float64", 4), ("int32", 7), ("bool", 1)])
def test_reductions(dtype: str, blocks: int, device: CountingDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_MOST_BLOCKS", blocks)
    if dtype == "int32":  # as for arrays of two thousand million entries
        monkeypatch.setattr(kernels, "_NARROW", 0)
    draw = np.random.default_rng(0)
    arrays = [np.asarray(draw.normal(size=shape) * 50).astype(dtype) for shape in _SHAPES]
    if dtype.startswith("float"):
        arrays[3][0, 1, 2], arrays[3][1, 1, 0] = np.nan, -np.inf
    builder, outputs = Builder(*arrays), []
    for i, array in enumerate(arrays):
        for name in ("sum",) if dtype == "bool" else ("sum", "max", "min"):
            for axis in [None, *range(array.ndim), (0, 1), (1, 2)]:
                top = max(axis) if isinstance(axis, tuple) else -1 if axis is None else axis
                if top < array.ndim:
                    kept = builder.apply(name, Ref(i), axis=axis, keepdims=True)
                    outputs += [builder.apply(name, Ref(i), axis=axis), builder.apply("add", Ref(i), kept)]
    program = builder.program(*outputs)
    run = cupy.lower(for_cupy(program), {}, device)
    # Along an axis between others; sums of floating-point numbers are kernels there, too.
    assert len(run.calls) == {"bool": 2, "int32": 6}.get(dtype, 4)
    assert ("long long index" in run.source) == (dtype == "int32")
    exact = [x.astype(np.longdouble) if dtype.startswith("float") else x for x in arrays]
    found = map(from_device, run([to_device(x) for x in arrays]))
    for a, b in zip(map(np.asarray, generic.lower(program)(exact)), found, strict=True):
        if not dtype.startswith("float"):
            assert_close(a, b, 0)
            continue
        # 3e4 is about the size of sums of these many entries without their signs.
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(b, a, rtol=4 * eps, atol=3e4 * eps)


def test_reductions_are_added_up_in_the_same_order_each_time(device: CountingDevice) -> None:
    """On the host, blocks and threads run backwards every other time."""
    draw = np.random.default_rng(0)
    shapes = [(90_000,), (3000, 7)]
    arrays = [draw.normal(size=shape) * 10.0 ** draw.uniform(-6, 6, shape) for shape in shapes]
    builder = Builder(*arrays)
    outputs = [builder.apply("sum", Ref(0)), *(builder.apply("sum", Ref(1), axis=a) for a in (None, 0, 1))]
    run, mine = cupy.lower(for_cupy(builder.program(*outputs)), {}, device), [to_device(x) for x in arrays]
    for a, b in zip(run(mine), run(mine), strict=True):
        assert a.tobytes() == b.tobytes()


# --- products, gathers, calls ---------------------------------------------------------------------------


def test_matrix_products_of_any_layout(device: CountingDevice) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(n, k)) for n, k in [(40, 30), (30, 20), (20, 40), (30, 40)]]
    arrays += [draw.normal(size=30), draw.normal(size=60), draw.normal(size=(5, 2)), draw.normal(size=(1, 5))]
    builder = Builder(*arrays)
    turned = [builder.apply("matrix_transpose", Ref(i)) for i in range(4)]
    part = builder.apply("getitem", Ref(3), slice(0, 20))
    pairs = [
        (Ref(0), Ref(1)), (turned[1], turned[0]), (Ref(2), turned[3]), (part, Ref(0)),
        (builder.apply("getitem", turned[0], slice(0, 9)), turned[2]),
        (Ref(0), Ref(4)), (Ref(4), Ref(1)), (turned[0], builder.apply("getitem", Ref(5), slice(0, 40))),
        (Ref(0), builder.apply("getitem", Ref(5), slice(0, 60, 2))),
        (builder.apply("getitem", Ref(5), slice(None, None, -2)), Ref(1)),
        (builder.apply("getitem", Ref(0), (slice(0, 5), slice(0, 30, 3))),
         builder.apply("getitem", Ref(1), (slice(0, 30, 3), slice(0, 20, 7)))),
        (builder.apply("flip", Ref(0), axis=1), Ref(1)), (Ref(7), Ref(6)),
        (builder.apply("broadcast_to", Ref(7), (4, 5)), Ref(6)),
    ]  # fmt: skip
    program = builder.program(*(builder.apply("matmul", *pair) for pair in pairs))
    run = checked(program, arrays, device)
    assert not run.calls


def test_products_that_the_blas_does_not_have(device: CountingDevice) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(3, 4, 5)), draw.normal(size=(5, 2)), np.arange(6).reshape(2, 3)]
    builder = Builder(*arrays)
    outputs = [
        builder.apply("matmul", Ref(0), Ref(1)),
        builder.apply("add", builder.apply("matmul", Ref(2), builder.apply("matrix_transpose", Ref(2))), 1),
    ]
    assert checked(builder.program(*outputs), arrays, device).calls == ["matmul"]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gathers(dtype: str, device: CountingDevice) -> None:
    x, rows = np.arange(24.0).reshape(4, 6), np.asarray([3, 0, -1, 3, -4], dtype=dtype)
    builder = Builder(x, rows)
    turned = builder.apply("matrix_transpose", Ref(0))
    outputs = [
        builder.apply("take", Ref(0), Ref(1), axis=0),
        builder.apply("take", turned, builder.apply("getitem", Ref(1), slice(None, None, 2)), axis=1),
        builder.apply("take", builder.apply("getitem", Ref(0), (slice(None), 2)), Ref(1)),
    ]
    program = builder.program(*outputs)
    run = checked(program, [x, rows], device, 0)
    assert device.launches == 2 * len(outputs)
    # The library's kernels do not check numbers either; it wraps them around.
    far = np.asarray([4, -5, 403, 0, -400], dtype=dtype)
    np.testing.assert_array_equal(from_device(run([to_device(x), to_device(far)])[0]), x[far % 4])


def test_joined_and_reshaped(device: CountingDevice) -> None:
    x, y = np.arange(12.0).reshape(3, 4), np.arange(8.0).reshape(2, 4)

    def f(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        return [
            xp.concat([x, y, x[:0]]), xp.concat([x.mT, y.mT], axis=1), xp.stack([x, x * 2], axis=1),
            xp.reshape(x.mT, (2, 6)) + 1, xp.stack([xp.sum(x), xp.sum(y)]), xp.concat([x[0], y[1]]),
        ]  # fmt: skip

    run = checked(simplify(record(f)(x, y)), [x, y], device, 0)
    assert not run.calls


def test_functions_of_the_library_between_kernels(device: CountingDevice) -> None:
    x = np.random.default_rng(0).normal(size=(4, 4))
    builder = Builder(x)
    doubled = builder.apply("multiply", Ref(0), 2.0)
    ordered = builder.apply("sort", doubled)
    looked = builder.apply("getitem", ordered, (slice(None), 1))
    summed = builder.apply("cumulative_sum", looked)
    program = builder.program(ordered, builder.apply("add", looked, 1.0), summed)
    assert checked(program, [x], device).calls == ["sort", "cumulative_sum"]


# --- what callers may do --------------------------------------------------------------------------------


def _doubled() -> Program:
    builder = Builder(np.ones((3, 4)), np.ones((3, 4)))
    return for_cupy(builder.program(builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), 2.0))))


def test_arguments_of_any_layout(device: CountingDevice) -> None:
    """NumPy's own are copied to the device."""
    run = cupy.lower(_doubled(), {}, device)
    x = np.arange(12.0)
    there = to_device(x)
    for given in (there.reshape(4, 3).T, there.repeat(2)[::2].reshape(3, 4), x.reshape(3, 4)):
        found = from_device(run([given, there.reshape(3, 4)])[0])
        np.testing.assert_array_equal(found, from_device(given) + 2 * x.reshape(3, 4))


def test_results_are_not_overwritten_by_the_next_call(device: CountingDevice) -> None:
    run = cupy.lower(_doubled(), {}, device)
    zeros, ones = to_device(np.zeros((3, 4))), to_device(np.ones((3, 4)))
    (first,) = run([ones, ones])
    run([zeros, zeros])
    assert (first == 3).all()


@pytest.mark.parametrize("other", [np.ones((4, 3)), np.ones((3, 4), dtype=np.float32), np.ones(12)])
def test_other_arrays_are_refused(other: np.ndarray, device: CountingDevice) -> None:
    with pytest.raises(RecordError, match="record the function anew"):
        cupy.lower(_doubled(), {}, device)([to_device(np.ones((3, 4))), to_device(other)])


_DONATIONS = {
    "read after its heir is computed": lambda b: [
        made := b.apply("add", Ref(0), 1.0), b.apply("subtract", b.apply("multiply", made, 2.0), Ref(0))
    ],
    "read across rows": lambda b: [
        b.apply("add", b.apply("subtract", Ref(0), b.apply("sum", Ref(0), axis=1, keepdims=True)),
                b.apply("reshape", b.apply("matrix_transpose", Ref(0)), (3, 4)))
    ],
    "read row by row": lambda b: [b.apply("subtract", Ref(0), b.apply("max", Ref(0), axis=1, keepdims=True))],
    "gathered from": lambda b: [b.apply("take", Ref(0), Ref(1), axis=0)],
    "flipped": lambda b: [b.apply("add", b.apply("flip", Ref(0)), 1.0)],
}  # fmt: skip


@pytest.mark.parametrize("name", _DONATIONS)
def test_donated_inputs_are_overwritten_when_nobody_reads_them(name: str, device: CountingDevice) -> None:
    builder = Builder(np.arange(12.0).reshape(3, 4), np.asarray([2, 0, 1]))
    program = builder.program(*_DONATIONS[name](builder))
    inputs = [to_device(x) for x in builder.arrays[:2]]
    expected = generic.lower(program)(builder.arrays[:2])
    found = cupy.lower(for_cupy(program), {0: 0}, device)(inputs)
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)
    assert found[0] is inputs[0]


def test_a_donated_input_that_is_read_again_in_a_later_phase(device: CountingDevice) -> None:
    """Of a long row, entries are loaded anew once its sum is known."""
    builder = Builder(np.random.default_rng(0).normal(size=(3, 1500)))
    doubled = builder.apply("multiply", Ref(0), 2.0)
    less = builder.apply("subtract", Ref(0), builder.apply("sum", Ref(0), axis=1, keepdims=True))
    program = builder.program(doubled, less)
    expected = generic.lower(program)(builder.arrays[:1])
    found = cupy.lower(for_cupy(program), {0: 0}, device)([to_device(builder.arrays[0])])
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b, ulps=64)


def test_numbers_that_many_threads_read_are_not_overwritten_by_one(device: CountingDevice) -> None:
    builder = Builder(np.asarray(2.0), np.ones(3000))
    doubled = builder.apply("multiply", Ref(0), 2.0)
    program = builder.program(doubled, builder.apply("add", Ref(1), doubled))
    for _ in range(2):
        given = [to_device(np.asarray(2.0)), to_device(np.ones(3000))]
        number, many = cupy.lower(for_cupy(program), {0: 0}, device)(given)
        assert number == 4
        assert (many == 5).all()


def test_equal_kernels_are_compiled_once(device: CountingDevice) -> None:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(9, 9)), *draw.normal(size=(5, 9, 9)))
    x = Ref(0)
    for i in range(5):
        x = builder.apply("tanh", builder.apply("add", builder.apply("matmul", x, Ref(i + 1)), 0.5))
    run = cupy.lower(for_cupy(builder.program(x)), {}, device)
    assert len(run.kernels) == 5
    assert run.source.count("= tanh(") <= 2  # one of them in place
