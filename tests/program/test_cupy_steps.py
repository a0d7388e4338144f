"""Training steps and loops by the CuPy lowering, on the device, beside the functions on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.program.comparisons import by_steps
from tests.program.cuda import CountingDevice, for_cupy, from_device, to_device
from tests.program.lowerings import assert_same
from tests.program.random_programs import Builder
from tests.program.steps import gathering_step, work
from xpnet import Trainer, nn, optim
from xpnet.program.lowerings import cupy, generic
from xpnet.program.program import Ref

pytestmark = pytest.mark.backends("cupy")


# --- training steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", sorted(optim.OPTIMIZERS))
def test_steps_of_every_optimizer(optimizer: str, device: CountingDevice) -> None:
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.get(optimizer), nn.MLP([7], 3), loss, X, y, 16)
    run = cupy.lower(for_cupy(program), {i: i for i in range(carried)}, device)
    assert not run.calls
    plain = generic.lower(program)
    ours, theirs = [to_device(x) for x in inputs], list(inputs)
    for _ in range(3):
        expected, found = plain(theirs), run(ours)
        for i in range(carried):
            assert found[i] is ours[i]  # written in place
        ours[:carried], theirs[:carried] = found[:carried], expected[:carried]
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_allclose(from_device(b), a, rtol=1e-11, atol=1e-13)
    for a, b in zip(ours[carried:], inputs[carried:], strict=True):
        assert_same(a, b)


@pytest.mark.parametrize(
    ("loss", "activation", "dtype"),
    [
        ("squared_error", "sigmoid", "float32"),
        ("huber", "tanh", "float64"),
        ("binary_cross_entropy", "elu", "float32"),
        ("softmax_cross_entropy", "gelu", "float32"),
    ],
)
def test_loops_over_steps(loss: str, activation: str, dtype: str, device: CountingDevice) -> None:
    function, X, y = work(loss, dtype)
    model = nn.MLP([6, 40], 3, activation=activation)
    program, inputs, carried = gathering_step(optim.Adam(0.01), model, function, X, y, 8)
    loop = cupy.lower_loop(for_cupy(program), carried, 2, device)
    rows = np.random.default_rng(1).integers(-40, 40, size=(20, 8))
    sequences = [rows, *(np.full(20, s) for s in inputs[carried + 3 :])]
    given = _there(inputs[:carried], inputs[carried : carried + 2], sequences)
    state, (found,) = loop(*given)
    now, (expected,) = by_steps(program, carried, inputs[:carried], inputs[carried : carried + 2], sequences)
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(from_device(found), expected, rtol=tolerance)
    for a, b in zip(now, state, strict=True):
        np.testing.assert_allclose(from_device(b), a, rtol=10 * tolerance, atol=tolerance)
    for group, kept in zip(given, (inputs[:carried], inputs[carried : carried + 2], sequences), strict=True):
        for a, b in zip(group, kept, strict=True):
            assert_same(a, b)
    assert not loop.calls
    assert loop.captures == 1
    again, _ = loop(*given, True)
    for a, b, own in zip(again, state, given[0], strict=True):
        assert a is own
        assert_same(a, b)


def _there(*groups: list[np.ndarray]) -> list[list[Any]]:
    return [[to_device(x) for x in group] for group in groups]


def test_a_loop_is_captured_once(device: CountingDevice) -> None:
    """Constants, sequences and results are at any address; a step is as many launches each time."""
    loss, X, y = work("softmax_cross_entropy")
    program, inputs, carried = gathering_step(optim.SGD(0.1), nn.MLP([7], 3), loss, X, y, 16)
    loop = cupy.lower_loop(for_cupy(program), carried, 2, device)
    draw = np.random.default_rng(0)
    scalars = inputs[carried + 3 :]
    for i in (0, 0, 1):
        rows = X + i
        constants = _there([rows, y])[0]
        for count in (5, 9):
            sequences = [draw.integers(0, 40, (count, 16)), *(np.full(count, s) for s in scalars)]
            given = _there(inputs[:carried], sequences)
            before = device.launches
            state, (found,) = loop(given[0], constants, given[1])
            assert (device.launches - before - 2) % count == 0
            now, (expected,) = by_steps(program, carried, inputs[:carried], [rows, y], sequences)
            np.testing.assert_allclose(from_device(found), expected, rtol=1e-12)
            np.testing.assert_allclose(from_device(state[0]), now[0], rtol=1e-11, atol=1e-13)
        assert loop.captures == 1


def test_a_device_that_cannot_capture(device: CountingDevice, caplog: pytest.LogCaptureFixture) -> None:
    def capture(run: Any) -> Any:
        raise RuntimeError("no graphs here")

    device.capture = capture  # type: ignore[method-assign]
    builder = Builder(np.ones(3), np.zeros(3))
    loop = cupy.lower_loop(for_cupy(builder.program(builder.apply("add", Ref(0), Ref(1)))), 1, 0, device)
    for _ in range(2):
        (state,), _ = loop(*_there([np.ones(3)], [], [np.ones((5, 3))]))
        assert (state == 6).all()
    assert [record.getMessage() for record in caplog.records] == [
        "steps run kernel by kernel, not as a CUDA graph: no graphs here"
    ]


def test_loops_with_large_rows_and_results(device: CountingDevice) -> None:
    builder = Builder(np.ones((3, 5)), np.zeros((70, 80)), np.zeros(()))
    step = builder.apply("add", builder.apply("matrix_transpose", Ref(1)), Ref(2))
    state = builder.apply("add", Ref(0), builder.apply("sum", Ref(1)))
    program = builder.program(state, step, builder.apply("matrix_transpose", state), Ref(2))
    loop = cupy.lower_loop(for_cupy(program), 1, 0, device)
    draw = np.random.default_rng(0)
    for count in (1, 4):
        sequences = [draw.normal(size=(count, 70, 80)), draw.normal(size=count)]
        state, results = loop(*_there([builder.arrays[0]], [], sequences))
        now, expected = by_steps(program, 1, [builder.arrays[0]], [], sequences)
        for a, b in zip([*now, *expected], [*state, *results], strict=True):
            np.testing.assert_allclose(from_device(b), a, rtol=1e-12, atol=1e-12)


def test_loops_with_calls_of_the_library(device: CountingDevice) -> None:
    builder = Builder(np.asarray([3.0, 1.0, 2.0]), np.asarray([1.0, 5.0, 0.0]), np.zeros(3))
    made = builder.apply("sort", builder.apply("add", Ref(0), builder.apply("multiply", Ref(1), Ref(2))))
    program = builder.program(made, builder.apply("sum", made), made)
    loop = cupy.lower_loop(for_cupy(program), 1, 1, device)
    sequences = [np.random.default_rng(0).normal(size=(6, 3))]
    given = [builder.arrays[:1], builder.arrays[1:2], sequences]
    state, results = loop(*_there(*given))
    now, expected = by_steps(program, 1, *given)
    for a, b in zip([*now, *expected], [*state, *results], strict=True):
        np.testing.assert_allclose(from_device(b), a, rtol=1e-14)
    assert loop.calls == ["sort"]
    assert loop.captures == 0


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_trainer_with_dropout_and_batch_norm(
    clip: float | None, device: CountingDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way from the trainer, the ragged last batch included; masks are the same bits."""
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(70, 6)), draw.integers(3, size=70)
    layers = [nn.Dense(9), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(5), nn.LayerNorm(), nn.GELU(),
              nn.Dense(3)]  # fmt: skip
    loops: list[cupy.GraphLoop] = []

    def lower_loop(*args: Any) -> cupy.GraphLoop:
        loops.append(cupy.GraphLoop(*args, device))
        return loops[-1]

    def trained(backend: str, mode: str) -> np.ndarray:
        trainer = Trainer(
            nn.Sequential(*layers), "softmax_cross_entropy", optim.AdamW(), backend=backend, dtype="float64",
            clip_norm=clip, compile=mode,
        )  # fmt: skip
        trainer.fit(X, y, epochs=2, batch_size=16)
        return from_device(trainer.variables.params.flat)

    expected = trained("numpy", "off")
    monkeypatch.setattr(cupy, "lower_loop", lower_loop)
    found = trained("cuda", "auto")
    assert len(loops) == 2
    assert not any(loop.calls for loop in loops)
    assert [loop.captures for loop in loops] == [1, 1]  # for whole batches, and for the ragged last one
    # A bias before a normalization has no gradient but for rounding, which this optimizer makes much of.
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_state_that_changes_places(device: CountingDevice) -> None:
    """Two arrays swapped at each step, one of them also seen as a result."""
    builder = Builder(np.asarray([1.0, 2.0]), np.asarray([3.0, 4.0]), np.asarray(0.0))
    half = builder.apply("multiply", Ref(1), 0.5)
    program = builder.program(Ref(1), Ref(0), Ref(0), builder.apply("add", half, Ref(2)))
    loop = cupy.lower_loop(for_cupy(program), 2, 0, device)
    (a, b), (seen, halves) = loop(*_there(builder.arrays[:2], [], [np.asarray([0.0, 1.0, 2.0])]))
    assert [a.tolist(), b.tolist()] == [[3, 4], [1, 2]]
    assert seen.tolist() == [[1, 2], [3, 4], [1, 2]]
    assert halves.tolist() == [[1.5, 2], [1.5, 2], [3.5, 4]]


def test_a_graph_is_not_for_factors_elsewhere(device: CountingDevice) -> None:
    """Constants that are factors of products have their addresses in the graph; the first ones are gone."""
    builder = Builder(np.ones((3, 2)), np.ones((4, 3)), np.zeros(()))
    product = builder.apply(
        "matmul", builder.apply("matrix_transpose", Ref(1)), builder.apply("matmul", Ref(1), Ref(0))
    )
    program = builder.program(builder.apply("add", product, Ref(2)))
    loop = cupy.lower_loop(for_cupy(program), 1, 1, device)
    for seed in range(3):
        draw = np.random.default_rng(seed)
        given = [[draw.normal(size=(3, 2))], [draw.normal(size=(4, 3))], [draw.normal(size=5)]]
        (state,), _ = loop(*_there(*given))
        (now,), _ = by_steps(program, 1, *given)
        np.testing.assert_allclose(from_device(state), now, rtol=1e-12)
    assert loop.captures
