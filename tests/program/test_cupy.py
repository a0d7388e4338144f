"""The CuPy lowering on the host: the same kernels, compiled as C++, beside the plain functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.layer_cases import BATCH, FEATURES, variables_on
from tests.nn.layer_cases import CASES as LAYERS
from tests.program.entries import BINARY, DTYPES, NUMBERS, UNARY, applies, assert_close, entries
from tests.program.host_device import COMPILER, HostDevice
from tests.program.random_programs import Builder, random_program
from tests.program.steps import FUNCTIONS, gathering_step, work
from tests.support import draw
from xpnet import Trainer, losses, nn, optim, rng
from xpnet.autodiff import value_and_grad, vjp
from xpnet.backends import backend
from xpnet.containers import leaves
from xpnet.errors import RecordError
from xpnet.program import looping, record
from xpnet.program.lowerings import cupy, generic
from xpnet.program.lowerings.cupy import cuda, kernels
from xpnet.program.lowerings.cupy.device import Device
from xpnet.program.passes.simplify import simplify
from xpnet.program.program import Program, Ref

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


@pytest.fixture
def device() -> Iterator[HostDevice]:
    made = HostDevice()
    yield made
    made.check()


def _checked(program: Program, inputs: list[Any], device: HostDevice, ulps: float = 64) -> cupy.CudaProgram:
    """Compare a program with its functions, called one by one, and return it."""
    before = [np.array(x) for x in inputs]
    run = cupy.lower(program, {}, device)
    with np.errstate(all="ignore"):
        expected = generic.lower(program)(inputs)
        for _ in range(2):  # the second time in memory that was used before
            for a, b in zip(expected, run(inputs), strict=True):
                _assert_same(a, b, ulps)
    for x, kept in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, kept)
    return run


def _assert_same(a: Any, b: Any, ulps: float) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if ulps and a.dtype.kind in "fc":
        size = ulps * np.finfo(a.dtype).eps
        scale = np.max(np.abs(a), initial=1, where=np.isfinite(a))
        np.testing.assert_allclose(b, a, rtol=size, atol=size * scale)
    else:
        np.testing.assert_array_equal(a, b)


# --- functions ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinities are what this is about
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_functions(dtype: str, device: HostDevice) -> None:
    some = entries(dtype)
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
    run = cupy.lower(program, {}, device)
    for arrays in ([y, x], [x, y]):
        expected, found = generic.lower(program)(arrays), run(arrays)
        for ref, a, b in zip(outputs, expected, found, strict=True):
            name = next(op.name for op in program.operations if op.results == (ref.number,))
            try:
                assert_close(a, b, 4)
            except AssertionError as error:
                raise AssertionError(name) from error


def test_casts(device: HostDevice) -> None:
    arrays = [np.asarray([0, 1, 2, 125]).astype(d) for d in DTYPES]
    builder = Builder(*arrays, np.asarray([0.5, -0.0, np.nan, -np.inf]))
    outputs = [builder.apply("astype", Ref(i), np.dtype(d)) for i in range(len(arrays)) for d in DTYPES]
    outputs += [builder.apply("astype", Ref(len(arrays)), np.dtype(d)) for d in ("float32", "bool")]
    program = builder.program(*outputs)
    _checked(program, builder.arrays[: len(arrays) + 1], device, 0)


_SHAPES = [(), (7,), (5, 1), (2, 3, 4), (9000,), (300, 70), (2000, 5), (3, 2500), (40, 33), (33, 40)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("dtype", "blocks"), [("float32", 1024), ("float64", 4), ("int32", 7), ("bool", 1)])
def test_reductions(dtype: str, blocks: int, device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_MOST_BLOCKS", blocks)
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
    run = cupy.lower(program, {}, device)
    assert len(run.calls) == (2 if dtype == "bool" else 6)  # along an axis between others
    exact = [x.astype(np.longdouble) if dtype.startswith("float") else x for x in arrays]
    for a, b in zip(generic.lower(program)(exact), run(arrays), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if not dtype.startswith("float"):
            assert_close(a, b, 0)
            continue
        # 3e4 is about the size of sums of these many entries without their signs.
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(b, a, rtol=4 * eps, atol=3e4 * eps)


def test_reductions_are_added_up_in_the_same_order_each_time(device: HostDevice) -> None:
    """The host runs blocks and threads backwards every other time."""
    draw = np.random.default_rng(0)
    shapes = [(90_000,), (3000, 7)]
    arrays = [draw.normal(size=shape) * 10.0 ** draw.uniform(-6, 6, shape) for shape in shapes]
    builder = Builder(*arrays)
    outputs = [builder.apply("sum", Ref(0)), *(builder.apply("sum", Ref(1), axis=a) for a in (None, 0, 1))]
    run = cupy.lower(builder.program(*outputs), {}, device)
    for a, b in zip(run(arrays), run(arrays), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_array_code(name: str, device: HostDevice) -> None:
    f, args = FUNCTIONS[name]
    program = record(f)(*args)
    run = _checked(simplify(program), args, device)
    for one, other in zip(run(args), leaves(f(*args)), strict=True):
        _assert_same(one, other, 64)


def test_nan_infinities_and_signed_zeros_stay(device: HostDevice) -> None:
    x = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, 1e-320, -3.5])
    builder = Builder(x)
    with np.errstate(all="ignore"):
        outputs = [
            builder.apply("maximum", Ref(0), 0.0),
            builder.apply("minimum", Ref(0), -0.0),
            builder.apply("multiply", Ref(0), 0.0),
            builder.apply("divide", Ref(0), Ref(0)),
            builder.apply("sqrt", Ref(0)),
            builder.apply("sign", Ref(0)),
            builder.apply("where", builder.apply("greater", Ref(0), 0.0), Ref(0), Ref(0)),
            builder.apply("sum", Ref(0)),
            builder.apply("max", Ref(0)),
        ]
    program = builder.program(*outputs)
    with np.errstate(all="ignore"):
        expected = generic.lower(program)([x])
    for a, b in zip(expected, cupy.lower(program, {}, device)([x]), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_random_programs(seed: int) -> None:
    program, inputs = random_program(seed)
    device = HostDevice()
    _checked(program, inputs, device, 0)
    device.check()


# --- products, gathers, calls ---------------------------------------------------------------------------


def test_matrix_products_of_any_layout(device: HostDevice) -> None:
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
    run = _checked(program, arrays, device)
    assert not run.calls


def test_products_that_the_blas_does_not_have(device: HostDevice) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(3, 4, 5)), draw.normal(size=(5, 2)), np.arange(6).reshape(2, 3)]
    builder = Builder(*arrays)
    outputs = [
        builder.apply("matmul", Ref(0), Ref(1)),
        builder.apply("add", builder.apply("matmul", Ref(2), builder.apply("matrix_transpose", Ref(2))), 1),
    ]
    assert _checked(builder.program(*outputs), arrays, device).calls == ["matmul", "matmul"]


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gathers(dtype: str, device: HostDevice) -> None:
    x, rows = np.arange(24.0).reshape(4, 6), np.asarray([3, 0, -1, 3, -4], dtype=dtype)
    builder = Builder(x, rows)
    turned = builder.apply("matrix_transpose", Ref(0))
    outputs = [
        builder.apply("take", Ref(0), Ref(1), axis=0),
        builder.apply("take", turned, builder.apply("getitem", Ref(1), slice(None, None, 2)), axis=1),
        builder.apply("take", builder.apply("getitem", Ref(0), (slice(None), 2)), Ref(1)),
    ]
    program = builder.program(*outputs)
    run = _checked(program, [x, rows], device, 0)
    assert device.launches == 2 * len(outputs)
    # The library's kernels do not check numbers either; it wraps them around.
    far = np.asarray([4, -5, 403, 0, -400], dtype=dtype)
    np.testing.assert_array_equal(run([x, far])[0], x[far % 4])


def test_joined_and_reshaped(device: HostDevice) -> None:
    x, y = np.arange(12.0).reshape(3, 4), np.arange(8.0).reshape(2, 4)

    def f(x: Any, y: Any) -> Any:
        xp = x.__array_namespace__()
        return [
            xp.concat([x, y, x[:0]]), xp.concat([x.mT, y.mT], axis=1), xp.stack([x, x * 2], axis=1),
            xp.reshape(x.mT, (2, 6)) + 1, xp.stack([xp.sum(x), xp.sum(y)]), xp.concat([x[0], y[1]]),
        ]  # fmt: skip

    run = _checked(simplify(record(f)(x, y)), [x, y], device, 0)
    assert not run.calls


def test_functions_of_the_library_between_kernels(device: HostDevice) -> None:
    x = np.random.default_rng(0).normal(size=(4, 4))
    builder = Builder(x)
    doubled = builder.apply("multiply", Ref(0), 2.0)
    ordered = builder.apply("sort", doubled)
    looked = builder.apply("getitem", ordered, (slice(None), 1))
    summed = builder.apply("cumulative_sum", looked)
    program = builder.program(ordered, builder.apply("add", looked, 1.0), summed)
    assert _checked(program, [x], device).calls == ["sort", "cumulative_sum"]


# --- training steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", sorted(optim.OPTIMIZERS))
def test_steps_of_every_optimizer(optimizer: str, device: HostDevice) -> None:
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.get(optimizer), nn.MLP([7], 3), loss, X, y, 16)
    run = cupy.lower(program, {i: i for i in range(carried)}, device)
    assert not run.calls
    plain = generic.lower(program)
    ours, theirs = [x.copy() for x in inputs], list(inputs)
    for _ in range(3):
        expected, found = plain(theirs), run(ours)
        for i in range(carried):
            assert found[i] is ours[i]  # written in place
        ours[:carried], theirs[:carried] = found[:carried], expected[:carried]
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-13)
    for a, b in zip(ours[carried:], inputs[carried:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("loss", "activation", "dtype"),
    [
        ("squared_error", "sigmoid", "float32"),
        ("huber", "tanh", "float64"),
        ("binary_cross_entropy", "elu", "float32"),
        ("softmax_cross_entropy", "gelu", "float32"),
    ],
)
def test_loops_over_steps(loss: str, activation: str, dtype: str, device: HostDevice) -> None:
    function, X, y = work(loss, dtype)
    model = nn.MLP([6, 40], 3, activation=activation)
    program, inputs, carried = gathering_step(optim.Adam(0.01), model, function, X, y, 8)
    loop = cupy.lower_loop(program, carried, 2, device)
    rows = np.random.default_rng(1).integers(-40, 40, size=(20, 8))
    sequences = [rows, *(np.full(20, s) for s in inputs[carried + 3 :])]
    kept = [x.copy() for x in inputs]
    state, (found,) = loop(inputs[:carried], inputs[carried : carried + 2], sequences)
    now, (expected,) = _by_steps(program, carried, inputs[:carried], inputs[carried : carried + 2], sequences)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    for a, b in zip(now, state, strict=True):
        np.testing.assert_allclose(b, a, rtol=10 * tolerance, atol=tolerance)
    for a, b in zip(kept, inputs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not loop.calls
    assert loop.captures == 1


def _by_steps(
    program: Program, carried: int, now: list[Any], constants: list[Any], sequences: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return what a loop should, one step after another."""
    plain, seen = generic.lower(program), []
    for i in range(len(sequences[0])):
        out = [np.array(x) for x in plain([*now, *constants, *(x[i, ...] for x in sequences)])]
        now = out[:carried]
        seen.append(out[carried:])
    return now, [np.stack(column) for column in zip(*seen, strict=True)]


