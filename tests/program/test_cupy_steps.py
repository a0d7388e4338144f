"""Training steps and loops by the CuPy lowering, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.program.comparisons import by_steps
from tests.program.host_device import COMPILER, HostDevice
from tests.program.random_programs import Builder
from tests.program.steps import gathering_step, work
from xpnet import Trainer, nn, optim
from xpnet.program import looping
from xpnet.program.lowerings import cupy, generic
from xpnet.program.lowerings.cupy import cuda
from xpnet.program.program import Ref

pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


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
    now, (expected,) = by_steps(program, carried, inputs[:carried], inputs[carried : carried + 2], sequences)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    for a, b in zip(now, state, strict=True):
        np.testing.assert_allclose(b, a, rtol=10 * tolerance, atol=tolerance)
    for a, b in zip(kept, inputs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not loop.calls
    assert loop.captures == 1
    kept, _ = loop(inputs[:carried], inputs[carried : carried + 2], sequences, True)
    for a, b, own in zip(kept, state, inputs, strict=False):
        assert a is own
        np.testing.assert_array_equal(a, b)


def test_a_loop_is_captured_once(device: HostDevice) -> None:
    """Constants, sequences and results are at any address; a step is as many launches each time."""
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.SGD(0.1), nn.MLP([7], 3), loss, X, y, 16)
    loop = cupy.lower_loop(program, carried, 2, device)
    draw = np.random.default_rng(0)
    scalars = inputs[carried + 3 :]
    for rows in (X, X, X + 1):
        for count in (5, 9):
            sequences = [draw.integers(0, 40, (count, 16)), *(np.full(count, s) for s in scalars)]
            before = device.launches
            state, (found,) = loop(inputs[:carried], [rows, y], sequences)
            assert (device.launches - before - 2) % count == 0
            now, (expected,) = by_steps(program, carried, inputs[:carried], [rows, y], sequences)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            np.testing.assert_allclose(state[0], now[0], rtol=1e-11, atol=1e-13)
        assert loop.captures == 1


def test_a_device_that_cannot_capture(device: HostDevice, caplog: pytest.LogCaptureFixture) -> None:
    def capture(run: Any) -> Any:
        raise RuntimeError("no graphs here")

    device.capture = capture  # type: ignore[method-assign]
    builder = Builder(np.ones(3), np.zeros(3))
    loop = cupy.lower_loop(builder.program(builder.apply("add", Ref(0), Ref(1))), 1, 0, device)
    for _ in range(2):
        (state,), _ = loop([np.ones(3)], [], [np.ones((5, 3))])
        np.testing.assert_array_equal(state, 6)
    assert [record.getMessage() for record in caplog.records] == [
        "steps run kernel by kernel, not as a CUDA graph: no graphs here"
    ]


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
        now, expected = by_steps(program, 1, [builder.arrays[0]], [], sequences)
        for a, b in zip([*now, *expected], [*state, *results], strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def test_loops_with_calls_of_the_library(device: HostDevice) -> None:
    builder = Builder(np.asarray([3.0, 1.0, 2.0]), np.asarray([1.0, 5.0, 0.0]), np.zeros(3))
    made = builder.apply("sort", builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), Ref(2))))
    program = builder.program(made, builder.apply("sum", made), made)
    loop = cupy.lower_loop(program, 1, 1, device)
    sequences = [np.random.default_rng(0).normal(size=(6, 3))]
    state, results = loop([builder.arrays[0]], [builder.arrays[1]], sequences)
    now, expected = by_steps(program, 1, [builder.arrays[0]], [builder.arrays[1]], sequences)
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
    assert [loop.captures for loop in loops] == [1, 1]  # for whole batches, and for the ragged last one
    # A bias before a normalization has no gradient but for rounding, which this optimizer makes much of.
    np.testing.assert_allclose(found.variables.params.flat, expected.variables.params.flat, atol=1e-9)
    for one in made:
        one.check()


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