def test_a_loop_is_captured_once_for_the_same_constants(device: HostDevice) -> None:
    """Sequences and results of any length and at any address; a step is as many launches each time."""
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.SGD(0.1), nn.MLP([7], 3), loss, X, y, 16)
    loop = cupy.lower_loop(program, carried, 2, device)
    draw = np.random.default_rng(0)
    scalars = inputs[carried + 3 :]
    for rows, captures in ((X, 1), (X, 1), (X + 1, 2)):
        for count in (5, 9):
            sequences = [draw.integers(0, 40, (count, 16)), *(np.full(count, s) for s in scalars)]
            before = device.launches
            state, (found,) = loop(inputs[:carried], [rows, y], sequences)
            assert (device.launches - before - 2) % count == 0
            now, (expected,) = _by_steps(program, carried, inputs[:carried], [rows, y], sequences)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            np.testing.assert_allclose(state[0], now[0], rtol=1e-11, atol=1e-13)
        assert loop.captures == captures


def test_loops_with_large_rows_and_results(device: HostDevice) -> None:
    builder = Builder(np.ones((3, 5)), np.zeros((70, 80)), np.zeros(()))
    step = builder.apply("add", builder.apply("matrix_transpose", Ref(1)), Ref(2))
    state = builder.apply("add", Ref(0), builder.apply("sum", Ref(1)))
    program = builder.program(state, step, builder.apply("matrix_transpose", state), Ref(2))
    loop = cupy.lower_loop(program, 1, 0, device)
    draw = np.random.default_rng(0)
    for count in (1, 4):
        sequences = [draw.normal(size=(count, 70, 80)), draw.normal(size=count)]
        state, results = loop([builder.arrays[0]], [], sequences)
        now, expected = _by_steps(program, 1, [builder.arrays[0]], [], sequences)
        for a, b in zip([*now, *expected], [*state, *results], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def test_loops_with_calls_of_the_library(device: HostDevice) -> None:
    builder = Builder(np.asarray([3.0, 1.0, 2.0]), np.asarray([1.0, 5.0, 0.0]), np.zeros(3))
    made = builder.apply("sort", builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), Ref(2))))
    program = builder.program(made, builder.apply("sum", made), made)
    loop = cupy.lower_loop(program, 1, 1, device)
    sequences = [np.random.default_rng(0).normal(size=(6, 3))]
    state, results = loop([builder.arrays[0]], [builder.arrays[1]], sequences)
    now, expected = _by_steps(program, 1, [builder.arrays[0]], [builder.arrays[1]], sequences)
    for a, b in zip([*now, *expected], [*state, *results], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-14)
    assert loop.calls == ["sort"]
    assert loop.captures == 0


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_trainer_with_dropout_and_batch_norm(clip: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way from the trainer, the ragged last batch included; masks are the same bits."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(70, 6)), draw.integers(3, size=70)
    layers = [nn.Dense(9), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(5), nn.LayerNorm(), nn.GELU(),
              nn.Dense(3)]  # fmt: skip
    made: list[HostDevice] = []
    loops: list[cupy.GraphLoop] = []

    def device() -> HostDevice:
        made.append(HostDevice())
        return made[-1]

    def lower_loop(*args: Any) -> cupy.GraphLoop:
        loops.append(cupy.GraphLoop(*args, device()))
        return loops[-1]

    def trained(mode: str) -> Trainer:
        trainer = Trainer(
            nn.Sequential(*layers), "softmax_cross_entropy", optim.AdamW(), backend="numpy", dtype="float64",
            clip_norm=clip, compile=mode,
        )  # fmt: skip
        trainer.fit(X, y, epochs=2, batch_size=16)
        return trainer

    expected = trained("off")
    monkeypatch.setattr(cuda, "CupyDevice", device)
    monkeypatch.setattr(cupy, "lower_loop", lower_loop)
    monkeypatch.setattr(looping, "choose", lambda lower, xp: "cupy")
    found = trained("auto")
    assert len(loops) == 2
    assert not any(loop.calls for loop in loops)
    assert [loop.captures for loop in loops] == [1, 0]  # of 6 in an epoch, the last batch is the ragged one
    # A bias before a normalization has no gradient but for rounding, which this optimizer makes much of.
    np.testing.assert_allclose(found.variables.params.flat, expected.variables.params.flat, atol=1e-9)
    for one in made:
        one.check()


# --- everything that is registered ----------------------------------------------------------------------

_DRAWN = np.random.default_rng(3).normal(size=(BATCH, 3))
_PROBABILITIES = np.exp(_DRAWN) / np.exp(_DRAWN).sum(axis=1, keepdims=True)
_TARGETS = {
    "squared_error": _DRAWN, "absolute_error": _DRAWN, "huber": _DRAWN, "hinge": np.sign(_DRAWN),
    "binary_cross_entropy": _DRAWN > 0, "softmax_cross_entropy": np.arange(BATCH) % 3,
    "multiclass_hinge": np.arange(BATCH) % 3, "kl_divergence": _PROBABILITIES,
    "symmetric_kl": _PROBABILITIES, "poisson": np.floor(np.abs(3 * _DRAWN)),
}  # fmt: skip


def _layer(case: Any) -> tuple[Program, list[Any]]:
    variables = variables_on(backend("numpy"), case.layer, "float32")

    def f(flat: Any, x: Any) -> Any:
        def outputs(flat: Any, x: Any) -> Any:
            inside = nn.Variables(type(variables.params)(flat, variables.params.layout), variables.state)
            return case.layer.apply(inside, x, training=True, key=rng.key(5))

        (y, state), pull = vjp(outputs, flat, x)
        return [y, state, pull((y, state))]

    args = [variables.params.flat, draw(14, (BATCH, FEATURES)).astype("float32")]
    return simplify(record(f)(*args)), args


def _loss(name: str) -> tuple[Program, list[Any]]:
    y = _TARGETS[name]
    args = [2 * draw(4, (BATCH, 3)).astype("float32"), y.astype("float32") if y.dtype.kind == "f" else y]
    return simplify(record(value_and_grad(losses.get(name)))(*args)), args


def _optimizer(name: str) -> tuple[Program, list[Any]]:
    program, inputs, _ = gathering_step(optim.get(name), nn.MLP([7], 3), *work("huber", "float32"), 16)
    return program, inputs


_REGISTERED = {
    **{f"layer {case}": functools.partial(_layer, case) for case in LAYERS},
    **{f"loss {name}": functools.partial(_loss, name) for name in losses.LOSSES},
    **{f"optimizer {name}": functools.partial(_optimizer, name) for name in optim.OPTIMIZERS},
}


@pytest.mark.parametrize("name", _REGISTERED)
def test_everything_registered(name: str, device: HostDevice) -> None:
    program, inputs = _REGISTERED[name]()
    assert not _checked(program, inputs, device, 256).calls


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_compiles_all_kernels_without_warnings(tmp_path: Path, device: HostDevice) -> None:
    found = []
    for make in _REGISTERED.values():
        program, _ = make()
        found += cupy.lower(program, {}, device).kernels
    loss, X, y = work("softmax_cross_entropy", "float32")
    program, _, carried = gathering_step(optim.Adam(), nn.MLP([1500], 3), loss, X, y, 400)
    loop = cupy.lower_loop(program, carried, 2, device)
    path = tmp_path / "kernels.cu"
    for source in (kernels.module_source(found)[0], loop.source):
        path.write_text(source)
        command = ["nvcc", "-arch=sm_90", "--fmad=false", "-Werror", "all-warnings", "-cubin", str(path)]
        command += ["-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# --- what callers may do --------------------------------------------------------------------------------


def _doubled() -> Program:
    builder = Builder(np.ones((3, 4)), np.ones((3, 4)))
    return builder.program(builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), 2.0)))


def test_arguments_of_any_layout(device: HostDevice) -> None:
    run = cupy.lower(_doubled(), {}, device)
    x = np.arange(12.0)
    locked = x.reshape(3, 4).copy()
    locked.flags.writeable = False
    for given_ in (x.reshape(4, 3).T, np.repeat(x, 2)[::2].reshape(3, 4), locked):
        np.testing.assert_array_equal(run([given_, locked])[0], given_ + 2 * locked)


def test_results_are_not_overwritten_by_the_next_call(device: HostDevice) -> None:
    run = cupy.lower(_doubled(), {}, device)
    (first,) = run([np.ones((3, 4)), np.ones((3, 4))])
    run([np.zeros((3, 4)), np.zeros((3, 4))])
    assert (first == 3).all()


@pytest.mark.parametrize("other", [np.ones((4, 3)), np.ones((3, 4), dtype=np.float32), np.ones(12)])
def test_other_arrays_are_refused(other: np.ndarray, device: HostDevice) -> None:
    with pytest.raises(RecordError, match="record the function anew"):
        cupy.lower(_doubled(), {}, device)([np.ones((3, 4)), other])


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
def test_donated_inputs_are_overwritten_when_nobody_reads_them(name: str, device: HostDevice) -> None:
    builder = Builder(np.arange(12.0).reshape(3, 4), np.asarray([2, 0, 1]))
    program = builder.program(*_DONATIONS[name](builder))
    inputs = [x.copy() for x in builder.arrays[:2]]
    expected = generic.lower(program)(builder.arrays[:2])
    found = cupy.lower(program, {0: 0}, device)(inputs)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(b, a)
    assert found[0] is inputs[0]


def test_numbers_that_many_threads_read_are_not_overwritten_by_one(device: HostDevice) -> None:
    builder = Builder(np.asarray(2.0), np.ones(3000))
    doubled = builder.apply("multiply", Ref(0), 2.0)
    program = builder.program(doubled, builder.apply("add", Ref(1), doubled))
    for _ in range(2):
        number, many = cupy.lower(program, {0: 0}, device)([np.asarray(2.0), np.ones(3000)])
        assert number == 4
        assert (many == 5).all()


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_random_programs_that_write_over_their_inputs(seed: int) -> None:
    """Each input gets some value of its shape: donated to one call, and as the state of a loop."""
    program, inputs = random_program(seed, 15)
    device = HostDevice()
    choose = np.random.default_rng(seed)
    new = [
        Ref(int(choose.choice([n for n, v in program.values.items() if v == program.values[given_]])))
        for given_ in program.inputs
    ]
    once = dataclasses.replace(program, outputs=(*new, *program.outputs))
    run = cupy.lower(once, {i: i for i in range(len(new)) if choose.random() < 0.7}, device)
    for a, b in zip(generic.lower(once)(inputs), run([x.copy() for x in inputs]), strict=True):
        np.testing.assert_array_equal(a, b)
    carried = len(inputs) - 2
    step = dataclasses.replace(program, outputs=(*new[:carried], *program.outputs))
    sequences = [np.stack([np.roll(inputs[-1], i) for i in range(3)])]
    state, results = cupy.lower_loop(step, carried, 1, device)(inputs[:carried], [inputs[-2]], sequences)
    now, seen = _by_steps(step, carried, inputs[:carried], [inputs[-2]], sequences)
    for a, b in zip([*now, *seen], [*state, *results], strict=True):
        np.testing.assert_array_equal(a, b)
    device.check()


def test_state_that_changes_places(device: HostDevice) -> None:
    """Two arrays swapped at each step, one of them also seen as a result."""
    builder = Builder(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), np.asarray(0.0))
    half = builder.apply("multiply", Ref(1), 0.5)
    program = builder.program(Ref(1), Ref(0), Ref(0), builder.apply("add", half, Ref(2)))
    loop = cupy.lower_loop(program, 2, 0, device)
    (a, b), (seen, halves) = loop(builder.arrays[:2], [], [np.asarray([0.0, 1.0, 2.0])])
    np.testing.assert_array_equal([a, b], [[3, 4], [1, 2]])
    np.testing.assert_array_equal(seen, [[1, 2], [3, 4], [1, 2]])
    np.testing.assert_array_equal(halves, [[1.5, 2], [1.5, 2], [3.5, 4]])


def test_equal_kernels_are_compiled_once(device: HostDevice) -> None:
    draw = np.random.default_rng(0)
    builder = Builder(draw.normal(size=(9, 9)), *draw.normal(size=(5, 9, 9)))
    x = Ref(0)
    for i in range(5):
        x = builder.apply("tanh", builder.apply("add", builder.apply("matmul", x, Ref(i + 1)), 0.5))
    run = cupy.lower(builder.program(x), {}, device)
    assert len(run.kernels) == 5
    assert run.source.count("tanh(") == 1


@pytest.mark.parametrize("made", [cuda.CupyDevice, HostDevice])
def test_devices_have_the_methods_of_a_device(made: type) -> None:
    methods = [name for name in vars(Device) if not name.startswith("_")]
    assert len(methods) == 10
    for name in methods:
        wanted, found = (inspect.signature(getattr(kind, name)).parameters for kind in (Device, made))
        assert list(found) == list(wanted)
